"""A replica's life against a real nats-server; only the node at the other end of the channel is a fake."""

import asyncio
import json
import os
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import asdict

import nats
import pytest

from quarterdeck.agents.runtime import serve
from quarterdeck.bus import subjects
from quarterdeck.bus.client import Client
from quarterdeck.bus.connection import Login
from quarterdeck.bus.envelope import NoAnswer, RemoteTerminal, RemoteTransient
from quarterdeck.bus.links import Routes
from quarterdeck.bus.session import Session
from quarterdeck.clock import SystemClock
from quarterdeck.model.boot import Boot
from quarterdeck.model.desired import Breaker, Link
from quarterdeck.model.table import Credential

AGENT = '''
import asyncio
from quarterdeck import Agent, Context, Transient

agent = Agent("worker")
story = []
gate = asyncio.Event()

@agent.start
async def start(ctx: Context):
    story.append("start")

@agent.stop
async def stop(ctx: Context):
    story.append("stop")

@agent.every(0.02)
async def tick(ctx: Context):
    story.append("tick")

@agent.on("echo")
async def echo(payload, ctx: Context):
    return [payload, ctx.name, ctx.sender]

@agent.on("wait")
async def wait(payload):
    story.append("waiting")
    await gate.wait()
    story.append("waited")
    return payload

@agent.on("item")
async def item(payload: int):
    story.append(payload)

@agent.on("pass")
async def pass_on(ctx: Context):
    """Ask somebody far away.

    And take silence for an answer.
    """
    try:
        await ctx.ask("far/agent", "anything")
    except Transient:
        return "silence"

class Sullen(dict):
    @classmethod
    def model_validate(cls, value):
        return cls(value)

    @classmethod
    def model_json_schema(cls):
        raise RuntimeError("no words")

@agent.on("sullen")
async def sullen(payload: Sullen):
    return None

@agent.on("block")
def block(payload: float):
    import time
    time.sleep(payload)
    return "done"
'''


class FakeNode:
    """The node's end of the channel, in this process."""

    def __init__(self):
        self.heard = []
        self._orders = asyncio.Queue()

    def send(self, message):
        self.heard.append(json.loads(json.dumps(message)))

    async def receive(self):
        return await self._orders.get()

    def order(self, **message):
        self._orders.put_nowait(message)

    def gone(self):
        self._orders.put_nowait(None)

    def said(self, kind):
        return [message for message in self.heard if message["t"] == kind]


def credential(expires=0.0):
    return Credential(1, "not-a-jwt", "not-a-seed", expires)


def make_boot(url, code, *, n=0, run="worker_under_test:agent", links=(), heartbeat=0.05):
    return Boot(
        system="s", cluster="c", agent="worker", n=n, incarnation=1, code=str(code), run=run, work=str(code), bus_url=url,
        credential=credential(), links=links, peers=("worker",), environment=(), revision="r1", heartbeat=heartbeat,
    )  # fmt: skip


@pytest.fixture
def code(tmp_path):
    root = tmp_path / "code"
    root.mkdir()
    (root / "worker_under_test.py").write_text(AGENT)
    yield root
    sys.path[:] = [one for one in sys.path if one != str(root)]
    sys.modules.pop("worker_under_test", None)


@asynccontextmanager
async def asking(server, links=()):
    async with asyncio.TaskGroup() as tasks:
        session = await Session.open(Login(server.url, "asker", subjects.inbox("asker", 0, 1)), tasks)
        yield Client(session, subjects.Sender("c", "asker", 0), Routes("c", links), SystemClock())
        await session.close()


@asynccontextmanager
async def living(boot, until):
    """A replica that is ready; drained at the end, if it was not before."""
    node = FakeNode()
    async with asyncio.TaskGroup() as tasks:
        replica = tasks.create_task(serve(boot, node))
        await until(lambda: node.said("ready") or replica.done())
        yield node, sys.modules["worker_under_test"]
        if not replica.done():
            node.order(t="drain", within=5.0)
        await asyncio.wait_for(replica, 10)
    assert node.heard[-1]["t"] == "drained"


async def ask(client, verb, payload, to="worker"):
    return json.loads(await client.ask("c", to, verb, json.dumps(payload).encode()))


def test_from_ready_to_drained(plain_nats, code, until):
    async def body():
        await plain_nats.make_stream("worker")
        async with asking(plain_nats) as asker:
            async with living(make_boot(plain_nats.url, code), until) as (node, worker):
                assert await ask(asker, "echo", 1) == [1, "c/worker-0", "c/asker-0"]
                assert await ask(asker, "_ping", None, "worker-0") == {
                    "from": "c/worker-0", "pid": os.getpid(), "incarnation": 1, "revision": "r1",
                }  # fmt: skip
                await asker.publish("c", "worker", "item", b"7")
                await until(lambda: 7 in worker.story)
                await until(lambda: len(node.said("beat")) >= 3)
                await until(lambda: worker.story.count("tick") >= 3)
            beats = node.said("beat")
            assert beats[-1]["progress"] > beats[0]["progress"]
            assert {type(beats[0][field]) for field in ("progress", "inflight")} == {int}
            assert worker.story[0] == "start"
            assert worker.story[-1] == "stop"
            asker.session._current.since = 0.0
            with pytest.raises(NoAnswer):
                await ask(asker, "echo", 1)
        assert await plain_nats.pending("worker") == 0

    asyncio.run(body())


def test_beats_tell_what_was_worked_off_and_sent_and_nothing_of_what_there_is_not(plain_nats, code, until):
    async def body():
        await plain_nats.make_stream("worker")
        silent = Link("c", "far", timeout=0.05, attempts=1, breaker=Breaker(failures=1, reset=30.0, probes=1))
        boot = make_boot(plain_nats.url, code, links=(silent,))
        async with deaf(plain_nats), asking(plain_nats) as asker, living(boot, until) as (node, _):
            await until(lambda: node.said("beat"))
            assert set(node.said("beat")[-1]) == {"t", "progress", "lag", "inflight"}
            await ask(asker, "echo", 1)
            await asker.publish("c", "worker", "item", b"7")
            for _ in range(2):
                with pytest.raises(RemoteTerminal):
                    await ask(asker, "item", "no number")
            await ask(asker, "pass", None)
            await until(lambda: node.said("beat")[-1].get("handled") == 3 and node.said("beat")[-1].get("sent"))
            told = node.said("beat")[-1]
            assert (told["failed"], told["sent"], told["circuits"]) == (2, {"far": [1, 1]}, {"far/agent": "open"})

    asyncio.run(body())


@asynccontextmanager
async def deaf(server):
    """Somebody at `far/agent` who never answers."""
    connection = await nats.connect(server.url)
    await connection.subscribe("to.far.>")
    await connection.flush()
    yield
    await connection.close()


def test_the_node_can_ask_for_the_verbs_and_what_they_take(plain_nats, code, until):
    async def body():
        await plain_nats.make_stream("worker")
        async with living(make_boot(plain_nats.url, code), until) as (node, _):
            node.order(t="probe", id=1, probe={"kind": "verbs"})
            await until(lambda: node.said("reply"))
            found = node.said("reply")[0]["ok"]
            assert found["item"] == {"payload": {"type": "integer"}, "doc": ""}
            assert found["pass"] == {"payload": None, "doc": "Ask somebody far away."}
            assert found["sullen"] == {"payload": {}, "doc": ""}, "a type that cannot describe itself takes anything, as far as we know"
            assert found["echo"]["payload"] == {}

    asyncio.run(body())


def test_draining_finishes_what_is_in_flight(plain_nats, code, until):
    async def body():
        await plain_nats.make_stream("worker")
        async with (
            asking(plain_nats) as asker,
            living(make_boot(plain_nats.url, code), until) as (node, worker),
            asyncio.TaskGroup() as tasks,
        ):
            waiting = tasks.create_task(ask(asker, "wait", "a"))
            await asker.publish("c", "worker", "wait", b'"b"')
            await until(lambda: worker.story.count("waiting") == 2)
            node.order(t="drain", within=5.0)
            await until(lambda: "tick" in worker.story)
            ticks = worker.story.count("tick")
            worker.gate.set()
            assert await waiting == "a"
            await until(lambda: node.said("drained"))
            assert worker.story[-1] == "stop"
            assert worker.story.count("tick") <= ticks + 1
        assert await plain_nats.pending("worker") == 0

    asyncio.run(body())


def test_a_drain_that_takes_too_long_gives_the_messages_back(plain_nats, code, until):
    async def body():
        await plain_nats.make_stream("worker")
        async with (
            asking(plain_nats) as asker,
            living(make_boot(plain_nats.url, code), until) as (node, worker),
            asyncio.TaskGroup() as tasks,
        ):
            waiting = tasks.create_task(_caught(ask(asker, "wait", "a"), RemoteTransient))
            await asker.publish("c", "worker", "wait", b'"b"')
            await until(lambda: worker.story.count("waiting") == 2)
            began = time.monotonic()
            node.order(t="drain", within=0.5)
            await until(lambda: node.said("drained"))
            assert time.monotonic() - began < 1.5
            assert "waited" not in worker.story
            assert worker.story[-1] == "stop", "the hooks keep their part of the time"
            assert (await waiting).kind == "draining"
        assert await plain_nats.pending("worker") == 1

    asyncio.run(body())


async def _caught(work, kind):
    try:
        await work
    except kind as error:
        return error
    raise AssertionError("nothing was raised")


def test_it_answers_again_after_the_death_of_the_server(plain_nats, code, until):
    async def body():
        await plain_nats.make_stream("worker")
        async with asking(plain_nats) as asker, living(make_boot(plain_nats.url, code), until) as (_, worker):
            assert await ask(asker, "echo", 1)
            plain_nats.kill()
            await asyncio.to_thread(plain_nats.start)
            began = time.monotonic()
            assert (await ask(asker, "echo", 2))[0] == 2
            assert time.monotonic() - began < 2.0
            await asker.publish("c", "worker", "item", b"8")
            await until(lambda: 8 in worker.story)

    asyncio.run(body())


def test_new_credentials_lose_no_message(plain_nats, code, until):
    async def body():
        await plain_nats.make_stream("worker")
        async with asking(plain_nats) as asker, living(make_boot(plain_nats.url, code), until) as (node, worker):
            sent, stop = 0, asyncio.Event()

            async def load():
                nonlocal sent
                while not stop.is_set():
                    sent, number = sent + 1, sent
                    assert (await ask(asker, "echo", number))[0] == number
                    await asker.publish("c", "worker", "item", str(number).encode())

            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(load())
                tasks.create_task(load())
                for round_ in range(1, 4):
                    node.order(t="credentials", credential=asdict(credential(float(round_))))
                    goal = sent + 30
                    await until(lambda round_=round_, goal=goal: len(node.said("credentials")) == round_ and sent >= goal)
                stop.set()
            await until(lambda: {n for n in worker.story if isinstance(n, int)} == set(range(sent)))
            assert [m["expires"] for m in node.said("credentials")] == [1.0, 2.0, 3.0]

    asyncio.run(body())


def test_a_paused_replica_takes_nothing_and_goes_on_afterwards(plain_nats, code, until):
    async def body():
        await plain_nats.make_stream("worker")
        links = (Link("c", "c", timeout=0.3, attempts=1),)
        async with asking(plain_nats, links) as asker, living(make_boot(plain_nats.url, code), until) as (node, worker):
            node.order(t="pause", on=True)
            asker.session._current.since = 0.0
            await until(lambda: _refused(asker))
            await asker.publish("c", "worker", "item", b"9")
            beats = len(node.said("beat"))
            await until(lambda: len(node.said("beat")) > beats + 2)
            assert 9 not in worker.story
            node.order(t="pause", on=False)
            await until(lambda: 9 in worker.story)
            assert await ask(asker, "echo", 1)

    asyncio.run(body())


async def _refused(asker):
    try:
        await ask(asker, "echo", 1)
    except NoAnswer:
        return True
    return False


def test_probes_are_answered_with_evidence(plain_nats, code, until):
    async def body():
        async with living(make_boot(plain_nats.url, code), until) as (node, _):
            probes = [
                {"kind": "echo"},
                {"kind": "link", "cluster": "c", "agent": "worker"},
                {"kind": "forbidden", "subject": "some.other.subject"},
                {"kind": "link", "cluster": "elsewhere", "agent": "x"},
                {"kind": "unheard-of"},
                {"kind": "link"},
            ]
            for number, probe in enumerate(probes):
                node.order(t="probe", id=number, probe=probe)
            await until(lambda: len(node.said("reply")) == len(probes))
            replies = {reply["id"]: reply for reply in node.said("reply")}
            assert replies[0]["ok"] == {"pid": os.getpid()}
            assert replies[1]["ok"]["from"] == "c/worker-0"
            assert 0 < replies[1]["ok"]["ms"] < 1000
            assert replies[2]["ok"] == {"refused": False}, "a server without users refuses nothing"
            assert replies[3]["error"] == {"kind": "Forbidden", "message": "no link leads from c to elsewhere"}
            assert replies[4]["error"]["message"] == "'unheard-of' is no probe of this version"
            assert replies[5]["error"]["kind"] == "KeyError"

    asyncio.run(body())


def test_a_new_link_is_open_without_a_restart(plain_nats, code, until):
    async def body():
        async with living(make_boot(plain_nats.url, code), until) as (node, _):
            node.order(t="links", links=[asdict(Link("c", "d", timeout=0.2, attempts=1))], peers=["worker"])
            node.order(t="probe", id=1, probe={"kind": "link", "cluster": "d", "agent": "x", "timeout": 0.3})
            await until(lambda: node.said("reply"))
            assert node.said("reply")[0]["error"]["kind"] == "NoAnswer", "allowed now, but nobody is there"

    asyncio.run(body())


def test_a_sync_handler_does_not_stop_the_heart(plain_nats, code, until):
    async def body():
        async with asking(plain_nats) as asker, living(make_boot(plain_nats.url, code), until) as (node, _):
            before = len(node.said("beat"))
            assert await ask(asker, "block", 0.5) == "done"
            beats = node.said("beat")[before:]
            assert len(beats) >= 5
            assert max(beat["inflight"] for beat in beats) == 1

    asyncio.run(body())


def test_a_blocked_loop_shows_as_lag(plain_nats, code, until):
    async def body():
        async with living(make_boot(plain_nats.url, code), until) as (node, _):
            time.sleep(0.3)  # noqa: ASYNC251 what a handler must not do
            seen = len(node.said("beat"))
            await until(lambda: len(node.said("beat")) > seen)
            assert max(beat["lag"] for beat in node.said("beat")) > 200

    asyncio.run(body())


def test_two_replicas_share_the_work(plain_nats, code, until):
    async def body():
        await plain_nats.make_stream("worker")
        async with (
            asking(plain_nats) as asker,
            living(make_boot(plain_nats.url, code), until) as (node, worker),
            living(make_boot(plain_nats.url, code, n=1), until),
        ):
            names = {(await ask(asker, "echo", number))[1] for number in range(40)}
            assert names == {"c/worker-0", "c/worker-1"}
            node.order(t="drain", within=5.0)
            for number in range(40):
                assert (await ask(asker, "echo", number))[0] == number
                await asker.publish("c", "worker", "item", str(number).encode())
            await until(lambda: {n for n in worker.story if isinstance(n, int)} == set(range(40)))

    asyncio.run(body())


def test_a_node_that_is_gone_ends_the_replica(plain_nats, code, until):
    async def body():
        async with living(make_boot(plain_nats.url, code), until) as (node, worker):
            node.gone()
            await until(lambda: node.said("drained"))
            assert worker.story[-1] == "stop"

    asyncio.run(body())


def test_background_work_that_fails_is_called_again(plain_nats, code, until, monkeypatch):
    monkeypatch.setattr("quarterdeck.agents.runtime.TURN_PAUSE_FIRST", 0.01)
    with (code / "worker_under_test.py").open("a") as file:
        file.write("\n@agent.loop\nasync def broken():\n    story.append('broken')\n    raise ValueError('x')\n")

    async def body():
        async with living(make_boot(plain_nats.url, code), until) as (_, worker):
            await until(lambda: worker.story.count("broken") >= 3)

    asyncio.run(body())


def test_it_waits_for_a_bus_that_is_not_there_yet(plain_nats, code, until, monkeypatch):
    monkeypatch.setattr("quarterdeck.bus.connection.CONNECT_WITHIN", 0.2)
    plain_nats.kill()

    async def body():
        node = FakeNode()
        async with asyncio.TaskGroup() as tasks:
            replica = tasks.create_task(serve(make_boot(plain_nats.url, code), node))
            await until(lambda: len(node.said("beat")) > 8)
            assert not node.said("ready")
            await asyncio.to_thread(plain_nats.start)
            await until(lambda: node.said("ready"))
            node.order(t="drain", within=2.0)
            await replica

    asyncio.run(body())


def test_a_drain_before_ready_ends_it_too(plain_nats, code, until):
    plain_nats.kill()

    async def body():
        node = FakeNode()
        node.order(t="drain", within=1.0)
        await asyncio.wait_for(serve(make_boot(plain_nats.url, code), node), 5)
        assert [message["t"] for message in node.heard if message["t"] != "beat"] == ["drained"]

    asyncio.run(body())


def fatal(boot):
    node = FakeNode()
    with pytest.raises(SystemExit) as caught:
        asyncio.run(serve(boot, node))
    assert caught.value.code == 1
    assert not node.said("ready")
    return node.said("fatal")[0]


def test_an_entry_that_cannot_be_imported_is_fatal_with_its_line(code):
    (code / "worker_under_test.py").write_text("import sys\nimport no_such_package_anywhere\n")
    found = fatal(make_boot("nats://127.0.0.1:1", code))
    assert (found["error"], found["where"]) == ("ImportError: No module named 'no_such_package_anywhere'", "worker_under_test.py:2")
    assert "Traceback" in found["trace"]


def test_a_start_hook_that_fails_is_fatal_with_its_line(plain_nats, code):
    with (code / "worker_under_test.py").open("a") as file:
        file.write("\n@agent.start\nasync def second(ctx):\n    raise RuntimeError('no model')\n")
    lines = (code / "worker_under_test.py").read_text().count("\n")
    found = fatal(make_boot(plain_nats.url, code))
    assert (found["error"], found["where"]) == ("RuntimeError: no model", f"worker_under_test.py:{lines}")


def test_logs_go_to_stderr_unless_the_user_has_set_up_logging():
    script = "import logging{}; from quarterdeck.agents import runtime as r; r._log_to_stderr(); logging.getLogger('quarterdeck.agent').info('hi')"  # noqa: E501
    plain = subprocess.run([sys.executable, "-c", script.format("")], capture_output=True, text=True, check=True)
    assert plain.stderr.endswith("Z INFO hi\n")
    own = "; logging.basicConfig(level=logging.ERROR)"
    assert subprocess.run([sys.executable, "-c", script.format(own)], capture_output=True, text=True, check=True).stderr == ""
