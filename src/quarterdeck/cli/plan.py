"""`qd plan` and `qd apply`: what would be carried out, and carrying it out without waiting."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

import typer

from quarterdeck.cli.render import show
from quarterdeck.cli.saved import SavedPlan, keep
from quarterdeck.cli.screen import Screen, clean
from quarterdeck.cli.session import Session
from quarterdeck.cli.source import USUAL, FileArgument, Source
from quarterdeck.cli.usage import UsageError
from quarterdeck.client.wire import Document
from quarterdeck.model.steps import PHASES

SIGNS: Final = {"add": ("+", "green"), "change": ("~", "yellow"), "remove": ("-", "red"), "probe": ("?", "dim")}
PENDING: Final = 2
WITHIN: Final = 120.0


def plan(
    session: Session,
    file: FileArgument = USUAL,
    detailed_exitcode: Annotated[bool, typer.Option("--detailed-exitcode", help="Exit 2 when changes are pending.")] = False,
    out: Annotated[Path | None, typer.Option("--out", metavar="PLAN", help="Keep the plan in a file, for qd apply PLAN.")] = None,
) -> int:
    """Show what applying FILE would change; nothing is changed.

    $ qd plan
    $ qd plan fleet.yaml --detailed-exitcode     0 nothing to do, 2 changes pending, 1 error
    $ qd plan --out plan.json && qd apply plan.json     exactly what was looked at, or nothing
    $ qd plan -o json                            {kind: Plan, index, steps: [{phase, action, target, reason}]}

    The index at the end can be given to qd apply --index, which then refuses when the world has moved. Every error exits 1,
    wrong usage too: 2 only ever means that changes are pending.
    """
    source = Source.read(file)
    document = session.client.post("/v1/plan", source.body(os.environ), timeout=WITHIN)
    if out is not None:
        keep(session, source, document, out)
    tell(session, document)
    same = "" if file == USUAL else f" {shlex.quote(str(file))}"
    apply_it = f"qd apply {shlex.quote(str(out))}" if out else f"qd apply{same} --index {document['index']}"
    there = replace(session, system=str(document["system"])) if document.get("system") else session
    there.next(f"qd up{same} · {apply_it}" if document["steps"] else "qd status")
    return PENDING if detailed_exitcode and document["steps"] else 0


def apply(
    session: Session,
    file: FileArgument = USUAL,
    index: Annotated[int | None, typer.Option(metavar="N", help="Refuse when the world has moved since this index of qd plan.")] = None,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the journal.")] = "",
) -> None:
    """Apply FILE and return at once; the control plane must be running. FILE is a spec, or a plan that qd plan --out has kept.

    $ qd plan --out plan.json && qd apply plan.json && qd wait --for ready
    $ qd apply fleet.yaml --index 41 && qd wait --for ready

    A kept plan is refused when anything was edited since, when spec, code or a secret is not what was planned any more, and
    in another home than its own.
    """
    body = {**_wanted(session, Source.read(file), index), "reason": reason or None}
    revision = session.client.post("/v1/apply", body, timeout=WITHIN)
    session.warn(revision.get("warnings") or ())
    word = "applied" if revision.get("created") else "already applied"
    text = f"revision {revision['number']} of {clean(revision['system'])} {word} · index {revision['index']}"
    show(session, revision, lambda screen: screen.line(text), name=str(revision["number"]))
    replace(session, system=str(revision["system"])).say("next: qd wait --for ready · qd status")


def _wanted(session: Session, source: Source, index: int | None) -> Document:
    """The request without its reason. Raises what SavedPlan raises, UsageError for an index beside the plan's own."""
    plan = SavedPlan.of(source)
    if plan is None:
        return {**source.body(os.environ), "index": index}
    if index is not None:
        raise UsageError(f"{plan.name} has an index of its own: {plan.index}", hint=f"qd apply {plan.name}")
    return plan.body(session, os.environ)


def tell(session: Session, document: Document) -> None:
    """Print a Plan."""
    session.warn(document.get("warnings") or ())
    show(session, document, lambda screen: screen.lines(*drawn(document, screen)), name=str(document["index"]))


def drawn(document: Document, screen: Screen) -> list[str]:
    """The steps by phase, in the order of the phases, and the last line."""
    lines: list[str] = []
    known = [*PHASES, *dict.fromkeys(step["phase"] for step in document["steps"] if step["phase"] not in PHASES)]
    for phase in known:
        steps = [step for step in document["steps"] if step["phase"] == phase]
        if steps:
            lines += [screen.paint(line, "bold") for line in screen.wrapped("", phase)]
            lines += [line for step in steps for line in _step(step, screen)]
    return [*lines, *([""] if lines else []), *screen.wrapped("", summary(document))]


def summary(document: Document) -> str:
    """`Plan: 2 to add, 1 to change, 0 to remove · index 41`."""
    counts = document["summary"]
    return f"Plan: {counts['add']} to add, {counts['change']} to change, {counts['remove']} to remove · index {document['index']}"


def _step(step: Document, screen: Screen) -> list[str]:
    sign, style = SIGNS.get(step["action"], ("?", "dim"))
    named = screen.paint(f"{sign} {clean(step['target'])}", style)
    return screen.wrapped(f"  {named} ", clean(step["reason"]))
