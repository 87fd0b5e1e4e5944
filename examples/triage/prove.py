"""The working part of `make up`: give a running fleet the incidents, kill a collector while it reads, and check that nothing is lost.

It only uses what it is handed: a way to ask an agent, a way to list replicas, a way to speak. The platform is not told about the kill.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import report

Ask = Callable[[str, str, Any], Awaitable[Any]]
Replicas = Callable[[], list[dict[str, Any]]]
ENTRY = "collectors/intake"
VICTIMS = "collectors/collector-"
DEADLINE = 120.0
"""Seconds for all incidents beyond the time the replay itself takes."""
HEAL_DEADLINE = 30.0
POLL = 0.2


@dataclass(frozen=True, slots=True)
class Healing:
    """One replica killed by us: its name, the pids, milliseconds from the signal until the list of replicas said ready again.

    `pieces_open` is how many pieces of work had not arrived at the reporter when last asked before the signal.
    """

    replica: str
    old_pid: int
    new_pid: int
    milliseconds: float
    pieces_open: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the run measured. `lost` and `lines_missing` are 0 when all is well; a negative number of lines would be double counting."""

    incidents: int
    lines: int
    spans: int
    lines_missing: int
    spans_missing: int
    messages: int
    lost: int
    seconds: float
    healing: Healing
    right: int
    in_top_three: int
    reports: Path

    @property
    def sound(self) -> bool:
        """Everything was read, and read once."""
        return self.lost == 0 and self.lines_missing == 0 and self.spans_missing == 0


async def run(ask: Ask, replicas: Replicas, say: Callable[[str], None], speed: float, reports: Path) -> Outcome:
    """Submit, kill, wait, check, write the reports. Raises TimeoutError when healing or the results do not come in time.

    `replicas` may block: it is called in a thread. `say` gets each line when it is true.
    """
    index = json.loads((Path(__file__).parent / "data" / "index.json").read_text(encoding="utf-8"))["incidents"]
    name = f"prove-{uuid.uuid4().hex[:12]}"
    began = time.monotonic()
    works = [{"run": name, "incident": incident, "speed": speed} for incident in index]
    accepted = [await ask(ENTRY, "triage", work) for work in works]
    messages = sum(int(each["pieces"]) for each in accepted)
    healing = await _kill_while_reading(ask, replicas, works)
    pace = max(float(entry["windows"]) for entry in index.values()) * 15 / speed if speed > 0 else 0.0
    answers = await _finished(ask, works, began + pace + DEADLINE)
    seconds = time.monotonic() - began
    verdicts = await asyncio.to_thread(report.write, answers, reports)
    lines, spans = (sum(int(answer[what]) for answer in answers) for what in ("lines", "spans"))
    outcome = Outcome(
        incidents=len(works), lines=lines, spans=spans, messages=messages, seconds=seconds, healing=healing, reports=reports,
        lost=messages - sum(int(answer["arrived"]) for answer in answers),
        lines_missing=sum(entry["lines"] for entry in index.values()) - lines,
        spans_missing=sum(entry["spans"] for entry in index.values()) - spans,
        right=sum(verdict.place == 1 for verdict in verdicts), in_top_three=sum(1 <= verdict.place <= 3 for verdict in verdicts),
    )  # fmt: skip
    for line in sentences(outcome, speed):
        say(line)
    return outcome


def sentences(outcome: Outcome, speed: float) -> list[str]:
    """The three lines for people."""
    pace = f"{speed:g}x speed" if speed > 0 else "as fast as possible"
    healing = outcome.healing
    read = "" if outcome.sound else f" ({outcome.lines_missing:,} lines and {outcome.spans_missing:,} spans do not add up)"
    when = "while reading" if healing.pieces_open else "when all was read"
    lost = f"{outcome.lost:,} of {outcome.messages:,} messages lost"
    placed = f"root cause right in {outcome.right}, in the top three in {outcome.in_top_three}"
    return [
        f"Working   {outcome.incidents} incidents, {outcome.lines:,} log lines, {pace} … done in {outcome.seconds:.1f} s{read}",
        f"Healed    {healing.replica} killed by us (SIGKILL) {when} → answering again in {healing.milliseconds:.0f} ms; {lost}",
        f"Result    {outcome.incidents} incidents, {placed} → {outcome.reports}/",
    ]


async def _kill_while_reading(ask: Ask, replicas: Replicas, works: list[dict[str, Any]]) -> Healing:
    """Wait until some pieces are through, so that reading is under way, and kill the last of the collectors."""
    deadline = time.monotonic() + DEADLINE
    while True:
        seen = [await ask(ENTRY, "report", work) for work in works]
        if any(each["arrived"] for each in seen):
            break
        await _pause(deadline, "no collector began to read")
    still_open = sum(int(each["expected"]) - int(each["arrived"]) for each in seen)
    ready = [each for each in await asyncio.to_thread(replicas) if each["name"].startswith(VICTIMS) and each["state"] == "ready"]
    if not ready:
        msg = "no collector is ready, so none can be killed"
        raise RuntimeError(msg)
    victim = max(ready, key=lambda each: each["name"])
    healing = await asyncio.to_thread(_kill, victim["name"], int(victim["pid"]), replicas)
    return replace(healing, pieces_open=still_open)


def _kill(name: str, pid: int, replicas: Replicas) -> Healing:
    os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    while time.monotonic() < killed + HEAL_DEADLINE:
        now = next((each for each in replicas() if each["name"] == name), {})
        if now.get("state") == "ready" and now.get("pid") not in (None, pid):
            return Healing(name, pid, int(now["pid"]), (time.monotonic() - killed) * 1000)
        time.sleep(0.001)
    msg = f"{name} (pid {pid}, killed by us) was not ready again within {HEAL_DEADLINE:g} s"
    raise TimeoutError(msg)


async def _finished(ask: Ask, works: list[dict[str, Any]], deadline: float) -> list[dict[str, Any]]:
    """The answers once every piece has arrived."""
    answers: list[dict[str, Any]] = []
    for work in works:
        while "causes" not in (answer := await ask(ENTRY, "report", work)):
            await _pause(deadline, f"{work['incident']}: {answer['arrived']} of {answer['expected']} pieces arrived")
        answers.append(answer)
    return answers


async def _pause(deadline: float, otherwise: str) -> None:
    if time.monotonic() > deadline:
        raise TimeoutError(otherwise)
    await asyncio.sleep(POLL)
