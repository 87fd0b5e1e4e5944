"""Waiting for a task's end: one live line on a terminal, a line for each change in a pipe, and the exit code that says how it ended."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass, field
from typing import Final

from quarterdeck.cli.render import counted, show
from quarterdeck.cli.screen import Screen, clean
from quarterdeck.cli.session import Session
from quarterdeck.cli.task_view import drawn, ending, spell, told
from quarterdeck.client.wire import Document, Event
from quarterdeck.clock import SystemClock
from quarterdeck.errors import QuarterdeckError, Transient

ENDED: Final = ("done", "failed", "dead", "cancelled")
STATES: Final = {
    "submit": "queued",
    "claim": "running",
    "wait": "waiting",
    "resume": "running",
    "given_back": "queued",
    "again": "queued",
    "retry": "queued",
} | {state: state for state in (*ENDED, "unknown")}
"""What an event makes of its task."""
GOING_ON: Final = ("queued", "running")
"""States of tasks that will move without anybody."""
INTERRUPTED: Final = 130
_TICK: Final = 0.2
_SPINNER: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_AGAIN: Final = 0.3


@dataclass(slots=True)
class Seen:
    """What the events so far tell of a task and of what is below it."""

    task: str
    state: str = "queued"
    attempts: int = 0
    replica: str = ""
    said: str = ""
    children: dict[str, str] = field(default_factory=dict)
    """Those below it and how each stands."""
    asking: dict[str, int] = field(default_factory=dict)
    """Tasks with questions that a human has not answered yet, and how many."""
    effects: set[str] = field(default_factory=set)

    def take(self, event: Event) -> None:
        """Learn from an event of the stream."""
        told = event.data
        if event.name == "output":
            self.said = clean(told["value"])[:80]
            return
        kind, task, detail = told["event"], told["task"], told.get("detail") or {}
        state = STATES.get(kind)
        if kind in ("effect.done", "effect.resolved"):
            self.effects.add(str(detail.get("key")))
        if kind in ("question", "answer"):
            self.asking[task] = self.asking.get(task, 0) + (1 if kind == "question" else -1)
        if task != self.task:
            self.children[task] = state or self.children.get(task, "queued")
        elif state:
            self.state = state
            self.attempts = int(detail.get("attempt") or self.attempts)
            self.replica = told["actor"].partition("#")[0] if kind == "claim" else self.replica

    @property
    def stuck(self) -> bool:
        """Whether nobody goes on, and somebody cannot before a human has said what became of an effect."""
        return self.state == "unknown" or (
            "unknown" in self.children.values() and not {self.state, *self.children.values()}.intersection(GOING_ON)
        )

    @property
    def line(self) -> str:
        """`running on front/intake-0 · 4 of 6 children done · 1 asks a human`."""
        where = f" on {clean(self.replica)}" if self.replica and self.state in ("running", "waiting") else ""
        stands = list(self.children.values())
        below = f"{sum(map(stands.count, ENDED))} of {counted(len(stands), 'child', 'children')} done" if stands else ""
        unknown = f"{stands.count('unknown')} unknown" if "unknown" in stands else ""
        asking = sum(number > 0 for number in self.asking.values())
        asks = f"{asking} asks a human" if asking == 1 else f"{asking} ask a human" if asking else ""
        tries = f"attempt {self.attempts}" if self.attempts > 1 else ""
        return " · ".join(part for part in (f"{self.state}{where}", tries, below, unknown, asks, self.said) if part)


def finish(session: Session, made: Document, within: float | None) -> int:
    """Wait, print the whole task, and give the exit code: 0 done, 1 failed, dead or cancelled, 5 not in time or unknown."""
    seen = Seen(made["id"], made["state"])
    try:
        if session.words.live:
            session.say(told(made, session.words))
        document = _watch(session, seen, within)
    except KeyboardInterrupt:
        session.say(f"interrupted: the task goes on · qd task get {made['id']}")
        return INTERRUPTED
    text = ending(document, len(seen.children), len(seen.effects), session.screen)
    held_up = _unknown(session, seen) if document["state"] not in ENDED else None
    if document["state"] in (*ENDED, "unknown"):
        show(session, document, lambda screen: screen.lines(*screen.wrapped("", text)), name=document["id"])
    else:
        show(session, document, lambda screen: screen.lines(*drawn(document, screen, SystemClock().now())), name=document["id"])
        if held_up is None:
            session.say(f"not in time: the task goes on · next: qd task get {document['id']} --tree")
    if held_up is not None:
        session.say(f"nobody knows what became of an effect · next: qd get effects · qd task resolve {held_up} KEY --done|--failed|--again")
    elif document["state"] != "done" and document["state"] in ENDED:
        session.next(f"qd task get {document['id']} --tree · qd task retry {document['id']}")
    else:
        session.next(f"qd task get {document['id']} --tree · qd task history {document['id']}")
    return {"done": 0, **dict.fromkeys(("failed", "dead", "cancelled"), 1)}.get(document["state"], 5)


def _watch(session: Session, seen: Seen, within: float | None) -> Document:
    """Follow the events until the task stops or the time is over; the task as it is then."""
    arriving: queue.Queue[Event | QuarterdeckError] = queue.Queue()
    threading.Thread(target=_listen, args=(session, seen.task, arriving), name="events", daemon=True).start()
    shown, begun = _Shown(session), time.monotonic()
    shown.update(seen.line, 0.0)
    try:
        while within is None or time.monotonic() - begun < within:
            event = _next(arriving)
            if isinstance(event, QuarterdeckError):
                raise event
            if event is not None and event.name == "end":
                break
            if event is not None:
                seen.take(event)
            if arriving.empty():
                shown.update(seen.line, time.monotonic() - begun)
                if _unknown(session, seen) is not None:
                    break
    finally:
        shown.end()
    return _task(session, seen.task)


def _task(session: Session, task: str) -> Document:
    found: Document = session.client.get(f"/v1/tasks/{task}")
    return found


def _unknown(session: Session, seen: Seen) -> str | None:
    """The task that holds up all of it until a human has said what became of its effect, as things are now; events are of the past, too."""
    if not seen.stuck:
        return None
    states = {task["id"]: task["state"] for task in session.client.get(f"/v1/tasks/{seen.task}/tree")["items"]}
    if states[seen.task] != "unknown" and any(state in GOING_ON for state in states.values()):
        return None
    return next((task for task, state in states.items() if state == "unknown"), None)


def _next(arriving: queue.Queue[Event | QuarterdeckError]) -> Event | QuarterdeckError | None:
    try:
        return arriving.get(timeout=_TICK)
    except queue.Empty:
        return None


def _listen(session: Session, task: str, arriving: queue.Queue[Event | QuarterdeckError]) -> None:
    """Over restarts of the control plane; an error that waiting cannot mend ends it."""
    last = ""
    while True:
        try:
            for event in session.client.events(f"/v1/tasks/{task}/events", last=last):
                last = event.id or last
                arriving.put(event)
                if event.name == "end":
                    return
        except Transient as error:
            if session.client.stays_down():
                arriving.put(error)
                return
        except QuarterdeckError as error:
            arriving.put(error)
            return
        time.sleep(_AGAIN)


class _Shown:
    """One line on stderr that is drawn again and again; where that cannot be, a line for each change."""

    def __init__(self, session: Session) -> None:
        self._screen: Screen = session.words
        self._quiet = session.quiet
        self._last = ""
        self._frame = 0

    def update(self, line: str, seconds: float) -> None:
        """Show how it stands."""
        if self._quiet:
            return
        if not self._screen.live:
            if line != self._last:
                self._screen.line(line)
            self._last = line
            return
        self._frame += 1
        sign = "*" if self._screen.ascii else _SPINNER[self._frame % len(_SPINNER)]
        text = self._screen.fit(f"{sign} {line} · {spell(seconds)}")
        self._write(text[: self._screen.width - 1])
        self._last = line

    def end(self) -> None:
        """Leave nothing behind on a terminal."""
        if self._screen.live and self._last:
            self._write("")

    def _write(self, text: str) -> None:
        print(f"\r\x1b[K{text}", end="", file=self._screen.out, flush=True)
