"""What a replica reports of its waits, and how one of them is broken."""

import asyncio

import pytest

from quarterdeck import Agent, Deadlock, NoProgress, Terminal
from quarterdeck.agents.activity import Activity
from quarterdeck.agents.context import Context, Place
from quarterdeck.agents.desk import Desk
from quarterdeck.agents.waits import AGAIN_EVERY, CHANGES_EVERY, OPEN_AFTER, Reporter, Waits
from quarterdeck.bus.asks import Asks
from quarterdeck.bus.chores import Chores
from quarterdeck.bus.connection import Incoming
from quarterdeck.bus.envelope import PATH, Envelope, Trace, attempt
from quarterdeck.bus.subjects import Sender
from quarterdeck.clock import VirtualClock
from quarterdeck.errors import Transient
from quarterdeck.model import ops
from quarterdeck.model.loops import Path, read

TASK = Activity("T", "task", "work")
ASK = Activity("1-2", "ask", "rank")
ALICE = Sender("c", "alice", 0)
TRACE = Trace("a" * 32, "b" * 16)


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def waits(clock):
    return Waits(clock)


def message(name="ab", body=b"1", *, deadline=None, path="", delivered=0):
    trace = Trace(TRACE.trace_id, TRACE.span_id, path=path)
    return Incoming("ask.c.alice.0.bob.v", Envelope(name * 16, ALICE, deadline, trace).headers(), body, delivered)


# What is noted


def test_only_what_is_open_for_a_while_is_told(waits, clock):
    async def body():
        with waits.on(TASK, "ask", "c/b") as wait, wait.attempt("x"):
            assert waits.told() == ((), (), 0)
            clock.advance(OPEN_AFTER)
            assert waits.told() == ((), (("T", "task", "work", "x", "ask", "c/b", wait.since),), 0)
        assert waits.told() == ((), (), 0)
        assert waits.idle

    asyncio.run(body())


def test_between_two_attempts_nobody_is_waited_for(waits, clock):
    async def body():
        with waits.on(TASK, "ask", "c/b") as wait:
            with wait.attempt("x"):
                clock.advance(1)
            clock.advance(1)
            assert waits.told() == ((), (), 0)
            with wait.attempt("y"):
                clock.advance(1)
                assert waits.told()[1][0][3] == "y"

    asyncio.run(body())


def test_what_nobody_can_wait_for_is_not_told(waits, clock):
    async def body():
        with waits.on(Activity(), "ask", "c/b") as wait, wait.attempt("x"):
            clock.advance(1)
            assert waits.told() == ((), (), 0)

    asyncio.run(body())


def test_a_wait_for_a_human_is_told_only_beside_another_one(waits, clock):
    async def body():
        with waits.on(TASK, "human", "") as human:
            human.begin("question#1")
            clock.advance(1)
            assert waits.told() == ((), (), 0)
            with waits.on(TASK, "delegate", "c/b") as child:
                child.begin("K")
                clock.advance(1)
                assert [wait[4] for wait in waits.told()[1]] == ["human", "delegate"]

    asyncio.run(body())


def test_a_queued_ask_is_told_with_those_that_have_a_place(clock):
    asks = Asks(clock, places=1)
    waits = Waits(clock, asks)
    first, second = asks.came(message("aa"), waits=False), asks.came(message("bb"), waits=True)
    first.held = True
    clock.advance(1)
    told, _, free = waits.told()
    assert [(name, held) for name, _, _, held in told] == [(first.id, True), (second.id, False)]
    assert free == 0
    asks.over(first)
    second.held = True
    assert waits.told() == ((), (), 0)


def test_too_much_to_tell_makes_nobody_look_stuck(clock):
    asks = Asks(clock, places=ops.MOST_WAITS + 1)
    waits = Waits(clock, asks)
    for _ in range(ops.MOST_WAITS + 1):
        asks.came(message(), waits=False).held = True
    asks.came(message("bb"), waits=True)
    clock.advance(1)
    told, _, free = waits.told()
    assert len(told) == ops.MOST_WAITS
    assert free == 1


def test_both_sides_call_an_attempt_the_same_and_another_attempt_differently():
    first, second = (Envelope("ab" * 16, ALICE, deadline) for deadline in (10.0004, 12.0))
    assert attempt(first.headers()) == attempt(Envelope.read(first.headers()).headers())
    assert attempt(first.headers()) != attempt(second.headers())


# How it is broken


def test_a_broken_wait_raises_deadlock_with_the_cycle(waits):
    async def body():
        async def asking():
            with waits.on(TASK, "ask", "c/b") as wait, wait.attempt("x"):
                await asyncio.sleep(60)

        task = asyncio.create_task(asking())
        await asyncio.sleep(0)
        waits.obey({"seen": 0.0, "again": False, "broken": [["T", "other", "no"], ["T", "x", "a → b → a"]], "unwanted": []})
        with pytest.raises(Deadlock, match="a → b → a") as caught:
            await task
        assert isinstance(caught.value, Terminal)
        assert caught.value.hint
        assert not task.cancelled()
        assert waits.idle

    asyncio.run(body())


def test_who_is_stopped_while_a_wait_is_broken_is_stopped(waits):
    async def body():
        async def asking():
            with waits.on(TASK, "ask", "c/b") as wait, wait.attempt("x"):
                await asyncio.sleep(60)

        task = asyncio.create_task(asking())
        await asyncio.sleep(0)
        waits.obey({"seen": 0.0, "again": False, "broken": [["T", "x", "a → b → a"]], "unwanted": []})
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(body())


def test_a_wait_that_was_broken_does_not_break_the_timeout_around_it(waits):
    async def body():
        async def asking():
            try:
                async with asyncio.timeout(0.02):
                    with waits.on(TASK, "ask", "c/b") as wait, wait.attempt("x"):
                        await asyncio.sleep(60)
            except Deadlock:
                await asyncio.sleep(0.05)  # the handler goes on
                return "on"

        task = asyncio.create_task(asking())
        await asyncio.sleep(0)
        waits.obey({"seen": 0.0, "again": False, "broken": [["T", "x", "a → a"]], "unwanted": []})
        assert await task == "on"

    asyncio.run(body())


def test_an_ask_in_the_queue_that_nobody_waits_for_is_marked_and_one_at_work_is_not(clock):
    asks = Asks(clock, places=1)
    held, queued = asks.came(message("aa"), waits=False), asks.came(message("bb"), waits=True)
    held.held = True
    said = {"seen": 0.0, "again": False, "broken": [], "unwanted": [[held.id, "why"], [queued.id, "why"], ["gone", "why"]]}
    Waits(clock, asks).obey(said)
    assert (held.unwanted, queued.unwanted) == ("", "why")


# When it is told


class Ledger:
    """Notes reports; answers as told."""

    def __init__(self):
        self.reports = []
        self.again = 0
        self.away = False
        self.loops = []

    async def call(self, op, within):
        if self.away:
            raise Transient("away")
        if isinstance(op, ops.Looped):
            return self.loops.append(op)
        self.reports.append(op)
        self.again -= 1
        return {"seen": float(len(self.reports)), "again": self.again >= 0, "broken": [], "unwanted": []}


def reporting(clock, body, monkeypatch):
    """Run with a reporter whose quarter of a second is a hundredth."""
    for name, value in (("OPEN_AFTER", 0.01), ("CHANGES_EVERY", 0.02)):
        monkeypatch.setattr(f"quarterdeck.agents.waits.{name}", value)

    async def whole():
        async with asyncio.TaskGroup() as tasks, asyncio.timeout(5):
            waits, ledger = Waits(clock), Ledger()
            waits.reporter = Reporter(waits, ledger.call, Chores(tasks))
            await body(waits, ledger)
            if waits.reporter is not None:
                waits.reporter.stop()

    asyncio.run(whole())


async def some_time(seconds=0.1):
    await asyncio.sleep(seconds)


def test_who_does_not_wait_long_reports_nothing(clock, monkeypatch):
    async def body(waits, ledger):
        for _ in range(200):
            with waits.on(ASK, "ask", "c/b") as wait, wait.attempt("x"):
                await asyncio.sleep(0)
        await some_time()
        assert ledger.reports == []
        assert waits.reporter._timer is None, "and nothing ticks"

    reporting(clock, body, monkeypatch)


def test_an_open_wait_is_told_once_then_now_and_then_and_at_its_end(clock, monkeypatch):
    async def body(waits, ledger):
        with waits.on(ASK, "ask", "c/b") as wait, wait.attempt("x"):
            clock.advance(1)
            await some_time()
            assert [len(op.waits) for op in ledger.reports] == [1]
            clock.advance(AGAIN_EVERY)
            await some_time()
            assert [len(op.waits) for op in ledger.reports] == [1, 1]
            assert [op.n for op in ledger.reports] == [1, 2]
            assert [op.seen for op in ledger.reports] == [0.0, 1.0], "each says which answer it came after"
        await some_time()
        assert [len(op.waits) for op in ledger.reports] == [1, 1, 0]
        await some_time()
        assert len(ledger.reports) == 3

    reporting(clock, body, monkeypatch)


def test_a_word_of_the_ledger_has_it_look_again_at_once_as_often_as_it_asks(clock, monkeypatch):
    async def body(waits, ledger):
        with waits.on(ASK, "ask", "c/b") as wait, wait.attempt("x"):
            clock.advance(1)
            await some_time()
            ledger.again = 1
            waits.reporter.word()
            await some_time(0.005)
            assert [op.seen for op in ledger.reports] == [0.0, 1.0, 2.0]
            ledger.again = 1000
            waits.reporter.word()
            await some_time(0.005)
            assert len(ledger.reports) == 6, "a ledger cannot have it report for ever"
            ledger.again = 0

    reporting(clock, body, monkeypatch)


def test_a_word_for_somebody_else_costs_nothing(clock, monkeypatch):
    async def body(waits, ledger):
        waits.reporter.word()
        await some_time(0.02)
        assert ledger.reports == []

    reporting(clock, body, monkeypatch)


def test_a_ledger_that_is_away_hears_of_it_later(clock, monkeypatch):
    async def body(waits, ledger):
        ledger.away = True
        with waits.on(ASK, "ask", "c/b") as wait, wait.attempt("x"):
            clock.advance(1)
            await some_time()
            ledger.away = False
            await some_time()
            assert [len(op.waits) for op in ledger.reports] == [1]

    reporting(clock, body, monkeypatch)


def test_the_figures_are_fast_enough_for_two_seconds():
    assert OPEN_AFTER + CHANGES_EVERY <= 0.75


# Loops


def make_desk(function, waits=None):
    agent = Agent("bob")
    agent.on("v")(function)
    return Desk(agent, Place("c", "bob", 1, Out(), VirtualClock(), lambda: None, waits=waits))


class Out:
    """Keeps what is sent; answers null."""

    def __init__(self):
        self.traces = []

    async def ask(self, *_, trace, **__):
        self.traces.append(trace)
        return b"null"

    async def tell(self, *_, trace):
        self.traces.append(trace)


def along(count):
    path = Path()
    for n in range(count):
        path = path.then(("c/bob", "c/alice")[n % 2], "v")
    return path


def test_a_message_whose_path_is_a_loop_is_refused_before_its_handler_runs_and_told(clock, monkeypatch):
    async def body(waits, ledger):
        desk = make_desk(pytest.fail, waits)
        answer = await desk.answer(message(path=along(18).text))
        assert (answer.kind, answer.final, answer.retry) == (NoProgress.__name__, True, False)
        assert "c/alice → c/bob → c/alice: 19 messages" in answer.message
        await some_time(0.01)
        assert ledger.loops == [ops.Looped(("c/alice", "c/bob"), 19, "c/alice-0", "v")]

    reporting(clock, body, monkeypatch)


def test_one_message_less_is_handled():
    assert asyncio.run(make_desk(lambda payload: payload).answer(message(path=along(16).text))).ok


@pytest.mark.parametrize("header", ["", "x", ";;", "a;b;99", "é", "a,b;c;" + "0" * 3000])
def test_a_header_that_is_no_path_is_none(header):
    assert asyncio.run(make_desk(lambda payload: payload).answer(message(path=header))).ok


def test_what_is_sent_carries_the_path_until_something_changes():
    out = []

    async def handler(payload, ctx: Context):
        await ctx.ask("carol", "w")
        await ctx.tell("carol", "w")
        ctx.progress(0.5)
        await ctx.tell("carol", "w")
        out.extend(ctx._place.outbound.traces)

    asyncio.run(make_desk(handler).answer(message(path=along(1).text)))
    asked, told, after = out
    assert read(asked.path).hops == (("c/bob", "v"), ("c/bob", "v"))
    assert told == asked
    assert after.path == ""


def test_a_message_from_outside_costs_no_header():
    headers = Envelope("ab" * 16, ALICE, trace=TRACE).headers()
    assert PATH not in headers
    assert asyncio.run(make_desk(lambda payload: payload).answer(Incoming("ask.c.alice.0.bob.v", headers, b"1"))).ok


def test_a_durable_message_whose_handler_met_a_deadlock_comes_again():
    async def handler(payload):
        raise Deadlock("a → b → a")

    answer = asyncio.run(make_desk(handler).answer(message(delivered=1)))
    assert (answer.kind, answer.final) == ("Deadlock", False)
