"""Watching an applied revision until it is ready, has failed for good, or time is up."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from quarterdeck.cli.phases import failure_lines, ready_lines
from quarterdeck.cli.progress import Progress
from quarterdeck.cli.screen import Screen, clean
from quarterdeck.cli.session import Session
from quarterdeck.client.wire import Document, Wire
from quarterdeck.errors import QuarterdeckError, Transient

Outcome = Literal["ready", "stopped", "failed", "timeout", "superseded"]
EXIT: Final[dict[Outcome, int]] = {"ready": 0, "stopped": 5, "failed": 1, "timeout": 5, "superseded": 0}
STABLE: Final = 1.0
"""A failure that lasts this long is reported; a shorter one is a retry at work."""
_ABSENCE: Final = 15.0
_EAGER, _EAGER_FOR, _CALM = 0.05, 5.0, 0.25
_SLICE: Final = 10.0
_LOOKED_AT, _LAST_WORDS = 100, 6
_LABELLED: Final = re.compile(r" +(?:Weakened  )?")


@dataclass(frozen=True, slots=True)
class Result:
    """How it ended, the last status seen (None: none), and how long it was watched, in seconds."""

    outcome: Outcome
    status: Document | None
    seconds: float

    @property
    def exit_code(self) -> int:
        """The exit code that says so."""
        return EXIT[self.outcome]


@dataclass(slots=True)
class Watch:
    """Watches one revision of one system; `superseded` may end it early, e.g. because the file was saved again."""

    client: Wire
    system: str
    revision: int
    progress: Progress
    superseded: Callable[[], bool] = bool
    _failure: tuple[object, ...] = ()
    _failing_since: float = 0.0
    _answered: float = 0.0

    def until(self, timeout: float) -> Result:
        """Poll until the end. Raises Transient when the control plane is away and does not come back."""
        start = self._answered = self.client.clock.monotonic()
        status: Document | None = None
        outcome: Outcome | None = None
        try:
            while outcome is None:
                status = self._look() or status
                now = self.client.clock.monotonic()
                outcome = self._judge(status, now) or ("timeout" if now - start > timeout else None)
                if outcome is None:
                    time.sleep(_EAGER if now - start < _EAGER_FOR else _CALM)
        finally:
            self.progress.end()
        return Result(outcome, status, self.client.clock.monotonic() - start)

    def _look(self) -> Document | None:
        try:
            status: Document = self.client.get("/v1/status", {"system": self.system}, timeout=_SLICE)
        except Transient:
            if self.client.clock.monotonic() - self._answered > _ABSENCE:
                raise
            return None
        self._answered = self.client.clock.monotonic()
        if int(status.get("revision") or 0) < self.revision:
            return None
        self.progress.update(status)
        return status

    def _judge(self, status: Document | None, now: float) -> Outcome | None:
        if self.superseded():
            return "superseded"
        failure = (status or {}).get("failure")
        mark = tuple(failure.get(name) for name in ("phase", "step", "target")) if failure else ()
        if mark != self._failure:
            self._failure, self._failing_since = mark, now
        if status and status.get("ready"):
            return "ready"
        if status and status.get("stopped"):
            return "stopped"
        return "failed" if mark and now - self._failing_since >= STABLE else None


def last_words(client: Wire, status: Document, seconds: float) -> list[str]:
    """What a replica of the agent that failed wrote last to stderr while it was watched; nothing where that cannot be had."""
    target = str(status["failure"].get("target") or "")
    if "/" not in target or "->" in target:
        return []
    query = {"system": status["system"], "target": target, "since": seconds + STABLE, "tail": _LOOKED_AT}
    try:
        lines = [event.data for event in client.events("/v1/logs", query) if event.name != "end"]
    except QuarterdeckError:
        return []
    wrote = [line for line in lines if line.get("stream") == "err"]
    last = [line for line in wrote if line["replica"] == wrote[-1]["replica"]][-_LAST_WORDS:]
    return [f"   {clean(line['replica'])} | {clean(line['text'])}" for line in last]


def aimed(session: Session, lines: Sequence[str]) -> list[str]:
    """The same, whose commands reach what the session reaches; what a replica wrote stays as it is."""
    return [session.told(line) if line.startswith((" Do: ", " Ready")) else line for line in lines]


def told_on(screen: Screen, lines: Sequence[str]) -> list[str]:
    """The same as a terminal can show them: words fold, commands to be copied stay whole, what a replica wrote goes on below itself."""
    made: list[str] = []
    for line in lines:
        if line.startswith(" Do: "):
            made += screen.listed(" Do: ", line.removeprefix(" Do: "))
            continue
        label = _LABELLED.match(line)
        made += screen.wrapped(label[0], line[label.end() :]) if label else [line]
    return made


def _so_far(status: Document | None) -> str:
    return f": {status['sentence']}" if status and status.get("sentence") else ""


def _waiting(status: Document | None) -> list[str]:
    """The phase that is not complete, and what it says it waits for."""
    phase = next((phase for phase in (status or {}).get("phases") or () if phase["status"] != "done"), None)
    if phase is None:
        return []
    told = clean(phase.get("message") or "it does not say what for")
    return [f" Waits in {clean(phase['name'])}: {told}"]


def told(result: Result, seconds: float | None, client: Wire) -> list[str]:
    """The lines after the phases; `seconds` is the whole time it took, None when there was nothing to do."""
    match result.outcome, result.status:
        case "ready", dict(status):
            return ready_lines(status, seconds)
        case "stopped", dict(status):
            stop = status["stopped"]
            words = f" Stopped by {clean(stop['by'])}: {clean(stop['reason'])}; what was applied runs once it is started"
            return [words, f" Do: {clean(stop['command'])}"]
        case "failed", dict(status):
            first, *more = failure_lines(status)
            return [first, *last_words(client, status, result.seconds), *more]
        case "timeout", status:
            return [
                f" Not ready after {result.seconds:.0f} s{_so_far(status)}",
                *_waiting(status),
                " Do: qd status --watch · qd journal · qd down",
            ]
        case _:
            return [" Saved again: starting over"]
