"""`qd status`: one screen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Final

import typer

from quarterdeck.cli.news import News
from quarterdeck.cli.phases import failure_lines, phase_lines
from quarterdeck.cli.render import cell, clock_time, counted, show, size
from quarterdeck.cli.screen import Screen, clean
from quarterdeck.cli.session import Session
from quarterdeck.client.wire import Document
from quarterdeck.errors import Transient
from quarterdeck.model import soundness

WatchOption = Annotated[bool, typer.Option("--watch", "-w", help="Show it again when it changes.")]

_PAINTED: Final[Mapping[soundness.SystemState, str]] = {"ready": "green", "stopped": "yellow", "failed": "red", "not ready": "yellow"}
_FILES: Final = (
    ("database_bytes", "database"),
    ("wal_bytes", "write-ahead log"),
    ("head_file_bytes", "head file"),
    ("kept_after_failure_bytes", "kept after a failure"),
)
"""The files of the store, and what people call them; one that is empty is left out."""


def status(session: Session, watch: WatchOption = False) -> int:
    """One screen: phases, replicas, readiness, limits, weakenings.

    $ qd status --watch
    $ qd status -o json | jq .ready

    Exit 0 whatever the state is; qd wait --for ready tells it by exit code.
    """

    def look() -> Document:
        document: Document = session.client.get("/v1/status", {"system": session.system})
        return document

    def print_it(document: Document) -> None:
        show(
            session,
            document,
            lambda screen: screen.lines(*_context(session), *drawn(session.aimed_in(document), screen, session.told)),
            name=str(document["system"]),
        )

    if not watch:
        document = look()
        print_it(document)
        session.next(_following(document))
        return 0
    return repeat(
        session, look, print_it, lambda document: steady(document) if session.machine else drawn(_rested(document), session.screen)
    )


def repeat(
    session: Session,
    look: Callable[[], Document],
    print_it: Callable[[Document], None],
    shown: Callable[[Document], object],
    *,
    every: float = 1.0,
) -> int:
    """Print what `look` gives whenever what is `shown` of it changes, until interrupted; a control plane that restarts is a pause.

    It is looked at when there is news, and every so many seconds.
    """
    seen: object = None
    news = News(session.client, session.system)
    while True:
        try:
            document = look()
        except Transient:
            if seen is None:
                raise
            news.wait(every)
            continue
        if (now := shown(document)) != seen:
            if session.screen.live and not session.machine:
                session.screen.out.write("\x1b[H\x1b[2J")
            print_it(document)
            seen = now
        news.wait(every)


def _rested(document: Document) -> Document:
    """Without how full things are, which changes all the time."""
    return {**document, "limits": {}}


def steady(value: Any) -> Any:
    """Without ages, which change all the time."""
    if isinstance(value, Mapping):
        return {key: steady(one) for key, one in value.items() if key not in ("age_seconds", "limits")}
    return [steady(one) for one in value] if isinstance(value, list) else value


def drawn(document: Document, screen: Screen, told: Callable[[str], str] = str) -> list[str]:
    """The whole screen; `told` completes the commands of what failed."""
    word, style = state_of(document)
    title = f"{screen.paint(clean(document['system']), 'bold')} is {screen.paint(word, style)}"
    more = f"revision {document['revision']} · {clean(document.get('engine', ''))} engine · {clean(document['sentence'])}"
    lines = screen.wrapped(f" {title} · ", more)
    lines += [line for phase in document["phases"] for line in phase_lines(screen, phase)]
    if document.get("failure"):
        lines += [line for one in failure_lines(document) for line in screen.wrapped(" ", told(one.strip()))]
    rows = [
        ("Stopped", _stop(document.get("stopped"))),
        ("Replicas", _replicas(document)),
        ("Validation", _validation(document.get("validation") or [])),
        *(("Incident", _incident(one)) for one in document.get("incidents") or ()),
        ("Readiness", _readiness(document.get("readiness") or {})),
        *_limits(document.get("limits") or {}),
        ("Read-only", "the store cannot write: reads and qd down work" if document.get("read_only") else ""),
        ("Weakened", "; ".join(document.get("weakenings") or ())),
        ("Dashboard", f"{document['url']}   ({told('log in with qd open')})" if document.get("url") else ""),
    ]
    return [*lines, *(line for name, text in rows if text for line in screen.wrapped(f" {name:<16} ", clean(text)))]


def state_of(document: Document) -> tuple[str, str]:
    """In a word, and how it is painted."""
    word = soundness.state_of(document)
    return word, _PAINTED[word]


def _replicas(document: Document) -> str:
    agents, capacity = document["agents"], document["capacity"]
    earlier = capacity.get("ready", agents["ready"]) - agents["ready"]
    serving = f", {earlier} earlier ones serving" if earlier > 0 else ""
    return f"{agents['ready']} of {agents['desired']} ready{serving}, at most {capacity['max']}"


def _stop(stop: Document | None) -> str:
    return f"by {stop['by']} since {clock_time(stop['since'])}: {stop['reason']}   (goes on with {stop['command']})" if stop else ""


def _incident(one: Document) -> str:
    return f"{one['target']} {clock_time(one['at'])}: {one['message'] or one['kind']}"


def _following(document: Document) -> str:
    if document.get("stopped"):
        return f"{document['stopped']['command']} · qd get changes"
    return "qd get replicas · qd logs -f" if document["ready"] else "qd status --watch · qd get replicas · qd journal"


def _context(session: Session) -> list[str]:
    """Which context this is, where there is one; what is production says so."""
    if session.context is None:
        return []
    mark = f" {session.screen.paint('PRODUCTION', 'bold', 'red')}" if session.context.production else ""
    return session.screen.wrapped(f" context {clean(session.context.name)}{mark} ", f"({clean(session.context.where)})")


def _limits(limits: Mapping[str, Any]) -> list[tuple[str, str]]:
    told = [row for name, value in limits.items() for row in _limit(name, value)]
    return [(f"Limits {name}" if number == 0 else f"       {name}", text) for number, (name, text) in enumerate(told)]


def _limit(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """How much is kept of something, and how much of it there may be, in words."""
    match name, value:
        case "store", {"journal_records": records, "journal_records_limit": most, "journal_bytes": held, "journal_bytes_limit": room}:
            yield "store", ", ".join(f"{words} {size(value[field])}" for field, words in _FILES if value.get(field))
            yield "journal", f"{records} of {counted(most, 'record')}, {size(held)} of {size(room)}"
        case "bus", {"bytes": held, "per_agent_limit": most}:
            yield "bus", f"{size(held)}, at most {size(most)} an agent"
        case "logs", {"bytes": held, "per_replica_limit": most}:
            yield "logs", f"{size(held)}, at most {size(most)} a replica"
        case "revisions", {"limit": most, **use}:
            yield "revisions", f"{use['kept']} of {most} kept" if "kept" in use else f"at most {most} kept"
        case _:
            yield name, cell(value).replace("_", " ")


def _validation(items: list[Document]) -> str:
    good = sum(item["status"] == "passed" for item in items)
    bad = [item["name"] for item in items if item["status"] == "failed"]
    return f"{good} of {len(items)} hold" + (f"; not: {', '.join(bad)}" if bad else "") if items else "nothing was proven yet"


def _readiness(readiness: Document) -> str:
    if not readiness:
        return ""
    following = " · ".join(readiness.get("next") or ())
    return f"{readiness['score']} of 100" + (f" · next: {following}" if following else "")
