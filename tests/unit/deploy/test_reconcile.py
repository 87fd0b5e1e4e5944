"""The loop itself: what it survives, and that it ends when it is told to."""

import asyncio

from quarterdeck.clock import SystemClock
from quarterdeck.deploy.reconcile import Reconciler
from quarterdeck.deploy.witness import EventWitness
from quarterdeck.engines.memory import MemoryEngine
from quarterdeck.errors import Transient


async def refused():
    await asyncio.sleep(0)
    raise Transient("the bus went away in the middle of a look")


class Unsteady(MemoryEngine):
    """Its first look fails in a task of a group, which Python 3.11 leaves the caller marked as cancelled for."""

    looks = 0

    async def observe(self, system):
        self.looks += 1
        if self.looks == 1:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(refused())
            except ExceptionGroup as failed:
                raise failed.exceptions[0] from failed
        return await super().observe(system)


class Deaf(MemoryEngine):
    """Takes every cancellation of a look for its own, as the bus's library can."""

    async def observe(self, system):
        try:
            await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            raise Transient("timeout") from None
        return await super().observe(system)


def reconciler(engine, store, compose):
    loop = Reconciler(store, engine, compose, {}, SystemClock(), EventWitness(store))
    loop.wake("s")
    return loop


def test_a_look_that_fails_is_followed_by_another(store, compose, clock):
    async def scenario():
        engine = Unsteady(clock)
        running = asyncio.create_task(reconciler(engine, store, compose).run())
        async with asyncio.timeout(5):
            while engine.looks < 3:  # noqa: ASYNC110 it counts, and nothing else tells
                await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.wait([running], timeout=5)
        assert running.cancelled()

    asyncio.run(scenario())


def test_it_ends_though_a_look_takes_the_cancellation_for_its_own(store, compose, clock):
    async def scenario():
        running = asyncio.create_task(reconciler(Deaf(clock), store, compose).run())
        await asyncio.sleep(0.02)
        running.cancel()
        done, _ = await asyncio.wait([running], timeout=5)
        assert done

    asyncio.run(scenario())
