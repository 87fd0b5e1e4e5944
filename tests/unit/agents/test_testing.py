import asyncio
import threading
from dataclasses import dataclass

import pytest

from quarterdeck import Agent, Context, NoAnswer, PayloadError, RemoteError, Terminal, Transient, UserError, current
from quarterdeck.agents import testing
from quarterdeck.agents.testing import Message
from quarterdeck.bus.envelope import Trace
from quarterdeck.clock import VirtualClock


@dataclass
class Window:
    start: float
    lines: list[str]


@dataclass
class Score:
    value: float


def make_analyst():
    analyst = Agent("analyst")

    @analyst.on("window")
    async def window(msg: Window, ctx: Context) -> Score:
        await ctx.publish("reporter", "ranking", {"errors": len(msg.lines)}, key=f"w-{msg.start}")
        return Score(len(msg.lines) / 10)

    return analyst


def make_reporter(seen):
    reporter = Agent("reporter")

    @reporter.on("ranking")
    def ranking(payload: dict, ctx: Context):
        seen.append((payload, ctx.sender, ctx.name, threading.current_thread() is threading.main_thread()))

    return reporter


def test_ask_tell_and_publish_go_between_agents():
    async def body():
        seen = []
        async with testing.fleet(analyst=make_analyst(), reporter=make_reporter(seen)) as fleet:
            assert await fleet.ask("analyst", "window", Window(1.0, ["a", "b"]), into=Score) == Score(0.2)
            assert await fleet.ask("test/analyst-0", "window", {"start": 2, "lines": []}) == {"value": 0.0}
            await fleet.tell("reporter", "ranking", {"told": True})
            await fleet.settled()
            assert [payload for payload, *_ in seen] == [{"errors": 2}, {"errors": 0}, {"told": True}]
            assert seen[0][1:] == ("test/analyst-0", "test/reporter-0", False)
            assert fleet.messages[0] == Message("ask", "test/tester-0", "test/analyst", "window", {"start": 1.0, "lines": ["a", "b"]}, "ok")
            assert [(m.kind, m.to) for m in fleet.messages[2:]] == [
                ("publish", "test/reporter"),
                ("publish", "test/reporter"),
                ("tell", "test/reporter"),
            ]

    asyncio.run(body())


def test_a_key_is_taken_once():
    async def body():
        seen = []
        async with testing.fleet(reporter=make_reporter(seen)) as fleet:
            first = await fleet.publish("reporter", "ranking", {}, key="INC-1")
            second = await fleet.publish("reporter", "ranking", {}, key="INC-1")
            assert (first.stream, first.seq, first.duplicate) == ("IN_reporter", 1, False)
            assert (second.seq, second.duplicate) == (1, True)
            await fleet.settled()
            assert len(seen) == 1

    asyncio.run(body())


def failing():
    agent = Agent("failing")

    @agent.on("fail")
    async def fail(msg: str, ctx: Context):
        if msg == "later" and ctx.delivered < 2:
            raise Transient("not now")
        if msg == "never":
            raise Terminal("no")
        if msg == "bug":
            raise KeyError("x")
        if msg == "slow":
            raise TimeoutError
        return object() if msg == "odd" else "done"

    return agent


@pytest.mark.parametrize(
    ("msg", "branch", "kind", "text"),
    [
        ("later", Transient, "Transient", "test/failing-0: Transient: not now"),
        ("never", Terminal, "Terminal", "test/failing-0: Terminal: no"),
        ("bug", Terminal, "KeyError", "test/failing-0: KeyError: 'x'"),
        ("slow", Transient, "TimeoutError", "test/failing-0: TimeoutError: TimeoutError"),
        ("odd", Terminal, "reply", "test/failing-0: fail returned something else than data: .*"),
        (7, Terminal, "payload", "test/failing-0: fail: the payload: expected string, got int 7"),
    ],
)
def test_errors_reach_the_asker_in_their_branch(msg, branch, kind, text):
    async def body():
        async with testing.fleet(failing=failing()) as fleet:
            with pytest.raises(RemoteError, match=text) as caught:
                await fleet.ask("failing", "fail", msg)
            assert isinstance(caught.value, branch)
            assert (caught.value.kind, caught.value.replica) == (kind, "test/failing-0")
            assert "Traceback" not in str(caught.value)
            assert fleet.messages[-1].outcome == kind

    asyncio.run(body())


@pytest.mark.parametrize(
    ("msg", "outcomes"),
    [("later", ["failed", "ok"]), ("never", ["Terminal"]), ("bug", ["failed"] * 3), (7, ["payload"]), ("odd", ["ok"])],
)
def test_a_durable_message_comes_again_unless_that_is_hopeless(msg, outcomes):
    async def body():
        async with testing.fleet(failing=failing()) as fleet:
            await fleet.publish("failing", "fail", msg)
            await fleet.settled()
            assert [m.outcome for m in fleet.messages] == outcomes

    asyncio.run(body())


def test_names_that_lead_nowhere():
    async def body():
        async with testing.fleet(failing=failing()) as fleet:
            with pytest.raises(NoAnswer, match="test/ghost: nobody is there"):
                await fleet.ask("ghost", "v")
            with pytest.raises(RemoteError, match=r"'v' is no verb of this agent \(its verbs: fail\)"):
                await fleet.ask("failing", "v")
            for to in ("Failing", "a/b/c", "", "a.*"):
                with pytest.raises(UserError, match="names no agent"):
                    await fleet.ask(to, "v")
            with pytest.raises(UserError, match="cannot be a verb"):
                await fleet.tell("failing", "a.b")

    asyncio.run(body())


def test_an_answer_of_another_type_than_wanted_is_refused():
    async def body():
        async with testing.fleet(failing=failing()) as fleet:
            with pytest.raises(PayloadError, match="expected object"):
                await fleet.ask("failing", "fail", "fine", into=Score)

    asyncio.run(body())


def test_a_trace_goes_through_and_so_does_the_deadline():
    async def body():
        clock = VirtualClock()
        inner, outer = Agent("inner"), Agent("outer")
        seen = {}

        @inner.on("v")
        async def v(ctx: Context):
            seen["inner"] = (ctx.trace, ctx.remaining, ctx.deadline, current() is ctx)
            clock.advance(10.0)

        @outer.on("v")
        async def w(ctx: Context):
            seen["outer"] = (ctx.trace, ctx.remaining)
            await ctx.ask("inner", "v", timeout=60.0)
            await ctx.ask("inner", "v")

        async with testing.fleet(clock=clock, inner=inner, outer=outer) as fleet:
            with pytest.raises(RemoteError, match="its deadline had passed on arrival: not started"):
                await fleet.ask("outer", "v", timeout=5.0)
            assert fleet.messages[0].outcome == "ok"
        outer_trace, inner_trace = Trace.read(seen["outer"][0]), Trace.read(seen["inner"][0])
        assert outer_trace.trace_id == inner_trace.trace_id
        assert outer_trace.span_id != inner_trace.span_id
        assert seen["outer"][1] == 5.0
        assert seen["inner"][1:] == (5.0, clock.wall - 10.0 + 5.0, True)
        assert current() is None

    asyncio.run(body())


def test_hooks_and_background_work_run_when_they_should():
    async def body():
        story = []
        agent = Agent("a")
        agent.start(lambda: story.append("start"))
        agent.stop(lambda ctx: story.append(f"stop {ctx.name}"))
        agent.every(60.0)(lambda: story.append("turn"))
        async with testing.fleet({"c/a": agent}) as fleet:
            await fleet.turn("c/a")
            await fleet.turn("c/a")
        assert story == ["start", "turn", "turn", "stop c/a-0"]

    asyncio.run(body())


def test_a_plain_function_answers_call():
    async def body():
        async with testing.fleet(double=lambda payload: payload * 2) as fleet:
            assert await fleet.ask("double", "call", 21) == 42

    asyncio.run(body())


def test_the_platform_can_ask_who_is_there_and_what_it_answers():
    async def body():
        async with testing.fleet(analyst=make_analyst()) as fleet:
            ping = await fleet.ask("analyst", "_ping")
            assert ping["from"] == "test/analyst-0"
            assert set(ping) == {"from", "pid", "incarnation", "revision"}
            described = await fleet.ask("analyst", "_describe")
            assert described["verbs"]["window"]["payload"]["required"] == ["start", "lines"]
            assert described["verbs"]["window"]["answer"]["title"] == "Score"
            with pytest.raises(RemoteError, match="'_other' is no verb"):
                await fleet.ask("analyst", "_other")

    asyncio.run(body())


def test_log_lines_carry_fields_and_trace(caplog):
    async def body():
        agent = Agent("a")

        @agent.on("v")
        async def v(ctx: Context):
            ctx.log("read", lines=400, file="a b.log")
            ctx.log.warning("odd")
            ctx.progress(0.4, "read 400 of 1000")
            return ctx.trace

        async with testing.fleet(a=agent) as fleet:
            return Trace.read(await fleet.ask("a", "v")).trace_id

    caplog.set_level("INFO")
    trace = asyncio.run(body())
    assert [record.getMessage() for record in caplog.records] == [
        f"read lines=400 file='a b.log' trace={trace}",
        f"odd trace={trace}",
        f"read 400 of 1000 progress=40% trace={trace}",
    ]
