"""The fleet: an incident is one task; a collector reads each service of it, an analyst judges what it read, the reporter writes the report.

Whoever is killed, the task goes on with somebody else from where it was: windows that were read are not read again, and a report is
written once::

    qd task submit ─> intake ─┬─ read, for each service ─> collector ─ judge ─> analyst
                              └─ conclude ─> analyst ─ report ─> reporter

`speed` is how much faster than the incident went it is replayed: 20 reads a minute in three seconds, 0 reads as fast as it can.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import threading
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import stream
import triage

from quarterdeck import Agent, Context, Terminal

DATA = Path(__file__).parent / "data"
KEPT_RUNS = 32
collector, intake, analyst, reporter = Agent(concurrency=40), Agent(), Agent(), Agent()
"""A collector mostly waits for its windows to pass; three of them can read all services of four incidents at once."""
_reading = threading.Lock()


@dataclass(frozen=True)
class Incident:
    """What to look into. `run` is the caller's name for this replay; its reports are kept together."""

    run: str
    incident: str
    speed: float = 0.0


@dataclass(frozen=True)
class Reading:
    """One service of an incident."""

    incident: str
    service: str
    speed: float


@dataclass(frozen=True)
class Ranking:
    """What an incident came to: services by suspicion, and how much was read."""

    run: str
    incident: str
    services: int
    lines: int
    spans: int
    causes: list[triage.Cause]


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
def traces(name: str) -> list[stream.Trace]:
    """The traces of a folder."""
    folder = DATA / name.replace(":", "")
    return stream.traces([folder / "log.csv.gz"], [folder / "trace.csv.gz"])


@cache
def _counted(name: str, window: int) -> dict[str, stream.Counters]:
    every = traces(name)
    begins = every[0].start + window * stream.WINDOW
    return stream.by_service(trace for trace in every if begins <= trace.start < begins + stream.WINDOW)


@cache
def _baseline() -> stream.Counters:
    return stream.count(traces("normal"))


def counted(incident: str, window: int, service: str) -> stream.Counters:
    """What one service did in one window; files are read and counted once by each replica."""
    with _reading:
        return _counted(incident, window).get(service, stream.nothing())


def services(incident: str) -> list[str]:
    """Every service that wrote a line or a span."""
    with _reading:
        every = traces(incident)
    return sorted({event.service for trace in every for event in (*trace.lines, *trace.spans)})


@intake.task("triage")
async def look_into(order: Incident, ctx: Context) -> Ranking:
    """Have every service read and judged, and the findings put together."""
    if not re.fullmatch(r"[\w-]{1,64}", order.run):
        msg = f"run {order.run!r}: a run is named by up to 64 letters, digits, _ and -"
        raise Terminal(msg)
    windows(order.incident)
    names = await ctx.step("services", services, order.incident)
    readings = [Reading(order.incident, name, order.speed) for name in names]
    found = await asyncio.gather(*(ctx.delegate("collector", "read", reading, name=reading.service) for reading in readings))
    evidence = {phase: triage.merge(each[phase] for each in found) for phase in found[0]}
    ctx.log.info("read", incident=order.incident, services=len(names))
    return await ctx.delegate("analysts/analyst", "conclude", {"order": order, "services": len(names), "evidence": evidence}, into=Ranking)


@collector.task("read")
async def read(reading: Reading, ctx: Context) -> Any:
    """Read a service window by window at the pace of the replay, and have it judged."""
    total, seen = windows(reading.incident), []
    for window in range(total):
        seen.append(await ctx.step(f"window {window}", read_window, reading, window))
        ctx.progress((window + 1) / total, f"{reading.service} of {reading.incident}")
    return await ctx.delegate("analysts/analyst", "judge", seen)


async def read_window(reading: Reading, window: int) -> stream.Counters:
    """A window is there when it has passed."""
    await asyncio.sleep(stream.WINDOW / reading.speed if reading.speed > 0 else 0)
    return await asyncio.to_thread(counted, reading.incident, window, reading.service)


@analyst.task("judge")
def judge(seen: list[stream.Counters]) -> dict[triage.Phase, triage.Evidence]:
    """Compare a service with the fault-free minute, window by window."""
    with _reading:
        base = _baseline()
    return triage.phases((window * stream.WINDOW, triage.compare(counters, base)) for window, counters in enumerate(seen))


@analyst.task("conclude")
async def conclude(found: dict[str, Any], ctx: Context) -> Ranking:
    """Rank the services and hand the ranking to the reporter."""
    order, evidence = Incident(**found["order"]), found["evidence"]
    total = triage.merge(evidence.values())
    causes = triage.rank(evidence["before"], evidence["during"])[:5]
    ranking = Ranking(order.run, order.incident, found["services"], total["lines"], total["spans"], causes)
    return await ctx.delegate("reporting/reporter", "report", ranking, into=Ranking)


@reporter.task("report")
async def write_report(ranking: Ranking, ctx: Context) -> Ranking:
    """Write the report, once."""
    await ctx.effect(f"report {ranking.incident}", write_once, ranking.run, ranking.incident, json.dumps(asdict(ranking), indent=1))
    ctx.log.info("report written", incident=ranking.incident, first=ranking.causes[0]["service"] if ranking.causes else "none")
    return ranking


def write_once(run: str, incident: str, text: str) -> None:
    """Fails where the file is already: a second report would be one too many."""
    file = Path("runs", run, f"{incident.replace(':', '')}.json")
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("x", encoding="utf-8") as report:
        report.write(text)


@reporter.start
def forget_old_runs() -> None:
    """Keep the newest runs only."""
    runs = sorted(Path("runs").glob("*"), key=lambda run: run.stat().st_mtime, reverse=True)
    for run in runs[KEPT_RUNS:]:
        shutil.rmtree(run)
