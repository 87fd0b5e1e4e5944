"""Durable messages that are sent at the same time share a commit of their stream, and each is still a message of its own."""

import asyncio
import json
import os
import signal
from collections import Counter
from itertools import count

import nats
import pytest
from tests.unit.bus.participants import intake, participant

from quarterdeck.bus import posting, streams, subjects
from quarterdeck.bus.pull import Verdict
from quarterdeck.errors import QuarterdeckError
from quarterdeck.model.work import Overloaded

BATCH = "Nats-Batch-Id"


async def stored(server, agent="echo"):
    """What lies in an agent's stream, in order: (body, headers)."""
    connection = await nats.connect(server.url)
    js, name = connection.jetstream(), subjects.stream(agent)
    state = (await js.stream_info(name)).state
    found = [await js.get_msg(name, number) for number in range(state.first_seq, state.last_seq + 1)]
    await connection.close()
    return [(message.data, message.headers) for message in found]


def send(client, bodies, **how):
    return asyncio.gather(*(client.publish("c", "echo", "v", str(body).encode(), **how) for body in bodies), return_exceptions=True)


def test_many_at_once_go_together_and_each_has_its_number_and_its_name(plain_nats):
    async def body():
        await plain_nats.make_stream("echo")
        async with participant(plain_nats) as asker:
            acks = await send(asker, range(100))
        assert [(ack.stream, ack.seq, ack.duplicate) for ack in acks] == [("IN_echo", n, False) for n in range(1, 101)]
        found = await stored(plain_nats)
        assert [body for body, _ in found] == [str(n).encode() for n in range(100)], "in the order of the calls"
        assert len({headers["Nats-Msg-Id"] for _, headers in found}) == 100
        assert len({headers[BATCH] for _, headers in found}) == 1

    asyncio.run(body())


def test_few_go_alone(plain_nats):
    async def body():
        await plain_nats.make_stream("echo")
        async with participant(plain_nats) as asker:
            await send(asker, range(posting.FEWEST - 1))
        assert [BATCH in headers for _, headers in await stored(plain_nats)] == [False] * (posting.FEWEST - 1)

    asyncio.run(body())


def test_no_batch_is_larger_than_the_server_takes_in_number_or_in_bytes(plain_nats):
    async def body():
        await plain_nats.make_stream("echo")
        async with participant(plain_nats) as asker:
            acks = await send(asker, range(300))
            long = await asyncio.gather(*(asker.publish("c", "echo", "v", b"1" * 15_000) for _ in range(100)))
        assert [ack.seq for ack in (*acks, *long)] == list(range(1, 401))
        sizes = Counter(headers.get(BATCH) for _, headers in await stored(plain_nats))
        assert max(sizes.values()) == posting.MOST
        bytes_of = Counter()
        for text, headers in (await stored(plain_nats))[300:]:
            bytes_of[headers.get(BATCH)] += len(text)
        assert len(bytes_of) >= 3
        assert all(total <= posting.ROOM for name, total in bytes_of.items() if name)

    asyncio.run(body())


def test_one_that_is_known_keeps_none_of_the_others_out(plain_nats):
    async def body():
        await plain_nats.make_stream("echo")
        async with participant(plain_nats) as asker:
            await asker.publish("c", "echo", "v", b'"before"', key="7")
            acks = await asyncio.gather(*(asker.publish("c", "echo", "v", str(n).encode(), key=str(n)) for n in range(40)))
        assert [n for n, ack in enumerate(acks) if ack.duplicate] == [7]
        assert acks[7].seq == 1
        assert Counter(body for body, _ in await stored(plain_nats)) == Counter(
            [b'"before"', *(str(n).encode() for n in range(40) if n != 7)]
        )

    asyncio.run(body())


def test_a_stream_that_has_room_for_some_takes_those_and_refuses_the_others(plain_nats):
    async def body():
        await plain_nats.make_stream("echo", max_messages=30)
        async with participant(plain_nats) as asker:
            acks = await send(asker, range(50))
        assert len([ack for ack in acks if isinstance(ack, Overloaded)]) == 20
        assert len(await stored(plain_nats)) == 30

    asyncio.run(body())


def test_a_stream_of_an_earlier_version_takes_them_one_by_one(plain_nats):
    async def body():
        connection = await nats.connect(plain_nats.url)
        config = {**streams.stream_config("echo", streams.USUAL, 1), "allow_atomic": False}
        answer = json.loads((await connection.request("$JS.API.STREAM.CREATE.IN_echo", json.dumps(config).encode())).data)
        assert "error" not in answer
        await connection.close()
        async with participant(plain_nats) as asker:
            for _ in range(2):
                assert not [ack for ack in await send(asker, range(60)) if isinstance(ack, BaseException)]
        assert [BATCH in headers for _, headers in await stored(plain_nats)] == [False] * 120

    asyncio.run(body())


@pytest.mark.parametrize("who", [0, 30, 59])
def test_whoever_gives_up_takes_none_of_the_others_with_it(plain_nats, who):
    """The first one's caller sends for all of its batch."""

    async def body():
        await plain_nats.make_stream("echo")
        async with participant(plain_nats) as asker:
            await asker.publish("c", "echo", "v", b'"warm"')
            for rounds in range(6):  # later each time: before it is sent, while it is, after
                calls = [asyncio.create_task(asker.publish("c", "echo", "v", str(n).encode())) for n in range(60)]
                for _ in range(rounds):
                    await asyncio.sleep(0)
                calls[who].cancel()
                async with asyncio.timeout(3):  # none has to find out by itself that nobody sends for it
                    done = await asyncio.gather(*calls, return_exceptions=True)
                assert [n for n, ack in enumerate(done) if isinstance(ack, BaseException)] in ([who], [])
            async with asyncio.timeout(5):
                assert not (await asker.publish("c", "echo", "v", b'"after"')).duplicate, "the next one is not held up"
        kept = Counter(body for body, _ in await stored(plain_nats))
        assert all(kept[str(n).encode()] == 6 for n in range(60) if n != who)
        assert kept[str(who).encode()] <= 6

    asyncio.run(body())


def test_a_batch_that_the_server_took_to_its_grave_is_confirmed_to_nobody(plain_nats):
    """It froze before the batch reached it and died: what was on its way is gone with it, and goes again, alone."""

    async def body():
        await plain_nats.make_stream("echo")
        async with participant(plain_nats) as asker:
            await asker.publish("c", "echo", "v", b'"warm"')
            os.kill(plain_nats.process.pid, signal.SIGSTOP)
            sending = asyncio.ensure_future(send(asker, range(60)))
            await asyncio.sleep(0.1)
            plain_nats.kill()
            plain_nats.start()
            acks = await sending
        confirmed = [str(n).encode() for n, ack in enumerate(acks) if not isinstance(ack, BaseException)]
        found = {body: BATCH in headers for body, headers in await stored(plain_nats)}
        assert not any(found.values()), "the batch itself came to nothing"
        assert set(confirmed) <= set(found)
        assert len(confirmed) == 60

    asyncio.run(body())


def test_a_server_that_is_killed_again_and_again_loses_none_that_was_confirmed(plain_nats, until):
    """Bodies are counted where they arrive: each confirmed one is there, none is handled twice because it was sent twice."""

    async def body():
        await plain_nats.make_stream("echo")
        taken, confirmed, killed = Counter(), set(), asyncio.Event()

        async def settle(incoming):
            taken[incoming.body] += incoming.delivered == 1
            return Verdict("done")

        async def sender(client, n):
            for turn in count():
                if killed.is_set():
                    return
                body = f'"{n}-{turn}"'.encode()
                while body not in confirmed:
                    try:
                        await client.publish("c", "echo", "v", body, key=f"{n}-{turn}")
                        confirmed.add(body)
                    except QuarterdeckError:  # unknown: again, with the same key
                        await asyncio.sleep(0.05)

        async with participant(plain_nats) as asker, participant(plain_nats, "echo") as echo:
            senders = asyncio.gather(*(sender(asker, n) for n in range(64)))
            for _ in range(5):
                await asyncio.sleep(0.05)
                plain_nats.kill()
                plain_nats.start()
            killed.set()
            await senders
            await echo.session.receive(intake(places=64, settle=settle))
            await until(lambda: set(taken) >= confirmed)
            await asyncio.sleep(0.3)
        assert set(taken) == confirmed
        assert set(taken.values()) == {1}

    asyncio.run(body())
