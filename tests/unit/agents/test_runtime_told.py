"""What a replica tells its node: beats, verbs, evidence, and why it cannot live."""

import asyncio
import os
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import asdict

import nats
import pytest
from tests.unit.agents.fake_node import FakeNode, ask, asking, living, make_boot

from quarterdeck.agents.runtime import serve
from quarterdeck.bus.envelope import RemoteTerminal
from quarterdeck.model.desired import Breaker, Link


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


def test_background_work_that_fails_is_called_again(plain_nats, code, until, monkeypatch):
    monkeypatch.setattr("quarterdeck.agents.runtime.TURN_PAUSE_FIRST", 0.01)
    with (code / "worker_under_test.py").open("a") as file:
        file.write("\n@agent.loop\nasync def broken():\n    story.append('broken')\n    raise ValueError('x')\n")

    async def body():
        async with living(make_boot(plain_nats.url, code), until) as (_, worker):
            await until(lambda: worker.story.count("broken") >= 3)

    asyncio.run(body())


def test_the_node_can_ask_for_the_verbs_and_what_they_take(plain_nats, code, until):
    async def body():
        await plain_nats.make_stream("worker")
        async with living(make_boot(plain_nats.url, code), until) as (node, _):
            node.order(t="probe", id=1, probe={"kind": "verbs"})
            await until(lambda: node.said("reply"))
            found = node.said("reply")[0]["ok"]
            assert found["item"] == {"payload": {"type": "integer"}, "doc": "", "task": False}
            assert found["pass"] == {"payload": None, "doc": "Ask somebody far away.", "task": False}
            assert found["sullen"] == {"payload": {}, "doc": "", "task": False}, (
                "what cannot describe itself takes anything, as far as we know"
            )
            assert found["echo"]["payload"] == {}

    asyncio.run(body())


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
