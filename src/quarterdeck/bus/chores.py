"""Background work that nobody waits for and that must not outlive its owner: reconnecting, retiring, answering the node."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine


class Chores:
    """The part of a TaskGroup that one owner started and may cancel as a whole."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks
        self._running: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Run it in the group."""
        task = self._tasks.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def cancel(self) -> None:
        """Cancel what still runs."""
        for task in tuple(self._running):
            task.cancel()
