"""The client for programs without an event loop. Safe from several threads: each call has a connection of its own."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Unpack

from quarterdeck.client import values
from quarterdeck.client.places import Way, place_of
from quarterdeck.client.values import Filters, Options, Resolution, TaskSeen
from quarterdeck.client.wire import Document, Event, Request, Wire
from quarterdeck.clock import Clock, SystemClock
from quarterdeck.errors import Transient

PATIENCE: Final = 30.0
"""Seconds in which a request that may be repeated is repeated while nobody answers."""
LOOK: Final = 30.0
"""Seconds of one look at a task that has not ended."""
PAGE: Final = 200


@dataclass(frozen=True, slots=True)
class TaskHandle:
    """A task that was given. `created` is False when its key was known: then nothing new is done."""

    client: Client
    id: str
    key: str | None
    created: bool

    def get(self) -> TaskSeen:
        """As it is now."""
        return self.client.get(self.id)

    def wait(self, timeout: float | None = None) -> TaskSeen:
        """As it is once it has ended or stopped for a human, or after `timeout` seconds."""
        return self.client.wait(self.id, timeout)

    def result(self, timeout: float | None = None) -> Any:
        """What it gave. Raises TaskFailed when it failed, was cancelled or is a dead letter, Transient when it has not ended by then."""
        return self.wait(timeout).value()

    def cancel(self, reason: str = "") -> TaskSeen:
        """Have it and all below it given up."""
        return self.client.cancel(self.id, reason)

    def events(self, after: int = 0) -> Iterator[Event]:
        """What happens to it and below it (`event`, with `sequence`), and what it says (`output`), until it has ended."""
        return self.client.events(self.id, after)


class Client:
    """A control plane: of this machine through the unix socket of its home, or at a URL with a token.

    Without arguments it is found as `qd` finds it, after QUARTERDECK_URL with QUARTERDECK_TOKEN or QUARTERDECK_TOKEN_FILE. `system` is
    needed where several run. Every call raises Transient when nobody answers, and the errors of the tree for a refusal.
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
        self._wire = Wire(place_of(Way(home, url, token, token_file, ca, context)), clock)

    def submit(self, target: str, payload: object = None, *, key: str | None = None, **options: Unpack[Options]) -> TaskHandle:
        """Give an agent (`cluster/agent`) work. Once this returns it is on disk and will be done.

        The same `key` again is the same task; with another payload it raises Conflict. Without one a key is made up, so that this call,
        which is repeated while nobody answers, can never give the work twice.
        """
        order = values.order(self.system, target, payload, key, options)
        if (kept := values.too_large(order, self.system)) is not None:
            order = values.referring(order, self._call(kept, values.BLOB_WITHIN))
        made = self._call(Request("POST", "/v1/tasks", body=order))
        return TaskHandle(self, made["id"], made["key"], made["created"])

    def task(self, task: str) -> TaskHandle:
        """A task that exists, by id or key. Raises NotFound."""
        seen = self.get(task)
        return TaskHandle(self, seen.id, seen.key, created=False)

    def get(self, task: str) -> TaskSeen:
        """A task by id or key, in its whole form. Raises NotFound."""
        return self._whole(TaskSeen.of(self._call(self._to("GET", task))))

    def wait(self, task: str, timeout: float | None = None) -> TaskSeen:
        """A task as it is once it has ended or stopped for a human, or after `timeout` seconds."""
        name = self._id(task)
        until = None if timeout is None else self._clock.monotonic() + timeout
        while True:
            left = LOOK if until is None else min(max(until - self._clock.monotonic(), 0.0), LOOK)
            seen = TaskSeen.of(self._call(Request("GET", f"/v1/tasks/{name}", {"wait": left}), timeout=left + 30.0))
            if seen.stopped or (until is not None and self._clock.monotonic() >= until):
                return self._whole(seen)

    def tasks(self, **filters: Unpack[Filters]) -> Iterator[TaskSeen]:
        """Tasks in their short form, the newest first, page by page."""
        before = None
        while True:
            page = self._call(Request("GET", "/v1/tasks", {"system": self.system, **filters, "before": before, "limit": PAGE}))
            yield from map(TaskSeen.of, page["items"])
            before = page["next"]
            if before is None:
                return

    def cancel(self, task: str, reason: str = "") -> TaskSeen:
        """Have a task and all below it given up."""
        return TaskSeen.of(self._call(self._to("POST", task, "/cancel", {"reason": reason})))

    def retry(self, task: str, reason: str = "") -> TaskSeen:
        """Send a dead letter or a failed task back into the queue. Raises Conflict."""
        return TaskSeen.of(self._call(self._to("POST", task, "/retry", {"reason": reason})))

    def fork(self, task: str, step: str | None = None, *, key: str | None = None, reason: str = "") -> TaskHandle:
        """Run a task that has ended again, as a new one: what it recorded before `step` is kept; without one all of it is done again.

        The same `key` again is the same fork. Raises Conflict for a task that has not ended, NotFound for what is no step of it.
        """
        made = self._call(self._to("POST", task, "/fork", values.fork(step, key, reason)))
        return TaskHandle(self, made["id"], made["key"], made["created"])

    def questions(self) -> list[Document]:
        """What waits for an answer by a human, the most urgent first."""
        return list(self._call(Request("GET", "/v1/questions", {"system": self.system}))["items"])

    def answer(self, task: str, answer: str, *, name: str | None = None, reason: str = "") -> Document:
        """Answer what a task asks; `name` where it asks several things. Gives the question. Raises Conflict when it has ended."""
        said = {"answer": answer, "reason": reason, **({"name": name} if name is not None else {})}
        return dict(self._call(self._to("POST", task, "/answer", said)))

    def resolve(self, task: str, key: str, outcome: Resolution, *, value: object = None, reason: str) -> TaskSeen:
        """Say what became of an effect that is unknown: it is done with a value, failed, or to be called again. Raises Conflict."""
        said = {"key": key, "outcome": outcome, "value": values.plain(value), "reason": reason}
        return TaskSeen.of(self._call(self._to("POST", task, "/resolve", said)))

    def events(self, task: str | None = None, after: int | None = None) -> Iterator[Event]:
        """What happens to a task until it has ended, or without one to all tasks for ever: from `after` on, without it from now on.

        An event's `data` is the document of the API. Goes on over a restart of the control plane.
        """
        path, query = (f"/v1/tasks/{self._id(task)}/events", after or 0) if task else ("/v1/tasks/events", after)
        last, tries = "", 0
        while True:
            try:
                for event in self._wire.events(path, {"system": None if task else self.system, "after": query}, last=last):
                    if event.name == "end":
                        return
                    last, tries = event.id or last, 0
                    yield event
            except Transient:
                if tries >= 10:  # noqa: PLR2004 about ten seconds of it
                    raise
            tries += 1
            time.sleep(values.pause(tries, random.random()))  # noqa: S311 spreads clients over time

    def _whole(self, seen: TaskSeen) -> TaskSeen:
        """With its result, however large."""
        wanted = values.elsewhere(seen)
        return seen if wanted is None else replace(seen, result=self._call(wanted, values.BLOB_WITHIN))

    def _id(self, task: str) -> str:
        by_key = values.found_by(self.system, task)
        return task if by_key is None else str(self._call(by_key)["id"])

    def _to(self, method: str, task: str, part: str = "", body: Document | None = None) -> Request:
        return Request(method, f"/v1/tasks/{self._id(task)}{part}", body=body)

    def _call(self, request: Request, timeout: float = 30.0) -> Any:
        until, tries = self._clock.monotonic() + self._patience, 0
        while True:
            try:
                return self._wire.call(request, timeout)
            except Transient as error:
                tries += 1
                wait = values.pause(tries, random.random(), error.after)  # noqa: S311 spreads clients over time
                if not values.may_repeat(request, error, self._wire.place) or self._clock.monotonic() + wait > until:
                    raise
                time.sleep(wait)
