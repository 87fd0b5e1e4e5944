"""What a user writes, as mypy and pyright must accept it. Lines that must be refused carry an ignore, and unused ignores are errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict, assert_type

from quarterdeck import Ack, Agent, AsyncClient, Client, Context, NoAnswer, RemoteError, Terminal, Transient
from quarterdeck.agents import testing
from quarterdeck.client.values import TaskSeen

analyst = Agent("analyst", concurrency=8)


@dataclass
class Window:
    start: float
    lines: list[str]


@dataclass
class Score:
    value: float


class Ranking(TypedDict):
    causes: list[str]


@analyst.on("window")
async def window(msg: Window, ctx: Context) -> Score:
    ack = await ctx.publish("reporting/reporter", "ranking", Ranking(causes=msg.lines), key="INC-1")
    assert_type(ack, Ack)
    assert_type(ack.seq, int)
    await ctx.tell("collectors/collector", "seen")
    ctx.log("read", lines=len(msg.lines))
    ctx.log.info("read", lines=len(msg.lines))
    ctx.progress(0.4, "read 400 of 1000")
    return Score(1.0)


@analyst.start
async def setup(ctx: Context) -> None:
    try:
        score = await ctx.ask("analysts/analyst-2", "window", Window(1.0, []), into=Score, timeout=5)
    except NoAnswer as missing:
        raise Transient(missing.cause) from missing
    except RemoteError as error:
        raise Terminal(error.kind) from error
    assert_type(score, Score)


@analyst.every(30)
def tick(ctx: Context) -> None:
    ctx.log.debug(ctx.name, cluster=ctx.cluster, replica=ctx.replica, deadline=ctx.deadline, trace=ctx.trace)


@analyst.loop
async def loop() -> None: ...


def wrong(ctx: Context) -> None:
    analyst.on(1)  # type: ignore[arg-type]
    ctx.progress("half")  # type: ignore[arg-type]
    ctx.name + 1  # type: ignore[operator]


async def in_a_test() -> None:
    async with testing.fleet({"analysts/analyst": analyst}, double=lambda payload: payload) as fleet:
        assert_type(await fleet.ask("analysts/analyst", "window", Window(1.0, []), into=Score), Score)
        assert_type(await fleet.publish("analysts/analyst", "window"), Ack)
        await fleet.settled()
        assert_type(fleet.messages[0].verb, str)


def by_program() -> None:
    client = Client(url="https://fleet.example.org", token_file="token", system="triage")  # noqa: S106 a file
    handle = client.submit("analysts/analyst", Window(1.0, []), key="INC-1", priority=3, budget={"calls": 20})
    assert_type(handle.created, bool)
    assert_type(handle.get().state, str)
    handle.result(timeout=5)
    for seen in client.tasks(state="open", target="analysts/analyst"):
        assert_type(seen.key, str | None)
    for event in handle.events():
        assert_type(event.name, str)
    client.resolve(handle.id, "pay", "done", value=5, reason="seen")
    client.resolve(handle.id, "pay", "perhaps", reason="seen")  # type: ignore[arg-type]
    client.submit("analysts/analyst", colour="red")  # type: ignore[call-arg]


async def by_program_with_a_loop() -> None:
    async with AsyncClient() as client:
        handle = await client.submit("analysts/analyst", lane="one", delay=5.0)
        assert_type(await handle.cancel("enough"), TaskSeen)
        async for seen in client.tasks(key="INC-"):
            assert_type(seen.attempts, int)
