"""What every verb is handed: which home, which system, which output format, and the doors to the control plane and the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from quarterdeck.cli.aim import Aim
from quarterdeck.cli.screen import Screen, clean
from quarterdeck.client.contexts import Context, Contexts, chosen
from quarterdeck.client.doors import Place
from quarterdeck.client.wire import Document, Wire
from quarterdeck.clock import SystemClock
from quarterdeck.errors import QuarterdeckError, UserError
from quarterdeck.model.home import Home

_ANSWERS_WITHIN: Final = 2.0
"""Seconds for the names of the systems, which only a hint needs."""
_COMMANDS: Final = frozenset({"command", "next"})
"""Fields of documents that hold commands for people."""


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
    said: tuple[str, ...] = ()
    """The options that lead to this control plane, where it is not found without them."""

    @classmethod
    def begin(cls, choices: Choices) -> Session:
        """From the options and this process's environment and streams. Raises UserError or NotFound for a context that makes no sense."""
        contexts = Contexts.read(os.environ)
        place, context = chosen(contexts, choices.home, choices.context, os.environ)
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
            _said(choices, contexts, place),
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
        """Tell people something that is no error, on stderr; commands in it reach what this session reaches."""
        if not self.quiet:
            self.words.line(self.told(words))

    def next(self, words: str) -> None:
        """The next useful command below an answer, for people at a terminal only: scripts read nothing new."""
        if self.words.width and self.screen.width and not (self.machine or self.quiet):
            self.words.lines(*self.words.listed(f"{self.words.paint('next:', 'dim')} ", self.aimed(clean(words))))

    def aimed(self, commands: str) -> str:
        """Commands with ` · ` between them, each with what it needs to reach this control plane and this system."""
        bare = Aim(self.said)
        if not self.system and replace(bare, several=True).commands(commands) == bare.commands(commands):
            return bare.commands(commands)  # it does not matter how many systems run
        return self._aim.commands(commands)

    @property
    def apart(self) -> str | None:
        """The system, where it has to be named because several run."""
        return (self._aim.system or None) if self.system else None

    def aimed_in(self, document: Document) -> Document:
        """A document as people read it, with the same done to the commands in it."""
        return {name: self._aimed_field(name, value) for name, value in document.items()}

    def _aimed_field(self, name: str, value: Any) -> Any:
        match value:
            case str() if name in _COMMANDS:
                return self.told(value)
            case list():
                return [self._aimed_field(name, one) for one in value]
            case Mapping():
                return self.aimed_in(dict(value))
        return value

    def told(self, words: str) -> str:
        """A sentence, with what the commands in it need."""
        if "qd " not in words:
            return words
        before, mark, commands = words.partition("next: ")
        if mark:
            return f"{self.told(before)}{mark}{self.aimed(commands)}"
        return (self._aim if self.system else Aim(self.said)).text(words)

    @contextmanager
    def aiming(self, given: Mapping[str, Any]) -> Iterator[None]:
        """The hints of errors in it get what their commands need; `given` are the arguments of a verb, whose target may name a system."""
        try:
            yield
        except QuarterdeckError as error:
            named = next((value for key in ("target", "name") if isinstance(value := given.get(key), str)), "")
            there = self.aimed_at(named)[0] if self.system is None else self
            error.hint = there.told(error.hint)
            raise

    @cached_property
    def _aim(self) -> Aim:
        """By the systems that run; where nobody tells, a system that was named is named again."""
        try:
            found = Wire(self.place, SystemClock(), absence=0).get("/v1/systems", timeout=_ANSWERS_WITHIN)["items"]
        except QuarterdeckError:
            return Aim(self.said, self.system or "")
        names = [str(one["name"]) for one in found]
        several = len(names) > 1
        return Aim(self.said, self.system if several and self.system in names else "", several)

    def warn(self, warnings: Iterable[str]) -> None:
        """Show what the control plane is uneasy about; a warning may have an excerpt of several lines."""
        for warning in warnings:
            first, *more = warning.splitlines() or [""]
            self.say("\n".join([f"warning: {clean(first)}", *map(clean, more)]))

    def aimed_at(self, target: str) -> tuple[Session, str]:
        """`system:cluster/agent` taken apart: this session for that system, and the target inside it."""
        system, mark, inside = target.partition(":")
        return (replace(self, system=system), inside) if mark else (self, target)

    def within(self, items: Iterable[Mapping[str, Any]]) -> Session:
        """This session; where it names no system, for the one that the things of a list are of, if they are of one."""
        systems = {str(item["system"]) for item in items if item.get("system")}
        return replace(self, system=systems.pop()) if self.system is None and len(systems) == 1 else self


def _said(choices: Choices, contexts: Contexts, place: Place) -> tuple[str, ...]:
    """The option that chose a place, unless the same one is found without it."""
    if choices.home is None and not choices.context:
        return ()
    try:
        needed = chosen(contexts, None, None, os.environ)[0] != place
    except UserError:  # without it nothing is found
        needed = True
    named = ("--context", choices.context) if choices.context else ("--home", str(place.root if isinstance(place, Home) else choices.home))
    return named if needed else ()
