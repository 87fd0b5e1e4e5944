"""What `qd top` shows, fetched beside the keyboard: a control plane that is slow or away never holds up a key."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from quarterdeck.cli.explain import explain
from quarterdeck.cli.render import clock_time, dump_yaml, label
from quarterdeck.cli.screen import Screen, clean
from quarterdeck.cli.session import Output, Session
from quarterdeck.cli.task_list import PAGED, fetch
from quarterdeck.cli.top_rows import inside, summed
from quarterdeck.cli.top_state import Place
from quarterdeck.client.wire import Document
from quarterdeck.errors import QuarterdeckError

_LINES: Final = 500
"""Lines of logs that a page holds."""
_LATE: Final = 3
"""How many times the pause between two looks makes what is shown old."""
_ITEMS: Final = 200
"""Tasks or messages that are shown, the newest."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was last fetched for a place: rows or the lines of a page, the status above them, when, and why there is nothing newer."""

    place: Place | None = None
    status: Document = field(default_factory=dict)
    items: tuple[Document, ...] = ()
    lines: tuple[str, ...] = ()
    at: float = 0.0
    trouble: str = ""


def items(session: Session, noun: str, within: str = "") -> list[Document]:
    """The things of a noun, with what they take and do where that is measured."""
    if noun in PAGED:
        return list(fetch(session, noun, state=None, target=None, key=None, limit=_ITEMS)["items"])
    found: list[Document] = session.client.get(f"/v1/{noun}", {"system": session.system})["items"]
    if noun not in ("clusters", "agents", "replicas"):
        return found
    if noun != "replicas":
        replicas = session.client.get("/v1/replicas", {"system": session.system})["items"]
        found = summed(found, replicas, lambda one: one["cluster"] if noun == "clusters" else f"{one['cluster']}/{one['agent']}")
    return inside(found, noun, within)


def page(session: Session, place: Place, width: int) -> list[str]:
    """The lines of a page about a thing."""
    match place.page:
        case "logs":
            query = {"system": session.system, "target": place.thing, "tail": _LINES}
            told = (event.data for event in session.client.events("/v1/logs", query) if event.name != "end")
            return [f"{clock_time(one.get('at'))[11:]} {clean(one.get('replica') or '')} | {clean(one.get('text') or '')}" for one in told]
        case "yaml":
            item = next((one for one in items(session, place.noun) if label(one) == place.thing), None)
            text = io.StringIO()
            dump_yaml(item, text)
            return text.getvalue().splitlines()
        case "explain":
            text = io.StringIO()
            screen = Screen(text, colour=session.screen.colour, width=width)
            explain(replace(session, output=Output.table, quiet=True, screen=screen), place.thing)
            return text.getvalue().splitlines()
    return []


@dataclass(slots=True)
class Feed:
    """Fetches for the place that is shown, every so many seconds and whenever it changes, until the end."""

    session: Session
    every: float
    _seen: Seen = field(default_factory=Seen)
    _place: Place | None = None
    _width: int = 0
    _paused: bool = False
    _turn: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """In a thread that ends with the process."""
        threading.Thread(target=self._run, daemon=True, name="feed").start()

    def show(self, place: Place, width: int, *, paused: bool) -> None:
        """Fetch for this place from now on, at once where it is another one."""
        changed = self._place is None or self._place.asked != place.asked or (self._paused and not paused)
        self._place, self._width, self._paused = place, width, paused
        if changed:
            self._turn.set()

    def of(self, place: Place) -> Seen:
        """What was fetched for a place; before that only the status."""
        seen = self._seen
        return seen if seen.place is not None and seen.place.asked == place.asked else Seen(None, seen.status, at=seen.at)

    def old(self, seen: Seen) -> str:
        """Why what was seen is not what is; empty where it is."""
        late = self.session.client.clock.now() - seen.at
        if not seen.trouble and (self._paused or late < _LATE * (self.every + 1) or not seen.at):
            return ""
        return f"{f'as of {late:.0f} s ago: ' if seen.at else ''}{seen.trouble or 'no answer yet'}"

    def _run(self) -> None:
        while True:
            self._turn.wait(self.every)
            self._turn.clear()
            place = self._place
            if place is not None and not (self._paused and self.of(place).place):
                self._seen = self._fetched(place)

    def _fetched(self, place: Place) -> Seen:
        now: Callable[[], float] = self.session.client.clock.now
        try:
            status = self.session.client.get("/v1/status", {"system": self.session.system})
            if place.page:
                return Seen(place, status, lines=tuple(page(self.session, place, self._width)), at=now())
            return Seen(place, status, items=tuple(items(self.session, place.noun, place.within)), at=now())
        except QuarterdeckError as error:
            return replace(self.of(place), place=place, trouble=error.message)
