"""Stops of the human kind: what may not be worked on, as live Changes of the field `stopped`, and what becomes of the work itself.

The work of a stopped target goes back into the queue under a new fence, so that a result that comes late is refused; nobody is given any
of it until the stop ends. An effect that was under way is unknown where calling again could do it twice, else it is to be called again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, and_, func, select, true
from sqlalchemy.sql import ColumnElement

from quarterdeck.model.records import PLATFORM, Actor, Change, Patch
from quarterdeck.model.work import OPEN
from quarterdeck.store import changes, effects, standing, tables, tasks
from quarterdeck.store.changes import STOPPED
from quarterdeck.store.turn import Turn

WORKED_ON: Final = "tasks that somebody works on"
UNDER_WAY: Final = "effects under way"


@dataclass(frozen=True, slots=True)
class Order:
    """Who wants a target stopped, why, and by which door. `target` is `system:`, a cluster or `cluster/agent`."""

    system: str
    target: str
    actor: Actor
    reason: str

    @property
    def why(self) -> str:
        """As the work that it stops is told."""
        return f"stopped by {self.actor.name}: {self.reason}"


def begin(turn: Turn, order: Order) -> Change:
    """Make the Change, or give the one there is: two stops of the same are one."""
    for known in live(turn.connection, order.system, turn.now):
        if known.target == order.target:
            return known
    return changes.add(turn.tx, change(order, turn.now), via=order.actor.via)


def change(order: Order, now: float) -> Change:
    """What it asks for, not made yet: nothing of the target runs, until somebody reverts it."""
    return Change(0, order.system, "human", order.actor.name, order.target, Patch(STOPPED, value=True), order.reason, now, None)


def live(connection: Connection, system: str, now: float) -> list[Change]:
    """The stops of a system in force, oldest first."""
    return [change for change in changes.live(connection, system, now) if change.patch.field == STOPPED and change.patch.value]


def fence(turn: Turn, system: str, target: str, why: str) -> int:
    """Take all work of a target away from whoever has it; gives how many tasks that were."""
    t = tables.tasks
    lost = _cut_off(turn, _of(system, target), PLATFORM.name)
    held = turn.select(t, select(t).where(_of(system, target), t.c.state.in_(tasks.IN_WORK)))
    for row in held:
        tasks.halt(turn, row, why, PLATFORM.name, lost=(row["id"], row["fence"]) in lost)
    return len(held)


def cancel(turn: Turn, task: str, order: Order) -> None:
    """Ask whoever works on a task, or below it, to give it up."""
    row = tasks.require(turn.connection, task)
    tasks.cancel(turn, row, order.why, order.actor.name)
    tasks.told(turn, row, "task.cancel", order.actor, order.reason)


def end_task(turn: Turn, task: str, order: Order) -> None:
    """Cancel a task and all below it now, whoever works on them. Their effects under way are unknown: nobody will call again."""
    for one in reversed(_below(turn.connection, task)):
        row = tasks.require(turn.connection, one)
        _cut_off(turn, tables.tasks.c.id == one, order.actor.name, again=False)
        if row["state"] in OPEN:
            tasks.end(turn, row, "cancelled", order.why, order.actor.name)


def _below(connection: Connection, task: str) -> list[str]:
    """A task and everything delegated below it, parents before children."""
    every = tasks.tree(connection, str(tasks.require(connection, task)["root"]))
    kept = {task}
    for one in every:
        if one.parent in kept:
            kept.add(one.id)
    return [one.id for one in every if one.id in kept]


def resume(turn: Turn, system: str) -> None:
    """A stop has ended: whoever has work in the queue is told so."""
    turn.queued += [(target, at) for target, at in standing.due(turn.connection, turn.now) if target.system == system]


def in_work(connection: Connection, system: str, target: str) -> int:
    """How many tasks of a target somebody works on."""
    return _count(connection, select(func.count()).where(_of(system, target), tables.tasks.c.state.in_(tasks.IN_WORK)))


def pending(connection: Connection, system: str, target: str) -> int:
    """How many effects of a target's tasks are under way."""
    return _count(connection, select(func.count()).select_from(_joined()).where(_of(system, target), tables.effects.c.outcome == "started"))


def of_task(connection: Connection, task: str) -> tuple[int, int]:
    """(tasks somebody works on, effects under way) of a task and all below it."""
    among = tables.tasks.c.id.in_(_below(connection, task))
    working = _count(connection, select(func.count()).where(among, tables.tasks.c.state.in_(tasks.IN_WORK)))
    return working, _count(connection, select(func.count()).select_from(_joined()).where(among, tables.effects.c.outcome == "started"))


def holders(connection: Connection, task: str) -> list[str]:
    """Who works on a task or below it (`cluster/agent-n#k`)."""
    t = tables.tasks
    query = select(t.c.owner).where(t.c.id.in_(_below(connection, task)), t.c.state.in_(tasks.IN_WORK), t.c.owner.is_not(None)).distinct()
    return [str(owner) for (owner,) in connection.execute(query)]


def _cut_off(turn: Turn, which: ColumnElement[bool], actor: str, *, again: bool = True) -> set[tuple[object, object]]:
    """End every effect that is under way; gives task and fence of those of which nobody knows what came."""
    e = tables.effects
    found = turn.select(e, select(e).select_from(_joined()).where(e.c.outcome == "started", which))
    for effect in found:
        effects.cut_off(turn, tasks.require(turn.connection, str(effect["task"])), effect, actor, again=again)
    return {(effect["task"], effect["fence"]) for effect in found if effect["semantics"] == "unsafe"}


def _of(system: str, target: str) -> ColumnElement[bool]:
    """The tasks of a target; an empty system is all of them."""
    t = tables.tasks
    cluster, _, agent = ("" if target.endswith(":") else target).partition("/")
    wanted = [column == value for column, value in ((t.c.system, system), (t.c.cluster, cluster), (t.c.agent, agent)) if value]
    return and_(true(), *wanted)


def _joined() -> Any:
    return tables.effects.join(tables.tasks, tables.effects.c.task == tables.tasks.c.id)


def _count(connection: Connection, query: Any) -> int:
    return int(connection.execute(query).scalar() or 0)
