"""A human's Changes: scale, restart, quarantine, release, hold, and taking one back."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from quarterdeck.cli.completing import change_numbers
from quarterdeck.cli.explain import TargetArgument
from quarterdeck.cli.plan import tell
from quarterdeck.cli.render import ending, show
from quarterdeck.cli.screen import clean
from quarterdeck.cli.session import Output, Session
from quarterdeck.cli.times import instant
from quarterdeck.cli.usage import UsageError
from quarterdeck.client.wire import Document
from quarterdeck.model.soundness import ONCE

ReasonOption = Annotated[str, typer.Option(metavar="TEXT", help="Why; shown wherever the change is.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what it would change; nothing is changed.")]
UntilOption = Annotated[str | None, typer.Option(metavar="TIME", help="When it ends by itself: 2h, 18:00 or 2026-11-24T18:00.")]


def scale(  # noqa: PLR0917 as on the command line
    session: Session,
    target: TargetArgument,
    replicas: Annotated[int, typer.Argument(metavar="N", min=0, help="How many.")],
    reason: ReasonOption,
    until: UntilOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Set the number of replicas of an agent, within the bounds of the spec.

    $ qd scale analysts/analyst 5 --reason "load test" --until 18:00
    $ qd scale analysts/analyst 5 --reason "load test" --dry-run     the plan of it
    """
    _propose(session, ("scale", target, replicas), ("replicas", replicas), reason, until, dry_run=dry_run)


def restart(session: Session, target: TargetArgument, reason: ReasonOption, dry_run: DryRunOption = False) -> None:
    """Replace the replicas of an agent, as a rolling update does: no more missing at a time than the spec allows.

    $ qd restart analysts/analyst --reason "stale cache"
    """
    _propose(session, ("restart", target), ("restart_before", session.client.clock.now()), reason, dry_run=dry_run)


def quarantine(
    session: Session, target: TargetArgument, reason: ReasonOption, until: UntilOption = None, dry_run: DryRunOption = False
) -> None:
    """Keep a replica for inspection: it gets no traffic until qd release; the others carry on.

    $ qd quarantine analysts/analyst-1 --reason "wrong answers"
    """
    _propose(session, ("quarantine", target), ("quarantined", True), reason, until, dry_run=dry_run)


def release(session: Session, target: TargetArgument, reason: ReasonOption, dry_run: DryRunOption = False) -> None:
    """End every live hold and quarantine of a target, whoever made it, and say which.

    $ qd release analysts/analyst-1 --reason "looked at"
    """
    _needs(reason)
    command = as_typed("release", target, reason=reason)
    session, inside = session.aimed_at(target)
    body = {"system": session.system, "target": inside, "reason": reason, "dry_run": dry_run or None}
    ended: Document = session.client.post("/v1/changes/release", body)
    if dry_run:
        rehearse(session, ended, command)
        return
    told = [f"change {c['id']} has ended: {c['target']} {c['patch']['field']}, {c['reason']}" for c in ended["items"]]
    if session.output is Output.name:
        session.screen.lines(*(str(c["id"]) for c in ended["items"]))
    else:
        show(session, ended, lambda screen: screen.lines(*map(clean, told)))
    session.say(f"next: qd explain {inside}")


def hold(session: Session, target: TargetArgument, reason: ReasonOption, until: UntilOption = None, dry_run: DryRunOption = False) -> None:
    """Keep all automation off a target; people still may change it. qd release ends it.

    $ qd hold analysts/analyst --until 2h --reason "being debugged"
    """
    _propose(session, ("hold", target), ("hold", True), reason, until, dry_run=dry_run)


def revert(
    session: Session,
    change: Annotated[int, typer.Argument(metavar="CHANGE", help="Its id, from qd get changes.", autocompletion=change_numbers)],
    reason: ReasonOption = "",
    dry_run: DryRunOption = False,
) -> None:
    """Take a change back.

    $ qd revert 12
    """
    document = session.client.delete(
        f"/v1/changes/{change}", {"reason": reason or None, "system": session.system, "dry_run": dry_run or None}
    )
    if dry_run:
        rehearse(session, document, as_typed("revert", change, reason=reason))
        return
    show(session, document, lambda screen: screen.line(f"change {change} is reverted"), name=str(change))
    session.next("qd get changes · qd status")


def as_typed(*words: object, **options: object) -> str:
    """A command of `qd` to be pasted: its words, and those options that have a value. Whoever proposes it adds which system it is of."""
    more = [part for name, value in options.items() if value not in (None, "") for part in (f"--{name}", str(value))]
    return shlex.join(["qd", *map(str, words), *more])


def rehearse(session: Session, plan: Document, command: str) -> None:
    """Print the Plan (or the List of one for each system) of what was only rehearsed, and the command that does it."""
    plans = plan.get("items", [plan])
    if session.machine:
        show(session, plan, name=" ".join(str(one["index"]) for one in plans))
        return
    for one in plans:
        tell(session, one)
    session.next(command)


def _needs(reason: str) -> None:
    if not reason.strip():
        raise UsageError("a change needs a reason", hint='--reason "why"; it is shown wherever the change is')


def _limited(session: Session, inside: str, asked: object) -> None:
    """Say so when bounds or quota grant another number than the one asked for."""
    agents = session.client.get("/v1/agents", {"system": session.system})["items"]
    granted = next((agent for agent in agents if agent["name"] == inside), None)
    if granted and granted["replicas"]["desired"] != asked:
        session.warn([f"{inside} gets {granted['replicas']['desired']}, not {asked}: {'; '.join(granted.get('because') or ())}"])


def _propose(
    session: Session, words: tuple[object, ...], patch: tuple[str, object], reason: str, until: str | None = None, *, dry_run: bool
) -> None:
    """Make a Change of what `words` (verb, target, …) say."""
    _needs(reason)
    command = as_typed(*words, reason=reason, until=until)
    (field, value), (session, inside) = patch, session.aimed_at(str(words[1]))
    ends = instant(until, session.client.clock.now()) if until else None
    body = {"system": session.system, "target": inside, "field": field, "value": value, "reason": reason, "until": ends}
    change: Document = session.client.post("/v1/changes", {**body, "dry_run": dry_run or None})
    if dry_run:
        rehearse(session, change, command)
        return
    asked = "restart" if field == ONCE else f"{field} {str(value).lower()}"
    text = f"change {change['id']}: {clean(inside)} {asked}" + (f" until {ending(ends)}" if ends else "")
    show(session, change, lambda screen: screen.line(text), name=str(change["id"]))
    if field == "replicas":
        _limited(session, inside, value)
    back = "qd get changes" if field == ONCE else f"qd revert {change['id']}"
    session.say(f"next: qd explain {inside} · {back}")
