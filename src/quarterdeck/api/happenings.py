"""What happens to tasks, as server-sent events: the recorded ones with their numbers as ids, and what tasks say while they work.

A reader that comes back with `Last-Event-ID` misses no recorded event; output is in memory only and may have gaps, which its numbers show.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse
from sqlalchemy import Connection

from quarterdeck.api import sse
from quarterdeck.api.numbers import COUNTABLE
from quarterdeck.api.roles import needs
from quarterdeck.api.services import Given, Services
from quarterdeck.api.tasks import EVENTS, System, named
from quarterdeck.model.work import ENDED, Event, Task
from quarterdeck.store import overview, tasks
from quarterdeck.work import desk, documents

router = APIRouter(prefix="/v1/tasks")
APART = 0.1
"""Seconds between two looks: what happens meanwhile is read at once."""
Look = Callable[[Connection, int], list[Event]]
"""(connection, the number of the last event sent) → those after it, at most EVENTS."""
Last = Annotated[int | None, Header(ge=0, le=COUNTABLE)]


@router.get("/events", response_class=sse.EventStream, **needs("viewer", scope="cluster"))
async def of_all(
    given: Given, system: System = None, after: Annotated[int | None, Query(ge=0, le=COUNTABLE)] = None, last_event_id: Last = None
) -> StreamingResponse:
    """Server-sent `event`s of all tasks: those after `Last-Event-ID` or `after`, without either those to come."""
    scope = overview.Scope(given.grant.system_asked(system), given.grant.cluster)
    start = last_event_id if last_event_id is not None else after
    if start is None:
        with given.store.read() as conn:
            start = overview.last(conn)
    return sse.stream(_Stream(given, lambda conn, seen: overview.within(conn, scope, after=seen, limit=EVENTS), start).lines())


@router.get("/{task}/events", response_class=sse.EventStream, **needs("viewer", scope="cluster"))
async def of_one(  # noqa: PLR0917 one parameter a filter
    task: str,
    given: Given,
    system: System = None,
    after: Annotated[int, Query(ge=0, le=COUNTABLE)] = 0,
    within: Annotated[float | None, Query(gt=0, le=86_400)] = None,
    last_event_id: Last = None,
) -> StreamingResponse:
    """Server-sent `event`s of a task and of what is below it, and `output`; `end`, with the task, once it has ended.

    `within`: or that many seconds are over.
    """
    found = named(given, task, system)
    start = last_event_id if last_event_id is not None else after
    stream = _Stream(given, lambda conn, seen: documents.events_of(conn, found, after=seen, limit=EVENTS), start, found, within)
    return sse.stream(stream.lines())


@dataclass(slots=True)
class _Stream:
    """One reader: `seen` is the last event it was sent; with a `task` its output comes too, and its end is the stream's."""

    given: Services
    look: Look
    seen: int
    task: Task | None = None
    within: float | None = None
    heard: int = 0

    async def lines(self) -> AsyncIterator[str]:
        """What is sent."""
        clock, stopping = self.given.clock, self.given.stopping
        over = None if self.within is None else clock.monotonic() + self.within
        with self.given.work.watch(desk.ANY) as news:
            while not stopping.is_set():
                news.clear()
                lines, ended = self._found()
                for line in lines:
                    yield line
                left = sse.KEEP_ALIVE if over is None else min(over - clock.monotonic(), sse.KEEP_ALIVE)
                if self.task and (ended or left <= 0):
                    yield sse.event("end", json.dumps(documents.short(self.given.work.get(self.task.id))))
                    return
                if not await sse.first(left, news.wait(), stopping.wait()):
                    yield sse.COMMENT
                await sse.pause(APART, stopping)

    def _found(self) -> tuple[list[str], bool]:
        """What is new since the last look, and whether that was all: the task had ended before we looked."""
        with self.given.store.read() as conn:
            ended = self.task is not None and tasks.get(conn, self.task.id).state in ENDED
            events = self.look(conn, self.seen)
        lines = [sse.event("event", json.dumps(documents.event(one)), id_=one.seq) for one in events]
        self.seen = events[-1].seq if events else self.seen
        if self.task:
            pieces = self.given.work.output.after(self.task.id, self.heard)
            lines += [sse.event("output", json.dumps(documents.output(piece, self.task.id))) for piece in pieces]
            self.heard = pieces[-1].n if pieces else self.heard
        return lines, ended and len(events) < EVENTS
