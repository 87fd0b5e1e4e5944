"""The client for programs with an event loop: the same as `Client`, awaited. Of one loop; hundreds of calls may be under way at once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, Unpack

from quarterdeck.client import values
from quarterdeck.client.exchange import Exchange
from quarterdeck.client.places import Way, place_of
from quarterdeck.client.values import Filters, Options, Resolution, TaskSeen
from quarterdeck.client.wire import Document, Event, Request
from quarterdeck.clock import Clock, SystemClock
from quarterdeck.errors import Transient

PATIENCE: Final = 30.0
"""Seconds in which a request that may be repeated is repeated while nobody answers."""
LOOK: Final = 30.0
"""Seconds of one look at a task that has not ended."""
PAGE: Final = 200


@dataclass(frozen=True, slots=True)
class AsyncTaskHandle:
    """A task that was given. `created` is False when its key was known: then nothing new is done."""

    client: AsyncClient
    id: str
    key: str | None
    created: bool

    async def get(self) -> TaskSeen:
        """As it is now."""
        return await self.client.get(self.id)

    async def wait(self, timeout: float | None = None) -> TaskSeen:  # noqa: ASYNC109 as the other client has it
        """As it is once it has ended or stopped for a human, or after `timeout` seconds."""
        return await self.client.wait(self.id, timeout)

    async def result(self, timeout: float | None = None) -> Any:  # noqa: ASYNC109 as the other client has it
        """What it gave. Raises TaskFailed when it failed, was cancelled or is a dead letter, Transient when it has not ended by then."""
        return (await self.wait(timeout)).value()

    async def cancel(self, reason: str = "") -> TaskSeen:
        """Have it and all below it given up."""
        return await self.client.cancel(self.id, reason)

    def events(self, after: int = 0) -> AsyncIterator[Event]:
        """What happens to it and below it (`event`, with `sequence`), and what it says (`output`), until it has ended."""
        return self.client.events(self.id, after)


class AsyncClient:
    """A control plane, found as `Client` finds it. `async with` closes its connections at the end.

    Every call raises Transient when nobody answers, and the errors of the tree for a refusal.
    """

    def __init__(
        self,
        *,
        home: str | Path | None = None,
        url: str | None = None,
        token: str | None = None,
        token_file: str | Path | None = None,
        ca: str | Path | None = None,
        context: str | None = None,
        system: str | None = None,
        patience: float = PATIENCE,
    ) -> None:
        clock: Clock = SystemClock()
        self.system = system
        self._patience = patience
        self._clock = clock
        self._wire = Exchange(place_of(Way(home, url, token, token_file, ca, context)))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that are kept."""
        self._wire.close()

    async def submit(self, target: str, payload: object = None, *, key: str | None = None, **options: Unpack[Options]) -> AsyncTaskHandle:
        """Give an agent (`cluster/agent`) work. Once this returns it is on disk and will be done.

        The same `key` again is the same task; with another payload it raises Conflict. Without one a key is made up, so that this call,
        which is repeated while nobody answers, can never give the work twice.
        """
        order = values.order(self.system, target, payload, key, options)
        if (kept := values.too_large(order, self.system)) is not None:
            order = values.referring(order, await self._call(kept, values.BLOB_WITHIN))
        made = await self._call(Request("POST", "/v1/tasks", body=order))
        return AsyncTaskHandle(self, made["id"], made["key"], made["created"])

    async def task(self, task: str) -> AsyncTaskHandle:
        """A task that exists, by id or key. Raises NotFound."""
        seen = await self.get(task)
        return AsyncTaskHandle(self, seen.id, seen.key, created=False)

    async def get(self, task: str) -> TaskSeen:
        """A task by id or key, in its whole form. Raises NotFound."""
        return await self._whole(TaskSeen.of(await self._call(await self._to("GET", task))))

    async def wait(self, task: str, timeout: float | None = None) -> TaskSeen:  # noqa: ASYNC109 as the other client has it
        """A task as it is once it has ended or stopped for a human, or after `timeout` seconds."""
        name = await self._id(task)
        until = None if timeout is None else self._clock.monotonic() + timeout
        while True:
            left = LOOK if until is None else min(max(until - self._clock.monotonic(), 0.0), LOOK)
            seen = TaskSeen.of(await self._call(Request("GET", f"/v1/tasks/{name}", {"wait": left}), timeout=left + 30.0))
            if seen.stopped or (until is not None and self._clock.monotonic() >= until):
                return await self._whole(seen)

    async def tasks(self, **filters: Unpack[Filters]) -> AsyncIterator[TaskSeen]:
        """Tasks in their short form, the newest first, page by page."""
        before = None
        while True:
            page = await self._call(Request("GET", "/v1/tasks", {"system": self.system, **filters, "before": before, "limit": PAGE}))
            for item in page["items"]:
                yield TaskSeen.of(item)
            before = page["next"]
            if before is None:
                return

    async def cancel(self, task: str, reason: str = "") -> TaskSeen:
        """Have a task and all below it given up."""
        return TaskSeen.of(await self._call(await self._to("POST", task, "/cancel", {"reason": reason})))

    async def retry(self, task: str, reason: str = "") -> TaskSeen:
        """Send a dead letter or a failed task back into the queue. Raises Conflict."""
        return TaskSeen.of(await self._call(await self._to("POST", task, "/retry", {"reason": reason})))

    async def fork(self, task: str, step: str | None = None, *, key: str | None = None, reason: str = "") -> AsyncTaskHandle:
        """Run a task that has ended again, as a new one: what it recorded before `step` is kept; without one all of it is done again.

        The same `key` again is the same fork. Raises Conflict for a task that has not ended, NotFound for what is no step of it.
        """
        made = await self._call(await self._to("POST", task, "/fork", values.fork(step, key, reason)))
        return AsyncTaskHandle(self, made["id"], made["key"], made["created"])

    async def questions(self) -> list[Document]:
        """What waits for an answer by a human, the most urgent first."""
        return list((await self._call(Request("GET", "/v1/questions", {"system": self.system})))["items"])

    async def answer(self, task: str, answer: str, *, name: str | None = None, reason: str = "") -> Document:
        """Answer what a task asks; `name` where it asks several things. Gives the question. Raises Conflict when it has ended."""
        said = {"answer": answer, "reason": reason, **({"name": name} if name is not None else {})}
        return dict(await self._call(await self._to("POST", task, "/answer", said)))

    async def resolve(self, task: str, key: str, outcome: Resolution, *, value: object = None, reason: str) -> TaskSeen:
        """Say what became of an effect that is unknown: it is done with a value, failed, or to be called again. Raises Conflict."""
        said = {"key": key, "outcome": outcome, "value": values.plain(value), "reason": reason}
        return TaskSeen.of(await self._call(await self._to("POST", task, "/resolve", said)))

    async def events(self, task: str | None = None, after: int | None = None) -> AsyncIterator[Event]:
        """What happens to a task until it has ended, or without one to all tasks for ever: from `after` on, without it from now on.

        An event's `data` is the document of the API. Goes on over a restart of the control plane.
        """
        path, query = (f"/v1/tasks/{await self._id(task)}/events", after or 0) if task else ("/v1/tasks/events", after)
        last, tries = "", 0
        while True:
            try:
                stream = Request(
                    "GET", path, {"system": None if task else self.system, "after": query}, accept="text/event-stream", last=last
                )
                async for event in self._wire.events(stream):
                    if event.name == "end":
                        return
                    last, tries = event.id or last, 0
                    yield event
            except Transient:
                if tries >= 10:  # noqa: PLR2004 about ten seconds of it
                    raise
            tries += 1
            await asyncio.sleep(values.pause(tries, random.random()))  # noqa: S311 spreads clients over time

    async def _whole(self, seen: TaskSeen) -> TaskSeen:
        """With its result, however large."""
        wanted = values.elsewhere(seen)
        return seen if wanted is None else replace(seen, result=await self._call(wanted, values.BLOB_WITHIN))

    async def _id(self, task: str) -> str:
        by_key = values.found_by(self.system, task)
        return task if by_key is None else str((await self._call(by_key))["id"])

    async def _to(self, method: str, task: str, part: str = "", body: Document | None = None) -> Request:
        return Request(method, f"/v1/tasks/{await self._id(task)}{part}", body=body)

    async def _call(self, request: Request, timeout: float = 30.0) -> Any:  # noqa: ASYNC109 as the other client has it
        until, tries = self._clock.monotonic() + self._patience, 0
        while True:
            try:
                return await self._wire.call(request, timeout)
            except Transient as error:
                tries += 1
                wait = values.pause(tries, random.random(), error.after)  # noqa: S311 spreads clients over time
                if not values.may_repeat(request, error, self._wire.place) or self._clock.monotonic() + wait > until:
                    raise
                await asyncio.sleep(wait)
