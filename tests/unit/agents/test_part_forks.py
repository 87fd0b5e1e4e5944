"""A task that is run again as another one, with a real ledger behind it: what was done before the step is not done again."""

import asyncio
from collections import Counter
from dataclasses import replace

from quarterdeck import Agent, Context, TaskFailed, Terminal
from quarterdeck.bus.tally import Outgoing
from quarterdeck.model.records import Actor
from quarterdeck.model.work import Fork
from quarterdeck.store import forks, outbox, tasks

HUMAN = Actor("uid:0", "socket")


class Story:
    """A handler that does one of everything before and after its step `middle`; `did` counts what was really done."""

    def __init__(self, clock):
        self.did, self.clock = Counter(), clock

    def done(self, what):
        self.clock.advance(0.01)  # what others were given is placed by its time
        self.did[what] += 1
        return f"{what} {self.did[what]}"

    def agents(self):
        boss, child = Agent(concurrency=8), Agent(concurrency=8)
        boss.task()(self.handle)
        child.task()(self.part)
        child.on("take")(lambda _: None)
        return boss, child

    async def handle(self, ctx: Context):
        found = await self.side(ctx, "before")
        answer = await ctx.ask_human("Sell?", ["yes", "no"])
        found.append(await ctx.step("middle", self.done, "middle"))
        return [answer, *found, *await self.side(ctx, "after")]

    async def side(self, ctx, side):
        found = [await ctx.step(f"{side} step", self.done, f"{side} step")]
        found.append(await ctx.effect(f"{side} effect", self.done, f"{side} effect"))
        found.append(await ctx.delegate("b", payload=f"{side} part"))
        try:
            await ctx.delegate("b", payload=f"{side} fail")
        except TaskFailed as failed:
            found.append(f"{failed.state}: {failed}".partition(" of ")[2])
        await ctx.submit("b", payload=f"{side} given")
        await ctx.publish("b", "take", f"{side} sent")
        return found

    async def part(self, what: str, ctx: Context):
        if "fail" in what:
            self.done(what)
            raise Terminal("no use")
        if "part" in what:
            await ctx.effect(f"{what} effect", self.done, f"{what} effect")
        return self.done(what)


async def run(made, story):
    for name, one in zip("ab", story.agents(), strict=True):
        begun(made, one, name)
    task = await made.submit("null")
    await answered(made, task)
    await made.over(task)
    return task


def begun(made, agent, name="a", incarnation=1):
    """A replica that may send messages."""
    replica = made.replica(agent, name, 0, incarnation)
    replica.place = replica.work._place = replace(replica.place, sent=Outgoing())
    return replica.open()


async def answered(made, task):
    await made.over(task, "waiting")
    while not made.work.get(task).reason.count("question#1"):  # noqa: ASYNC110 nothing tells
        await asyncio.sleep(0.005)
    await made.work.answer(task, "question#1", "yes", HUMAN)


async def fork(made, task, step=None):
    made.clock.advance(1)
    return (await made.work.fork(Fork(task, step, HUMAN, "again"), None)).task.id


def messages(made):
    with made.store.read() as conn:
        return [message.body for message in outbox.list_(conn, "s")]


SIDE = ("step", "effect", "part", "part effect", "fail", "given")


def test_everything_before_the_step_was_done_once_and_everything_after_it_twice(office):
    async def body(made):
        story = Story(made.clock)
        task = await run(made, story)
        assert set(story.did.values()) == {1}
        again = await fork(made, task, "middle")
        assert (await made.over(again)).state == "done"
        once = {f"before {what}": 1 for what in SIDE}
        assert story.did == {**once, "middle": 2, **{f"after {what}": 2 for what in SIDE}}
        assert sorted(messages(made)) == ['"after sent"', '"after sent"', '"before sent"']
        first, second = made.body(task), made.body(again)
        assert second[:5] == first[:5] == ["yes", "before step 1", "before effect 1", "before part 1", first[4]]
        assert second[5:8] == ["middle 2", "after step 2", "after effect 2"]
        assert "failed: Terminal: no use" in second[4]
        assert made.effects(task)["after effect"].root != made.effects(again)["after effect"].root

    office(body)


def test_a_crash_in_a_fork_repeats_none_of_it_either(office):
    async def body(made):
        story = Story(made.clock)
        task = await run(made, story)
        cut = made.replicas[0]
        cut.cut = lambda sent: "request" if b"after step" in sent else None
        again = await fork(made, task, "middle")
        async with asyncio.timeout(5):
            while story.did["after step"] < 2:  # noqa: ASYNC110 nothing tells
                await asyncio.sleep(0.005)
        await cut.die()
        begun(made, story.agents()[0], incarnation=2)
        await made.pass_time(2)
        assert (await made.over(again, claims=3)).state == "done"
        assert {name: n for name, n in story.did.items() if name.startswith("before")} == {f"before {what}": 1 for what in SIDE}
        assert (story.did["middle"], story.did["after step"], story.did["after effect"]) == (2, 3, 2)

    office(body)


def test_from_the_very_beginning_all_of_it_is_done_again(office):
    async def body(made):
        story = Story(made.clock)
        task = await run(made, story)
        again = await fork(made, task)
        await answered(made, again)
        assert (await made.over(again)).state == "done"
        assert set(story.did.values()) == {2}
        assert len(messages(made)) == 4

    office(body)


def test_a_handler_knows_the_key_of_the_work_and_not_that_of_the_fork(office, agent):
    async def body(made):
        called = []

        async def handler(ctx: Context):
            await ctx.effect(f"charge:{ctx.task.key}", called.append, ctx.task.key)
            await ctx.effect(f"note:{ctx.task.id}", called.append, "note")
            return await ctx.step("key", lambda: ctx.task.key)

        made.replica(agent(handler)).open()
        task = await made.submit(key="order-7")
        await made.over(task)
        first = await fork(made, task, "key")
        await made.over(first)
        second = await fork(made, first, "key")
        await made.over(second)
        assert [made.body(one) for one in (task, first, second)] == ["order-7"] * 3
        assert called == ["order-7", "note"]
        assert [made.work.get(one).key for one in (first, second)] == ["order-7~fork-1", "order-7~fork-1~fork-1"]

    office(body)


def test_a_large_result_of_a_part_is_kept_by_reference(office):
    large = "x" * 600_000

    async def parent(ctx: Context):
        found = await ctx.delegate("b")
        return await ctx.step("length", len, found)

    async def body(made):
        called = []

        def part():
            called.append(1)
            return large

        for name, function in (("a", parent), ("b", part)):
            one = Agent()
            one.task()(function)
            made.replica(one, name).open()
        task = await made.submit()
        await made.over(task)
        again = await fork(made, task, "length")
        await made.over(again)
        assert (made.body(again), called) == (600_000, [1])
        with made.store.read() as conn:
            assert forks.origin_of(conn, again) == {"task": task, "step": "length#1"}
            assert tasks.children(conn, again) == []

    office(body)
