"""What a task's handler may rely on, with a real ledger behind it: steps, effects, delegation, questions."""

import asyncio
import threading
from dataclasses import dataclass

import pytest

from quarterdeck import Agent, Context, Denied, EffectUnknown, PayloadError, TaskFailed, Terminal, UserError
from quarterdeck.agents import calls
from quarterdeck.agents.context import CURRENT
from quarterdeck.model.blobs import MOST_BLOB
from quarterdeck.model.records import Actor
from quarterdeck.store.effects import Said

HUMAN = Actor("uid:0", "socket")


@dataclass
class Receipt:
    number: int


# steps


def test_a_step_is_done_once_however_often_the_handler_runs(office, agent):
    calls_ = []

    def charge(amount: int) -> Receipt:
        calls_.append(amount)
        return Receipt(amount)

    async def handler(ctx: Context):
        found = [await ctx.step("charge", charge, 1), await ctx.step("charge", charge, 2)]
        if ctx.task.attempt == 1:
            raise RuntimeError("after the steps")
        return [one.number for one in found]

    async def body(made):
        made.replica(agent(handler)).open()
        task = await made.submit()
        await made.over(task, "queued")
        await made.pass_time(2)
        assert (await made.over(task)).attempts == 2
        assert (made.body(task), calls_) == ([1, 2], [1, 2])

    office(body)


def test_a_step_whose_code_changed_is_kept_or_done_again_as_asked(office, agent, caplog):
    def older():
        return "old"

    def newer():
        return "new"

    async def handler(ctx: Context):
        code = older if ctx.task.attempt == 1 else newer
        kept = await ctx.step("kept", code)
        again = await ctx.step("again", code, changed="again")
        if ctx.task.attempt < 3:
            raise RuntimeError("once more")
        return [kept, again]

    async def body(made):
        made.replica(agent(handler)).open()
        task = await made.submit()
        for attempt in (1, 2):
            await made.over(task, "queued", claims=attempt)
            await made.pass_time(3)
        await made.over(task)
        assert made.body(task) == ["old", "new"]
        assert made.events(task).count("step") == 3, "done again once, not once more by the third attempt"

    office(body)
    assert "was done by other code: kept" in caplog.text


def test_the_digest_of_code_is_the_same_in_every_process_and_sees_inner_functions():
    def outer(x):
        return x in {"a", "b", "c"} and [one for one in x if one != 1]

    def other(x):
        return x in {"a", "b", "c"} and [one for one in x if one != 2]

    found = calls.code(outer)
    assert found != calls.code(other)
    assert found == calls.code(__import__("functools").partial(outer, 1))
    shuffled = outer.__code__.replace(
        co_consts=tuple(frozenset(sorted(c, reverse=True)) if isinstance(c, frozenset) else c for c in outer.__code__.co_consts)
    )
    assert calls._shape(shuffled) == calls._shape(outer.__code__)
    assert calls.code(len) == "len"


def test_a_hundred_large_steps_come_back_in_pieces_that_the_bus_can_carry(office, agent):
    """Each 100 kB: ten times what one message carries."""
    done = []

    async def handler(ctx: Context):
        for n in range(100):
            await ctx.step(f"part-{n}", lambda n=n: done.append(n) or "ü" * 50_000)
        if ctx.task.attempt == 1:
            raise RuntimeError("again")
        return len(done)

    async def body(made):
        replica = made.replica(agent(handler))
        sizes, ask = [], replica.work._line._ask

        async def measured(request, limit):
            answer = await ask(request, limit)
            sizes.append(max(len(request), len(answer)))
            return answer

        replica.work._line._ask = measured
        replica.open()
        task = await made.submit()
        await made.over(task, "queued")
        await made.pass_time(2)
        await made.over(task)
        assert made.body(task) == 100
        assert max(sizes) < 1024 * 1024 - 4096

    office(body)


def test_names_that_are_none(office, agent):
    async def handler(ctx: Context):
        for name in ("", "x" * 491):
            with pytest.raises(UserError, match="is no name"):
                await ctx.step(name, print)
        with pytest.raises(UserError, match="no semantics"):
            await ctx.effect("k", print, semantics="maybe")
        with pytest.raises(UserError, match="an effect has a key"):
            await ctx.effect("", print)
        with pytest.raises(UserError, match="cannot be called so"):
            await ctx.effect("k", lambda: 1, semantics="dedupes")
        with pytest.raises(UserError, match="at most 67,108,864 are kept"):
            await ctx.step("large", lambda: "x" * MOST_BLOB)
        with pytest.raises(UserError, match="has 1 to 4000 characters"):
            await ctx.ask_human("")
        with pytest.raises(UserError, match="none of the options"):
            await ctx.ask_human("?", ["yes"], default="no")
        return "fine"

    async def body(made):
        made.replica(agent(handler)).open()
        task = await made.submit()
        assert (await made.over(task)).state == "done", made.body(task, "error")

    office(body)


def test_what_runs_in_a_thread_has_the_context_and_cannot_hang_its_task_by_stopiteration(office, agent):
    async def handler(ctx: Context):
        assert await ctx.step("where", lambda: threading.current_thread() is not threading.main_thread() and CURRENT.get() is ctx)
        with pytest.raises(RuntimeError, match="StopIteration"):
            await ctx.step("empty", lambda: next(iter([])))
        return await ctx.step("awaited", lambda: asyncio.sleep(0, "both"))

    async def body(made):
        made.replica(agent(handler)).open()
        task = await made.submit()
        await made.over(task)
        assert made.body(task) == "both"

    office(body)


# effects


class Boom(Exception):
    pass


@pytest.mark.parametrize(
    ("semantics", "raised", "state", "outcome"),
    [
        ("idempotent", Boom, "done", "done"),
        ("dedupes", Boom, "done", "done"),
        ("unsafe", Boom, "unknown", "unknown"),
        ("unsafe", TimeoutError, "unknown", "unknown"),
        ("unsafe", PayloadError, "unknown", "unknown"),
        ("unsafe", Terminal, "failed", "failed"),
        ("idempotent", Terminal, "failed", "failed"),
    ],
)
def test_an_exception_of_an_effect(  # noqa: PLR0917
    office, agent, semantics, raised, state, outcome
):
    called = []

    async def pay(amount, key=""):
        called.append(key)
        if len(called) == 1:
            raise raised("no")
        return amount

    async def handler(ctx: Context):
        return await ctx.effect("pay", pay, 7, semantics=semantics)

    async def body(made):
        made.replica(agent(handler)).open()
        task = await made.submit()
        found = await made.over(task, "queued", "failed", "unknown")
        await made.pass_time(2)
        found = await made.over(task)
        assert (found.state, made.effects(task)["pay"].outcome) == (state, outcome)
        assert len(called) == (2 if state == "done" else 1)
        if semantics == "dedupes":
            assert set(called) == {f"{task}/pay"}

    office(body)


@pytest.mark.parametrize(("semantics", "state", "calls"), [("idempotent", "done", 2), ("dedupes", "done", 2), ("unsafe", "unknown", 1)])
def test_a_crash_between_the_call_and_its_record(office, agent, semantics, state, calls):
    called, reached = [], asyncio.Event()

    async def pay(key=""):
        called.append(key)
        reached.set()
        if len(called) == 1:
            await asyncio.sleep(60)
        return "paid"

    async def handler(ctx: Context):
        return await ctx.effect("pay", pay, semantics=semantics)

    async def body(made):
        first = made.replica(agent(handler)).open()
        task = await made.submit()
        await reached.wait()
        await first.die()
        made.replica(agent(handler), incarnation=2).open()
        found = await made.over(task)
        assert (found.state, len(called), found.fence) == (state, calls, 2)
        if state == "unknown":
            await made.work.resolve(task, "pay", Said("done", '"by hand"', HUMAN, "looked at the account"))
            assert ((await made.over(task, "done")).state, made.body(task), len(called)) == ("done", "by hand", 1)

    office(body)


def test_an_effect_whose_value_cannot_be_kept_has_happened_all_the_same(office, agent):
    called = []

    async def handler(ctx: Context):
        return await ctx.effect("pay", lambda: called.append(1) or object())

    async def body(made):
        made.replica(agent(handler)).open()
        task = await made.submit()
        assert (await made.over(task)).state == "failed"
        assert (made.effects(task)["pay"].outcome, called) == ("done", [1])
        assert "cannot be sent as JSON" in made.body(task, "error")

    office(body)


def test_one_key_is_called_once_and_side_by_side_it_is_refused(office, agent):
    called = []

    async def pay(n):
        called.append(n)
        await asyncio.sleep(0.01)
        return n

    async def handler(ctx: Context):
        found = await asyncio.gather(ctx.effect("k", pay, 1), ctx.effect("k", pay, 1), return_exceptions=True)
        again = await ctx.effect("k", pay, 1)
        with pytest.raises(UserError, match="other arguments"):
            await ctx.effect("k", pay, 2)
        return [str(found[0]), type(found[1]).__name__, again]

    async def body(made):
        made.replica(agent(handler)).open()
        task = await made.submit()
        await made.over(task)
        assert (made.body(task), called) == (["1", "UserError", 1], [1])

    office(body)


def test_a_failed_effect_that_does_no_harm_may_be_tried_again_in_the_same_attempt(office, agent):
    called = []

    async def flaky():
        called.append(1)
        if len(called) < 3:
            raise Boom
        return "ok"

    async def handler(ctx: Context):
        while True:
            try:
                return await ctx.effect("k", flaky, semantics="idempotent")
            except Boom:
                pass

    async def body(made):
        made.replica(agent(handler)).open()
        task = await made.submit()
        assert ((await made.over(task)).attempts, made.body(task), len(called)) == (1, "ok", 3)

    office(body)


def test_a_user_who_catches_an_unknown_effect_cannot_end_the_task(office, agent):
    async def handler(ctx: Context):
        try:
            await ctx.effect("k", lambda: 1 / 0)
        except EffectUnknown:
            return "never mind"

    async def body(made):
        made.replica(agent(handler)).open()
        task = await made.submit()
        assert ((await made.over(task)).state, made.body(task)) == ("unknown", None)

    office(body)


def test_no_effect_begins_twelve_seconds_after_the_last_confirmation_and_goes_on_with_a_new_one(office, agent):
    gate, called = asyncio.Event(), []

    async def handler(ctx: Context):
        await gate.wait()
        return await ctx.effect("pay", lambda: called.append(1) or "paid", semantics="idempotent")

    async def body(made):
        replica = made.replica(agent(handler)).open()
        task = await made.submit()
        await made.over(task, "running")
        replica.cut = lambda body: "request" if b'"renew"' in body else None
        await asyncio.sleep(0.05)
        made.clock.advance(12.5)
        gate.set()
        await asyncio.sleep(0.1)
        assert "begin" not in replica.sent
        replica.cut = lambda _: None
        assert ((await made.over(task)).state, called, made.work.get(task).fence) == ("done", [1], 1)

    office(body)


def test_a_paused_replica_writes_nothing_once_its_task_is_somebody_elses(office, agent):
    """The pause is in the middle of a call: what it records afterwards is refused, and its end too."""
    gate, called = asyncio.Event(), []

    async def pay():
        called.append(1)
        if len(called) == 1:
            await gate.wait()
        return len(called)

    async def handler(ctx: Context):
        return await ctx.effect("pay", pay, semantics="idempotent")

    async def body(made):
        zombie = made.replica(agent(handler)).open()
        task = await made.submit()
        await made.over(task, "running")
        zombie.cut = lambda _: "request"
        await asyncio.sleep(0.05)
        await made.pass_time(16)
        made.replica(agent(handler), number=1).open()
        assert ((await made.over(task)).state, made.work.get(task).fence, made.body(task)) == ("done", 2, 2)
        zombie.cut = lambda body: "request" if b'"renew"' in body else None  # it has not heard yet that it lost the task
        gate.set()
        async with asyncio.timeout(5):
            while zombie.work.busy:  # noqa: ASYNC110 nothing tells
                await asyncio.sleep(0.01)
        assert "refused" in made.events(task)
        assert made.effects(task)["pay"].fence == 2

    office(body)


# delegation and questions


def fleet_of(made, parent, child):
    for name, handler in (("a", parent), ("b", child)):
        found = Agent(concurrency=64)
        found.task()(handler)
        made.replica(found, name).open()


def test_fifty_children_side_by_side_each_once_and_again_none_after_a_crash(office):
    worked = []

    async def child(n: int):
        worked.append(n)
        return n * n

    async def parent(ctx: Context):
        found = await asyncio.gather(*(ctx.delegate("b", "task", n, into=int) for n in range(50)))
        if ctx.task.attempt == 1:
            raise RuntimeError("after them")
        return sum(found)

    async def body(made):
        fleet_of(made, parent, child)
        task = await made.submit()
        await made.over(task, "queued")
        await made.pass_time(2)
        await made.over(task)
        assert (made.body(task), sorted(worked)) == (sum(n * n for n in range(50)), list(range(50)))
        assert made.replicas[0].sent.count("wait") < 120

    office(body)


def test_large_results_of_many_children_come_in_pieces(office):
    async def child(n: int):
        return "é" * 200_000

    async def parent(ctx: Context):
        return [len(text) for text in await asyncio.gather(*(ctx.delegate("b", "task", n) for n in range(8)))]

    async def body(made):
        fleet_of(made, parent, child)
        task = await made.submit()
        await made.over(task)
        assert made.body(task) == [200_000] * 8

    office(body)


def test_a_child_that_fails_fails_its_parent_by_name(office):
    async def child():
        raise Terminal("cannot")

    async def parent(ctx: Context):
        with pytest.raises(TaskFailed, match="is failed: Terminal: cannot") as caught:
            await ctx.delegate("b")
        assert caught.value.state == "failed"
        return await ctx.delegate("b")

    async def body(made):
        fleet_of(made, parent, child)
        task = await made.submit()
        assert (await made.over(task)).state == "failed"
        assert "TaskFailed" in made.body(task, "error")

    office(body)


def test_a_human_answers_and_nobody_else_and_silence_is_the_default_or_a_no(office, agent):
    async def handler(payload: str, ctx: Context):
        if payload == "answered":
            return await ctx.ask_human("Pay?", ["yes", "no"], arguments={"amount": 7})
        if payload == "default":
            return await ctx.ask_human("Pay?", ["yes", "no"], until=5, default="no")
        try:
            return await ctx.ask_human("Pay?", until=5)
        except Denied:
            return "denied"

    async def body(made):
        made.replica(agent(handler)).open()
        asked = {name: await made.submit(name) for name in ("answered", "default", "denied")}
        for task in asked.values():
            await made.over(task, "waiting")
        await made.work.answer(asked["answered"], None, "yes", HUMAN)
        await made.over(asked["answered"])
        await made.pass_time(12)
        for task in asked.values():
            await made.over(task)
        assert {name: made.body(task) for name, task in asked.items()} == {"answered": "yes", "default": "no", "denied": "denied"}

    office(body)


def test_a_waiting_task_waits_on_while_the_ledger_is_away(office, agent):
    async def handler(ctx: Context):
        return await ctx.ask_human("Pay?")

    async def body(made):
        replica = made.replica(agent(handler)).open()
        task = await made.submit()
        await made.over(task, "waiting")
        replica.cut = lambda _: "request"
        await made.work.answer(task, None, "yes", HUMAN)
        await asyncio.sleep(0.2)
        replica.cut = lambda _: None
        await made.over(task)
        assert made.body(task) == "yes"

    office(body)


# output, progress, submit


def test_output_and_progress_reach_the_ledger_in_order(office, agent):
    gate = asyncio.Event()

    async def handler(ctx: Context):
        for n in range(300):
            ctx.emit({"n": n})
        ctx.progress(0.5, "half")
        await asyncio.to_thread(ctx.emit, "from a thread")
        await gate.wait()
        if ctx.task.attempt == 1:
            raise RuntimeError("again")
        return "done"

    async def body(made):
        made.replica(agent(handler)).open()
        task = await made.submit()
        async with asyncio.timeout(5):
            while len(made.ledger.output.after(task)) < 301 or made.ledger.output.progress(task) is None:  # noqa: ASYNC110 nothing tells
                await asyncio.sleep(0.01)
        assert made.ledger.output.progress(task).fraction == 0.5
        gate.set()
        await made.over(task, "queued")
        await made.pass_time(2)
        await made.over(task)
        pieces = made.ledger.output.after(task)
        assert [piece.n for piece in pieces] == list(range(1, 603))
        assert (pieces[0].value, pieces[300].value, pieces[301].value) == ('{"n":0}', '"from a thread"', '{"n":0}')
        assert len(made.ledger.output.after(task, 600)) == 2

    office(body)


def test_output_that_nobody_takes_is_bounded_and_delays_nothing(office, agent):
    async def handler(ctx: Context):
        with pytest.raises(UserError, match="a piece of output is"):
            ctx.emit("x" * 16_000)
        for n in range(5000):
            ctx.emit(n)
        await asyncio.sleep(0)
        return len(ctx.part.output._kept)

    async def body(made):
        replica = made.replica(agent(handler)).open()
        replica.cut = lambda body: "request" if b'"emit"' in body else None
        task = await made.submit()
        await made.over(task)
        assert made.body(task) <= 1000

    office(body)


def test_a_task_submits_others_once(office, agent):
    async def handler(payload: str, ctx: Context):
        if payload == "leaf":
            return "leaf"
        refs = [
            await ctx.submit("a", "task", "leaf"),
            await ctx.submit("a", "task", "leaf"),
            await ctx.submit("a", "task", "leaf", key="K"),
        ]
        if ctx.task.attempt == 1:
            raise RuntimeError("again")
        return [[ref.id, ref.created] for ref in refs]

    async def body(made):
        made.replica(agent(handler)).open()
        task = await made.submit("root")
        await made.over(task, "queued")
        await made.pass_time(2)
        await made.over(task)
        refs = made.body(task)
        assert len({name for name, _ in refs}) == 3
        assert not any(created for _, created in refs)
        for name, _ in refs:
            assert (await made.over(name)).parent is None

    office(body)
