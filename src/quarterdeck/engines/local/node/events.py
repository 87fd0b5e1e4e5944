"""What happened, in order: a bounded ring that the control plane tails by sequence, and can wait on."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final

from quarterdeck.clock import Clock

_KEPT: Final = 10_000


class Events:
    """Numbered from 1 in each boot; a reader that fell behind sees `first` above what it asked for."""

    def __init__(self, clock: Clock, boot: str) -> None:
        self._clock = clock
        self._boot = boot
        self._items: deque[dict[str, Any]] = deque(maxlen=_KEPT)
        self._next = 1
        self._news = asyncio.Event()

    @property
    def next(self) -> int:
        """The sequence that the next event will have."""
        return self._next

    def add(self, kind: str, target: str, **detail: object) -> None:
        """Note that something happened; JSON values only."""
        self._items.append({"seq": self._next, "at": self._clock.now(), "kind": kind, "target": target, "detail": detail})
        self._next += 1
        self._news.set()
        self._news = asyncio.Event()

    def after(self, seq: int) -> dict[str, Any]:
        """Everything with a higher sequence than `seq` that is still kept."""
        skip = max(0, seq - (self._next - 1 - len(self._items)))
        first = self._items[0]["seq"] if self._items else self._next
        return {"boot": self._boot, "first": first, "next": self._next, "items": list(self._items)[skip:]}

    async def wait(self, seq: int, timeout: float) -> dict[str, Any]:  # noqa: ASYNC109 a long poll: running out is an answer, not an error
        """`after`, once it is not empty or `timeout` seconds have passed."""
        if seq >= self._next - 1:
            news = asyncio.ensure_future(self._news.wait())
            await asyncio.wait([news], timeout=timeout)
            news.cancel()
        return self.after(seq)
