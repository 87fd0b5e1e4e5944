"""A task stopped past a control plane that does not answer: written down at the node, and whoever works on it killed.

Nobody but the ledger can take a task back. So the node keeps the order until there is one again, which ends the task before it gives
anybody work; and until then what would go on with it is dead. A replica works on several tasks: the others are begun again, as after any
crash.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from quarterdeck import linux
from quarterdeck.cli import direct
from quarterdeck.clock import SystemClock
from quarterdeck.engines.local.living import Living, living
from quarterdeck.engines.local.node.lifecycle import MARK
from quarterdeck.halts import TASK
from quarterdeck.model.home import Home
from quarterdeck.model.stops import Source, StopProof
from quarterdeck.model.work import Holder

if TYPE_CHECKING:
    from sqlalchemy import Connection

PROCESSES: Final = "/proc"
_CLAIM: Final = "processes that worked on it and are alive"
_LOOKS: Final = 50
_EVERY: Final = 0.02


@dataclass(frozen=True, slots=True)
class _Found:
    """The system of a task, who works on it or below it, and how many tasks and effects that is."""

    system: str
    holders: tuple[Holder, ...]
    counts: tuple[int, int]


def stop(home: Home, wish: direct.Wish) -> StopProof:
    """Stop the task that `wish.target` names, without its drain. Raises NotFound, or Transient when it cannot be written down."""
    from quarterdeck.store import engine  # noqa: PLC0415 SQLAlchemy: not for a plain verb

    name = wish.target
    try:
        found = direct.offline(home, lambda connection: _look(connection, name))
    except engine.ERRORS as error:
        kept = direct.halt(home, replace(wish, target=f"{TASK}{name}"))
        unseen = Source(PROCESSES, _CLAIM, None, "without the ledger nobody knows who works on it")
        return _proof(wish, kept, (unseen, *direct.rows_unread(error)))
    kept = direct.halt(home, replace(wish, system=found.system, target=f"{TASK}{name}"))
    killed = _kill(home, found)
    return _proof(replace(wish, system=found.system), kept, (killed, *direct.rows_told(found.counts)))


def _look(connection: Connection, task: str) -> _Found:
    from quarterdeck.store import stops, tasks  # noqa: PLC0415 SQLAlchemy

    row = tasks.require(connection, task)
    held = stops.holders(connection, task)
    return _Found(str(row["system"]), tuple(Holder.read(str(row["system"]), name) for name in held), stops.of_task(connection, task))


def _kill(home: Home, found: _Found) -> Source:
    """Kill the replicas, and look until none of them is alive; what their node starts afterwards are others."""
    places = {holder.replica for holder in found.holders}
    killed: set[int] = set()
    until = float("inf")
    for _ in range(_LOOKS):
        left = [one for one in _of(home, found.system, places) if 0 < linux.stat(one.pid)[2] <= until]
        if not left:
            break
        for one in left:
            linux.kill(one.pid)
        killed |= {one.pid for one in left}
        until = min(until, time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))
        time.sleep(_EVERY)
    names = ", ".join(sorted(places)) or "nobody"
    told = "; ".join(one.told for one in left) or f"{names} worked on it: {len(killed)} processes killed"
    return Source(PROCESSES, _CLAIM, len(left), told)


def _of(home: Home, system: str, places: set[str]) -> list[Living]:
    return [one for one in living(home, MARK) if one.replica and one.system == system and f"{one.cluster}/{one.replica}" in places]


def _proof(wish: direct.Wish, kept: str, sources: tuple[Source, ...]) -> StopProof:
    ms = 1000 * (time.monotonic() - wish.began)
    return StopProof(wish.system, f"task {wish.target}", SystemClock().now(), ms, sources, (kept,) if kept else ())
