"""What clients send and give back: orders as the API takes them, tasks as it shows them. Pure; both clients share it."""

from __future__ import annotations

import dataclasses
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypedDict

from quarterdeck.client.doors import Place
from quarterdeck.client.wire import Document, Request, Unreached, comes_back
from quarterdeck.errors import Transient, UserError
from quarterdeck.model.blobs import MOST_BLOB
from quarterdeck.model.home import Home
from quarterdeck.model.work import ENDED, MOST_BODY, TaskFailed, TooLarge, is_task_id

Resolution = Literal["done", "failed", "again"]
STOPPED: Final = (*ENDED, "unknown")
"""States in which nothing happens any more by itself."""
BLOBS: Final = "/v1/blobs"
BLOB_WITHIN: Final = 300.0
"""Seconds for a large payload or result to get through."""


class Options(TypedDict, total=False):
    """How a task should be done. `timeout` and `delay` are seconds from now; of one `lane` one task is worked on at a time."""

    verb: str
    priority: int
    lane: str
    tenant: str
    timeout: float
    delay: float
    attempts: int
    budget: Mapping[str, float]


class Filters(TypedDict, total=False):
    """Which tasks are meant: in one of these states (`open`: any that has not ended), of an agent, with a key that begins so."""

    state: str
    target: str
    key: str
    root: str
    tops: bool


@dataclass(frozen=True, slots=True)
class TaskSeen:
    """A task as it was when it was looked at; `document` has everything, as `qd task get -o json` prints it.

    What only the whole form has (`result`, `error`, `children`) is empty for tasks of a list.
    """

    id: str
    key: str | None
    target: str
    state: str
    reason: str
    attempts: int
    result: Any
    error: str | None
    children: tuple[str, ...]
    document: Document

    @classmethod
    def of(cls, document: Document) -> TaskSeen:
        """From the document of the API."""
        return cls(
            id=document["id"],
            key=document["key"],
            target=document["target"],
            state=document["state"],
            reason=document["reason"],
            attempts=document["attempts"],
            result=document.get("result"),
            error=document.get("error"),
            children=tuple(document.get("children") or ()),
            document=document,
        )

    @property
    def ended(self) -> bool:
        """Whether it has come to its end."""
        return self.state in ENDED

    @property
    def stopped(self) -> bool:
        """Whether nothing happens any more unless somebody does something: it ended, or an effect of it is unknown."""
        return self.state in STOPPED

    def value(self) -> Any:
        """Its result. Raises TaskFailed when it came to another end, Transient when it has not ended."""
        if self.state == "done":
            return self.result
        told = f"task {self.id} of {self.target} is {self.state}" + (f": {self.reason or self.error}" if self.reason or self.error else "")
        if self.ended:
            raise TaskFailed(told, task=self.id, state=self.state)
        hint = f"qd task resolve {self.id} says what became of it" if self.state == "unknown" else f"it goes on: qd task get {self.id}"
        raise Transient(told, hint=hint)


def order(system: str | None, target: str, payload: object, key: str | None, options: Options) -> Document:
    """The body of a submit. Without a key one is made up: a repeated request must be the same task. Raises UserError."""
    key = key if key is not None else f"auto-{secrets.token_hex(12)}"
    budget = dict(options.get("budget", {})) or None
    found = {"system": system, "target": target, "payload": plain(payload), "key": key, **options, "budget": budget}
    return {name: value for name, value in found.items() if value is not None}


def fork(step: str | None, key: str | None, reason: str) -> Document:
    """The body of a fork. Without a key one is made up, as for a submit."""
    return {"from": step, "key": key if key is not None else f"auto-{secrets.token_hex(12)}", "reason": reason}


def too_large(order: Document, system: str | None) -> Request | None:
    """The request that keeps the payload of an order, where that is too large for it; `referring` is the order then. Raises TooLarge."""
    text = json.dumps(order.get("payload")).encode()
    if len(text) > MOST_BLOB:
        raise TooLarge(f"the payload is {len(text):,} bytes", hint=f"at most {MOST_BLOB:,}: put it where the agent can reach it too")
    return Request("POST", BLOBS, {"system": system}, raw=text) if len(text) > MOST_BODY else None


def referring(order: Document, kept: Document) -> Document:
    """An order whose payload is kept already."""
    return {name: value for name, value in order.items() if name != "payload"} | {"payload_ref": kept["ref"]}


def elsewhere(seen: TaskSeen) -> Request | None:
    """The request that fetches the result of a task, where its document only has the name."""
    if "result" not in seen.document.get("large", ()):
        return None
    return Request("GET", f"{BLOBS}/{seen.result['$ref']}", {"system": seen.document["system"]})


def plain(payload: object) -> object:
    """A payload as JSON has it; dataclasses are objects there. Raises UserError for what JSON cannot say."""
    try:
        return json.loads(json.dumps(payload, allow_nan=False, default=_as_object))
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(
            f"the payload cannot be said in JSON: {error}", hint="dicts, lists, text, numbers and dataclasses of these"
        ) from error


def _as_object(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    raise TypeError(f"{type(value).__name__} is no JSON value")


def found_by(system: str | None, task: str) -> Request | None:
    """The request that finds the id of a key; None for what is an id already. Keys may have any characters, so no path holds one."""
    return None if is_task_id(task) else Request("GET", "/v1/tasks/by-key", {"key": task, "system": system})


def may_repeat(request: Request, error: Transient, place: Place) -> bool:
    """Whether a request that failed so should be sent again: it harms nobody, and somebody may answer.

    It reads, or its key or its content makes it the same order or blob, or it never left; and the control plane may come back by itself.
    """
    if isinstance(error, Unreached):
        return not isinstance(place, Home) or comes_back(place)
    orders = request.path == "/v1/tasks" or request.path.endswith("/fork")
    keyed = orders and bool(request.body and request.body.get("key"))
    return keyed or request.method == "GET" or request.path == BLOBS


def pause(attempt: int, chance: float, after: float = 0.0) -> float:
    """Seconds before another try: doubling from 0.1 to 2, with full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter").

    It is not before `after`, where the answer said so, and up to a half later, so that not all who were told the same come at once.
    """
    return max(chance * min(0.1 * 2.0**attempt, 2.0) + 0.02, after * (1 + chance / 2))
