"""Tasks on the test bench: the same code as in a replica, against a ledger in memory."""

import asyncio

import pytest

from quarterdeck import Agent, Context, Denied, EffectUnknown, TaskFailed, Terminal
from quarterdeck.agents import testing


class Bank:
    """What was really called."""

    def __init__(self):
        self.calls = []

    def agent(self, semantics="dedupes"):
        cashier = Agent("cashier")

        @cashier.task()
        async def pay(order: dict, ctx: Context) -> str:
            checked = await ctx.step("check", self.call, "check")
            word = await ctx.ask_human(f"Pay {order['amount']}?", ["yes", "no"], default="yes")
            if word == "no":
                return "declined"
            named = {"key": ""} if semantics == "dedupes" else {}
            await ctx.effect("pay", self.pay if named else self.call, "pay", semantics=semantics)
            ctx.emit(f"paid {checked}")
            return await ctx.delegate("printer", payload=order["amount"])

        return cashier

    def call(self, what):
        self.calls.append(what)
        return what

    def pay(self, what, key):
        self.calls.append(key)


@pytest.fixture
def printer():
    agent = Agent("printer")

    @agent.task()
    def receipt(amount: int) -> str:
        if amount < 0:
            raise Terminal("nothing to print")
        return f"receipt {amount}"

    return agent


def play(body):
    async def whole():
        async with asyncio.timeout(20):
            await body()

    asyncio.run(whole())


def test_a_task_runs_through_steps_effects_questions_and_children(printer):
    bank = Bank()

    async def body():
        async with testing.fleet(cashier=bank.agent(), printer=printer) as fleet:
            assert await fleet.run("cashier", {"amount": 7}, key="K") == "receipt 7"
            assert await fleet.run("cashier", {"amount": 7}, key="K") == "receipt 7"
            task, child = fleet.tasks
            assert (task.key, task.state, task.attempts, task.steps, task.said) == ("K", "done", 1, ("check#1",), ("paid check",))
            assert (child.parent, child.to, child.result) == (task.id, "test/printer", "receipt 7")
            assert bank.calls == ["check", f"{task.id}/pay"]
            assert fleet.effects == [testing.Effect("pay", task.id, "dedupes", "done", None, "")]

    play(body)


def test_work_given_to_a_cluster_counts_as_sent_there(printer):
    giver = Agent("giver")

    @giver.task()
    async def give(amount: int, ctx: Context) -> dict:
        await ctx.delegate("printer", payload=amount)
        await ctx.submit("printer", payload=amount)
        with pytest.raises(TaskFailed):
            await ctx.delegate("printer", payload=-amount)
        return ctx._place.sent.told()

    async def body():
        async with testing.fleet(giver=giver, printer=printer) as fleet:
            assert await fleet.run("giver", 7) == {"test": [3, 0]}

    play(body)


@pytest.mark.parametrize("point", [{"step": "check"}, {"effect": "pay"}, {"effect": "pay", "called": False}])
def test_a_crash_where_it_hurts(printer, point):
    bank = Bank()

    async def body():
        async with testing.fleet(cashier=bank.agent(), printer=printer) as fleet:
            fleet.crash_at(**point)
            assert await fleet.run("cashier", {"amount": 7}) == "receipt 7"
            assert (fleet.tasks[0].attempts, len(fleet.tasks)) == (2, 2)
            key = f"{fleet.tasks[0].id}/pay"
            assert bank.calls == {"step": ["check", "check", key], "effect": ["check", key, key], "called": ["check", key]}[[*point][-1]]

    play(body)


def test_an_unsafe_effect_that_is_cut_off_stops_for_a_human(printer):
    bank = Bank()

    async def body():
        async with testing.fleet(cashier=bank.agent("unsafe"), printer=printer) as fleet:
            fleet.crash_at(effect="pay")
            with pytest.raises(EffectUnknown, match="outcome of effect 'pay' is unknown"):
                await fleet.run("cashier", {"amount": 7})
            assert (fleet.tasks[0].state, fleet.effects[0].outcome, bank.calls) == ("unknown", "unknown", ["check", "pay"])

    play(body)


def test_humans_answer_as_told_and_else_nobody_does(printer):
    asked = []

    async def body():
        async with testing.fleet(cashier=Bank().agent(), printer=printer, asker=asker) as fleet:
            fleet.answer_with("no")
            assert await fleet.run("cashier", {"amount": 7}) == "declined"
            fleet.answer_with(lambda question: asked.append(question.question) or "yes")
            assert await fleet.run("cashier", {"amount": 8}) == "receipt 8"
            fleet.answer_with(None)
            assert await fleet.run("asker") == "denied"

    async def asker(ctx: Context):
        try:
            return await ctx.ask_human("?")
        except Denied:
            return "denied"

    play(body)
    assert asked == ["Pay 8?"]


def test_what_fails_says_so_and_what_is_cancelled_too(printer):
    async def stubborn(ctx: Context):
        if ctx.task.attempt < 3:
            raise ValueError("not yet")
        return ctx.task.attempt

    async def endless(ctx: Context):
        await asyncio.sleep(60)

    async def body():
        async with testing.fleet(printer=printer, stubborn=stubborn, endless=endless) as fleet:
            with pytest.raises(TaskFailed, match="is failed: Terminal: nothing to print") as caught:
                await fleet.run("printer", -1)
            assert caught.value.state == "failed"
            assert await fleet.run("stubborn") == 3
            ref = await fleet.submit("endless", key="E")
            await asyncio.sleep(0.01)
            fleet.cancel("E", "enough")
            await fleet.settled()
            found = next(task for task in fleet.tasks if task.id == ref.id)
            assert (found.state, found.reason) == ("cancelled", "enough")

    play(body)


def test_an_open_task_does_not_hold_up_the_end_of_a_test_that_failed():
    async def endless(ctx: Context):
        await asyncio.sleep(60)

    async def body():
        with pytest.raises(ExceptionGroup):  # noqa: PT012
            async with testing.fleet(endless=endless) as fleet:
                await fleet.submit("endless")
                await asyncio.sleep(0)
                raise ValueError("the test")

    play(body)


def test_a_task_publishes_and_submits_once_though_it_is_run_again():
    seen = []

    async def sender(ctx: Context):
        await ctx.publish("receiver", "take", "message")
        await ctx.submit("receiver", "take", "task")
        await ctx.step("s", int)

    receiver = Agent()

    @receiver.on("take")
    async def take(what: str):
        seen.append(what)

    async def body():
        async with testing.fleet(sender=sender, receiver=receiver) as fleet:
            fleet.crash_at(step="s")
            await fleet.run("sender")
            await fleet.settled()
            assert (sorted(seen), fleet.tasks[0].attempts) == (["message", "task"], 2)

    play(body)
