"""What a task's handler may ask of others and tell them, with a real ledger behind it: delegation, questions, output."""

import asyncio

import pytest

from quarterdeck import Agent, Context, Denied, TaskFailed, Terminal, UserError
from quarterdeck.model.records import Actor

HUMAN = Actor("uid:0", "socket")


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


def test_what_a_task_says_right_before_it_fails_is_heard(office, agent):
    async def handler(ctx: Context):
        ctx.emit("the last words")
        raise UserError("no")

    async def body(made):
        made.replica(agent(handler)).open()
        task = await made.submit()
        await made.over(task, "failed")
        assert [piece.value for piece in made.ledger.output.after(task)] == ['"the last words"']

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
