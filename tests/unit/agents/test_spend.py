"""Budgets inside a task, over a real ledger and store: calls are counted by the runtime, amounts reserved before they are spent."""

import asyncio
import json

import pytest
from tests.unit.agents.spending import CALLS, budget, reserved, with_echo

from quarterdeck.agents.spend import Purse, Spent
from quarterdeck.errors import UserError
from quarterdeck.model.work import BudgetExceeded


@pytest.mark.parametrize("kind", ["ask", "effect", "delegate"])
def test_a_runaway_stops_at_its_budget_and_one_call(office, agent, kind):
    calls = []

    async def endless(ctx):
        for n in range(100):
            calls.append(n)
            if kind == "ask":
                await ctx.ask("b", "x", n)
            elif kind == "effect":
                await ctx.effect(f"e{n}", lambda: None, semantics="idempotent")
            else:
                await ctx.delegate("b", payload=n)

    async def child(payload):
        return payload

    async def body(o):
        a = with_echo(o.replica(agent(endless))).open()
        o.replica(agent(child, concurrency=4), "b").open()
        task = await o.submit(budget=CALLS)
        found = await o.over(task)
        assert found.state == "failed"
        assert "BudgetExceeded: task" in found.reason
        assert "3 calls spent" in found.reason
        assert len(calls) == 4  # the budget and the call that was refused
        if kind == "ask":
            assert a.place.outbound.asked == 3
        elif kind == "effect":
            assert len(o.effects(task)) == 3
        assert budget(o, task) == {"calls": {"limit": 3.0, "reserved": 0.0, "spent": 3.0}}
        assert o.events(task).count("budget.exceeded") == 1

    office(body)


def test_many_asks_at_once_do_not_pass_the_budget_together(office, agent):
    async def burst(ctx):
        found = await asyncio.gather(*(ctx.ask("b", "x", n) for n in range(20)), return_exceptions=True)
        return sum(isinstance(one, BudgetExceeded) for one in found)

    async def body(o):
        a = with_echo(o.replica(agent(burst))).open()
        task = await o.submit(budget=CALLS)
        assert (await o.over(task)).state == "done"
        assert (o.body(task), a.place.outbound.asked) == (17, 3)

    office(body)


def test_an_answer_that_is_lost_costs_one_call_all_the_same(office, agent):
    lose = []

    async def twice(ctx):
        lose.append(True)
        await ctx.ask("b", "x", 1)
        lose.append(True)
        await ctx.ask("b", "x", 2)

    def cut(body):
        if "reserve" in body.decode() and lose:
            lose.clear()
            return "answer"
        return None

    async def body(o):
        a = with_echo(o.replica(agent(twice))).open()
        a.cut = cut
        task = await o.submit(budget=CALLS)
        assert (await o.over(task)).state == "done"
        assert budget(o, task)["calls"]["spent"] == 2.0

    office(body)


def test_the_refusal_names_account_kind_and_limit(office, agent):
    async def curious(ctx):
        try:
            async with ctx.spend(tokens=100):
                pass
        except BudgetExceeded as error:
            return [error.kind, error.account, str(error)]

    async def body(o):
        o.replica(agent(curious)).open()
        task = await o.submit(budget={"tokens": 50.0})
        await o.over(task)
        assert o.body(task) == ["tokens", f"task {task}", f"task {task}: 0 tokens spent and 0 reserved of 50, 100 more asked"]

    office(body)


def test_what_was_not_used_is_free_again_and_silence_uses_all(office, agent):
    async def spends(ctx):
        async with ctx.spend(tokens=100, money=0.3) as spent:
            spent.used(tokens=40)
        async with ctx.spend(tokens=20):
            pass

    async def body(o):
        o.replica(agent(spends)).open()
        task = await o.submit(budget={"tokens": 100.0, "money": 1.0})
        assert (await o.over(task)).state == "done"
        told = budget(o, task)
        assert told["tokens"] == {"limit": 100.0, "reserved": 0.0, "spent": 60.0}
        assert told["money"] == {"limit": 1.0, "reserved": 0.0, "spent": 0.3}

    office(body)


def test_what_is_reserved_is_shown_while_it_is(office, agent):
    go = asyncio.Event()

    async def holds(ctx):
        async with ctx.spend(tokens=70):
            await go.wait()

    async def body(o):
        o.replica(agent(holds)).open()
        task = await o.submit(budget={"tokens": 100.0})
        await reserved(o, task)
        go.set()
        await o.over(task)
        assert budget(o, task)["tokens"] == {"limit": 100.0, "reserved": 0.0, "spent": 70.0}

    office(body)


def test_an_error_inside_a_reservation_counts_it_as_used_up(office, agent):
    async def breaks(ctx):
        async with ctx.spend(tokens=70):
            raise UserError("no")

    async def body(o):
        o.replica(agent(breaks)).open()
        task = await o.submit(budget={"tokens": 100.0})
        assert (await o.over(task)).state == "failed"
        assert budget(o, task)["tokens"]["spent"] == 70.0

    office(body)


def test_what_a_dead_attempt_had_reserved_is_spent_when_its_task_is_released(office, agent):
    async def dies(ctx):
        async with ctx.spend(tokens=70) as spent:
            if ctx.task.attempt == 1:
                await asyncio.sleep(60)
            spent.used(tokens=0)

    async def body(o):
        first = o.replica(agent(dies)).open()
        task = await o.submit(budget={"tokens": 150.0})
        await reserved(o, task)
        await first.die()
        o.replica(agent(dies), incarnation=2).open()
        await o.pass_time(2)
        assert (await o.over(task)).state == "done"
        await o.pass_time(1)
        assert budget(o, task)["tokens"] == {"limit": 150.0, "reserved": 0.0, "spent": 70.0}

    office(body)


def test_a_task_over_its_seconds_is_stopped(office, agent):
    async def slow(ctx):
        await asyncio.sleep(60)

    async def body(o):
        o.replica(agent(slow)).open()
        task = await o.submit(budget={"seconds": 5.0})
        await o.over(task, "running")
        await o.pass_time(3)
        assert o.work.get(task).state == "running"
        assert 1.0 <= budget(o, task)["seconds"]["spent"] <= 4.0
        await o.pass_time(4)
        found = await o.over(task)
        assert found.state == "cancelled"
        assert "BudgetExceeded" in found.reason
        assert "seconds spent of 5" in found.reason

    office(body)


def test_an_unlimited_task_makes_no_extra_trip(office, agent):
    async def free(ctx):
        await ctx.ask("b", "x")
        async with ctx.spend(tokens=5) as spent:
            spent.used(tokens=3)

    async def body(o):
        a = with_echo(o.replica(agent(free))).open()
        task = await o.submit()
        assert (await o.over(task)).state == "done"
        assert not {"reserve", "settle"} & set(a.sent)
        assert budget(o, task) == {}

    office(body)


@pytest.mark.parametrize("amounts", [{}, {"depth": 1.0}, {"apples": 1.0}, {"tokens": -1.0}, {"calls": 0.5}, {"money": float("nan")}])
def test_what_is_no_amount_is_refused_before_anything_is_sent(amounts):
    with pytest.raises(UserError):
        Spent(Purse("t", 1, None, ["tokens"]), amounts)


@pytest.mark.parametrize("body", [{"n": 0}, {"n": -5}, {"amounts": {"apples": 1}}, {"amounts": {"tokens": -1}}, {"amounts": {"depth": 1}}])
def test_a_hostile_reservation_is_refused_and_nothing_is_stored(office, agent, body):
    async def waits(ctx):
        await asyncio.sleep(60)

    async def run(o):
        a = o.replica(agent(waits)).open()
        task = await o.submit(budget={"tokens": 10.0})
        await o.over(task, "running")
        op = ["reserve", {"task": task, "fence": 1, "n": 1, "amounts": {"tokens": 1}, **body}]
        answer = json.loads(await o.ledger.serve(a.holder, json.dumps({"ops": [op]}).encode()))
        assert answer["answers"][0]["error"]["kind"] == "UserError"
        assert budget(o, task)["tokens"] == {"limit": 10.0, "reserved": 0.0, "spent": 0.0}

    office(run)


def test_nobody_reserves_for_a_task_of_somebody_else(office, agent):
    async def waits(ctx):
        await asyncio.sleep(60)

    async def run(o):
        o.replica(agent(waits)).open()
        task = await o.submit(budget={"tokens": 10.0})
        await o.over(task, "running")
        stranger = o.replica(agent(waits), "b")
        op = ["reserve", {"task": task, "fence": 1, "n": 1, "amounts": {"tokens": 1}}]
        answer = json.loads(await o.ledger.serve(stranger.holder, json.dumps({"ops": [op]}).encode()))
        assert answer["answers"][0]["error"]["kind"] == "Fenced"

    office(run)
