"""`qd get NOUN [NAME]`: any noun as a table or a List document."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from quarterdeck.cli.client import Document
from quarterdeck.cli.render import amount, ended, label, listing, since
from quarterdeck.cli.session import Output, Session
from quarterdeck.cli.status import WatchOption, repeat
from quarterdeck.clock import SystemClock
from quarterdeck.errors import NotFound, UserError

_DIGEST: Final = 12
Columns = list[tuple[str, str]]
NARROW: Final[dict[str, Columns]] = {
    "systems": [("NAME", "name"), ("READY", "ready"), ("REVISION", "revision"), ("SENTENCE", "sentence")],
    "clusters": [("NAME", "name"), ("CAPACITY", "capacity"), ("HEALTH", "health"), ("SHARE", "share"), ("LINKS", "links")],
    "agents": [("NAME", "name"), ("REPLICAS", "replicas"), ("REVISION", "revision"), ("BECAUSE", "because"), ("REASON", "reason")],
    "replicas": [("NAME", "name"), ("STATE", "state"), ("PID", "pid"), ("RESTARTS", "restarts"), ("AGE", "age"), ("REASON", "reason")],
    "links": [("NAME", "name"), ("OPEN", "open"), ("TIMEOUT", "timeout"), ("ATTEMPTS", "attempts"), ("EVIDENCE", "evidence")],
    "changes": [
        ("ID", "id"),
        ("TARGET", "target"),
        ("FIELD", "patch.field"),
        ("VALUE", "patch.value"),
        ("STATE", "state"),
        ("REASON", "reason"),
    ],
    "conditions": [("KIND", "kind"), ("TARGET", "target"), ("STATUS", "status"), ("MESSAGE", "message")],
    "revisions": [("NUMBER", "number"), ("CURRENT", "current"), ("AT", "at"), ("ACTOR", "actor"), ("CODE", "code"), ("REASON", "reason")],
}
WIDE: Final[dict[str, Columns]] = {
    "clusters": [("NAMESPACE", "namespace"), ("QUOTA", "quota"), ("AUTOSCALING", "autoscaling"), ("ENDPOINTS", "endpoints")],
    "replicas": [("INCARNATION", "incarnation"), ("REVISION", "revision"), ("LAST EXIT", "ended")],
    "changes": [("ACTOR", "actor"), ("AT", "at"), ("UNTIL", "until")],
    "conditions": [("EVIDENCE", "evidence"), ("SINCE", "since"), ("AGE SECONDS", "age_seconds")],
    "revisions": [("DIGEST", "digest")],
    "links": [("BREAKER", "breaker")],
    "agents": [("RUN", "run"), ("QUARANTINED", "quarantined")],
}


def nouns() -> list[str]:
    """For completion."""
    return list(NARROW)


def get(
    session: Session,
    noun: Annotated[
        str, typer.Argument(help="systems, clusters, agents, replicas, links, changes, conditions or revisions.", autocompletion=nouns)
    ],
    name: Annotated[str | None, typer.Argument(metavar="NAME", show_default=False, help="Only this one.")] = None,
    watch: WatchOption = False,
) -> int:
    """List the things of a kind, or one of them.

    $ qd get replicas
    $ qd get clusters -o wide
    $ qd get replicas collectors/collector-1 -o json
    """
    kind = _plural(noun)

    def look() -> Document:
        document: Document = session.client.get(f"/v1/{kind}", {"system": session.system})
        return document if name is None else {**document, "items": _named(document["items"], kind, name)}

    if watch:
        return repeat(session, look, lambda document: draw(session, kind, document))
    draw(session, kind, look())
    return 0


def draw(session: Session, kind: str, document: Document) -> None:
    """Print a List in the columns of its kind."""
    columns = NARROW[kind] + (WIDE.get(kind, []) if session.output is Output.wide else [])
    if kind == "revisions" and session.output is Output.table:
        document = {**document, "items": [{**item, "code": str(item["code"])[:_DIGEST]} for item in document["items"]]}
    if kind == "replicas" and not session.machine:
        now = SystemClock().now()
        items = [{**item, "age": since(item.get("since"), now), "ended": ended(item.get("last_exit"))} for item in document["items"]]
        document = {**document, "items": items}
    if kind == "changes" and not session.machine:
        document = {**document, "items": [{**item, "patch": _readable(item["patch"])} for item in document["items"]]}
    if not session.machine:  # a column that no item has says nothing
        columns = [pair for pair in columns if any(pair[1].split(".")[0] in item for item in document["items"])] or columns
    listing(session, document, columns, f"no {kind} yet; qd up deploys a system" if kind != "changes" else "no changes; qd scale makes one")


def _readable(patch: Document) -> Document:
    return {**patch, "value": amount(patch["field"], patch["value"])}


def _plural(noun: str) -> str:
    for kind in NARROW:
        if noun in (kind, kind.removesuffix("s")):
            return kind
    import difflib  # noqa: PLC0415 only when something is wrong

    near = difflib.get_close_matches(noun, NARROW, n=1)
    raise UserError(f"there is no noun {noun!r}" + (f"; did you mean {near[0]!r}?" if near else ""), hint=f"one of {', '.join(NARROW)}")


def _named(items: list[Document], kind: str, name: str) -> list[Document]:
    found = [item for item in items if label(item) == name or name in (item.get("target"), item.get("kind"))]
    if not found:
        raise NotFound(f"there is no {kind.removesuffix('s')} {name!r}", hint=f"qd get {kind}")
    return found
