"""What each cluster uses of its quota now, counted as its limits count it: by the kernel for the whole group, where there is one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from quarterdeck import linux
from quarterdeck.clock import Clock
from quarterdeck.engines.local.node.rooms import Cgroups

WINDOW: Final = 2.0
"""Seconds over which processor time is a rate; whoever asks more often is told the last one again."""

_GROUP: Final = 0
"""Stands where a pid stands when the kernel counts for all of them."""


@dataclass(slots=True)
class _Counted:
    """Processor seconds by pid at one moment, and the cores that were busy until then (None: there was no moment before)."""

    at: float
    spent: dict[int, float]
    cores: float | None = None


class Meter:
    """Remembers one reading of each room."""

    def __init__(self, cgroups: Cgroups, clock: Clock) -> None:
        self._cgroups = cgroups
        self._clock = clock
        self._before: dict[str, _Counted] = {}

    def read(self, rooms: Mapping[str, Iterable[int]]) -> list[tuple[str, float | None, int | None]]:
        """(room, cores, bytes) of each, from the pids of its replicas; None where nobody counts it, or not yet."""
        self._before = {room: counted for room, counted in self._before.items() if room in rooms}
        return [(room, self._cores(room, pids), self._cgroups.memory(room)) for room, pids in sorted(rooms.items())]

    def _cores(self, room: str, pids: Iterable[int]) -> float | None:
        now, before = self._clock.monotonic(), self._before.get(room)
        if before is not None and now - before.at < WINDOW:
            return before.cores
        whole = self._cgroups.cpu_seconds(room)
        spent = {pid: linux.usage(pid)[0] for pid in pids} if whole is None else {_GROUP: whole}
        cores = None
        if before is not None:  # one that came meanwhile has spent all it did since; of one that ended nothing is known
            cores = round(sum(max(0.0, seconds - before.spent.get(pid, 0.0)) for pid, seconds in spent.items()) / (now - before.at), 3)
        self._before[room] = _Counted(now, spent, cores)
        return cores
