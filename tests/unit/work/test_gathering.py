"""Requests that arrive together are served together, and one that fails or gives up takes no other with it."""

import asyncio

from quarterdeck.work.gathering import Gathering


def test_what_arrives_together_is_one_write(tmp_path):
    """64 orders at once: the first is served at once, those that came meanwhile together."""
    writes = []

    async def serve(things):
        writes.append(len(things))
        await asyncio.sleep(0.01)
        return [thing * 2 for thing in things]

    async def main():
        gathering = Gathering(serve, 40)
        return await asyncio.gather(*(gathering.ask([n, n]) for n in range(64)))

    assert asyncio.run(main()) == [[n * 2] * 2 for n in range(64)]
    assert max(writes) == 40
    assert len(writes) == 4


def test_one_that_fails_fails_those_of_its_write_and_no_other():
    async def serve(things):
        if 3 in things:
            raise ValueError("three")
        return list(things)

    async def main():
        gathering = Gathering(serve, 1)
        asked = [gathering.ask([n]) for n in range(5)]
        return await asyncio.gather(*asked, return_exceptions=True)

    found = asyncio.run(main())
    assert [f if isinstance(f, list) else str(f) for f in found] == [[0], [1], [2], "three", [4]]


def test_who_gave_up_waiting_does_not_stop_the_others():
    async def serve(things):
        await asyncio.sleep(0.01)
        return list(things)

    async def main():
        gathering = Gathering(serve, 100)
        first, second, third = (asyncio.create_task(gathering.ask([n])) for n in range(3))
        await asyncio.sleep(0)
        second.cancel()
        return await first, await third

    assert asyncio.run(main()) == ([0], [2])
