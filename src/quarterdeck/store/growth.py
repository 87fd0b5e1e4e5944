"""Wake-ups for loops that tail the journal: a name only, never data; they read the journal with their own cursor."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Self


class Subscription:
    """Bound to the event loop that made it; `wait` returns when the journal grew since the last `wait`. Close it, or use `with`."""

    def __init__(self, growth: Growth) -> None:
        self._growth = growth
        self._event = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def wait(self, timeout: float) -> bool:  # noqa: ASYNC109 a silent journal is an answer, not an error
        """True when the journal grew, False when `timeout` seconds passed."""
        try:
            async with asyncio.timeout(timeout):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True

    def close(self) -> None:
        """No more wake-ups."""
        self._growth.drop(self)

    def wake(self) -> bool:
        """From any thread; False when its loop has ended."""
        try:
            self._loop.call_soon_threadsafe(self._event.set)
        except RuntimeError:  # the loop is closed, and nobody is left to be woken
            return False
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class Growth:
    """All subscriptions of a store; safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: set[Subscription] = set()
        self.count = 0

    def subscribe(self) -> Subscription:
        """A new subscription for the running event loop; the first `wait` reports growth from now on."""
        one = Subscription(self)
        with self._lock:
            self._waiting.add(one)
        return one

    def drop(self, one: Subscription) -> None:
        """Forget one."""
        with self._lock:
            self._waiting.discard(one)

    def announce(self) -> None:
        """Wake everybody."""
        with self._lock:
            self.count += 1
            self._waiting = {one for one in self._waiting if one.wake()}
