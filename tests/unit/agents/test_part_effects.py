"""Effects of a task, with a real ledger behind them: what may have happened is not done again unless that does no harm."""

import asyncio

import pytest

from quarterdeck import Context, EffectUnknown, PayloadError, Terminal, UserError
from quarterdeck.model.records import Actor
from quarterdeck.store.effects import Said

HUMAN = Actor("uid:0", "socket")


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
