"""What a task says while it works (`ctx.emit`): gathered for a moment and sent to the ledger, which keeps the newest in memory.

Nobody waits for it, and it delays nothing: what cannot be sent is dropped, the oldest first, and the numbers of the pieces show the gap.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Final

from quarterdeck.agents.line import Line
from quarterdeck.agents.payload import body
from quarterdeck.errors import QuarterdeckError
from quarterdeck.model import ops

log = logging.getLogger(__name__)

EVERY: Final = 0.1
"""Seconds in which pieces gather."""
MOST_KEPT: Final = 1000
ROOM_KEPT: Final = 512_000
"""Pieces, and bytes of them, that wait to be sent."""
MOST_SENT: Final = 256
ROOM_SENT: Final = 256_000
"""Pieces, and bytes of them, in one operation."""
PATIENCE: Final = 10.0
LAST_WORDS: Final = 2.0
"""Seconds that the end of a task waits for its last pieces."""


class Output:
    """Of one attempt at a task."""

    def __init__(self, task: str, fence: int, line: Line) -> None:
        self._task, self._fence, self._line = task, fence, line
        self._kept: deque[str] = deque()
        self._size = 0
        self._first = 1
        self._sending: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()

    def put(self, value: object) -> None:
        """Take one piece, from any thread; raises UserError for what JSON cannot say, and for too much of it."""
        self._loop.call_soon_threadsafe(self._take, body(value, "a piece of output", ops.MOST_OUTPUT))

    def _take(self, text: str) -> None:
        self._kept.append(text)
        self._size += len(text)
        while len(self._kept) > MOST_KEPT or self._size > ROOM_KEPT:
            self._drop()
        if self._sending is None or self._sending.done():
            self._sending = self._loop.create_task(self._send())

    async def drained(self) -> None:
        """Until everything was sent, for a moment at most."""
        await asyncio.sleep(0)  # what was said just now is taken first
        if self._sending is not None:
            await asyncio.wait({self._sending}, timeout=LAST_WORDS)

    def close(self) -> None:
        """Send nothing more."""
        if self._sending is not None:
            self._sending.cancel()

    async def _send(self) -> None:
        while self._kept:
            await asyncio.sleep(EVERY)
            first, values = self._first, self._batch()
            batch = ops.Emit(self._task, self._fence, first, values)
            try:
                await self._line.call(batch, PATIENCE)
            except QuarterdeckError as error:
                log.debug("output of task %s from %d on was lost: %s", self._task, batch.first, error.message)

    def _batch(self) -> tuple[str, ...]:
        found: list[str] = []
        room = ROOM_SENT
        while self._kept and len(found) < MOST_SENT and (room := room - len(self._kept[0])) >= 0:
            found.append(self._drop())
        return tuple(found)

    def _drop(self) -> str:
        text = self._kept.popleft()
        self._size -= len(text)
        self._first += 1
        return text
