"""`qd logs`: what replicas print, each with its name in front."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator
from typing import Annotated, Final

import typer

from quarterdeck.cli.completing import target_names
from quarterdeck.cli.follow import follow, require_lines
from quarterdeck.cli.render import clock_time, moment
from quarterdeck.cli.screen import Screen, clean
from quarterdeck.cli.session import Output, Session
from quarterdeck.cli.times import duration, past
from quarterdeck.client.wire import Document, Event, Query
from quarterdeck.version import API_VERSION

COLOURS: Final = tuple((*bright, colour) for bright in ((), ("bold",)) for colour in ("cyan", "yellow", "green", "magenta", "blue"))
"""Handed out in the order in which replicas are first heard: as many as ten are told apart. Red is for what is wrong."""
_REMEMBERED: Final = 2000
_OVERLAP: Final = 2.0


def logs(
    session: Session,
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="TARGET", show_default=False, help="cluster, cluster/agent or cluster/agent-n.", autocompletion=target_names
        ),
    ] = None,
    *,
    follow_: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new lines.")] = False,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only lines of the last 10m, or since 18:00 or 2026-11-30T18:00.")
    ] = None,
    previous: Annotated[bool, typer.Option("--previous", "-p", help="Of the incarnation before this one.")] = False,
    tail: Annotated[
        int | None,
        typer.Option("--tail", "-n", metavar="N", min=0, max=10_000, show_default=False, help="Last lines; 200, or all with --since."),
    ] = None,
    timestamps: Annotated[bool, typer.Option("--timestamps", "-t", help="With the time of each line.")] = False,
) -> None:
    """Output of replicas.

    $ qd logs -f
    $ qd logs analysts/analyst-0 --previous
    $ qd logs collectors --since 10m -o json      one JSON object a line
    """
    require_lines(session, "lines of output")
    session, inside = session.aimed_at(target) if target else (session, None)
    query = {
        "system": session.system,
        "target": inside,
        "since": _ago(session, since) if since else None,
        "tail": tail,
        "previous": previous or None,
        "follow": follow_ or None,
    }
    silent, colours = True, Colours()
    for event in _events(session, query, endless=follow_):
        if session.output is Output.json:
            session.screen.line(json.dumps({"apiVersion": API_VERSION, "kind": "LogLine", **event.data}))
        else:
            session.screen.line(drawn(session.screen, event.data, colours, timestamps=timestamps))
        silent = False
    if not silent and not follow_:
        session.next(f"qd logs -f {inside or ''}".rstrip())
    if silent and tail != 0:
        session.say("no such line" if since or previous else "no output yet; qd logs -f waits for it")


def _ago(session: Session, text: str) -> float:
    """How many seconds ago a time was. Raises UsageError."""
    now = session.client.clock.now()
    return duration(text) if re.fullmatch(r"\d+(\.\d+)?", text) else max(0.0, now - past(text, now))


def _events(session: Session, query: Query, *, endless: bool) -> Iterator[Event]:
    if endless:
        yield from Resumed(session, query).events()
        return
    for event in session.client.events("/v1/logs", query):
        if event.name == "end":
            return
        yield event


class Resumed:
    """Follows log lines across a restart of the control plane: asks again for the time since the last line, prints no line twice."""

    def __init__(self, session: Session, query: Query) -> None:
        self._session = session
        self._query = query
        self._last: float | None = None
        self._seen: deque[str] = deque(maxlen=_REMEMBERED)
        self._again = False

    def events(self) -> Iterator[Event]:
        """Every new line once."""
        for event in follow(self._session.client, "/v1/logs", self._ask):
            mark = json.dumps(event.data, sort_keys=True)
            if self._again and mark in self._seen:
                continue
            self._seen.append(mark)
            at = moment(event.data.get("at"))
            self._last = at.timestamp() if at else self._last
            yield event

    def _ask(self) -> Query:
        if self._last is None:
            return self._query
        self._again = True
        return {**self._query, "since": max(0.0, self._session.client.clock.now() - self._last) + _OVERLAP, "tail": _REMEMBERED}


class Colours:
    """Each replica keeps the colour of its first line."""

    def __init__(self) -> None:
        self._given: dict[str, tuple[str, ...]] = {}

    def of(self, replica: str) -> tuple[str, ...]:
        """The next one of the palette for a replica not heard before."""
        return self._given.setdefault(replica, COLOURS[len(self._given) % len(COLOURS)])


def drawn(screen: Screen, line: Document, colours: Colours, *, timestamps: bool = False) -> str:
    """A line for people, with the name of its replica in front."""
    replica = clean(line.get("replica") or "")
    time = f"{clock_time(line.get('at'))} " if timestamps else ""
    return f"{time}{screen.paint(replica, *colours.of(replica))} | {clean(line.get('text') or '')}"
