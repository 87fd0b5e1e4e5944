"""Steps of a task, with a real ledger behind them: done once, however often its handler runs."""

import asyncio
import threading
from dataclasses import dataclass

import pytest

from quarterdeck import Context, UserError
from quarterdeck.agents import calls
from quarterdeck.agents.context import CURRENT
from quarterdeck.model.blobs import MOST_BLOB


@dataclass
class Receipt:
    number: int


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
        while not made.body(task):
            await made.pass_time(1)
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
