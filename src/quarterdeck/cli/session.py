"""What every verb is handed: which home, which system, which output format, and the doors to the control plane and the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from quarterdeck.cli.screen import Screen, clean
from quarterdeck.client.contexts import Context, Contexts, chosen
from quarterdeck.client.doors import Place
from quarterdeck.client.wire import Wire
from quarterdeck.clock import SystemClock
from quarterdeck.errors import UserError
from quarterdeck.model.home import Home


class Output(StrEnum):
    """How data is printed."""

    table = "table"
    wide = "wide"
    json = "json"
    yaml = "yaml"
    name = "name"


@dataclass(frozen=True, slots=True)
class Pick:
    """`-o jsonpath=PATH`: only what a path finds in the document (RFC 9535), e.g. `$.items[*].name`."""

    path: str


@dataclass(frozen=True, slots=True)
class Choices:
    """The options shared by all verbs, as given; None where nothing was said."""

    home: Path | None = None
    system: str | None = None
    output: Output | Pick | None = None
    quiet: bool = False
    context: str | None = None
    yes: bool = False
    no_input: bool = False

    def over(self, outer: Choices) -> Choices:
        """These, and what was said before the verb where these are silent."""
        return Choices(**{each.name: getattr(self, each.name) or getattr(outer, each.name) for each in fields(self)})


@dataclass(frozen=True)
class Session:
    """One run of `qd`. `screen` is stdout, for data; `words` is stderr, for people."""

    place: Place
    system: str | None
    output: Output | Pick
    quiet: bool
    screen: Screen
    words: Screen
    context: Context | None = None
    yes: bool = False
    no_input: bool = False

    @classmethod
    def begin(cls, choices: Choices) -> Session:
        """From the options and this process's environment and streams. Raises UserError or NotFound for a context that makes no sense."""
        place, context = chosen(Contexts.read(os.environ), choices.home, choices.context, os.environ)
        return cls(
            place,
            choices.system,
            choices.output or Output.table,
            choices.quiet,
            Screen.of(sys.stdout, os.environ),
            Screen.of(sys.stderr, os.environ),
            context,
            choices.yes,
            choices.no_input,
        )

    @property
    def home(self) -> Home:
        """The state folder. Raises UserError when it is on another machine."""
        if isinstance(self.place, Home):
            return self.place
        hint = "run this on that machine, or choose a context with a home: qd context list"
        raise UserError(f"the home of {self.place} is not on this machine", hint=hint)

    @cached_property
    def client(self) -> Wire:
        """The control plane of this home or URL."""
        return Wire(self.place, SystemClock())

    @property
    def machine(self) -> bool:
        """Whether a program reads the output."""
        return isinstance(self.output, Pick) or self.output in (Output.json, Output.yaml, Output.name)

    def say(self, words: str) -> None:
        """Tell people something that is no error, on stderr."""
        if not self.quiet:
            self.words.line(words)

    def next(self, words: str) -> None:
        """The next useful command below an answer, for people at a terminal only: scripts read nothing new."""
        if self.words.width and self.screen.width and not (self.machine or self.quiet):
            self.words.lines(*self.words.listed(f"{self.words.paint('next:', 'dim')} ", clean(words)))

    def warn(self, warnings: Iterable[str]) -> None:
        """Show what the control plane is uneasy about; a warning may have an excerpt of several lines."""
        for warning in warnings:
            first, *more = warning.splitlines() or [""]
            self.say("\n".join([f"warning: {clean(first)}", *map(clean, more)]))

    def aimed_at(self, target: str) -> tuple[Session, str]:
        """`system:cluster/agent` taken apart: this session for that system, and the target inside it."""
        system, mark, inside = target.partition(":")
        return (replace(self, system=system), inside) if mark else (self, target)
