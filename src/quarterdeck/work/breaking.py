"""What the rows have to do with deadlocks and loops: they tell of the tasks in one, and keep what was done about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection

from quarterdeck.errors import UserError
from quarterdeck.model import ops
from quarterdeck.model.loops import LONGEST, Loop
from quarterdeck.model.records import PLATFORM, Actor, Entry
from quarterdeck.model.work import Holder, Task
from quarterdeck.store import journal, tasks
from quarterdeck.store.turn import Turn, task_of
from quarterdeck.work.watch import POLICY, Broken

MOST_ROWS: Final = 500
"""Tasks of suspected deadlocks that are read at once; of further ones nothing is known, so they count as live."""


def rows(connection: Connection, names: Iterable[str]) -> dict[str, Task]:
    """The tasks with these ids, as far as there are any."""
    found = (tasks.find_row(connection, name) for name in sorted(names)[:MOST_ROWS])
    return {task.id: task for row in found if row is not None for task in (task_of(row),)}


def keep(turn: Turn, found: Iterable[Broken], ended: Iterable[Broken]) -> None:
    """Write deadlocks down; and have the tasks given up for which nobody waits any more, as their waits were broken."""
    for broken in found:
        victim = next(activity for activity in broken.deadlock.who if activity.id == broken.deadlock.victim)
        entry = Entry(PLATFORM, "deadlock.broken", victim.at.partition(" ")[0], broken.deadlock.told)
        journal.append(turn.tx, replace(entry, after=_told(broken), system=broken.system))
    for broken in ended:
        row = None if broken.child is None else tasks.find_row(turn.connection, broken.child)
        if row is not None:
            tasks.cancel(turn, row, broken.told, tasks.LEDGER)


def looped(turn: Turn, holder: Holder, op: ops.Looped) -> None:
    """Write a loop down, which a replica refused to go round once more."""
    if not 1 < len(op.cycle) <= LONGEST or op.messages < len(op.cycle):
        raise UserError(
            f"{len(op.cycle)} agents and {op.messages} messages are no loop", hint=f"a round of 2 to {LONGEST} agents, or more messages"
        )
    told = {"cycle": list(op.cycle), "messages": op.messages, "refused": op.verb, "sender": op.sender}
    entry = Entry(Actor(holder.replica, tasks.LEDGER), "loop.broken", holder.target.name, Loop(op.cycle, op.messages).told)
    journal.append(turn.tx, replace(entry, after=told, system=holder.system))


def _told(broken: Broken) -> dict[str, Any]:
    names = {activity.id: activity.told for activity in broken.deadlock.who}
    return {
        "cycle": [{"waits": names[edge.waiter], "how": edge.kind, "for": names[edge.on]} for edge in broken.deadlock.cycle],
        "members": len(broken.deadlock.members),
        "victim": names[broken.deadlock.victim],
        "policy": POLICY,
    }
