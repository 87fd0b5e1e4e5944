"""What a user writes, as mypy and pyright must accept it. Lines that must be refused carry an ignore, and unused ignores are errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict, assert_type

from quarterdeck import Ack, Agent, Context, NoAnswer, RemoteError, Terminal, Transient
from quarterdeck.agents import testing

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
