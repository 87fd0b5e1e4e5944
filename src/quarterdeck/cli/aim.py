"""Commands that `qd` proposes, completed so that they reach the same control plane and the same system when they are copied. Pure.

What was said on the command line (`--context`, `--home`, `-s`) is said again right behind `qd`: there it is understood whatever stands
behind the verb, and where a command is part of a sentence nobody can tell where it ends. Nothing is said that the command has no use for.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from quarterdeck.cli.verbs import Reach, find

_PROPOSED: Final = re.compile(r"(?<![\w./-])(?<!on that machine with )(?<!on its machine with )qd (?=[a-z])")
"""A command in a sentence. What is to be said on another machine is said there as it is."""
_WHOLE: Final = re.compile(r"(?:^|(?<=&& ))qd (?=[a-z])")
"""Where a list of commands has one: text inside of one, a reason for example, may speak of `qd` too."""
_BEHIND: Final = re.compile(r" · |; |[\n]")
_OF_HOME: Final = frozenset({"systems", "tokens"})
_OF_ANY: Final = frozenset({"changes", "tasks", "questions", "effects", "messages"})
"""Nouns that are of no system, and those that are listed for all systems where none is named."""
SYSTEMS: Final = "qd get systems"


@dataclass(frozen=True, slots=True)
class Aim:
    """`place` are options that lead to the control plane, none where it is found without; `system` is named where several run.

    `several`: more than one runs; without a `system` it is not known which one is meant.
    """

    place: tuple[str, ...] = ()
    system: str = ""
    several: bool = False

    def text(self, words: str) -> str:
        """A sentence with commands in it."""
        return _PROPOSED.sub(lambda found: self._behind(found[0], words[found.end() :]), words)

    def commands(self, listed: str) -> str:
        """Commands with ` · ` between them. One that cannot be done without a system that nobody named gives way to the list of systems."""
        told: list[str] = []
        for one in listed.split(" · "):
            command = SYSTEMS if self._lost(one) else one
            aimed = _WHOLE.sub(lambda found, command=command: self._behind(found[0], command[found.end() :]), command)  # type: ignore[misc]
            told += [] if command == SYSTEMS and aimed in told else [aimed]
        return " · ".join(told)

    def _lost(self, command: str) -> bool:
        begun = _WHOLE.match(command)
        if begun is None or not self.several or self.system:
            return False
        words = _words(command[begun.end() :])
        return reach(words) == "system" and not _says(words, "-s", "--system") and not any(":" in word for word in words)

    def _behind(self, begun: str, rest: str) -> str:
        """`qd ` and what has to be said before the rest."""
        words = _words(rest)
        known = reach(words)
        said = [*self.place] if known != "nothing" and not _says(words, "--home", "--context") else []
        if self.system and known in ("system", "systems") and not _says(words, "-s", "--system") and not _names(words, self.system):
            said += ["-s", self.system]
        return f"{begun}{shlex.join(said)} " if said else begun


def reach(words: Sequence[str]) -> Reach:
    """What a command, as its words behind `qd`, is about. What is no verb is about nothing."""
    from quarterdeck.model.work import is_task_id  # noqa: PLC0415 only where something is proposed

    verb = find(words[0]) if words else None
    if verb is None or any(word.rstrip(",.") == "--help" for word in words):
        return "nothing"
    part = find(words[1], verb.parts) if len(words) > 1 else None
    named = [word for word in words[2 if part else 1 :] if not word.startswith("-")]
    first = named[0] if named else ""
    match verb.name, (part or verb).reach:
        case "explain", _ if first == "spec" or re.match(r"spec\.|[Ee]\d+$", first):
            return "nothing"
        case "open", _ if first == "docs":
            return "home"
        case "open", "systems" if first and not is_task_id(first):
            return "system"
        case "get" | "top", _ if first in _OF_HOME:
            return "home"
        case "get" | "top", _ if first in _OF_ANY:
            return "systems"
        case _, "system" | "systems" if is_task_id(first):
            return "home"
        case _, found:
            return found


def _words(rest: str) -> list[str]:
    """Of one command, up to what follows it."""
    command = _BEHIND.split(rest, maxsplit=1)[0]
    try:
        return shlex.split(command)
    except ValueError:  # an apostrophe of the sentence around it
        return command.split()


def _says(words: Sequence[str], *options: str) -> bool:
    return any(word.partition("=")[0] in options for word in words)


def _names(words: Sequence[str], system: str) -> bool:
    """Whether a target is written `system:…`."""
    return any(word.startswith(f"{system}:") for word in words)
