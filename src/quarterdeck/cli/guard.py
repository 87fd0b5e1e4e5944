"""Asking before something dangerous: what is production says so, and wants its name typed or `--yes`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from quarterdeck.cli.screen import clean
from quarterdeck.cli.session import Session
from quarterdeck.cli.usage import UsageError
from quarterdeck.cli.verbs import Verb
from quarterdeck.errors import UserError


def carry_out(session: Session, verb: Verb, function: Callable[..., int | None], given: Mapping[str, Any]) -> int:
    """Let a verb pass and do it; gives its exit code. The hints of what it raises reach what the session reaches."""
    with session.aiming(given):
        allow(session, verb, given)
        return function(session, **given) or 0


def allow(session: Session, verb: Verb, given: Mapping[str, Any]) -> None:
    """Let a verb pass. In a production context a verb that changes something is announced, and asked about unless it asks by itself.

    Raises UserError when the name is not typed, UsageError when there is nobody to type it.
    """
    context = session.context
    if context is None or not context.production or verb.effect == "reads" or given.get("dry_run"):
        return
    mark = session.words.paint("PRODUCTION", "bold", "red")
    session.words.line(f"{mark} context {clean(context.name)} ({clean(context.where)})")
    if verb.effect == "changes" and not session.yes:
        confirm(session, context.name, f"qd {verb.name} changes it.")


def askable(session: Session, otherwise: str) -> None:
    """Pass where somebody can answer. Raises UsageError with the command that asks nothing: after --no-input, or without a terminal."""
    if session.no_input:
        raise UsageError("this would have to be asked, and --no-input forbids it", hint=otherwise)
    if not sys.stdin.isatty():
        raise UsageError("stdin is no terminal, so nothing can be asked", hint=otherwise)


def confirm(session: Session, name: str, what: str, refused: str = "nothing was changed") -> None:
    """Have the name typed. Raises UserError for anything else, UsageError where nobody can be asked."""
    askable(session, "say --yes: then nothing is asked")
    session.words.line(f"{clean(what)} Type {clean(name)} to go on:")
    if sys.stdin.readline().strip() != name:
        raise UserError(f"that is not the name: {refused}", hint=f"type {name}, or say --yes")
