"""`qd history` and `qd rollback`: revisions, and back to one of them."""

from __future__ import annotations

from typing import Annotated

import typer

from quarterdeck.cli.completing import revision_numbers
from quarterdeck.cli.deployment import Watch, told, told_on
from quarterdeck.cli.get import draw, following
from quarterdeck.cli.plan import WITHIN, tell
from quarterdeck.cli.progress import Silent, choose
from quarterdeck.cli.render import show
from quarterdeck.cli.screen import clean
from quarterdeck.cli.session import Session
from quarterdeck.cli.times import duration
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
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the journal.")] = "",
    timeout: Annotated[str, typer.Option(metavar="TIME", help="How long to wait for Ready.")] = "2m",
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Return at once.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what going back would change; nothing is changed.")] = False,
) -> int:
    """Return to an earlier revision, spec and code; it becomes the newest one and is shown until Ready.

    $ qd rollback --dry-run         the plan of it, as qd plan shows one
    $ qd rollback
    $ qd rollback 3 --reason "errors since 4"
    """
    within = duration(timeout)
    body = {"system": session.system, "to": revision, "reason": reason or None, "dry_run": dry_run or None}
    made: Document = session.client.post("/v1/rollback", body, timeout=WITHIN)
    if dry_run:
        if "to" in made:
            session.say(f"back to revision {made['to']}:")
        tell(session, made)
        session.next(f"qd rollback {'' if revision is None else revision}".rstrip())
        return 0
    already = "" if made.get("created", True) else " already: nothing was changed"
    words = f"revision {made['number']} of {clean(made['system'])} is deployed{already}"
    if no_wait:
        show(session, made, lambda screen: screen.line(words), name=str(made["number"]))
        session.say("next: qd wait --for ready · qd status")
        return 0
    session.say(f" {words}")
    progress = Silent() if session.machine else choose(None, session.screen, quiet=session.quiet)
    result = Watch(session.client, made["system"], int(made["number"]), progress).until(within)
    if session.machine:
        show(session, made, name=str(made["number"]))
    elif not session.quiet or result.outcome != "ready":
        session.screen.lines(*told_on(session.screen, told(result, result.seconds, session.client)))
    return result.exit_code
