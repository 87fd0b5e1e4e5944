"""How a deployment is shown while it runs: a live tree on a terminal, plain lines in a pipe, JSON lines for programs, or nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Protocol, TextIO

from quarterdeck.cli.phases import phase_lines
from quarterdeck.cli.screen import Screen
from quarterdeck.version import API_VERSION

Status = Mapping[str, Any]


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


class Plain:
    """One line for each phase as it ends, in the order of the phases."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._printed = 0
        self._last: Status | None = None

    def update(self, status: Status) -> None:
        """Print the phases that are done and were not printed yet."""
        self._last = status
        for phase in status["phases"][self._printed :]:
            if phase["status"] != "done":
                return
            self._screen.lines(*phase_lines(self._screen, phase))
            self._printed += 1

    def end(self) -> None:
        """Print what failed."""
        phases = self._last["phases"] if self._last else ()
        failed = [phase for phase in phases if phase["status"] == "failed"]
        for phase in failed:
            self._screen.lines(*phase_lines(self._screen, phase))


class Lines:
    """One JSON object for each change of a phase; a fault is in the status that follows at the end."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._seen: dict[str, str] = {}

    def update(self, status: Status) -> None:
        """Print the phases whose status changed."""
        for phase in status["phases"]:
            if self._seen.get(phase["name"]) != phase["status"]:
                self._seen[phase["name"]] = phase["status"]
                print(
                    json.dumps({"apiVersion": API_VERSION, "kind": "Phase", "revision": status.get("revision"), **phase}),
                    file=self._out,
                    flush=True,
                )

    def end(self) -> None:
        """Nothing is pending."""


def choose(style: Style | None, screen: Screen, *, quiet: bool) -> Progress:
    """What was asked for, else what the screen can show."""
    if style is Style.json:
        return Lines(screen.out)
    if quiet:
        return Silent()
    if style is Style.tty or (style is None and screen.live and not screen.ascii):
        from quarterdeck.cli.live import Live  # noqa: PLC0415 Rich is for terminals

        return Live(screen)
    return Plain(screen)
