"""What every verb is handed: which home, which system, which output format, and the doors to the control plane and the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from quarterdeck.cli.client import Client
from quarterdeck.cli.screen import Screen, clean
from quarterdeck.clock import SystemClock
from quarterdeck.model.home import Home


class Output(StrEnum):
    """How data is printed."""

    table = "table"
    wide = "wide"
    json = "json"
    yaml = "yaml"
    name = "name"


@dataclass(frozen=True, slots=True)
class Choices:
    """The options shared by all verbs, as given; None where nothing was said."""

    home: Path | None = None
    system: str | None = None
    output: Output | None = None
    quiet: bool = False

    def over(self, outer: Choices) -> Choices:
        """These, and what was said before the verb where these are silent."""
        return Choices(self.home or outer.home, self.system or outer.system, self.output or outer.output, self.quiet or outer.quiet)


@dataclass(frozen=True)
class Session:
    """One run of `qd`. `screen` is stdout, for data; `words` is stderr, for people."""

    home: Home
    system: str | None
    output: Output
    quiet: bool
    screen: Screen
    words: Screen

    @classmethod
    def begin(cls, choices: Choices) -> Session:
        """From the options and this process's environment and streams."""
        environ = {**os.environ, "QUARTERDECK_HOME": str(choices.home)} if choices.home else dict(os.environ)
        home = Home.from_environment(environ)
        return cls(
            home,
            choices.system,
            choices.output or Output.table,
            choices.quiet,
            Screen.of(sys.stdout, os.environ),
            Screen.of(sys.stderr, os.environ),
        )

    @cached_property
    def client(self) -> Client:
        """The control plane of this home."""
        return Client(self.home, SystemClock())

    @property
    def machine(self) -> bool:
        """Whether a program reads the output."""
        return self.output in (Output.json, Output.yaml, Output.name)

    def say(self, words: str) -> None:
        """Tell people something that is no error, on stderr."""
        if not self.quiet:
            self.words.line(words)

    def warn(self, warnings: Iterable[str]) -> None:
        """Show what the control plane is uneasy about; a warning may have an excerpt of several lines."""
        for warning in warnings:
            first, *more = warning.splitlines() or [""]
            self.say("\n".join([f"warning: {clean(first)}", *map(clean, more)]))

    def aimed_at(self, target: str) -> tuple[Session, str]:
        """`system:cluster/agent` taken apart: this session for that system, and the target inside it."""
        system, mark, inside = target.partition(":")
        return (replace(self, system=system), inside) if mark else (self, target)
