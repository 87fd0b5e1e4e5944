"""The fleet: intake hands out an incident piece by piece, collectors read, analysts score, the reporter merges and ranks.

A piece is one shard (a hash-chosen part of the traces) of one window (15 s) of an incident. Everything on its way is durable and named by
run, incident, shard and window, so whoever is killed, the piece comes again to somebody else, and a piece that comes twice counts once::

    outside ─ triage ─> intake ═ replay ═> intake ═ read ═> collector ═ score ═> analyst ═ collect ═> reporter      ═ durable, ─ ask
    outside ─ report ─> intake ─ report ─> analyst ─ report ─> reporter

`speed` is how much faster than the incident went it is replayed: 20 reads a minute in three seconds, 0 reads as fast as it can.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import stream
import triage

from quarterdeck import Agent, Context, Terminal

DATA = Path(__file__).parent / "data"
SHARDS = 6
KEPT_RUNS = 32
collector, intake, analyst, reporter = Agent(), Agent(), Agent(), Agent()
_reading = threading.Lock()


@dataclass(frozen=True)
class Work:
    """An incident to be replayed. `run` is the caller's name for this replay: the same one twice is one."""

    run: str
    incident: str
    speed: float = 0.0

    @property
    def key(self) -> str:
        """Unique for this replay."""
        return f"{self.run}/{self.incident}"


@dataclass(frozen=True)
class Piece:
    """One shard of one window of an incident."""

    run: str
    incident: str
    speed: float
    window: int
    shard: int

    @property
    def key(self) -> str:
        """Unique for this piece, whoever works on it and however often."""
        return f"{self.run}/{self.incident}/{self.window}/{self.shard}"


@dataclass(frozen=True)
class Counted:
    """What a collector counted in a piece."""

    piece: Piece
    counters: stream.Counters


@dataclass(frozen=True)
class Scored:
    """What an analyst found in it."""

    piece: Piece
    evidence: triage.Evidence


@cache
def index() -> dict[str, Any]:
    """What the data folder holds."""
    found: dict[str, Any] = json.loads((DATA / "index.json").read_text(encoding="utf-8"))
    return found


def windows(incident: str) -> int:
    """How many windows an incident has; raises Terminal for one that is not in the data."""
    if incident not in index()["incidents"]:
        msg = f"no incident {incident!r}; there are {', '.join(index()['incidents'])}"
        raise Terminal(msg)
    return int(index()["incidents"][incident]["windows"])


@cache
def _traces(name: str) -> list[stream.Trace]:
    folder = DATA / name.replace(":", "")
    return stream.traces([folder / "log.csv.gz"], [folder / "trace.csv.gz"])


def traces(name: str) -> list[stream.Trace]:
    """The traces of a folder, read once by each replica."""
    with _reading:
        return _traces(name)


def kept(work: Work | Piece) -> Path:
    """Where the reporter keeps a replay; raises Terminal for a name that could lead elsewhere."""
    if not re.fullmatch(r"[\w-]{1,64}", work.run):
        msg = f"run {work.run!r}: a run is named by up to 64 letters, digits, _ and -"
        raise Terminal(msg)
    return Path("runs", work.run, work.incident.replace(":", ""))


@cache
def baseline() -> stream.Counters:
    """The fault-free minute."""
    return stream.count(traces("normal"))


@intake.on("triage")
async def submit(work: Work, ctx: Context) -> dict[str, int]:
    """Take an incident; from here on it is done even if this replica dies. Answers how many pieces to expect."""
    pieces, folder = windows(work.incident) * SHARDS, kept(work)
    await ctx.publish("intake", "replay", work, key=work.key)
    ctx.log.info("accepted", run=folder.parts[1], incident=work.incident, pieces=pieces)
    return {"pieces": pieces}


@intake.on("replay")
async def replay(work: Work, ctx: Context) -> None:
    """Hand out window after window at the pace of the replay."""
    total = windows(work.incident)
    for window in range(total):
        for shard in range(SHARDS):
            piece = Piece(work.run, work.incident, work.speed, window, shard)
            await ctx.publish("collector", "read", piece, key=piece.key)
        ctx.progress((window + 1) / total, f"{work.incident} window {window + 1} of {total}")
        await asyncio.sleep(stream.WINDOW / work.speed if work.speed > 0 else 0)


@collector.on("read")
async def read(piece: Piece, ctx: Context) -> None:
    """Read a piece at the pace of the replay and pass on what was counted."""
    every = await asyncio.to_thread(traces, piece.incident)
    begins = every[0].start + piece.window * stream.WINDOW
    mine = [
        trace for trace in every if begins <= trace.start < begins + stream.WINDOW and stream.shard_of(trace.trace, SHARDS) == piece.shard
    ]
    clock = 0.0
    for trace in mine:
        pause = trace.start - begins - clock
        clock += pause
        await asyncio.sleep(pause / piece.speed if piece.speed > 0 else 0)
    await ctx.publish("analysts/analyst", "score", Counted(piece, stream.count(mine)), key=piece.key)


@analyst.on("score")
async def score(counted: Counted, ctx: Context) -> None:
    """Compare a piece with the fault-free minute."""
    base = await asyncio.to_thread(baseline)
    scored = Scored(counted.piece, triage.compare(counted.counters, base))
    await ctx.publish("reporting/reporter", "collect", scored, key=counted.piece.key)


@reporter.on("collect")
def collect(scored: Scored) -> None:
    """Keep what was found in a piece: one file each in this replica's own folder, so that a second copy changes nothing."""
    piece = scored.piece
    file = kept(piece) / f"{piece.window}-{piece.shard}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(f".{threading.get_ident()}")
    part.write_text(json.dumps(scored.evidence), encoding="utf-8")
    part.replace(file)


@reporter.on("report")
def conclude(work: Work, ctx: Context) -> dict[str, Any]:
    """Merge what has arrived, rank the services and write the report once all is there."""
    folder = kept(work)
    found = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.json"))}
    expected = windows(work.incident) * SHARDS
    answer: dict[str, Any] = {"incident": work.incident, "expected": expected, "arrived": len(found)}
    if len(found) < expected:
        return answer
    phases = triage.phases((int(name.partition("-")[0]) * stream.WINDOW, evidence) for name, evidence in found.items())
    total = triage.merge(phases.values())
    answer |= {"lines": total["lines"], "spans": total["spans"], "causes": triage.rank(phases["before"], phases["during"])[:5]}
    folder.with_suffix(".report").write_text(json.dumps(answer, indent=1), encoding="utf-8")
    ctx.log.info("report written", incident=work.incident, first=answer["causes"][0]["service"] if answer["causes"] else "none")
    return answer


@reporter.start
def forget_old_runs() -> None:
    """Keep the newest runs only."""
    runs = sorted(Path("runs").glob("*"), key=lambda run: run.stat().st_mtime, reverse=True)
    for run in runs[KEPT_RUNS:]:
        shutil.rmtree(run)


@intake.on("report")
async def ask_analyst(work: Work, ctx: Context) -> object:
    """The report for the outside, or how much of it has arrived."""
    return await ctx.ask("analysts/analyst", "report", work)


@analyst.on("report")
async def ask_reporter(work: Work, ctx: Context) -> object:
    """Pass the question on: only analysts are linked to reporting."""
    return await ctx.ask("reporting/reporter", "report", work)
