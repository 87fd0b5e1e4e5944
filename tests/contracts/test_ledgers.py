"""What a replica may rely on when it talks to a ledger: the same script over the real one and its database, and over the one of tests."""

import asyncio
import json

import pytest

from quarterdeck.agents.fake_ledger import FakeLedger
from quarterdeck.clock import VirtualClock
from quarterdeck.model import ops
from quarterdeck.model.home import Home
from quarterdeck.model.work import Holder
from quarterdeck.store.fairness import Fairness
from quarterdeck.store.store import Store
from quarterdeck.work.ledger import Ledger

AGENTS = ("c/a", "c/b")
ONE, TWO, OTHER = "c/a-0#1", "c/a-1#1", "c/b-0#1"


class Real:
    """The ledger of a control plane over a store of its own."""

    def __init__(self, folder):
        self.clock = VirtualClock()
        self.store = Store.open(Home(folder), self.clock)
        reach = lambda _, __, target: "" if target.name in AGENTS else f"no agent {target.name}"  # noqa: E731
        self.ledger = Ledger(self.store.write, self.clock, reach, lambda *_: None, Fairness(), lambda: 0.5)

    async def ask(self, holder, body):
        return await self.ledger.serve(Holder.read("s", holder), body)

    async def pass_time(self):
        self.clock.advance(1)
        for _ in range(5):
            self.clock.advance(60)
            self.ledger.leases.term = 1e9  # nobody's lease ends here
            for lease in self.ledger.leases.over(1e9):
                self.ledger.leases.renew(lease.holder, [(lease.task, lease.fence)], self.clock.monotonic())
            await self.ledger.sweep()

    async def gone(self, holder):
        await self.ledger.gone(Holder.read("s", holder), "")

    def close(self):
        self.store.close()


class Fake:
    """The ledger that agents are tested with."""

    def __init__(self, _):
        self.ledger = FakeLedger(VirtualClock(), frozenset(AGENTS), lambda _: None)

    async def ask(self, holder, body):
        return self.ledger.serve(holder, body)

    async def pass_time(self):
        pass

    async def gone(self, holder):
        self.ledger.gone(holder)

    def close(self):
        pass


class Talk:
    """A script's way to speak: answers with ids replaced by the order in which they came."""

    def __init__(self, ledger):
        self._ledger = ledger
        self.gone, self.pass_time = ledger.gone, ledger.pass_time

    async def __call__(self, holder, *asked):
        """The answers; an operation that was refused gives the kind of its error."""
        found = []
        for op in asked:
            for _ in range(2 if self.twice(op) else 1):
                body = json.dumps({"ops": [ops.pack(op)]}).encode()
                said = json.loads(await self._ledger.ask(holder, body))
                (answer,) = said.get("answers") or [said]
            found.append(answer["ok"] if "ok" in answer else answer["error"]["kind"])
        return found[0] if len(found) == 1 else found

    @staticmethod
    def twice(op):
        """Operations that end an attempt say something else when it has ended."""
        return not isinstance(op, ops.Claim | ops.Fail | ops.GiveBack | ops.Submit)

    async def submit(self, key="k", to="c/a", payload="1", **more):
        return (await self(OTHER, ops.Submit(to, "task", payload, key, **more)))["task"]

    async def claim(self, holder=ONE, free=1, holding=()):
        given = await self(holder, ops.Claim(free, holding))
        return [(one["task"], one["fence"], one["attempt"]) for one in given]


@pytest.fixture(params=[Real, Fake], ids=["real", "fake"])
def script(request, tmp_path):
    """Runs one."""

    def run(play):
        async def body():
            if isinstance(ledger, Real):
                await ledger.ledger.open()
            await play(Talk(ledger))

        ledger = request.param(tmp_path)
        try:
            asyncio.run(body())
        finally:
            ledger.close()

    return run


def test_a_key_is_one_task_and_the_same_key_for_something_else_a_conflict(script):
    async def play(talk):
        first = await talk(OTHER, ops.Submit("c/a", "", "1", "k"))
        again = await talk(OTHER, ops.Submit("c/a", "", "1", "k"))
        assert (first["created"], again["created"], first["task"] == again["task"]) == (True, False, True)
        assert await talk(OTHER, ops.Submit("c/a", "", "2", "k")) == "Conflict"
        assert await talk(OTHER, ops.Submit("c/ghost", "", "2", "g")) == "Forbidden"

    script(play)


def test_a_claim_gives_each_task_once_and_again_only_to_who_did_not_hear_of_it(script):
    async def play(talk):
        one, two, three = [await talk.submit(str(n)) for n in range(3)]
        assert await talk.claim(free=2) == [(one, 1, 1), (two, 1, 1)]
        assert await talk.claim(free=2, holding=(two,)) == [(one, 1, 1), (three, 1, 1)]
        assert await talk.claim(TWO, 4) == []
        given = await talk(ONE, ops.Claim(1, (two, three)))
        assert {k: given[0][k] for k in ("verb", "payload", "key", "root", "parent", "most", "steps", "more", "deadline")} == {
            "verb": "task", "payload": "1", "key": "0", "root": one, "parent": None,
            "most": 5, "steps": {}, "more": False, "deadline": None,
        }  # fmt: skip

    script(play)


def test_priority_comes_first_and_a_lane_goes_one_after_the_other(script):
    async def play(talk):
        plain, lane1, lane2 = await talk.submit("p"), await talk.submit("l1", lane="x"), await talk.submit("l2", lane="x")
        urgent = await talk.submit("u", priority=5)
        assert [task for task, *_ in await talk.claim(free=9)] == [urgent, plain, lane1]
        assert await talk(ONE, ops.Done(lane1, 1, "null")) is None
        assert [task for task, *_ in await talk.claim(free=9, holding=(urgent, plain))] == [lane2]

    script(play)


def test_done_ends_and_says_so_twice_and_nobody_else_may(script):
    async def play(talk):
        task = await talk.submit()
        await talk.claim()
        assert await talk(TWO, ops.Done(task, 1, "2")) == "Fenced"
        assert await talk(ONE, ops.Done(task, 2, "2")) == "Fenced"
        assert await talk(ONE, ops.Done(task, 1, "2")) is None
        assert await talk(ONE, ops.Fail(task, 1, "no", again=True)) == "Fenced"
        assert await talk.claim(free=5) == []

    script(play)


def test_failures_are_tried_again_until_none_is_left_and_a_hopeless_one_is_not(script):
    async def play(talk):
        task, hopeless = await talk.submit("t", attempts=2), await talk.submit("h")
        assert await talk.claim(free=2) == [(task, 1, 1), (hopeless, 1, 1)]
        assert await talk(ONE, ops.Fail(hopeless, 1, "never", again=False), ops.Fail(task, 1, "later", again=True)) == [None, None]
        await talk.pass_time()
        assert await talk.claim(TWO, 5) == [(task, 2, 2)]
        assert await talk(TWO, ops.Fail(task, 2, "later", again=True)) is None
        await talk.pass_time()
        assert await talk.claim(free=5) == []

    script(play)


def test_what_is_given_back_counts_no_attempt_and_keeps_its_steps(script):
    async def play(talk):
        task = await talk.submit()
        await talk.claim()
        assert await talk(ONE, ops.Step(task, 1, "s#1", "code", "7")) == "7"
        assert await talk(ONE, ops.Step(task, 1, "s#1", "code", "8")) == "7"
        assert await talk(ONE, ops.GiveBack(task, 1, "stops")) is None
        (given,) = await talk(TWO, ops.Claim(1, ()))
        assert (given["fence"], given["attempt"], given["steps"]) == (2, 1, {"s#1": ["code", "7"]})
        assert await talk(TWO, ops.Step(task, 2, "s#1", "newer", "9", again=True)) == "9"
        assert await talk(TWO, ops.Steps(task, 2, "")) == {"steps": {"s#1": ["newer", "9"]}, "more": False}
        assert await talk(TWO, ops.Steps(task, 2, "s#1")) == {"steps": {}, "more": False}
        assert await talk(ONE, ops.Steps(task, 1, "")) == "Fenced"

    script(play)


def test_the_tasks_of_a_replica_that_ended_go_on_elsewhere(script):
    async def play(talk):
        task = await talk.submit()
        await talk.claim()
        assert await talk(ONE, ops.Renew(((task, 1), ("nothing", 1)), ((task, 0.5, "half"),))) == {
            "lost": ["nothing"], "cancel": [], "moved": [],
        }  # fmt: skip
        await talk.gone(ONE)
        assert await talk(ONE, ops.Renew(((task, 1),))) == {"lost": [task], "cancel": [], "moved": []}
        assert await talk.claim(TWO) == [(task, 2, 2)]
        assert await talk(ONE, ops.Step(task, 1, "s#1", "c", "1"), ops.Emit(task, 1, 1, ("1",))) == ["Fenced", "Fenced"]
        assert await talk(TWO, ops.Emit(task, 2, 1, ("1", "2"))) is None

    script(play)


@pytest.mark.parametrize("semantics", ["idempotent", "dedupes", "unsafe"])
def test_an_effect_that_was_begun_by_a_dead_attempt(script, semantics):
    async def play(talk):
        task = await talk.submit()
        await talk.claim()
        assert await talk(ONE, ops.Begin(task, 1, "pay", semantics, "args")) == {"word": "go", "value": None}
        await talk.gone(ONE)
        await talk.claim(TWO)
        assert await talk(TWO, ops.Begin(task, 2, "pay", semantics, "other")) == "Conflict"
        word = (await talk(TWO, ops.Begin(task, 2, "pay", semantics, "args")) if semantics != "unsafe" else None) or {"word": "unsafe"}
        if semantics != "unsafe":
            assert word == {"word": "go", "value": None}
            assert await talk(ONE, ops.Finish(task, 1, "pay", "done", "1", "")) == "Fenced"
            assert await talk(TWO, ops.Finish(task, 2, "pay", "done", "1", "")) is None
            assert await talk(TWO, ops.Begin(task, 2, "pay", semantics, "args")) == {"word": "done", "value": "1"}

    script(play)


def test_an_unsafe_effect_of_a_dead_attempt_stops_the_task(script):
    async def play(talk):
        task = await talk.submit()
        await talk.claim()
        await talk(ONE, ops.Begin(task, 1, "pay", "unsafe", "args"))
        await talk.gone(ONE)
        await talk.claim(TWO)
        talk.twice = lambda _: False  # the first word ends the attempt
        assert await talk(TWO, ops.Begin(task, 2, "pay", "unsafe", "args")) == {"word": "unknown", "value": None}
        assert await talk(TWO, ops.Done(task, 2, "1")) == "Fenced"
        assert await talk.claim(free=5) == []

    script(play)


def test_effects_that_failed_or_became_unknown(script):
    async def play(talk):
        task = await talk.submit()
        await talk.claim()
        assert await talk(ONE, ops.Finish(task, 1, "a", "done", "1", "")) == "Conflict"
        await talk(ONE, ops.Begin(task, 1, "a", "unsafe", "x"))
        assert await talk(ONE, ops.Finish(task, 1, "a", "failed", None, "no")) is None
        assert await talk(ONE, ops.Begin(task, 1, "a", "unsafe", "x")) == {"word": "go", "value": None}
        assert await talk(ONE, ops.Finish(task, 1, "a", "unknown", None, "who knows")) is None
        assert await talk(ONE, ops.Done(task, 1, "1")) == "Fenced"

    script(play)


def test_children_are_delegated_once_and_waited_for(script):
    async def play(talk):
        task = await talk.submit(to="c/a")
        await talk.claim()
        asked = ops.Delegate(task, 1, "d#1", "c/b", "work", '{"x":1}')
        child = (await talk(ONE, asked))["task"]
        assert (await talk(ONE, asked))["task"] == child
        assert await talk(ONE, ops.Delegate(task, 1, "d#1", "c/b", "work", '{"x":2}')) == "Conflict"
        assert await talk(ONE, ops.Wait(task, 1, (child,), ())) == {"children": {}, "answers": {}}
        (given,) = await talk(OTHER, ops.Claim(1, ()))
        assert (given["task"], given["parent"], given["root"], given["payload"]) == (child, task, task, '{"x":1}')
        assert await talk(OTHER, ops.Done(child, 1, '"yes"')) is None
        assert (await talk(ONE, ops.Renew(((task, 1),))))["moved"] == [task]
        assert await talk(ONE, ops.Wait(task, 1, (child,), ())) == {
            "children": {child: {"state": "done", "result": '"yes"', "error": ""}}, "answers": {},
        }  # fmt: skip
        assert (await talk(ONE, ops.Renew(((task, 1),))))["moved"] == []
        stranger = await talk.submit("stranger", to="c/b")
        assert await talk(ONE, ops.Wait(task, 1, (stranger,), ())) == "Forbidden"

    script(play)


def test_the_end_of_a_task_gives_up_its_children(script):
    async def play(talk):
        task = await talk.submit()
        await talk.claim()
        running, queued = [
            (await talk(ONE, ops.Delegate(task, 1, name, "c/b", "", "1")))["task"] for name in ("one", "two")
        ]  # fmt: skip
        assert await talk.claim(OTHER) == [(running, 1, 1)]
        await talk(ONE, ops.Done(task, 1, "1"))
        assert (await talk(OTHER, ops.Renew(((running, 1),))))["cancel"] == [running]
        assert await talk(OTHER, ops.Fail(running, 1, "cancelled", again=False)) is None
        assert await talk.claim(OTHER, 5) == []
        assert await talk(OTHER, ops.Done(queued, 1, "1")) == "Fenced"

    script(play)


def test_a_question_is_bound_to_its_words(script):
    async def play(talk):
        task = await talk.submit()
        await talk.claim()
        asked = ops.AskHuman(task, 1, "q#1", "Pay?", ("yes", "no"), "{}", "no", None)
        first = await talk(ONE, asked)
        assert await talk(ONE, asked) == first
        assert await talk(ONE, ops.AskHuman(task, 1, "q#1", "Pay twice?", ("yes", "no"), "{}", "no", None)) == "Conflict"
        assert await talk(TWO, asked) == "Fenced"

    script(play)
