"""Lanes: of one lane an agent works on one task at a time, in the order in which they came. Whatever waits is behind exactly one other."""

from __future__ import annotations

from typing import Final, cast

from sqlalchemy import bindparam, select

from quarterdeck.model.work import Target
from quarterdeck.store import tables
from quarterdeck.store.rows import Row
from quarterdeck.store.turn import Turn, target_of

_T: Final = tables.tasks
_LANE: Final = (_T.c.system == bindparam("system"), _T.c.cluster == bindparam("cluster"), _T.c.agent == bindparam("agent"),
                _T.c.lane == bindparam("lane"))  # fmt: skip
_LAST: Final = select(_T).where(*_LANE, _T.c.ended.is_(None)).order_by(_T.c.number.desc()).limit(1)
_FOLLOWERS: Final = select(_T).where(*_LANE, _T.c.behind == bindparam("ahead"), _T.c.ended.is_(None)).order_by(_T.c.number)


def last(turn: Turn, target: Target, lane: str | None) -> str | None:
    """The task of a lane that one more has to wait for; None when it is free."""
    if lane is None:
        return None
    found = turn.select(_T, _LAST, system=target.system, cluster=target.cluster, agent=target.agent, lane=lane)
    return str(found[0]["id"]) if found else None


def let_next(turn: Turn, ended: Row) -> None:
    """A task left its lane. The first one behind it takes its place, and the others that were behind it go behind that one."""
    if ended["lane"] is None:
        return
    target = target_of(ended)
    names = {"system": target.system, "cluster": target.cluster, "agent": target.agent, "lane": ended["lane"], "ahead": ended["id"]}
    followers = turn.select(_T, _FOLLOWERS, **names)
    for row, ahead in zip(followers, [ended["behind"], *(row["id"] for row in followers[:1] * len(followers))], strict=False):
        turn.update(_T, row, behind=ahead)
        if ahead is None:
            turn.queued.append((target, cast("float", row["after"])))
