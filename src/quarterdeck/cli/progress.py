"""How a deployment is shown while it runs: a live tree on a terminal, plain lines in a pipe, JSON lines for programs, or nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, Final, Protocol, TextIO

from quarterdeck.cli.phases import phase_lines
from quarterdeck.cli.screen import Screen
from quarterdeck.clock import Clock
from quarterdeck.version import API_VERSION

Status = Mapping[str, Any]
EVERY: Final = 5.0
"""Seconds of silence after which a phase that runs is told of again."""


class Style(StrEnum):
    """The values of `--progress`."""

    tty = "tty"
    plain = "plain"
    json = "json"


class Progress(Protocol):
    """Told of each status seen; `end` says that no more will come."""

    def update(self, status: Status) -> None:
        """Show what is new."""
        ...

    def end(self) -> None:
        """Leave the last state on the screen."""
        ...


class Silent:
    """Shows nothing."""

    def update(self, status: Status) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""


class Stopwatch:
    """How long phases run: as the control plane says, else since they were first seen running. It goes on between two statuses."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began: dict[str, float] = {}

    def look(self, status: Status) -> None:
        """Begin with phases that run, and forget those that do not."""
        now = self._clock.monotonic()
        running = {
            str(phase["name"]): now - float(phase.get("seconds") or 0.0) for phase in status["phases"] if phase["status"] == "running"
        }
        self._began = {name: min(began, self._began.get(name, began)) for name, began in running.items()}

    def seconds(self, phase: Mapping[str, Any]) -> float | None:
        """Seconds that a phase took, or has been running so far; None for one that is still to come."""
        began = self._began.get(phase["name"])
        return phase.get("seconds") if began is None else round(self._clock.monotonic() - began, 3)


class Plain:
    """One line for each phase as it ends, in the order of the phases; in a long silence one now and then for the phase that runs."""

    def __init__(self, screen: Screen, clock: Clock) -> None:
        self._screen = screen
        self._clock = clock
        self._watch = Stopwatch(clock)
        self._printed = 0
        self._spoke = clock.monotonic()
        self._last: Status | None = None

    def update(self, status: Status) -> None:
        """Print the phases that are done and were not printed yet."""
        self._last = status
        self._watch.look(status)
        for phase in status["phases"][self._printed :]:
            if phase["status"] != "done":
                if phase["status"] == "running" and self._clock.monotonic() - self._spoke >= EVERY:
                    self._say(phase)
                return
            self._say(phase)
            self._printed += 1

    def end(self) -> None:
        """Print what failed."""
        phases = self._last["phases"] if self._last else ()
        for phase in phases:
            if phase["status"] == "failed":
                self._say(phase)

    def _say(self, phase: Mapping[str, Any]) -> None:
        self._screen.lines(*phase_lines(self._screen, {**phase, "seconds": self._watch.seconds(phase)}))
        self._spoke = self._clock.monotonic()


class Lines:
    """One JSON object for each change of a phase, and now and then for the one that runs; a fault is in the status at the end."""

    def __init__(self, out: TextIO, clock: Clock) -> None:
        self._out = out
        self._clock = clock
        self._watch = Stopwatch(clock)
        self._seen: dict[str, tuple[str, float]] = {}

    def update(self, status: Status) -> None:
        """Print the phases whose status changed, and those that have been running for long since they were last told."""
        self._watch.look(status)
        now = self._clock.monotonic()
        for phase in status["phases"]:
            known, at = self._seen.get(phase["name"], ("", now))
            if known == phase["status"] and not (known == "running" and now - at >= EVERY):
                continue
            self._seen[phase["name"]] = (phase["status"], now)
            head = {"apiVersion": API_VERSION, "kind": "Phase", "revision": status.get("revision")}
            print(json.dumps({**head, **phase, "seconds": self._watch.seconds(phase)}), file=self._out, flush=True)

    def end(self) -> None:
        """Nothing is pending."""


@contextmanager
def told_meanwhile(say: Callable[[str], None], clock: Clock, what: str, every: float = EVERY) -> Iterator[None]:
    """While the body runs: `what` with the seconds so far, each `every` seconds. For what is waited for in one piece, as an answer is."""
    begun, over = clock.monotonic(), threading.Event()

    def tell() -> None:
        while not over.wait(every):
            say(f"{what}, {clock.monotonic() - begun:.0f} s so far")

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()


def choose(style: Style | None, screen: Screen, clock: Clock, *, quiet: bool) -> Progress:
    """What was asked for, else what the screen can show."""
    if style is Style.json:
        return Lines(screen.out, clock)
    if quiet:
        return Silent()
    if style is Style.tty or (style is None and screen.live and not screen.ascii):
        from quarterdeck.cli.live import Live  # noqa: PLC0415 Rich is for terminals

        return Live(screen, Stopwatch(clock))
    return Plain(screen, clock)
