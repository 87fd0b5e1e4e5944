"""The working part of `make up`: give a running fleet the incidents, kill a collector in the middle of its tasks, and check every account.

It only uses what it is handed: the doors of the control plane, a way to speak, and the folder in which the reporter really wrote. The
platform is not told about the kill. That each incident ended once, and each report was written once, is read from the recorded history of
the tasks and, beside it, from the files.
"""

from __future__ import annotations

import json
import os
import signal
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import report

from quarterdeck.clock import SystemClock

Document = dict[str, Any]
ENTRY, VERB = "collectors/intake", "triage"
VICTIMS = "collectors/collector"
ENDS = ("done", "failed", "dead", "cancelled")
DEADLINE = 120.0
"""Seconds for all incidents beyond the time the replay itself takes."""
HEAL_DEADLINE = 30.0
POLL = 0.1


class Doors(Protocol):
    """What is asked of the control plane; documents are those of its API. All of it may block."""

    def submit(self, target: str, verb: str, payload: Document, key: str) -> Document: ...  # noqa: D102

    def task(self, task: str, wait: float = 0.0) -> Document: ...  # noqa: D102

    def tree(self, task: str) -> list[Document]: ...  # noqa: D102

    def history(self, task: str) -> list[Document]: ...  # noqa: D102

    def working(self, target: str) -> list[Document]: ...  # noqa: D102

    def replicas(self) -> list[Document]: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Healing:
    """One replica killed by us: its name, the pids, milliseconds from the signal until it was ready again by the list.

    `tasks` are those it was working on when last asked before the signal.
    """

    replica: str
    old_pid: int
    new_pid: int
    milliseconds: float
    tasks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Account:
    """What the records say of all tasks: how many there are, not done, or ended more often than once; of reports likewise.

    `went_on`: tasks of the killed replica that somebody else finished; `kept`: windows of theirs that were not read again.
    """

    tasks: int
    lost: int
    ended_twice: int
    reports: int
    called: int
    files: int
    went_on: int
    kept: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the run measured. `lines_missing` is 0 when all is well; a negative number would be double counting."""

    incidents: int
    lines: int
    spans: int
    lines_missing: int
    spans_missing: int
    account: Account
    seconds: float
    healing: Healing
    right: int
    in_top_three: int
    folder: Path

    @property
    def sound(self) -> bool:
        """Everything was read once, everything ended once, every report was written once."""
        told = self.account
        once = told.reports == told.called == told.files == self.incidents
        return once and not (told.lost or told.ended_twice or self.lines_missing or self.spans_missing)


def run(doors: Doors, say: Callable[[str], None], speed: float, reports: Path, written: Path) -> Outcome:
    """Submit, kill, wait, check, write the reports. Raises TimeoutError when healing or the results do not come in time.

    `say` gets each line when it is true. The reporter keeps a run's files in a folder `runs/RUN` somewhere below `written`.
    """
    index = json.loads((Path(__file__).parent / "data" / "index.json").read_text(encoding="utf-8"))["incidents"]
    name = f"prove-{uuid.uuid4().hex[:12]}"
    began = time.monotonic()
    orders = [{"run": name, "incident": incident, "speed": speed} for incident in index]
    roots = [doors.submit(ENTRY, VERB, order, f"{name}/{order['incident']}")["id"] for order in orders]
    healing = _kill_in_the_middle(doors, roots)
    pace = max(float(entry["windows"]) for entry in index.values()) * 15 / speed if speed > 0 else 0.0
    answers = [_finished(doors, root, began + pace + DEADLINE) for root in roots]
    seconds = time.monotonic() - began
    verdicts = report.write(answers, reports)
    lines, spans = (sum(int(answer[what]) for answer in answers) for what in ("lines", "spans"))
    files = len(list(written.glob(f"**/runs/{name}/*.json")))
    outcome = Outcome(
        incidents=len(roots), lines=lines, spans=spans, seconds=seconds, healing=healing, folder=reports,
        account=account([doors.tree(root) for root in roots], [doors.history(root) for root in roots], healing, files),
        lines_missing=sum(entry["lines"] for entry in index.values()) - lines,
        spans_missing=sum(entry["spans"] for entry in index.values()) - spans,
        right=sum(verdict.place == 1 for verdict in verdicts), in_top_three=sum(1 <= verdict.place <= 3 for verdict in verdicts),
    )  # fmt: skip
    for line in sentences(outcome, speed):
        say(line)
    return outcome


def account(trees: list[list[Document]], histories: list[list[Document]], healing: Healing, files: int) -> Account:
    """Read the records: tasks as they are, and everything that happened to them."""
    tasks = {task["id"]: task for tree in trees for task in tree}
    events = [event for history in histories for event in history]
    ends = Counter(event["task"] for event in events if event["event"] in ENDS)
    effects = [effect for task in tasks.values() for effect in task["effects"]]
    others = {event["task"] for event in events if event["event"] == "claim" and event["fence"] > 1}
    went_on = [tasks[name] for name in healing.tasks if name in others and tasks[name]["state"] == "done"]
    return Account(
        tasks=len(tasks),
        lost=sum(task["state"] != "done" for task in tasks.values()),
        ended_twice=sum(ends[name] != 1 for name in tasks),
        reports=sum(effect["outcome"] == "done" for effect in effects),
        called=sum(event["event"] == "effect.started" for event in events),
        files=files,
        went_on=len(went_on),
        kept=sum(step["fence"] < task["fence"] for task in went_on for step in task["steps"]),
    )


def sentences(outcome: Outcome, speed: float) -> list[str]:
    """The three lines for people."""
    pace = f"{speed:g}x speed" if speed > 0 else "as fast as possible"
    healing, told = outcome.healing, outcome.account
    read = ""
    if outcome.lines_missing or outcome.spans_missing:
        read = f" ({outcome.lines_missing:,} lines and {outcome.spans_missing:,} spans do not add up)"
    worked = f"{outcome.incidents} incidents, {told.tasks:,} tasks, {outcome.lines:,} log lines"
    healed = f"in the middle of {len(healing.tasks):,} tasks → answering again in {healing.milliseconds:.0f} ms"
    twice = f", {told.ended_twice:,} ended not once" if told.ended_twice else ""
    lost = f"{told.went_on:,} went on elsewhere, {told.kept:,} windows kept; {told.lost:,} of {told.tasks:,} tasks lost{twice}"
    once = told.called == told.files == told.reports == outcome.incidents
    written = "each reported once" if once else f"{told.reports} reports in {told.called} calls and {told.files} files"
    placed = f"root cause right in {outcome.right}, in the top three in {outcome.in_top_three}"
    return [
        f"Working   {worked}, {pace} … done in {outcome.seconds:.1f} s{read}",
        f"Healed    {healing.replica} killed by us (SIGKILL) {healed}; {lost}",
        f"Result    {outcome.incidents} incidents, {written}; {placed} → {outcome.folder}/",
    ]


def _kill_in_the_middle(doors: Doors, roots: list[str]) -> Healing:
    """Wait until a collector has kept the first windows of what it reads, and kill it."""
    deadline = time.monotonic() + DEADLINE
    victim = max(each["name"] for each in doors.replicas() if each["name"].startswith(f"{VICTIMS}-") and each["state"] == "ready")
    while True:
        mine = [task for task in doors.working(VICTIMS) if task["owner"] == victim]
        if mine and doors.task(mine[0]["id"])["steps"]:
            break
        if all(doors.task(root)["state"] in ENDS for root in roots):
            msg = f"{victim} was not seen at work, so it cannot be killed in the middle of it"
            raise RuntimeError(msg)
        _pause(deadline, "no collector began to read")
    pid = next(int(each["pid"]) for each in doors.replicas() if each["name"] == victim)
    return _kill(victim, pid, doors, tuple(task["id"] for task in mine))


def _kill(name: str, pid: int, doors: Doors, tasks: tuple[str, ...]) -> Healing:
    killed = SystemClock().now()
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + HEAL_DEADLINE
    while time.monotonic() < deadline:
        now = next((each for each in doors.replicas() if each["name"] == name), {})
        if now.get("state") == "ready" and now.get("pid") not in (None, pid):
            return Healing(name, pid, int(now["pid"]), (datetime.fromisoformat(now["since"]).timestamp() - killed) * 1000, tasks)
        time.sleep(0.02)  # asking without a pause would take the processor from what is being healed
    msg = f"{name} (pid {pid}, killed by us) was not ready again within {HEAL_DEADLINE:g} s"
    raise TimeoutError(msg)


def _finished(doors: Doors, root: str, deadline: float) -> Document:
    """The result of an incident once its task has ended."""
    while (task := doors.task(root, wait=10.0))["state"] != "done":
        if task["state"] in (*ENDS, "unknown"):
            msg = f"task {root} is {task['state']}: {task['error'] or task['reason']}"
            raise RuntimeError(msg)
        _pause(deadline, f"task {root} is {task['state']} still")
    result: Document = task["result"]
    return result


def _pause(deadline: float, otherwise: str) -> None:
    if time.monotonic() > deadline:
        raise TimeoutError(otherwise)
    time.sleep(POLL)
