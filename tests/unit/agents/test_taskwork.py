"""A replica's work on tasks with a real ledger behind it: claims, renewals, cancellation, drain, crashes, lost answers."""

import asyncio
import json
import threading

import pytest

from quarterdeck import Agent, Context, Terminal
from quarterdeck.model.records import Actor

HUMAN = Actor("uid:0", "socket")
WORDS = ["claim", "step", "begin", "finish", "delegate", "wait", "ask_human", "submit", "done", "renew"]


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("what", ["request", "answer"])
def test_a_lost_request_or_answer_changes_nothing(office, word, what):
    """The first three of the word are lost; everything is called once all the same."""
    called = []

    async def handler(payload: str, ctx: Context):
        if payload == "child":
            return "child"
        step = await ctx.step("s", lambda: called.append("step") or 1)
        effect = await ctx.effect("e", lambda: called.append("effect") or 2)
        child = await ctx.delegate("a", "task", "child")
        answer = await ctx.ask_human("?", default="fine", until=1)
        ref = await ctx.submit("a", "task", "child", key="K")
        return [step, effect, child, answer, ref.created]

    async def body(made):
        agent = Agent()
        agent.task()(handler)
        replica, lost = made.replica(agent), []

        def cut(request):
            if any(asked == word for asked, _ in json.loads(request)["ops"]) and len(lost) < 3:
                lost.append(1)
                return what
            return None

        replica.cut = cut
        replica.open()
        task = await made.submit("root")
        while (await made.over(task, "waiting", "done")).state != "done":
            await made.pass_time(3)
        found = made.body(task)
        assert (found[:4], sorted(called), len(lost)) == ([1, 2, "child", "fine"], ["effect", "step"], 3)
        assert (made.work.get(task).attempts, made.work.get(task).fence) == (1, 1)

    office(body)


def test_a_task_that_is_cancelled_stops_where_it_is(office, agent):
    ended = []

    async def handler(ctx: Context):
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(1)

    async def body(made):
        made.replica(agent(handler)).open()
        task = await made.submit()
        await made.over(task, "running")
        await made.work.cancel(task, HUMAN, "not needed")
        found = await made.over(task)
        assert (found.state, found.reason, ended) == ("cancelled", "not needed", [1])

    office(body)


def test_cancelling_a_tree_stops_all_of_it(office):
    async def child(ctx: Context):
        await asyncio.sleep(60)

    async def parent(ctx: Context):
        await asyncio.gather(*(ctx.delegate("b") for _ in range(5)))

    async def body(made):
        for name, handler in (("a", parent), ("b", child)):
            agent = Agent(concurrency=3)
            agent.task()(handler)
            made.replica(agent, name).open()
        task = await made.submit()
        await made.over(task, "waiting")
        await made.work.cancel(task, HUMAN, "")
        assert (await made.over(task)).state == "cancelled"
        with made.store.read() as conn:
            from quarterdeck.store import tasks  # noqa: PLC0415 only here

            children = [one.id for one in tasks.children(conn, task)]
        assert len(children) == 5
        for one in children:
            assert (await made.over_any(one)).state == "cancelled"

    office(body)


def test_an_effect_in_a_thread_is_recorded_though_its_task_is_cancelled(office, agent):
    begun, gate = asyncio.Event(), threading.Event()

    async def handler(ctx: Context):
        loop = asyncio.get_running_loop()

        def pay():
            loop.call_soon_threadsafe(begun.set)
            gate.wait(5)
            return "paid"

        await ctx.effect("pay", pay)

    async def body(made):
        made.replica(agent(handler)).open()
        task = await made.submit()
        await begun.wait()
        await made.work.cancel(task, HUMAN, "stop")
        await asyncio.sleep(0.1)
        gate.set()
        assert (await made.over(task)).state == "cancelled"
        assert (made.effects(task)["pay"].outcome, made.effects(task)["pay"].value) == ("done", '"paid"')

    office(body)


@pytest.mark.parametrize(("semantics", "outcome"), [("unsafe", "unknown"), ("idempotent", "failed")])
def test_an_effect_that_is_cut_off_by_a_cancellation(office, agent, semantics, outcome):
    begun = asyncio.Event()

    async def pay():
        begun.set()
        await asyncio.sleep(60)

    async def handler(ctx: Context):
        await ctx.effect("pay", pay, semantics=semantics)

    async def body(made):
        made.replica(agent(handler)).open()
        task = await made.submit()
        await begun.wait()
        await made.work.cancel(task, HUMAN, "stop")
        found = await made.over(task)
        assert made.effects(task)["pay"].outcome == outcome
        assert found.state == "cancelled", "what is unknown waits for a human, the task does not"

    office(body)


def test_a_drain_hands_back_what_waits_at_once_and_what_works_after_its_time_and_counts_no_attempt(office):
    async def handler(payload: str, ctx: Context):
        await ctx.step("s", lambda: steps.append(payload))
        if payload == "asks":
            return await ctx.ask_human("?")
        if payload == "works" and ctx.replica == 0:
            await asyncio.sleep(60)
        return payload

    steps = []

    async def body(made):
        agent = Agent()
        agent.task()(handler)
        first = made.replica(agent).open()
        asks, works = await made.submit("asks"), await made.submit("works")
        await made.over(asks, "waiting")
        await made.over(works, "running")
        made.replica(agent, number=1).open()
        closing = asyncio.create_task(first.work.close(2.0))
        await asyncio.sleep(0.2)
        assert (made.work.get(works).owner, first.work.busy) == (first.holder.name, 1), "the one that works still does"
        await closing
        made.replicas.remove(first)
        assert (await made.over(works)).state == "done"
        await made.over(asks, "waiting")
        await made.work.answer(asks, None, "yes", HUMAN)
        await made.over(asks)
        found = [made.work.get(task) for task in (asks, works)]
        assert [(one.state, one.attempts, one.fence) for one in found] == [("done", 1, 2)] * 2
        assert sorted(steps) == ["asks", "works"], "steps are kept"

    office(body)


def test_a_claim_that_is_answered_after_the_pause_is_given_back(office, agent):
    async def handler():
        return 1

    async def body(made):
        first = made.replica(agent(handler))
        ask, gate = first._ask, asyncio.Event()

        async def slow(request, limit):
            answer = await ask(request, limit)
            if b'"claim"' in request and b'"verb"' in answer:
                await gate.wait()
            return answer

        first.place.line._ask = first.work._line._ask = slow
        first.open()
        task = await made.submit()
        await made.over(task, "running")
        closing = asyncio.create_task(first.work.close(1.0))
        await asyncio.sleep(0)
        gate.set()
        await closing
        made.replicas.remove(first)
        assert ((await made.over(task, "queued")).attempts, made.events(task)[-1]) == (0, "given_back")

    office(body)


def test_a_handler_that_swallows_its_cancellation_or_cancels_itself(office):
    async def handler(payload: str, ctx: Context):
        if payload == "itself":
            raise asyncio.CancelledError
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "late"

    async def body(made):
        agent = Agent()
        agent.task()(handler)
        made.replica(agent).open()
        swallows, itself = await made.submit("swallows"), await made.submit("itself", attempts=1)
        assert (await made.over(itself)).state == "dead"
        assert "cancelled itself" in made.body(itself, "error")
        await made.work.cancel(swallows, HUMAN, "stop")
        assert (await made.over(swallows)).state == "done"

    office(body)


def test_a_verb_nobody_knows_is_tried_again_and_a_payload_that_does_not_fit_is_not(office):
    async def handler(payload: int):
        return payload

    async def body(made):
        agent = Agent()
        agent.task()(handler)
        made.replica(agent).open()
        unknown, wrong = await made.submit(1, verb="newer", attempts=2), await made.submit("text")
        assert ((await made.over(wrong)).state, (await made.over(unknown, "queued")).attempts) == ("failed", 1)
        await made.pass_time(2)
        assert (await made.over(unknown)).state == "dead"

    office(body)


def test_a_replica_works_on_as_many_at_once_as_it_has_places(office):
    now, most, full = [0], [0], asyncio.Event()

    async def handler():
        now[0] += 1
        most[0] = max(most[0], now[0])
        if now[0] == 7:
            full.set()
        await full.wait()
        await asyncio.sleep(0.01)
        now[0] -= 1

    async def body(made):
        agent = Agent(concurrency=7)
        agent.task()(handler)
        made.replica(agent).open()
        every = [await made.submit(n) for n in range(25)]
        for task in every:
            await made.over(task)
        assert most == [7]

    office(body)


def test_large_payloads_are_claimed_without_a_pause_between_them(office):
    """Each fills a claim by itself; none may wait for the ledger's look at its rows."""

    async def handler(payload: str):
        return len(payload)

    async def body(made):
        agent = Agent(concurrency=100)
        agent.task()(handler)
        made.replica(agent).open()
        every = [await made.submit("x" * 400_000) for _ in range(12)]
        async with asyncio.timeout(4):
            for task in every:
                await made.over(task)

    office(body)


def test_what_the_ledger_cannot_do_ends_no_replica(office, agent):
    """A renewal and a claim that fail for good are told in the log, and asked again later."""

    async def handler():
        return 1

    async def body(made):
        replica = made.replica(agent(handler))
        ask, broken = replica._ask, [True]

        async def failing(request, limit):
            if broken[0]:
                return json.dumps({"error": {"kind": "Terminal", "message": "bug", "hint": "", "again": False}}).encode()
            return await ask(request, limit)

        replica.place.line._ask = failing
        replica.open()
        task = await made.submit()
        await asyncio.sleep(0.05)
        broken[0] = False
        replica.work.word()
        assert (await made.over(task)).state == "done"

    office(body)


def test_terminal_ends_and_anything_else_is_tried_again_until_it_is_a_dead_letter(office, agent):
    async def handler(payload: str):
        raise Terminal("never") if payload == "never" else ValueError("maybe")

    async def body(made):
        made.replica(agent(handler)).open()
        never, maybe = await made.submit("never"), await made.submit("maybe", attempts=2)
        assert ((await made.over(never)).state, made.work.get(never).attempts) == ("failed", 1)
        await made.over(maybe, "queued")
        await made.pass_time(3)
        found = await made.over(maybe)
        assert (found.state, found.attempts, found.reason) == ("dead", 2, "attempt 2 of 2: ValueError: maybe")

    office(body)


def test_an_attempt_that_ended_unheard_is_never_begun_again_under_its_fence(office, agent, monkeypatch):
    """Or an unsafe effect would be called twice: under the same fence the ledger takes a second begin for an answer that was lost."""
    calls, broken = [], json.dumps({"error": {"kind": "Terminal", "message": "broken", "hint": "", "again": False}}).encode()

    async def charge():
        calls.append(1)

    async def handler(ctx: Context):
        await ctx.effect("charge", charge, semantics="unsafe")

    async def body(made):
        real = made.ledger.serve

        async def serve(holder, request):
            ends = any(word in ("finish", "fail") for word, _ in json.loads(request)["ops"])
            return broken if ends else await real(holder, request)

        monkeypatch.setattr(type(made.ledger), "serve", lambda _, holder, request: serve(holder, request))
        replica = made.replica(agent(handler)).open()
        task = await made.submit()
        async with asyncio.timeout(10):
            while made.work.get(task).state != "unknown":
                replica.work.word()
                await asyncio.sleep(0.05)
        assert (len(calls), made.work.get(task).fence) == (1, 2)

    office(body)
