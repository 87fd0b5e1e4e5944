"""Budgets that several tasks share, over a real ledger and store: those of their parents, of a day, of a cluster, of an owner."""

import asyncio

from tests.unit.agents.spending import budget

from quarterdeck.model.desired import Allowance
from quarterdeck.model.work import BudgetExceeded
from quarterdeck.store import journal, tasks
from quarterdeck.work import documents


def test_a_child_gets_the_smaller_of_its_own_and_what_is_left_and_both_are_charged(office, agent):
    async def parent(ctx):
        async with ctx.spend(tokens=30):
            pass
        return await ctx.delegate("b", budget={"tokens": 500.0})

    async def child(ctx):
        async with ctx.spend(tokens=50):
            pass
        try:
            async with ctx.spend(tokens=50):
                pass
        except BudgetExceeded as error:
            return str(error)

    async def body(o):
        o.replica(agent(parent)).open()
        o.replica(agent(child), "b").open()
        task = await o.submit(budget={"tokens": 100.0})
        assert (await o.over(task)).state == "done"
        with o.store.read() as conn:
            (below,) = documents.whole(conn, o.work.get(task))["children"]
        assert o.body(task) == f"task {below}: 50 tokens spent and 0 reserved of 70, 50 more asked"
        assert budget(o, below)["tokens"] == {"limit": 70.0, "reserved": 0.0, "spent": 50.0}
        assert budget(o, task)["tokens"] == {"limit": 100.0, "reserved": 0.0, "spent": 80.0}

    office(body)


def test_a_task_that_delegates_to_itself_stops_at_its_depth(office, agent):
    ran = []

    async def deeper(payload, ctx):
        ran.append(payload)
        return await ctx.delegate("a", payload=payload + 1)

    async def body(o):
        o.replica(agent(deeper, concurrency=20)).open()
        task = await o.submit(0, budget={"depth": 3.0})
        found = await o.over(task)
        assert found.state == "failed"
        assert ran == [0, 1, 2, 3]

    office(body)


def test_self_delegation_stops_at_the_calls_of_the_root(office, agent):
    ran = []

    async def spreads(payload, ctx):
        ran.append(payload)
        await asyncio.gather(*(ctx.delegate("a", payload=[*payload, n]) for n in range(3)))

    async def body(o):
        o.replica(agent(spreads, concurrency=60)).open()
        task = await o.submit([], budget={"calls": 10.0})
        assert (await o.over(task)).state == "failed"
        assert len(ran) <= 11
        assert budget(o, task)["calls"]["spent"] == 10.0

    office(body)


def test_the_journal_says_who_spent_what(office, agent):
    async def parent(ctx):
        await ctx.delegate("b")

    async def child(ctx):
        async with ctx.spend(tokens=60):
            pass
        async with ctx.spend(tokens=60):
            pass

    async def body(o):
        o.replica(agent(parent)).open()
        o.replica(agent(child), "b").open()
        task = await o.submit(budget={"tokens": 100.0})
        await o.over(task)
        with o.store.read() as conn:
            found = [r for r in journal.read(conn, limit=500) if r.verb == "budget.exceeded"]
        (record,) = found
        assert record.target == "c/b"
        assert {(one["target"], one["tokens"]) for one in record.after["spent_by"]} == {("c/b", 60.0), ("c/a", 60.0)}

    office(body)


def test_a_budget_of_a_day_stands_above_every_task_of_its_cluster(office, agent):
    async def spends(ctx):
        async with ctx.spend(tokens=60):
            pass

    async def body(o):
        o.ledger.spending.allowances = lambda _: (Allowance("c", "day", (("tokens", 100.0),)), Allowance("", "day", (("calls", 9.0),)))
        o.replica(agent(spends)).open()
        one, other = await o.submit(), await o.submit()
        states = {(await o.over(one)).state, (await o.over(other)).state}
        assert states == {"done", "failed"}
        reasons = o.work.get(one).reason + o.work.get(other).reason
        assert "c on 2023-11-14: " in reasons
        assert "of 100, 60 more asked" in reasons
        o.clock.advance(86_400)
        third = await o.submit()
        assert (await o.over(third)).state == "done"

    office(body)


def test_a_task_that_an_agent_submits_has_the_budget_that_the_spec_gives_each(office, agent):
    async def body(o):
        o.ledger.spending.allowances = lambda _: (Allowance("c", "task", (("calls", 3.0),)), Allowance("d", "task", (("calls", 2.0),)))

        async def submits(ctx):
            await ctx.submit("b", "task", "x", key="K")

        o.replica(agent(submits)).open()
        assert (await o.over(await o.submit())).state == "done"
        with o.store.read() as conn:
            assert tasks.by_key(conn, "s", "K").budget == {"calls": 3.0}

    office(body)


def test_a_budget_of_each_owner_binds_no_other_and_who_is_named_has_his_own(office, agent):
    async def spends(ctx):
        async with ctx.spend(tokens=60):
            pass

    async def body(o):
        each, own = Allowance("c", "day", (("tokens", 100.0),), owner="*"), Allowance("c", "day", (("tokens", 130.0),), owner="rich")
        o.ledger.spending.allowances = lambda _: (each, own)
        o.replica(agent(spends)).open()
        names = ["a", "a", "b", "rich", "rich", "rich"]
        ended = [await o.over(await o.submit(tenant=name)) for name in names]
        assert [task.state for task in ended] == ["done", "failed", "done", "done", "done", "failed"]
        assert "a in c on 2023-11-14: " in ended[1].reason
        assert "of 130, 60 more asked" in ended[5].reason

    office(body)


def test_money_spent_too_fast_holds_tasks_back_until_the_next_day(office, agent):
    async def spends(ctx):
        async with ctx.spend(money=0.6):
            pass

    async def body(o):
        o.ledger.spending.allowances = lambda _: (Allowance("c", "day", (), 1.0),)
        o.replica(agent(spends)).open()
        for _ in range(2):
            assert (await o.over(await o.submit())).state == "done"
        await o.pass_time(1)
        held = await o.submit()
        await o.pass_time(12)
        assert (o.work.get(held).state, o.work.get(held).attempts) == ("queued", 0)
        with o.store.read() as conn:
            verbs = [r.verb for r in journal.read(conn, limit=500)]
            (wait,) = documents.whole(conn, o.work.get(held))["waits_on"]
        assert verbs.count("budget.tripped") == 1
        assert (wait["kind"], wait["target"]) == ("budget", "s/c")
        o.clock.advance(86_400)
        await o.pass_time(6)
        assert (await o.over(held)).state == "done"

    office(body)
