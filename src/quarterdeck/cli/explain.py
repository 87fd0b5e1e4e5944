"""`qd explain`: why a thing is as it is, or what a field of the spec means."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Final

import typer

from quarterdeck.cli.client import Document
from quarterdeck.cli.completing import target_names
from quarterdeck.cli.plan import SIGNS
from quarterdeck.cli.render import cell, clock_time, named, show, table
from quarterdeck.cli.screen import Screen, clean
from quarterdeck.cli.session import Session

TargetArgument = Annotated[
    str,
    typer.Argument(
        metavar="TARGET", help="cluster/agent or cluster/agent-n; system: in front where several run.", autocompletion=target_names
    ),
]
_WIDTH: Final = 10


def explain(
    session: Session,
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="cluster, cluster/agent, cluster/agent-n, or spec.FIELD.", autocompletion=target_names)
    ],
) -> None:
    """Why a thing is as it is: spec, live changes with reasons, last plan, last journal lines. Or what a field of the spec means.

    $ qd explain analysts/analyst-1
    $ qd explain spec.clusters.agents.replicas
    """
    if target == "spec" or target.startswith("spec."):
        _field(session, target)
        return
    session, inside = session.aimed_at(target)
    document = session.client.get("/v1/explain", {"target": inside, "system": session.system})
    show(session, document, lambda screen: screen.lines(*drawn(document, screen)), name=inside)


def _field(session: Session, path: str) -> None:
    from quarterdeck.spec.explain import explain as field  # noqa: PLC0415 pydantic, for this alone

    found = field(path)

    def text(screen: Screen) -> None:
        default = found.default if found.default == "required" else f"default {found.default}"
        screen.lines(f"{screen.paint(found.path, 'bold')}: {found.type}, {default}", f"  {found.description}")
        if found.example:
            screen.line(f"  e.g. {found.example}")
        if found.children:
            rows = [(child.path.rpartition(".")[2], child.type, child.default, child.description) for child in found.children]
            table(screen, ("FIELD", "TYPE", "DEFAULT", "MEANING"), rows)

    show(session, {"apiVersion": "quarterdeck.dev/v1alpha1", "kind": "Field", **asdict(found)}, text, name=found.path)


def drawn(document: Document, screen: Screen) -> list[str]:
    """One screen."""
    sections: list[tuple[str, list[str]]] = [
        ("Spec", _pairs(_spec(document.get("spec") or {}))),
        ("Desired", _pairs(_desired(document))),
        ("State", _state(document.get("state") or {})),
        ("Changes", [_change(change) for change in document.get("changes") or ()]),
        ("Plan", [_step(step, screen) for step in document.get("plan") or ()] or ["nothing to do"]),
        ("Conditions", [_condition(condition, document["target"]) for condition in document.get("conditions") or ()]),
        ("Journal", [_record(record) for record in document.get("journal") or ()]),
    ]
    lines = [f"{screen.paint(clean(document['target']), 'bold')}: {clean(document['sentence'])}"]
    for title, rows in sections:
        for number, row in enumerate(rows):
            lines.append(f"  {title if number == 0 else '':<{_WIDTH}}  {row}")
    return lines


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


def _condition(condition: Document, thing: str) -> str:
    """`LinkCarries a->b true: …`; the target is named where it is not the thing itself."""
    target = str(condition.get("target") or "")
    named = f" {target}" if target not in ("", thing) else ""
    return clean(f"{condition['kind']}{named} {condition['status']}: {condition.get('message') or condition.get('evidence') or ''}")


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


def _change(change: Document) -> str:
    until = f", until {clock_time(change['until'])[:16]}" if change.get("until") else ""
    reason = f', "{change["reason"]}"' if change.get("reason") else ""
    patch = change.get("patch") or change
    return clean(f"{change.get('author', '')} change {change['id']}: {named(patch['field'], patch['value'])}{reason}{until}")


def _step(step: Document, screen: Screen) -> str:
    sign, style = SIGNS.get(step["action"], ("?", "dim"))
    return f"{screen.paint(sign, style)} {clean(step['target'])} {clean(step['reason'])}"


def _record(record: Document) -> str:
    reason = f" ({record['reason']})" if record.get("reason") else ""
    return clean(
        f"{record['seq']} {clock_time(record['at'])} {record['actor']} {record['verb']} {record['target']} {record['outcome']}{reason}"
    )
