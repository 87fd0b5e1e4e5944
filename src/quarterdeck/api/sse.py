"""Server-sent events (WHATWG HTML, section 9.2): framing, and a response that is never buffered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from fastapi.responses import StreamingResponse

KEEP_ALIVE: Final = 10.0
"""Seconds of silence after which a comment is sent, so that a dead peer is noticed."""
COMMENT: Final = ": still here\n\n"


def event(name: str, data: str, *, id_: int | None = None) -> str:
    """One event. `data` must not contain a line break (JSON never does)."""
    head = f"id: {id_}\n" if id_ is not None else ""
    return f"{head}event: {name}\ndata: {data}\n\n"


def stream(events: AsyncIterator[str]) -> StreamingResponse:
    """A response of events."""
    return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
