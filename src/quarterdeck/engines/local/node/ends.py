"""What follows the end of a process, off the path to its successor: its cause, its last output, its cgroup, its line in the journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from quarterdeck.engines.local.node.forks import Forks, reap
from quarterdeck.engines.local.node.place import Place
from quarterdeck.engines.local.node.process import Process
from quarterdeck.model.world import Exit

_STATUS_WITHIN: Final = 0.25
_SUCCESSOR_WITHIN: Final = 1.0
_EMPTY_TRIES: Final = 40
_EMPTY_EVERY: Final = 0.05


class Ends:
    """`closing` are the processes whose end is not fully dealt with yet."""

    def __init__(self, place: Place, forks: Forks) -> None:
        self._place = place
        self._forks = forks
        self.closing: set[Process] = set()

    async def understood(self, process: Process) -> None:
        """Wait until the wait status is known: from its fork server, or by reaping it when that is dead. After a while it stays unknown."""
        deadline = self._place.clock.monotonic() + _STATUS_WITHIN
        while process.status is None and process.pid is not None and self._place.clock.monotonic() < deadline:
            if process.server_pid not in self._forks.pids:
                process.status = reap(process.pid)
            await asyncio.sleep(0.001)

    def follow(self, process: Process, successor: Process | None, explained: Callable[[Exit], None]) -> None:
        """See to everything; `explained` is called with the cause as soon as it is known."""
        self.closing.add(process)
        self._place.tasks.create_task(self._follow(process, successor, explained))

    async def _follow(self, process: Process, successor: Process | None, explained: Callable[[Exit], None]) -> None:
        await self.understood(process)
        groups, group = self._place.cgroups, process.identity.group
        ending = process.ending(oom=not process.kill_reason and groups.oom_kills(group) > 0)
        explained(ending)
        process.close()
        self._journal(process, ending, await _delay(process, successor))
        for _ in range(_EMPTY_TRIES):
            groups.kill(group)
            if groups.remove(group):
                break
            await asyncio.sleep(_EMPTY_EVERY)
        else:
            self._place.events.add("cgroup.left", process.identity.slot, group=group)
        self.closing.discard(process)

    def _journal(self, process: Process, ending: Exit, ms: float | None) -> None:
        identity = process.identity
        self._place.events.add(
            "replica.exited",
            identity.slot,
            pid=process.pid,
            incarnation=identity.incarnation,
            code=ending.code,
            signal=ending.signal,
            oom=ending.oom,
            hang=ending.hang,
            cause=ending.cause,
            detail=ending.detail,
            asked=process.asked_to_end,
            ms=ms,
        )

    def close(self, process: Process) -> None:
        """A process that never came to be."""
        process.close()
        self._place.cgroups.remove(process.identity.group)


async def _delay(process: Process, successor: Process | None) -> float | None:
    """Milliseconds from the end seen to the pid of the successor, None when there was none soon."""
    if successor is None or process.ended_at is None:
        return None
    await asyncio.wait({successor.birth}, timeout=_SUCCESSOR_WITHIN)
    born = successor.birth.result() if successor.birth.done() else None
    return None if born is None or born < process.ended_at else round((born - process.ended_at) * 1000, 2)
