"""How things stand, for a ledger that has to know what it does not remember: who holds what, who waits in line, what is late."""

from __future__ import annotations

from typing import Final, NamedTuple

from sqlalchemy import Connection, bindparam, func, select

from quarterdeck.model.work import Target
from quarterdeck.store import tables
from quarterdeck.store.fairness import Fairness
from quarterdeck.store.rows import Row
from quarterdeck.store.tasks import IN_WORK
from quarterdeck.store.turn import Turn

_T: Final = tables.tasks
_HELD: Final = select(_T.c.id, _T.c.system, _T.c.owner, _T.c.fence, _T.c.state, _T.c.cancel).where(_T.c.state.in_(IN_WORK))
_DUE: Final = select(_T.c.system, _T.c.cluster, _T.c.agent, func.min(_T.c.after)).where(_T.c.state == "queued", _T.c.behind.is_(None))
_LINES: Final = (_T.c.system, _T.c.cluster, _T.c.agent, _T.c.rank, _T.c.tenant)
_LATE: Final = select(_T).where(_T.c.deadline <= bindparam("now"), _T.c.ended.is_(None), _T.c.cancel.is_(None), _T.c.state != "unknown")


class Held(NamedTuple):
    """A task that somebody works on."""

    task: str
    system: str
    owner: str
    fence: int
    waiting: bool
    cancelled: bool


def held(connection: Connection) -> list[Held]:
    """Every task that somebody works on."""
    return [Held(row.id, row.system, row.owner or "", row.fence, row.state == "waiting", row.cancel is not None)
            for row in connection.execute(_HELD)]  # fmt: skip


def due(connection: Connection, now: float) -> list[tuple[Target, float]]:
    """Agents that have queued tasks, with the earliest time (epoch seconds) at which one may be begun."""
    query = _DUE.group_by(_T.c.system, _T.c.cluster, _T.c.agent)
    return [(Target(system, cluster, agent), max(after, now)) for system, cluster, agent, after in connection.execute(query)]


def late(turn: Turn) -> list[Row]:
    """Tasks past their deadline that nobody was told of yet; not those that wait for a human's word on an effect."""
    return turn.select(_T, _LATE, now=turn.now)


def fill(connection: Connection, fairness: Fairness) -> None:
    """Tell a new process who stands in line."""
    query = select(*_LINES, func.max(_T.c.turn), func.min(_T.c.turn)).where(_T.c.state == "queued", _T.c.turn > 0).group_by(*_LINES)
    for system, cluster, agent, rank, tenant, last, first in connection.execute(query):
        fairness.note((Target(system, cluster, agent), -rank), tenant, last, first)
