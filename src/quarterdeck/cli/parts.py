"""What was meant by a word behind a verb that only has parts, `qd stop front/greeter`: the command line with the part that was left out."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Final

from quarterdeck.cli.usage import UsageError
from quarterdeck.cli.verbs import Verb
from quarterdeck.model.wording import nearest
from quarterdeck.model.work import is_task_id

_MEANT: Final[Mapping[str, str]] = {
    "budget": "qd budget resume {} --reason TEXT",
    "context": "qd context use {}",
    "journal": "qd journal --target {}",
    "message": "qd message get {}",
    "task": "qd task get {}",
    "token": "qd get token {}",
}
"""The likeliest line for a word that is no part, e.g. a target or an id."""
_ALIKE: Final = 0.7
"""From how much two words have in common on one is a part misspelt: `flet` is, `front` is no `fleet`."""
_PLACE: Final = re.compile(r"[a-z0-9][a-z0-9_-]*")


def refuse_part(verb: Verb, word: str) -> UsageError:
    """The refusal of a word that is no part of a verb, with what should have been typed."""
    names = [part.name for part in verb.parts]
    if near := nearest(word, names, _ALIKE):
        return UsageError(f"qd {verb.name} has no part {word!r}; did you mean {near!r}?", hint=f"more: qd {verb.name} {near} --help")
    listed = f"its parts: {', '.join(names)} · more: qd {verb.name} --help"
    return UsageError(f"qd {verb.name} has no part {word!r}", hint=meant(verb.name, word) or listed)


def early_option(verb: Verb) -> str:
    """The hint where an option stands before the part whose it is."""
    return f"first one of {', '.join(part.name for part in verb.parts)}, then its options: qd {verb.name} PART --help"


def meant(verb: str, word: str) -> str:
    """The line that does with a word what the verb says; empty where nobody can tell."""
    if verb in ("stop", "start"):
        return _halting(verb, word)
    return _MEANT[verb].format(shlex.quote(word)) if verb in _MEANT else ""


def _halting(verb: str, word: str) -> str:
    """What is stopped and started: an agent has a slash, a system a colon behind it, whatever can be no name is taken for a task's key."""
    system, mark, inside = word.rpartition(":")
    if mark and not inside:
        return f"qd {verb} fleet --system {shlex.quote(system)} --reason TEXT"
    if "/" in inside:
        return f"qd {verb} agent {shlex.quote(word)} --reason TEXT"
    if is_task_id(word) or not _PLACE.fullmatch(inside):
        return f"qd stop task {shlex.quote(word)} --reason TEXT" if verb == "stop" else f"qd task retry {shlex.quote(word)} --reason TEXT"
    return f"qd {verb} cluster {shlex.quote(word)} --reason TEXT"
