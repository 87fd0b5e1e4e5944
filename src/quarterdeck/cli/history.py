"""`qd history` and `qd rollback`: revisions, and back to one of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from quarterdeck.cli.completing import revision_numbers
from quarterdeck.cli.deployment import Watch, aimed, told, told_on
from quarterdeck.cli.get import draw, following
from quarterdeck.cli.plan import WITHIN, tell
from quarterdeck.cli.progress import Silent, choose
from quarterdeck.cli.render import show
from quarterdeck.cli.screen import clean
from quarterdeck.cli.session import Session
from quarterdeck.cli.times import duration
from quarterdeck.cli.usage import UsageError
from quarterdeck.client.wire import Document


def history(session: Session) -> None:
    """The revisions of a system, newest first. A revision is the spec and the code that ran with it.

    $ qd history -o wide
    """
    document: Document = session.client.get("/v1/revisions", {"system": session.system})
    draw(session, "revisions", document)
    session.next(following("revisions", document["items"]))


def rollback(
    session: Session,
    revision: Annotated[
        int | None,
        typer.Argument(metavar="REVISION", show_default=False, help="Which; the one before without it.", autocompletion=revision_numbers),
    ] = None,
    *,
    named: Annotated[
        int | None, typer.Option("--revision", metavar="N", help="The same as REVISION.", autocompletion=revision_numbers)
    ] = None,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the journal.")] = "",
    timeout: Annotated[str, typer.Option(metavar="TIME", help="How long to wait for Ready.")] = "2m",
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Return at once.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what going back would change; nothing is changed.")] = False,
) -> int:
    """Return to an earlier revision, spec and code; it becomes the newest one and is shown until Ready.

    $ qd rollback --dry-run         the plan of it, as qd plan shows one
    $ qd rollback
    $ qd rollback 3 --reason "errors since 4"
    $ qd rollback --revision 3      the same
    """
    within = duration(timeout)
    revision = _meant(revision, named)
    body = {"system": session.system, "to": revision, "reason": reason or None, "dry_run": dry_run or None}
    made: Document = session.client.post("/v1/rollback", body, timeout=WITHIN)
    if dry_run:
        if "to" in made:
            session.say(f"back to revision {made['to']}:")
        tell(session, made)
        session.next(f"qd rollback {'' if revision is None else revision}".rstrip())
        return 0
    there = replace(session, system=str(made["system"]))
    already = "" if made.get("created", True) else " already: nothing was changed"
    words = f"revision {made['number']} of {clean(made['system'])} is deployed{already}"
    if no_wait:
        show(session, made, lambda screen: screen.line(words), name=str(made["number"]))
        there.say("next: qd wait --for ready · qd status")
        return 0
    session.say(f" {words}")
    return _watched(there, made, within)


def _meant(revision: int | None, named: int | None) -> int | None:
    """The revision, by its place or by its option. Raises UsageError for two."""
    if revision is not None and named is not None and revision != named:
        raise UsageError(f"{revision} and --revision {named} are two revisions", hint=f"qd rollback {revision}, or qd rollback {named}")
    return named if revision is None else revision


def _watched(session: Session, made: Document, within: float) -> int:
    """How it goes until it is ready, at most so many seconds; gives the exit code."""
    progress = Silent() if session.machine else choose(None, session.screen, session.client.clock, quiet=session.quiet)
    result = Watch(session.client, made["system"], int(made["number"]), progress).until(within)
    if session.machine:
        show(session, made, name=str(made["number"]))
    elif not session.quiet or result.outcome != "ready":
        session.screen.lines(*told_on(session.screen, aimed(session, told(result, result.seconds, session.client))))
    if result.outcome == "ready":
        session.next("qd status · qd history")
    return result.exit_code
