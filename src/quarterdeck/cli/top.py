"""`qd top`: what the fleet does now, on the whole terminal; without a terminal one table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from quarterdeck.cli.fullscreen import FullScreen
from quarterdeck.cli.get import NARROW, following, nouns, plural, readable
from quarterdeck.cli.render import listing, table
from quarterdeck.cli.session import Session
from quarterdeck.cli.times import duration
from quarterdeck.cli.top_feed import Feed, items
from quarterdeck.cli.top_rows import MEASURED, Heading, Table, tabulated
from quarterdeck.cli.top_state import Place, State, press
from quarterdeck.cli.top_view import ABOVE, BELOW, drawn, paged
from quarterdeck.cli.usage import UsageError
from quarterdeck.client.wire import Document
from quarterdeck.version import API_VERSION

_BLINK: Final = 0.25
"""Seconds until the screen is drawn again where no key is pressed."""


def top(
    session: Session,
    noun: Annotated[
        str, typer.Argument(metavar="NOUN", help="clusters, agents, replicas, or any that qd get has.", autocompletion=nouns)
    ] = ("replicas"),
    *,
    every: Annotated[str, typer.Option(metavar="TIME", help="Between two looks.")] = "1s",
    once: Annotated[bool, typer.Option("--once", help="One table, as without a terminal.")] = False,
) -> int:
    """What the fleet does now: processor, memory, messages handled and failed, by replica, agent or cluster; the busiest first.

    $ qd top
    $ qd top clusters
    $ qd top agents --once -o json

    On a terminal: enter goes deeper, / filters, : goes to any noun, l follows logs, ? tells the other keys, q ends it.
    """
    kind, pause = plural(noun), duration(every)
    if pause <= 0:
        raise UsageError("--every must be longer than nothing", hint="e.g. --every 2s")
    if once or session.machine or not (session.screen.live and sys.stdin.isatty()):
        return _once(session, kind)
    session.client.get("/v1/status", {"system": session.system})  # what is wrong from the beginning is an error, not a screen
    feed = Feed(session, pause)
    with FullScreen(session.screen) as screen:
        feed.start()
        return _run(session, screen, feed, kind)


def _once(session: Session, kind: str) -> int:
    """One look, as a document or a table."""
    found = items(session, kind)
    if session.machine:
        listing(session, {"apiVersion": API_VERSION, "kind": "List", "items": found}, NARROW[kind], "")
        return 0
    shown = _tabulated(session, Place.of(kind), found)
    if shown.rows:
        table(session.screen, shown.headings, shown.rows)
    else:
        session.say(f"no {kind}")
    session.next(following(kind, list(shown.items)))
    return 0


def _run(session: Session, terminal: FullScreen, feed: Feed, kind: str) -> int:
    """Draw and take keys until somebody has seen enough."""
    state = State((Place.of(kind),))
    while not state.over:
        screen, height = terminal.sized(), terminal.height
        feed.show(state.here, screen.width, paused=state.paused)
        seen = feed.of(state.here)
        shown, room = _tabulated(session, state.here, list(seen.items)), max(height - ABOVE - BELOW, 1)
        terminal.draw(drawn(state, seen, shown, screen, room, old=feed.old(seen)))
        if key := terminal.key(_BLINK):
            state = press(state, key, shown, list(NARROW), room)
            state = state.at(state.here.within_page(len(paged(state.here, seen)), room + 1))
    return 0


def _tabulated(session: Session, place: Place, found: list[Document]) -> Table:
    """The rows of a place in its order."""
    columns: Sequence[Heading]
    if place.noun in MEASURED:
        columns = MEASURED[place.noun]
    else:
        document, columns = readable(session, place.noun, {"items": found})
        found = document["items"]
    return tabulated(columns, found, sort=place.sort, down=place.down, wanted=place.wanted, now=session.client.clock.now())
