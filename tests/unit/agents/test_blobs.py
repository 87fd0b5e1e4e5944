"""Large bodies of agents: they get there and come back however the way is, and a handler notices nothing of it."""

import asyncio
import json
import os
import random

import pytest

from quarterdeck import Agent, Context
from quarterdeck.agents import blobs as module
from quarterdeck.agents import testing
from quarterdeck.agents.blobs import Blobs
from quarterdeck.agents.fake_blobs import FakeBlobs
from quarterdeck.agents.line import Line
from quarterdeck.clock import VirtualClock
from quarterdeck.errors import Conflict, NotFound, Terminal, Transient, UserError
from quarterdeck.model.blobs import MOST_BLOB, PIECE, TRANSFERS, Ref, head, split
from quarterdeck.model.work import MOST_BODY, Holder
from quarterdeck.store import blobs as store_blobs
from quarterdeck.work.depot import Depot

ME = Holder("s", "c", "a", 0, 1)
CONTENT = os.urandom(5 * PIECE + 3)
REF = Ref.of(CONTENT)
LARGE = "x" * (MOST_BODY + 1)


class Way:
    """To a real depot: `trouble()` is asked before each request what happens to it."""

    def __init__(self, folder, trouble=lambda: ""):
        self.folder, self.trouble, self.asked, self.now, self.most = folder, trouble, [], 0, 0
        self.restart()

    def restart(self):
        files = store_blobs.Blobs(self.folder, spare=0)
        files.open()
        self.depot = Depot(files, VirtualClock())

    async def __call__(self, body, limit):
        what = self.trouble()
        self.asked.append(split(body)[0])
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            if what == "restart":
                self.restart()
            if what in ("request", "restart"):
                raise Transient("lost on the way")
            answer = await self.depot.serve(ME, body)
            if what == "answer":
                raise Transient("lost on the way back")
            return answer
        finally:
            self.now -= 1


@pytest.fixture
def way(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PAUSE_FIRST", 0.0)
    monkeypatch.setattr(module, "PAUSE_MOST", 0.0)
    return lambda *trouble: Way(tmp_path / "blobs", *trouble)


def test_it_gets_there_in_pieces_and_back_and_a_second_time_at_once(way):
    found = way()

    async def play():
        blobs = Blobs(found)
        assert await blobs.put(CONTENT) == REF
        assert [asked["at"] for asked in found.asked] == [0, *range(0, REF.size, PIECE)]
        assert await blobs.put(CONTENT) == REF
        assert len(found.asked) == 8
        assert await blobs.get(REF) == CONTENT

    asyncio.run(play())


@pytest.mark.parametrize("seed", range(20))
def test_it_gets_there_whatever_is_lost_and_however_often_we_are_restarted(way, seed):
    chance = random.Random(seed)  # noqa: S311 which is lost
    found = way(lambda: chance.choice(["", "", "", "request", "answer", "restart"]))

    async def play():
        blobs = Blobs(found)
        assert await blobs.put(CONTENT) == REF
        assert await blobs.get(REF) == CONTENT
        assert not list(found.folder.glob("*/.draft-*"))

    asyncio.run(play())


def test_only_so_many_are_under_way_at_once_each_with_one_piece(way):
    found = way()

    async def play():
        blobs = Blobs(found)
        every = [CONTENT + bytes([n]) for n in range(3 * TRANSFERS)]
        refs = await asyncio.gather(*(blobs.put(content) for content in every))
        assert await asyncio.gather(*(blobs.get(ref) for ref in refs)) == every
        assert found.most == TRANSFERS

    asyncio.run(play())


def test_what_comes_damaged_or_short_is_an_error(way):
    async def play():
        async def lying(body, limit):
            return head({}, CONTENT[::-1][:PIECE] if split(body)[0]["at"] < PIECE else b"")

        with pytest.raises(Terminal, match=f"blob {REF} came damaged"):
            await Blobs(lying).get(REF)
        with pytest.raises(NotFound, match="there is no blob"):
            await Blobs(way()).get(REF)

    asyncio.run(play())


def test_a_body_is_text_up_to_a_size_then_a_reference_then_an_error():
    async def play():
        line = Line(None, None, FakeBlobs())
        assert await line.body("ä", "it") == '"ä"'
        assert await line.body("x" * (MOST_BODY - 2), "it") == json.dumps("x" * (MOST_BODY - 2))
        for value in (LARGE, "ä" * MOST_BODY, {"@": [LARGE]}):
            body = await line.body(value, "it")
            assert body == Ref.of(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()).body
            assert await line.value(body) == value
        assert await line.value(await line.body(f"@{REF}", "it")) == f"@{REF}"
        with pytest.raises(UserError, match="it is 67,108,866 bytes; at most 67,108,864 are kept"):
            await line.body("x" * MOST_BLOB, "it")
        with pytest.raises(UserError, match="names no blob"):
            await line.value("@nothing")

    asyncio.run(play())


def test_nobody_waits_for_ever(way):
    silent = way(lambda: "request")

    async def play():
        line = Line(None, None, Blobs(silent))
        with pytest.raises(Transient, match=r"it was not kept within 0 s"):
            await line.body(LARGE, "it", 0.05)
        with pytest.raises(Transient, match=r"did not come within 0 s"):
            await line.value(REF.body, 0.05)

    asyncio.run(play())


def test_a_handler_that_is_run_again_is_given_its_large_values_again(office, agent):
    calls = []

    async def handler(payload: str, ctx: Context) -> str:
        kept = await ctx.step("keep", lambda: calls.append("step") or f"step {payload}")
        sent = await ctx.effect("send", lambda: calls.append("effect") or f"effect {payload}", semantics="unsafe")
        assert (kept, sent) == (f"step {LARGE}", f"effect {LARGE}")
        if ctx.task.attempt == 1:
            await asyncio.Event().wait()
        return payload + "!"

    async def body(made):
        first = made.replica(agent(handler)).open()
        content = json.dumps(LARGE).encode()
        ref = await Blobs(lambda asked, _: made.depot.serve(first.holder, asked)).put(content)
        task = await made.submit(ref=ref.body)
        while len(calls) < 2 or made.effects(task)["send"].outcome != "done":  # noqa: ASYNC110 nothing tells
            await asyncio.sleep(0.005)
        await first.die()
        made.replica(agent(handler), incarnation=2).open()
        assert (await made.over(task, claims=2)).state == "done", made.body(task, "error")
        assert calls == ["step", "effect"]
        kept = Ref.in_body(made.text(task))
        made.depot.blobs.check("s", kept)
        assert made.depot.blobs.read("s", kept, 0, PIECE).startswith(b'"xxx')

    office(body)


def test_what_cannot_be_fetched_fails_the_task_and_says_what(office, agent):
    async def body(made):
        replica = made.replica(agent(lambda payload: payload))
        ref = await Blobs(lambda asked, _: made.depot.serve(replica.holder, asked)).put(json.dumps(LARGE).encode())
        task = await made.submit(ref=ref.body)
        path = made.store.home.blobs / "s" / ref.digest[:2] / ref.digest
        path.write_bytes(b"[" + path.read_bytes()[1:])
        replica.open()
        assert (await made.over(task)).state == "failed"
        assert f"the file of blob {ref} is damaged" in made.body(task, "error")

    office(body)


def test_the_test_bench_has_room_for_large_values_too():
    boss, worker = Agent(), Agent()
    seen = []

    @boss.task()
    async def order(text: str, ctx: Context) -> str:
        await ctx.publish("worker", "take", text, key="k")
        await ctx.publish("worker", "take", text)
        kept = await ctx.step("keep", lambda: text + "s")
        sent = await ctx.effect("send", lambda: kept + "e", semantics="idempotent")
        return await ctx.delegate("worker", "turn", sent)

    @worker.task("turn")
    def turn(text: str) -> str:
        return text[::-1]

    @worker.on("take")
    def take(text: str) -> None:
        seen.append(text)

    async def play():
        async with testing.fleet(boss=boss, worker=worker) as fleet:
            fleet.crash_at(effect="send")
            assert await fleet.run("boss", LARGE) == f"{LARGE}se"[::-1]
            await fleet.publish("worker", "take", LARGE)
            await fleet.settled()
            assert [task.result for task in fleet.tasks] == [f"{LARGE}se"[::-1]] * 2
            assert [effect.value for effect in fleet.effects] == [f"{LARGE}se"]
            assert [message.payload for message in fleet.messages] == [LARGE] * 3
            with pytest.raises(Conflict):
                await fleet.submit("boss", payload=LARGE + "!", key=fleet.tasks[0].key)

    asyncio.run(play())
    assert seen == [LARGE] * 3


def test_an_ask_has_no_room_for_more_and_takes_no_reference():
    echo = Agent()

    @echo.on("say")
    def say(text: str) -> str:
        return text

    async def play():
        async with testing.fleet(echo=echo) as fleet:
            with pytest.raises(UserError, match="bytes"):
                await fleet.ask("echo", "say", "x" * (1 << 20))
            assert await fleet.ask("echo", "say", REF.body) == REF.body

    asyncio.run(play())
