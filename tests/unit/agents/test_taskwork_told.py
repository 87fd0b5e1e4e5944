"""What is told of work on tasks: how much, and no secret in it."""

import asyncio

from tests.unit.agents.conftest import SLIPPED

from quarterdeck import Agent, Context, Terminal
from quarterdeck.model.records import Actor

HUMAN = Actor("uid:0", "socket")


def test_no_secret_is_in_an_error_or_in_progress(office):
    go = asyncio.Event()

    async def handler(payload: str, ctx: Context):
        ctx.progress(0.5, f"with {SLIPPED}")
        await go.wait()
        if payload == "effect":
            await ctx.effect("call", refuse)
        raise Terminal(f"401 for {SLIPPED}")

    async def refuse():
        raise Terminal(f"403 for {SLIPPED}")

    async def body(made):
        agent, requests = Agent(), []
        agent.task()(handler)
        replica = made.replica(agent)
        replica.cut = lambda request: requests.append(request.decode())
        replica.open()
        for payload in ("effect", "plain"):
            task = await made.submit(payload)
            await made.over(task, "running")
            await made.pass_time(3)
            go.set()
            await made.over(task)
            told = [made.text(task, "error"), *(effect.error for effect in made.effects(task).values())]
            assert len(told) == (2 if payload == "effect" else 1)
            assert all("[secret KEY]" in text for text in told), told
            go.clear()
        assert "with [secret KEY]" in "".join(requests)
        assert SLIPPED not in "".join(requests)

    office(body)


def test_attempts_at_tasks_are_counted_well_or_not_and_not_those_that_were_told_to_stop(office):
    async def handler(payload: str, ctx: Context):
        if payload == "slow":
            await asyncio.sleep(60)
        if payload == "bad":
            raise Terminal("no")

    async def body(made):
        agent = Agent()
        agent.task()(handler)
        replica = made.replica(agent)
        replica.open()
        for payload in ("good", "bad", "good"):
            await made.over(await made.submit(payload))
        slow = await made.submit("slow")
        await made.over(slow, "running")
        await made.work.cancel(slow, HUMAN, "")
        await made.over(slow, "cancelled")
        assert (replica.place.worked.handled, replica.place.worked.failed) == (2, 1)

    office(body)
