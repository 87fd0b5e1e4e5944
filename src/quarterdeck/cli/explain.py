"""`qd explain`: why a thing is as it is, or what a field of the spec means."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any, Final

import typer

from quarterdeck.cli.completing import explainable, target_names
from quarterdeck.cli.explain_code import explain_code
from quarterdeck.cli.explain_link import explain_link
from quarterdeck.cli.explain_task import explain_task
from quarterdeck.cli.plan import SIGNS
from quarterdeck.cli.render import cell, counted, ending, named, show, table
from quarterdeck.cli.screen import Screen, clean
from quarterdeck.cli.sections import carried_out, condition_line, headed, record_line, section
from quarterdeck.cli.session import Session
from quarterdeck.cli.task_list import resolved
from quarterdeck.cli.task_view import waits
from quarterdeck.client.wire import Document
from quarterdeck.clock import SystemClock
from quarterdeck.errors import NotFound
from quarterdeck.model.soundness import ONCE
from quarterdeck.model.work import is_task_id
from quarterdeck.version import API_VERSION

TargetArgument = Annotated[
    str,
    typer.Argument(
        metavar="TARGET", help="cluster/agent or cluster/agent-n; system: in front where several run.", autocompletion=target_names
    ),
]
_WIDTH: Final = 12


def explain(
    session: Session,
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="cluster, cluster/agent, cluster/agent-n, a system, a link, a task by id or key, spec.FIELD, or the code of an error.",
            autocompletion=explainable,
        ),
    ],
) -> None:
    """Why a thing is as it is: what was last done to it, what work waits there, what comes next. Or what a field or an error code means.

    $ qd explain analysts/analyst-1
    $ qd explain 'collectors->analysts'
    $ qd explain 01JD8Z0V7Q4W8X2N5R3T6Y9B1C
    $ qd explain spec.clusters.agents.replicas
    $ qd explain E1201
    """
    if target == "spec" or target.startswith("spec."):
        _field(session, target)
        return
    if re.fullmatch(r"[Ee]\d+", target):
        explain_code(session, target)
        return
    if is_task_id(target):
        explain_task(session, target)
        return
    if "->" in target:
        explain_link(session, target)
        return
    try:
        place(session, target)
    except NotFound as absent:
        explain_task(session, _keyed(session, target, absent))


def _keyed(session: Session, key: str, absent: NotFound) -> str:
    """The id of a task with this key; without one the refusal of the place is raised, for that is what was most likely meant."""
    session, inside = session.aimed_at(key)
    try:
        return resolved(session, inside)
    except NotFound:
        raise absent from None


def place(session: Session, target: str) -> None:
    """Why a cluster, agent, replica or system is as it is."""
    session, inside = session.aimed_at(target)
    document = session.client.get("/v1/explain", {"target": inside, "system": session.system})
    show(session, document, lambda screen: screen.lines(*drawn(session.aimed_in(document), screen)), name=document["target"])
    whole = document["target"].endswith(":")
    session.next("qd status · qd journal -f" if whole else f"qd logs -f {inside} · qd journal --target {inside}")


def _field(session: Session, path: str) -> None:
    from quarterdeck.spec.explain import explain as field  # noqa: PLC0415 pydantic, for this alone

    found = field(path)

    def text(screen: Screen) -> None:
        default = found.default if found.default == "required" else f"default {found.default}"
        screen.lines(*screen.wrapped(f"{screen.paint(found.path, 'bold')}: ", f"{found.type}, {default}"))
        screen.lines(*screen.wrapped("  ", found.description), *(screen.wrapped("  e.g. ", found.example) if found.example else ()))
        if found.children:
            rows = [(child.path.rpartition(".")[2], child.type, child.default, child.description) for child in found.children]
            table(screen, ("FIELD", "TYPE", "DEFAULT", "MEANING"), rows)

    show(session, {"apiVersion": API_VERSION, "kind": "Field", **asdict(found)}, text, name=found.path)
    deeper = next((child.path for child in found.children), "")
    session.next(f"qd explain {deeper}" if deeper else "qd plan · qd schema")


def drawn(document: Document, screen: Screen) -> list[str]:
    """One screen."""
    sections: list[tuple[str, list[str]]] = [
        ("Spec", _pairs(_spec(document.get("spec") or {}))),
        ("Desired", _pairs(_desired(document))),
        ("State", _state(document.get("state") or {})),
        ("Work", list(_work(document.get("work")))),
        ("Changes", [_change(change) for change in document.get("changes") or ()]),
        ("Carried out", list(carried_out(document.get("carried_out")))),
        ("Plan", [_step(step, screen) for step in document.get("plan") or ()] or ["nothing to do"]),
        ("Conditions", [condition_line(condition, document["target"]) for condition in document.get("conditions") or ()]),
        ("Journal", [record_line(record) for record in document.get("journal") or ()]),
        ("Next", [clean(command) for command in document.get("next") or ()]),
    ]
    return [*headed(screen, document), *(line for title, rows in sections for line in section(screen, title, rows, _WIDTH))]


def _spec(spec: Document) -> Document:
    """As the spec writes it: `replicas 4`, or `replicas 3 to 6` where it leaves room. How many are wanted now is part of Desired."""
    least, most = spec.get("bounds") or (None, None)
    if least is None:
        return spec
    written = least if least == most else f"{least} to {most}"
    return {name: written if name == "replicas" else value for name, value in spec.items() if name != "bounds"}


def _desired(document: Document) -> Document:
    spec, desired = document.get("spec") or {}, document.get("desired") or {}
    return {"replicas": spec["replicas"], **desired} if spec.get("bounds") else desired


def _pairs(value: Any) -> list[str]:
    if not isinstance(value, dict):
        return [clean(cell(value))] if value else []
    return [clean(named(name, one)) for name, one in value.items() if one not in (None, "", [], {})]


def _state(state: Document) -> list[str]:
    """A line for each replica, then whatever else is told."""
    replicas = [
        clean(f"{one['name']} {one['state']}" + "".join(f", {name} {one[name]}" for name in ("reason", "pid", "restarts") if one.get(name)))
        for one in state.get("replicas") or ()
    ]
    return [*replicas, *_pairs({name: value for name, value in state.items() if name != "replicas"})]


def _work(work: Document | None) -> Iterator[str]:
    """Tasks by state and what waits for a human; then those that are stuck, with what each waits for."""
    if not work or not work["states"]:
        return
    states = [f"{n} {state}" for state, n in work["states"].items()]
    asked = counted(work["questions"], "question for a human", "questions for a human") if work["questions"] else ""
    open_ = counted(work["unknown_effects"], "effect unknown", "effects unknown") if work["unknown_effects"] else ""
    yield ", ".join(part for part in (*states, asked, open_) if part)
    now = SystemClock().now()
    for task in work["tasks"]:
        name = f"{task['id']} {task['key']}" if task["key"] else task["id"]
        why = ", ".join(waits(task, now)) or task["reason"] or (f"on {task['owner']}" if task["owner"] else "")
        yield clean(f"{name} {task['state']}" + (f": {why}" if why else ""))


def _change(change: Document) -> str:
    until = f", until {ending(change['until'])}" if change.get("until") else ""
    reason = f', "{change["reason"]}"' if change.get("reason") else ""
    patch = change.get("patch") or change
    asked = "restart" if patch["field"] == ONCE else named(patch["field"], patch["value"])
    cut = f", {change['cut']}" if change.get("cut") else ""
    return clean(f"{change.get('author', '')} change {change['id']}: {asked}{cut}{reason}{until}")


def _step(step: Document, screen: Screen) -> str:
    sign, style = SIGNS.get(step["action"], ("?", "dim"))
    return f"{screen.paint(sign, style)} {clean(step['target'])} {clean(step['reason'])}"
