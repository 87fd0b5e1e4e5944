"""`qd get NOUN [NAME]`: any noun as a table or a List document."""

from __future__ import annotations

import contextlib
import shlex
from functools import partial
from typing import Annotated, Final

import typer

from quarterdeck.cli.coming import refuse_noun
from quarterdeck.cli.completing import noun_names, state_names, target_names
from quarterdeck.cli.render import amount, ended, label, listing, rows, since
from quarterdeck.cli.screen import clean
from quarterdeck.cli.session import Output, Session
from quarterdeck.cli.status import WatchOption, repeat, steady
from quarterdeck.cli.task_list import PAGED, check_states, fetch, resolved
from quarterdeck.cli.usage import UsageError
from quarterdeck.client.wire import Document
from quarterdeck.clock import SystemClock
from quarterdeck.errors import NotFound, UserError
from quarterdeck.model.soundness import ONCE, holds
from quarterdeck.model.wording import nearest

_DIGEST: Final = 12
_MOST: Final = 100
"""Tasks or messages that are listed where nobody says how many."""
_AGES: Final = ("age", "age_seconds")
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
    "budgets": [("NAME", "name"), ("USED", "used"), ("PER MINUTE", "money_per_minute"), ("HELD BACK", "tripped")],
    "messages": [
        ("ID", "id"),
        ("STATE", "state"),
        ("FROM", "from"),
        ("TARGET", "target"),
        ("VERB", "verb"),
        ("KEY", "key"),
        ("REASON", "reason"),
    ],
    "tasks": [
        ("ID", "id"),
        ("KEY", "key"),
        ("TARGET", "target"),
        ("STATE", "state"),
        ("ATTEMPTS", "attempts"),
        ("AGE", "age"),
        ("REASON", "reason"),
    ],
    "questions": [
        ("TASK", "task"),
        ("NAME", "name"),
        ("TARGET", "target"),
        ("UNTIL", "until"),
        ("OPTIONS", "options"),
        ("ASKS", "question"),
    ],
    "effects": [
        ("TASK", "task"),
        ("KEY", "key"),
        ("TARGET", "target"),
        ("SEMANTICS", "semantics"),
        ("OUTCOME", "outcome"),
        ("ERROR", "error"),
    ],
    "revisions": [("NUMBER", "number"), ("CURRENT", "current"), ("AT", "at"), ("ACTOR", "actor"), ("CODE", "code"), ("REASON", "reason")],
    "tokens": [
        ("ID", "id"),
        ("TYPE", "type"),
        ("ROLE", "role"),
        ("CLUSTER", "cluster"),
        ("USER", "user"),
        ("NOTE", "note"),
        ("CREATED", "created"),
        ("EXPIRES", "expires"),
        ("USED", "used"),
    ],
}
WIDE: Final[dict[str, Columns]] = {
    "clusters": [("NAMESPACE", "namespace"), ("QUOTA", "quota"), ("AUTOSCALING", "autoscaling"), ("ENDPOINTS", "endpoints")],
    "replicas": [
        ("CPU", "cpu"),
        ("MEMORY", "memory_bytes"),
        ("INCARNATION", "incarnation"),
        ("REVISION", "revision"),
        ("LAST EXIT", "ended"),
    ],
    "changes": [("ACTOR", "actor"), ("AT", "at"), ("UNTIL", "until")],
    "conditions": [("EVIDENCE", "evidence"), ("SINCE", "since"), ("AGE SECONDS", "age_seconds")],
    "revisions": [("DIGEST", "digest")],
    "links": [("BREAKER", "breaker"), ("PER SECOND", "per_second"), ("SENT", "sent")],
    "agents": [("RUN", "run"), ("QUARANTINED", "quarantined")],
    "tasks": [("OWNER", "owner"), ("PARENT", "parent"), ("CREATED AT", "created_at"), ("ENDED AT", "ended_at")],
    "questions": [("ASKED AT", "asked_at"), ("DEFAULT", "default"), ("ARGUMENTS", "arguments")],
    "effects": [("STARTED AT", "started_at"), ("FENCE", "fence"), ("VALUE", "value")],
}

NEXT: Final = {
    "systems": "qd status -s {0}",
    "clusters": "qd explain {0} · qd get agents",
    "agents": "qd explain {0} · qd logs -f {0}",
    "replicas": "qd explain {0} · qd logs -f {0}",
    "links": "qd explain '{0}' · qd validate",
    "changes": "qd status · qd journal",
    "conditions": "qd validate --deep",
    "revisions": "qd plan · qd status",
    "messages": "qd message get {0}",
    "tasks": "qd task get {0} --tree",
    "questions": "qd get questions",
    "effects": "qd get tasks · qd journal",
    "budgets": "qd task list --state open · qd journal",
    "tokens": "qd journal --verb token.",
}
"""What one would do with the first of the list, where nothing special is possible."""
EMPTY: Final = {
    "changes": "no changes; qd scale makes one",
    "tasks": "no such task; qd task submit gives one",
    "questions": "nothing asks for a human; qd get tasks --state waiting shows what else is waited for",
    "effects": "no effect is unknown, or in the state asked for; qd get effects --state done shows those that happened",
    "messages": "no such message; ctx.publish with a key sends one; qd get tasks shows the work",
    "budgets": "no budgets; the spec gives some to a cluster or to the system: qd explain spec.budgets",
    "tokens": "no token yet; qd token create --role viewer makes one",
}
FILLS: Final = {
    "changes": "qd scale TARGET N --reason TEXT",
    "tasks": "qd task submit TARGET --data JSON --wait",
    "questions": "qd get tasks --state waiting",
    "effects": "qd get tasks",
    "messages": "qd get tasks",
    "replicas": "qd status",
    "budgets": "qd explain spec.budgets",
    "tokens": "qd token create --role viewer",
}
"""The command below an empty list."""


def nouns() -> list[str]:
    """For completion."""
    return list(NARROW)


def get(
    session: Session,
    noun: Annotated[
        str,
        typer.Argument(
            help="systems, clusters, agents, replicas, links, tasks, questions, effects, messages, budgets, changes, conditions, …",
            autocompletion=nouns,
        ),
    ],
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", show_default=False, help="Only this one.", autocompletion=noun_names)
    ] = None,
    *,
    watch: WatchOption = False,
    state: Annotated[
        str | None, typer.Option(metavar="STATE", help="Of tasks, messages and effects: in that state.", autocompletion=state_names)
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="TARGET", help="Of tasks and messages: for this agent.", autocompletion=target_names)
    ] = None,
    key: Annotated[str | None, typer.Option(metavar="PREFIX", help="Of tasks and messages: with a key that begins so.")] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Of tasks and messages: at most that many, the newest first; 100 without it.")
    ] = None,
    tops: Annotated[bool, typer.Option("--tops", help="Of tasks: leave out what was delegated.")] = False,
) -> int:
    """List the things of a kind, or one of them.

    $ qd get replicas
    $ qd get clusters -o wide
    $ qd get replicas collectors/collector-1 -o json
    $ qd get tasks --state open --target collectors/intake
    $ qd get messages --state dead --key order-
    """
    kind = plural(noun)
    _fits(kind, state, target, key)
    _counts(kind, limit, tops=tops)
    listed = partial(fetch, session, kind, state=state, target=target, key=key, limit=limit or _MOST, tops=tops)

    def look() -> Document:
        if kind in PAGED:
            return listed() if name is None else _one(session, kind, name)
        document: Document = session.client.get(f"/v1/{kind}", {"system": session.system, "outcome": state})
        return document if name is None else {**document, "items": _named(document["items"], kind, name)}

    if watch:
        return repeat(session, look, lambda document: draw(session, kind, document), lambda document: rows_of(session, kind, document))
    draw(session, kind, document := look())
    session.next(following(kind, document["items"]))
    return 0


def following(kind: str, items: list[Document]) -> str:
    """What one would do next with a list: only what works with what is in it."""
    match kind, items:
        case _, []:
            return FILLS.get(kind, "qd up")
        case "revisions", _ if _earlier(items):
            return "qd rollback --dry-run · qd rollback"
        case "changes", _ if live := [one for one in items if holds(one)]:
            return f"qd revert {live[0]['id']}"
        case "questions", [{"task": task}, *_more]:
            return f"qd task answer {task}"
        case "effects", [{"outcome": "unknown", "task": task, "key": key, **_rest}, *_more]:
            return f"qd task resolve {task} {shlex.quote(key)} --done|--failed|--again --reason TEXT"
        case "budgets", _ if any(one.get("tripped") for one in items):
            return "qd budget resume · qd journal"
    return NEXT[kind].format(label(items[0]))


def _earlier(revisions: list[Document]) -> bool:
    """Whether there is a revision to go back to: before the current one, and different from it."""
    now = next((one for one in revisions if one.get("current")), None)
    return now is not None and any(one["number"] < now["number"] and one.get("digest") != now.get("digest") for one in revisions)


def _fits(kind: str, state: str | None, target: str | None, key: str | None) -> None:
    """Raise UsageError for a filter that the noun does not have, and for a state that it is never in."""
    if kind not in PAGED and (target is not None or key is not None or (state is not None and kind != "effects")):
        raise UsageError(
            f"{kind} cannot be filtered so", hint="--state, --target and --key are for tasks and messages, --state also for effects"
        )
    if state is not None:
        check_states(kind, state)


def _counts(kind: str, limit: int | None, *, tops: bool) -> None:
    """Raise UsageError for what would have no effect on a list of this noun."""
    if kind not in PAGED and limit is not None:
        raise UsageError(f"{kind} are always listed whole", hint="--limit is for tasks and messages, of which there may be very many")
    if kind != "tasks" and tops:
        raise UsageError(f"no {kind} are delegated", hint="--tops is for tasks: it leaves out what was delegated")


def _one(session: Session, kind: str, name: str) -> Document:
    """The List of one: a message by id, a task by id or key."""
    whole = session.client.get(f"/v1/{kind}/{resolved(session, name) if kind == 'tasks' else name}")
    return {"apiVersion": whole["apiVersion"], "kind": "List", "items": [whole]}


def draw(session: Session, kind: str, document: Document) -> None:
    """Print a List in the columns of its kind."""
    document, columns = readable(session, kind, document)
    listing(session, document, columns, "" if document["items"] else _empty(session, kind))


def rows_of(session: Session, kind: str, document: Document) -> object:
    """What of a List is on the screen, without ages, which rise all the time; all of it for a program."""
    if session.machine:
        return steady(document)
    told, columns = readable(session, kind, document)
    return rows(told, [pair for pair in columns if pair[1] not in _AGES])


def readable(session: Session, kind: str, document: Document) -> tuple[Document, Columns]:
    """A List as people read it, and its columns."""
    columns = NARROW[kind] + (WIDE.get(kind, []) if session.output is Output.wide else [])
    if kind == "revisions" and session.output is Output.table:
        document = {**document, "items": [{**item, "code": str(item["code"])[:_DIGEST]} for item in document["items"]]}
    if kind == "replicas" and not session.machine:
        now = SystemClock().now()
        items = [{**item, "age": since(item.get("since"), now), "ended": ended(item.get("last_exit"))} for item in document["items"]]
        document = {**document, "items": items}
    if kind == "tasks" and not session.machine:
        now = SystemClock().now()
        document = {**document, "items": [{**item, "age": since(item["created_at"], now)} for item in document["items"]]}
    if kind == "changes" and not session.machine:
        document = {**document, "items": [_change(item) for item in document["items"]]}
    if kind == "budgets" and not session.machine:
        items = [{**item, "tripped": (item["tripped"] or {}).get("reason", "")} for item in document["items"]]
        document = {**document, "items": items}
    if not session.machine:  # a column that no item has says nothing
        columns = [pair for pair in columns if any(pair[1].split(".")[0] in item for item in document["items"])] or columns
    return document, columns


def _change(item: Document) -> Document:
    """As the dashboard tells it: a restart was done once, and has neither a value nor anything to revert."""
    field, value = item["patch"]["field"], item["patch"]["value"]
    if field == ONCE:
        state = "done" if item.get("state") == "live" else item.get("state")
        return {**item, "patch": {"field": "restart", "value": ""}, "state": state}
    cut = f", {item['cut']}" if item.get("cut") else ""
    return {**item, "patch": {"field": field, "value": f"{amount(field, value)}{cut}"}}


def _empty(session: Session, kind: str) -> str:
    """How the list of a kind is filled."""
    if kind == "replicas" and not session.machine:
        with contextlib.suppress(UserError):  # no system
            stop = session.client.get("/v1/status", {"system": session.system}).get("stopped")
            if stop:
                return f"no replicas: stopped by {clean(stop['by'])}: {clean(stop['reason'])}; {stop['command']} lets them run"
    return EMPTY.get(kind, f"no {kind} yet; qd up deploys a system")


def plural(noun: str) -> str:
    """The noun that is meant. Raises UsageError."""
    for kind in NARROW:
        if noun in (kind, kind.removesuffix("s")):
            return kind
    refuse_noun(noun)
    near = nearest(noun, NARROW)
    raise UsageError(f"there is no noun {noun!r}" + (f"; did you mean {near!r}?" if near else ""), hint=f"one of {', '.join(NARROW)}")


def _named(items: list[Document], kind: str, name: str) -> list[Document]:
    found = [item for item in items if label(item) == name or name in (item.get("target"), item.get("kind"))]
    if not found:
        raise NotFound(f"there is no {kind.removesuffix('s')} {name!r}", hint=f"qd get {kind}")
    return found
