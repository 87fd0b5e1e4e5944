"""Server-sent events (WHATWG HTML, section 9.2): framing, and a response that is never buffered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from typing import Any, Final

from fastapi.responses import StreamingResponse

KEEP_ALIVE: Final = 10.0
"""Seconds of silence after which a comment is sent, so that a dead peer is noticed."""
COMMENT: Final = ": still here\n\n"


class EventStream(StreamingResponse):
    """A response of events, by its type in the OpenAPI document."""

    media_type = "text/event-stream"


def event(name: str, data: str, *, id_: int | None = None) -> str:
    """One event. `data` must not contain a line break (JSON never does)."""
    head = f"id: {id_}\n" if id_ is not None else ""
    return f"{head}event: {name}\ndata: {data}\n\n"


async def pause(seconds: float, stopping: asyncio.Event) -> None:
    """Let time pass between two events, at most until the control plane stops."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stopping.wait()


async def first(seconds: float, *waits: Coroutine[Any, Any, object]) -> bool:
    """Whether one of them came to its end in time; none goes on afterwards."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return bool(done)
    finally:
        for task in tasks:
            task.cancel()


def stream(events: AsyncIterator[str]) -> StreamingResponse:
    """A response of events."""
    return EventStream(events, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
