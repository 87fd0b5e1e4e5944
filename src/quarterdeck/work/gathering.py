"""Requests that arrive together become one write: what waits while a write is under way goes into the next one, all at once.

It adds no delay: somebody who is alone is served at once. A bounded number goes into one write, so that nobody waits long.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Made = TypeVar("Made")


@dataclass(slots=True)
class Gathering(Generic[Asked, Made]):
    """`serve` answers many things at once, one answer for each, in order. On one event loop."""

    serve: Callable[[Sequence[Asked]], Awaitable[Sequence[Made]]]
    most: int
    _waiting: deque[tuple[Sequence[Asked], asyncio.Future[Sequence[Made]]]] = field(default_factory=deque)
    _running: asyncio.Task[None] | None = None

    async def ask(self, things: Sequence[Asked]) -> Sequence[Made]:
        """The answers to some things, which stay together; raises what serving them raised. Cancelling does not undo what has begun."""
        future: asyncio.Future[Sequence[Made]] = asyncio.get_running_loop().create_future()
        self._waiting.append((things, future))
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        while taken := self._next():
            try:
                made = list(await self.serve([thing for things, _ in taken for thing in things]))
            except Exception as error:  # noqa: BLE001 it belongs to those who wait
                for _, future in taken:
                    if not future.done():
                        future.set_exception(error)
                continue
            for things, future in taken:
                mine, made = made[: len(things)], made[len(things) :]
                if not future.done():
                    future.set_result(mine)

    def _next(self) -> list[tuple[Sequence[Asked], asyncio.Future[Sequence[Made]]]]:
        taken: list[tuple[Sequence[Asked], asyncio.Future[Sequence[Made]]]] = []
        room = self.most
        while self._waiting and (not taken or len(self._waiting[0][0]) <= room):
            one = self._waiting.popleft()
            if one[1].done():  # cancelled before it was begun
                continue
            room -= len(one[0])
            taken.append(one)
        return taken
