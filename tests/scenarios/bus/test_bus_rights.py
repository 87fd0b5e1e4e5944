"""What a replica's credential must not open, tried one by one against a real nats-server."""

from __future__ import annotations

import asyncio

import pytest

from quarterdeck.bus.connection import Unanswered
from quarterdeck.bus.subjects import Sender
from quarterdeck.model.desired import Link

ME = Sender("a", "worker", 0)
JETSTREAM = (
    "INFO",
    "STREAM.CREATE.IN_worker",
    "STREAM.CREATE.MINE",
    "STREAM.UPDATE.IN_worker",
    "STREAM.NAMES",
    "STREAM.LIST",
    "STREAM.INFO.IN_worker",
    "STREAM.DELETE.IN_worker",
    "STREAM.PURGE.IN_worker",
    "STREAM.SNAPSHOT.IN_worker",
    "STREAM.RESTORE.IN_worker",
    "STREAM.MSG.DELETE.IN_worker",
    "STREAM.MSG.GET.IN_worker",
    "STREAM.PEER.REMOVE.IN_worker",
    "STREAM.PEER.EVACUATE.IN_worker",
    "STREAM.CANCEL_MOVE.IN_worker",
    "STREAM.LEADER.STEPDOWN.IN_worker",
    "DIRECT.GET.IN_worker",
    "DIRECT.GET.IN_worker.in.a.worker.0.worker.x",
    "CONSUMER.CREATE.IN_worker",
    "CONSUMER.CREATE.IN_worker.spy",
    "CONSUMER.CREATE.IN_worker.spy.in.>",
    "CONSUMER.DURABLE.CREATE.IN_worker.spy",
    "CONSUMER.NAMES.IN_worker",
    "CONSUMER.LIST.IN_worker",
    "CONSUMER.INFO.IN_worker.IN_worker",
    "CONSUMER.DELETE.IN_worker.IN_worker",
    "CONSUMER.PAUSE.IN_worker.IN_worker",
    "CONSUMER.RESET.IN_worker.IN_worker",
    "CONSUMER.UNPIN.IN_worker.IN_worker",
    "CONSUMER.LEADER.STEPDOWN.IN_worker.IN_worker",
    "CONSUMER.PEER.REMOVE.IN_worker.IN_worker",
    "CONSUMER.PEER.EVACUATE.IN_worker.IN_worker",
    "CONSUMER.MSG.NEXT.IN_other.IN_other",
    "CONSUMER.MSG.NEXT.IN_worker.spy",
    "META.LEADER.STEPDOWN",
    "META.RESCUE",
    "SERVER.REMOVE",
    "SERVER.EVACUATE",
    "ACCOUNT.PURGE.X",
    "ACCOUNT.STREAM.MOVE.X.IN_worker",
    "ACCOUNT.STREAM.CANCEL_MOVE.X.IN_worker",
)
FOREIGN = (
    "ask.a.other.0.worker.x",  # in the name of another agent
    "ask.a.worker.1.worker.x",  # of a sibling
    "ask.b.worker.0.worker.x",  # of another cluster
    "ask.qd.control.0.worker.x",  # of the control plane
    "in.a.other.0.worker.x",
    "in.a.worker.0.stranger.x",  # to an agent that is none of its peers
    "to.b.ask.a.other.0.worker.x",
    "to.b.in.a.worker.1.worker.x",
    "to.b.ask.b.worker.0.worker.x",
    "to.c.ask.a.worker.0.worker.x",  # without a link
    "to.c.in.a.worker.0.worker.x",
    "$JS.ACK.IN_other.IN_other.1.1.1.1.0",  # acknowledging for others
    "$JS.FC.IN_worker.IN_worker.x",
    "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.IN_worker.IN_worker",
    "$KV.x.y",
    "whatever",
    "$SYS.REQ.SERVER.PING",
    "$SYS.REQ.SERVER.PING.JSZ",
    "$SYS.REQ.CLAIMS.LIST",
    "$SYS.REQ.CLAIMS.UPDATE",
    "$SYS.REQ.CLAIMS.DELETE",
    "$SYS.REQ.ACCOUNT.PING.CONNZ",
    "$SYS.REQ.ACCOUNT.X.CLAIMS.LOOKUP",
    "$SYS.REQ.USER.INFO",
)
UNHEARD = (
    ">",
    "*",
    "ask.>",
    "in.>",
    "in.*.*.*.worker.*",
    "ask.*.*.*.other.*",
    "ask.*.*.*.worker-1.*",
    "ask.a.>",
    "_INBOX.>",
    "_INBOX.worker-1-1.>",
    "_INBOX.qd.>",
    "_INBOX.other-0-1.>",
    "_R_.>",
    "$SYS.>",
    "$SYS.ACCOUNT.*.CONNECT",
    "$JS.>",
    "$JS.API.>",
    "$JS.ACK.>",
    "$JS.EVENT.>",
    "to.b.>",
)


@pytest.fixture
def prepared(bus, system, rooms):
    """Three clusters, a linked to b only, streams of two agents in a with one message each; `run` gives a test the replica's connection."""

    def run(scenario):
        async def whole():
            async with bus.admin() as admin:
                await admin.apply(system, rooms("a", "b", "c"), [Link("a", "b")])
                for agent in ("worker", "other"):
                    await admin.ensure_stream(system, "a", agent, inventory=())
                replica = await bus.enter_as_replica(system, ME, peers=("worker", "other"), linked=("b",))
                for agent in ("worker", "other"):
                    await replica.request(f"in.a.worker.0.{agent}.x", b"1", {}, 2.0)
                before = await admin.streams()
                await scenario(replica)
                await replica.close()
                mine = [s for s in await admin.streams() if s.account.startswith(f"{system}.")]
                assert mine == [s for s in before if s.account.startswith(f"{system}.")]

        asyncio.run(whole())

    return run


def test_a_replica_can_do_nothing_to_streams_and_speak_in_nobody_elses_name(prepared):
    subjects = [*(f"$JS.API.{verb}" for verb in JETSTREAM), *FOREIGN]

    async def scenario(replica):
        assert not await replica.refuses("ask.a.worker.0.other.x"), "the check itself must be able to pass"
        assert not await replica.refuses("to.b.ask.a.worker.0.other.x")
        let_through = [subject for subject in subjects if not await replica.refuses(subject)]
        assert let_through == []

    prepared(scenario)


def test_a_replica_can_listen_to_nothing_but_its_own(prepared):
    async def scenario(replica):
        refused: list[str] = []
        note = replica.nats._error_cb

        async def problem(error):
            refused.append(str(error))
            await note(error)

        async def never(message):
            raise AssertionError(message.subject)

        replica.nats._error_cb = problem
        await replica.listen("ask.*.*.*.worker.*", never)
        await replica.flush()
        assert refused == [], "the check itself must be able to pass"
        for subject in UNHEARD:
            await replica.listen(subject, never)
            await replica.flush()
        heard = [subject for subject in UNHEARD if not any(f'subscription to "{subject}"'.lower() in error for error in refused)]
        assert heard == []

    prepared(scenario)


@pytest.mark.parametrize(
    "target",
    [
        "$JS.API.STREAM.DELETE.IN_other",
        "$JS.API.STREAM.PURGE.IN_worker",
        "in.a.other.0.worker.x",
        "to.b.ask.a.other.0.x.y",
        "to.c.in.a.worker.0.x.y",
    ],
)
def test_asking_itself_with_a_forged_reply_subject_gives_no_right_to_publish_there(prepared, target):
    """With nats-server's response permission it does: the reply subject of any received message may then be published to."""

    async def scenario(replica):
        came = asyncio.Event()

        async def receive(message):
            assert message.reply == target
            came.set()

        await replica.listen("ask.*.*.*.worker-0.*", receive)
        await replica.flush()
        await replica.send("ask.a.worker.0.worker-0.x", reply=target)
        await asyncio.wait_for(came.wait(), 5)
        assert await replica.refuses(target)

    prepared(scenario)


def test_a_replica_pulls_and_acknowledges_its_own_messages(bus, system, rooms):
    async def scenario():
        async with bus.admin() as admin:
            await admin.apply(system, rooms("a"))
            await admin.ensure_stream(system, "a", "worker", inventory=())
            replica = await bus.enter_as_replica(system, ME, peers=("worker",))
            await replica.request("in.a.worker.0.worker.x", b"hello", {}, 2.0)
            got = await bus.pull(replica, "worker")
            assert (got.data, got.subject) == (b"hello", "in.a.worker.0.worker.x")
            assert got.reply.startswith("$JS.ACK.IN_worker.IN_worker.")
            await replica.request(got.reply, b"+ACK", {}, 2.0)
            (stream,) = [s for s in await admin.streams() if s.account == f"{system}.a"]
            assert (stream.messages, stream.last) == (0, 1)
            again = await replica.request("in.a.worker.0.worker.x", b"twice", {"Nats-Msg-Id": "m1"}, 2.0)
            double = await replica.request("in.a.worker.0.worker.x", b"twice", {"Nats-Msg-Id": "m1"}, 2.0)
            assert b'"duplicate": true' in double.data or b'"duplicate":true' in double.data
            assert b"duplicate" not in again.data
            await replica.close()

    asyncio.run(scenario())


def test_a_replica_answers_its_own_cluster_and_across_a_link(bus, system, rooms):
    async def scenario():
        async with bus.admin() as admin:
            await admin.apply(system, rooms("a", "b"), [Link("b", "a")])
            answering = await bus.enter_as_replica(system, ME)
            sibling = await bus.enter_as_replica(system, Sender("a", "other", 0))
            guest = await bus.enter_as_replica(system, Sender("b", "guest", 0), linked=("a",))

            async def answer(message):
                await message.respond(message.subject.encode())

            await answering.listen("ask.*.*.*.worker.*", answer, queue="worker")
            await answering.flush()
            assert (await sibling.request("ask.a.other.0.worker.x", b"", {}, 2.0)).data == b"ask.a.other.0.worker.x"
            assert (await guest.request("to.a.ask.b.guest.0.worker.x", b"", {}, 2.0)).data == b"ask.b.guest.0.worker.x"
            with pytest.raises(Unanswered, match="timeout"):
                await answering.request("to.b.ask.a.worker.0.guest.x", b"", {}, 0.2)
            for connection in (answering, sibling, guest):
                await connection.close()

    asyncio.run(scenario())


def test_a_user_with_an_empty_list_may_do_nothing(bus, system, rooms, caplog):
    """What a proof finds refused is no warning, what somebody else sends is one."""

    async def scenario():
        async with bus.admin() as admin:
            await admin.apply(system, rooms("a"))
            _, nothing = bus.user(system, "a", publish=(), subscribe=("_INBOX.test.>",))
            connection = await bus.enter(nothing)
            assert await connection.refuses("whatever")
            assert "refused a message" not in caplog.text
            await connection.send("whatever")
            await connection.flush()
            assert "refused a message on whatever" in caplog.text
            await connection.close()

    asyncio.run(scenario())
