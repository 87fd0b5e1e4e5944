"""Tasks: the rows that own all work. Every function is called inside one write and leaves the rows as one state or the next.

Whoever works on a task names its fence; a function that changes something raises Fenced when that is not the newest one, or the holder is
another. The same call made twice (its answer was lost) says the same twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, cast

from sqlalchemy import Connection, select

from quarterdeck import states
from quarterdeck.errors import Conflict, NotFound, UserError
from quarterdeck.model.records import Actor, Entry
from quarterdeck.model.work import OPEN, RETRYABLE, Fenced, Hold, Task
from quarterdeck.store import ends, journal, lanes, rows, tables
from quarterdeck.store.rows import Row
from quarterdeck.store.turn import Turn, target_of, task_of

Body = Literal["input", "result", "error", "fork"]
"""`fork`: whose work a task goes on with, as JSON."""
CHILD: Final = "^"
"""Begins the keys of children, which only the ledger gives."""
KEY_LIMIT: Final = 300
LEDGER: Final = ends.LEDGER
LAST_CHARACTER: Final = "\U0010ffff"
"""Ends a range of keys that begin alike."""
IN_WORK: Final = ("running", "waiting")
"""States in which somebody works on a task."""


def own_key(key: str) -> str:
    """A key that a user gives; raises UserError for what is none."""
    if not key or len(key) > KEY_LIMIT or key.startswith(CHILD) or not key.isprintable():
        raise UserError(f"{key[:80]!r} cannot be a key", hint=f"1 to {KEY_LIMIT} printable characters, the first of them not {CHILD}")
    return key


def held(turn: Turn, hold: Hold) -> Row:
    """The row of a task that is held so; raises Fenced."""
    row = turn.find(tables.tasks, hold.task)
    if row is None or not _of_its_agent(row, hold):
        raise Fenced(f"task {hold.task} is none of yours")
    if not _is(row, hold) or row["state"] not in IN_WORK:
        if not turn.noted(hold.task, cast("int", row["fence"]), hold.holder.name, ("refused",)):  # once: a zombie may say it for ever
            turn.note(row, "refused", hold.holder.name, stale=hold.fence)
        now = f"{row['state']} under fence {row['fence']} of {row['owner'] or 'nobody'}"
        raise Fenced(f"task {hold.task} is not yours any more: it is {now}")
    return row


def _is(row: Row, hold: Hold) -> bool:
    return _of_its_agent(row, hold) and row["fence"] == hold.fence and row["owner"] == hold.holder.name


def _of_its_agent(row: Row, hold: Hold) -> bool:
    who = hold.holder
    return row["agent"] == who.agent and row["cluster"] == who.cluster and row["system"] == who.system


def _over(turn: Turn, hold: Hold, *kinds: str) -> bool:
    """Whether the holder said the same before, and our answer was lost."""
    row = turn.find(tables.tasks, hold.task)
    ended = row is not None and row["fence"] == hold.fence and (row["state"] not in IN_WORK)
    return ended and turn.noted(hold.task, hold.fence, hold.holder.name, kinds)


def done(turn: Turn, hold: Hold, result: str) -> None:
    """End a task with its result."""
    if _over(turn, hold, "done"):
        return
    row = resumed(turn, held(turn, hold), hold.holder.name)
    keep_body(turn, row, "result", result)
    end(turn, row, "done", "", hold.holder.name)


def fail(turn: Turn, hold: Hold, error: str, *, again: float | None) -> None:
    """End an attempt. `again`: seconds until the next one, None when there should be none. The last one makes it a dead letter."""
    if _over(turn, hold, "again", "failed", "dead", "cancelled"):
        return
    row, actor = held(turn, hold), hold.holder.name
    keep_body(turn, row, "error", error)
    if row["cancel"] is not None:
        end(turn, row, "cancelled", str(row["cancel"]), actor)
    elif again is None:
        end(turn, row, "failed", error, actor)
    else:
        back(turn, row, error, again, actor)


def release(turn: Turn, task: str, fence: int, why: str, *, after: float, counts: bool = True) -> bool:
    """Take a task from a holder that ended or went silent; False when it had moved on meanwhile.

    `counts`: whether the attempt counts against the task; it does not where we ended its holder ourselves.
    """
    row = turn.find(tables.tasks, task)
    if row is None or row["fence"] != fence or row["state"] not in IN_WORK:
        return False
    if row["cancel"] is not None:
        end(turn, row, "cancelled", str(row["cancel"]), LEDGER)
    else:
        kept = row if counts else turn.update(tables.tasks, row, attempts=cast("int", row["attempts"]) - 1)
        back(turn, kept, why, after, LEDGER)
    return True


def give_back(turn: Turn, hold: Hold, why: str) -> None:
    """A holder that has to stop hands a task over; the attempt does not count against the task."""
    if _over(turn, hold, "given_back", "cancelled"):
        return
    row = held(turn, hold)
    if row["cancel"] is not None:
        end(turn, row, "cancelled", str(row["cancel"]), hold.holder.name)
        return
    new = moved(turn, row, "queued", reason=why, after=turn.now, owner=None, attempts=cast("int", row["attempts"]) - 1)
    _free(turn, row)
    turn.queued.append((target_of(row), turn.now))
    turn.note(new, "given_back", hold.holder.name, why=why)


def halt(turn: Turn, row: Row, why: str, actor: str, *, lost: bool) -> None:
    """Take a task from its holder because its agent was stopped: under a new fence, and without an attempt counted against it.

    `lost`: nobody knows what came of an effect of this attempt, so that it waits for a human and not in the queue.
    """
    if row["cancel"] is not None:
        end(turn, row, "cancelled", str(row["cancel"]), actor)
        return
    fenced = turn.update(tables.tasks, row, fence=cast("int", row["fence"]) + 1, attempts=cast("int", row["attempts"]) - 1)
    turn.note(fenced, "halt", actor, why=why, holder=row["owner"])
    if lost:
        suspend(turn, fenced, why, actor)
        return
    moved(turn, fenced, "queued", reason=why, after=turn.now, owner=None)
    _free(turn, row)
    turn.queued.append((target_of(row), turn.now))


def back(turn: Turn, row: Row, why: str, after: float, actor: str) -> None:
    """Into the queue again, or out of it for good after the last attempt or past the deadline."""
    if cast("int", row["attempts"]) >= cast("int", row["most"]):
        end(turn, row, "dead", f"attempt {row['attempts']} of {row['most']}: {why}", actor)
        return
    if row["deadline"] is not None and cast("float", row["deadline"]) <= turn.now + after:
        end(turn, row, "failed", f"its deadline leaves no time for another attempt after: {why}", actor)
        return
    place = cast("float", row["turn"]) * (-1 if after > 0 else 1)  # the same when its time has come
    new = moved(turn, row, "queued", reason=why, after=turn.now + after, owner=None, turn=place)
    _free(turn, row)
    turn.queued.append((target_of(row), turn.now + after))
    turn.note(new, "again", actor, why=why, after=after, holder=row["owner"])


def end(turn: Turn, row: Row, state: str, reason: str, actor: str) -> Row:
    """Bring a task to an end: what was behind it may go on, its open children are cancelled, whoever waits for it hears of it."""
    new = moved(turn, row, state, reason=reason[: journal.REASON_LIMIT], ended=turn.now)
    _free(turn, row)
    turn.ended.append(task_of(new))
    turn.note(new, state, actor, reason=reason or None)
    if state == "dead":
        told(turn, new, "task.dead", Actor(actor, LEDGER), reason)
    lanes.let_next(turn, new)
    turn.at_last(_settle)
    return new


def _settle(turn: Turn) -> None:
    """What tasks leave behind that ended: nobody waits for their children, or needs an answer to their questions."""
    seen = 0
    while new := turn.ended[seen:]:
        seen += len(new)
        ends.clear(turn, [task.id for task in new])
        for child in ends.children(turn, [task.id for task in new]):
            cancel(turn, child, f"task {child['parent']} ended", LEDGER)


def _free(turn: Turn, row: Row) -> None:
    turn.freed[str(row["id"])] = cast("int", row["fence"])


def too_late(turn: Turn, row: Row) -> None:
    """The deadline of a task has passed: whoever works on it is asked to give it up."""
    if row["state"] in IN_WORK:
        cancel(turn, row, "its deadline passed", LEDGER)
    else:
        end(turn, row, "failed", "its deadline passed before anybody could begin", LEDGER)


def cancel(turn: Turn, row: Row, reason: str, actor: str) -> Row:
    """End a task that nobody works on; ask the holder of one that somebody does."""
    if row["state"] not in OPEN or row["cancel"] is not None:
        return row
    if row["state"] in IN_WORK:
        new = turn.update(tables.tasks, row, cancel=reason)
        turn.cancelling.add(str(row["id"]))
        turn.note(new, "cancel", actor, reason=reason)
        return new
    return end(turn, row, "cancelled", reason, actor)


def retry(turn: Turn, row: Row, actor: Actor, reason: str) -> Row:
    """Send a dead letter or a failed task back into the queue with fresh attempts."""
    if row["state"] not in RETRYABLE:
        raise Conflict(f"task {row['id']} is {row['state']}", hint=f"only {' and '.join(RETRYABLE)} tasks can be tried again")
    deadline = None if row["deadline"] is not None and cast("float", row["deadline"]) <= turn.now else row["deadline"]
    fresh = {"reason": "", "attempts": 0, "after": turn.now, "ended": None, "owner": None, "deadline": deadline, "cancel": None}
    new = moved(turn, row, "queued", **fresh, behind=lanes.last(turn, target_of(row), cast("str | None", row["lane"])))
    turn.queued.append((target_of(row), turn.now))
    turn.note(new, "retry", actor.name, reason=reason or None)
    told(turn, new, "task.retry", actor, reason)
    return new


def suspend(turn: Turn, row: Row, reason: str, actor: str) -> Row:
    """Stop until a human has said what became of an effect; one that nobody wants any more ends here."""
    if row["cancel"] is not None:
        return end(turn, row, "cancelled", str(row["cancel"]), actor)
    new = moved(turn, resumed(turn, row, actor), "unknown", reason=reason)
    _free(turn, row)
    turn.note(new, "unknown", actor, reason=reason)
    told(turn, new, "task.unknown", Actor(actor, LEDGER), reason)
    return new


def requeue(turn: Turn, row: Row, actor: str) -> None:
    """A task that had stopped for a human goes on."""
    new = moved(turn, row, "queued", reason="", after=turn.now, owner=None)
    turn.queued.append((target_of(row), turn.now))
    turn.note(new, "again", actor, why="resolved")


def wait(turn: Turn, row: Row, reason: str, actor: str) -> Row:
    """Note that a task waits, and for what."""
    if row["state"] == "waiting":
        return row if row["reason"] == reason else turn.update(tables.tasks, row, reason=reason)
    new = moved(turn, row, "waiting", reason=reason)
    turn.note(new, "wait", actor, reason=reason)
    return new


def resumed(turn: Turn, row: Row, actor: str) -> Row:
    """A task that waited works on."""
    if row["state"] != "waiting":
        return row
    new = moved(turn, row, "running", reason="")
    turn.note(new, "resume", actor)
    return new


def find_row(connection: Connection, task: str) -> Row | None:
    """The row, checked."""
    return rows.one(connection, tables.tasks, id=task)


def require(connection: Connection, task: str) -> Row:
    """The row; raises NotFound."""
    row = find_row(connection, task)
    if row is None:
        raise NotFound(f"there is no task {task}", hint="qd get tasks lists them")
    return row


def get(connection: Connection, task: str) -> Task:
    """One task; raises NotFound."""
    return task_of(require(connection, task))


def by_key(connection: Connection, system: str, key: str) -> Task:
    """The task of a key; raises NotFound."""
    t = tables.tasks
    found = rows.many(connection, t, select(t).where(t.c.system == system, t.c.key == key))
    past = None if found else rows.one(connection, tables.forgotten, system=system, key=key)
    if past is not None:
        raise NotFound(f"task {past['task']} is {past['state']}, and its records were dropped after their time", hint="its key stays taken")
    if not found:
        raise NotFound(f"there is no task with the key {key!r}", hint="qd get tasks --key PREFIX lists keys")
    return task_of(found[0])


def list_(
    connection: Connection,
    system: str | None = None,
    *,
    cluster: str | None = None,
    target: str | None = None,
    states_: Iterable[str] = (),
    key: str = "",
    root: str | None = None,
    tops: bool = False,
    owner: str | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[Task]:
    """The newest first; `before` (a task's number) goes on where a page ended. `key` is a prefix, `tops` leaves out children.

    `owner`: only what the replica `cluster/agent-n` has, or had last, whichever its incarnation.
    """
    t = tables.tasks
    query = select(t).order_by(t.c.number.desc()).limit(limit)
    wanted = tuple(states_)
    query = query.where(t.c.state.in_(wanted)) if wanted else query
    query = query if system is None else query.where(t.c.system == system)
    query = query if cluster is None else query.where(t.c.cluster == cluster)
    query = query if root is None else query.where(t.c.root == root)
    query = query.where(t.c.parent.is_(None)) if tops else query
    query = query if owner is None else query.where(t.c.owner > f"{owner}#", t.c.owner < f"{owner}$")  # `$` comes after `#`
    query = query if before is None else query.where(t.c.number < before)
    query = query.where(t.c.key >= key, t.c.key < key + LAST_CHARACTER) if key else query
    if target is not None:
        own, _, agent = target.partition("/")
        query = query.where(t.c.cluster == own, *([t.c.agent == agent] if agent else []))
    return [task_of(row) for row in rows.many(connection, t, query)]


def tree(connection: Connection, root: str) -> list[Task]:
    """A root task and everything below it, parents before children."""
    t = tables.tasks
    return [task_of(row) for row in rows.many(connection, t, select(t).where(t.c.root == root).order_by(t.c.number))]


def children(connection: Connection, task: str) -> list[Task]:
    """Delegated by a task, in order."""
    return [task_of(row) for row in _children(connection, task)]


def _children(connection: Connection, task: str) -> list[Row]:
    t = tables.tasks
    return rows.many(connection, t, select(t).where(t.c.parent == task).order_by(t.c.number))


def body(connection: Connection, task: str, kind: Body) -> str | None:
    """A task's payload, result, error or origin as JSON text (errors are plain text)."""
    row = rows.one(connection, tables.task_bodies, task=task, kind=kind)
    return None if row is None else str(row["body"])


def keep_body(turn: Turn, row: Row, kind: Literal["result", "error"], text: str) -> None:
    """Keep what an attempt came to; the newest counts."""
    known = turn.find(tables.task_bodies, row["id"], kind) if cast("int", row["fence"]) > 1 else None
    if known is None:
        turn.insert(tables.task_bodies, task=row["id"], kind=kind, body=text)
    else:
        turn.update(tables.task_bodies, known, body=text)


def moved(turn: Turn, row: Row, state: str, /, **values: object) -> Row:
    """Give a task its next state."""
    story = (f"task {row['id']}", f"fence {row['fence']} of {row['owner'] or 'nobody'}", f"now {row['state']}: {row['reason']}")
    return turn.update(tables.tasks, row, state=states.TASK.step(str(row["state"]), state, story=story), **values)


def told(turn: Turn, row: Row, verb: str, actor: Actor, reason: str) -> None:
    """Journal something about a task that people should find there."""
    after = {"task": row["id"], "key": row["key"], "state": row["state"], "attempts": row["attempts"], "fence": row["fence"]}
    turn.journal(Entry(actor, verb, target_of(row).name, reason, after=after, system=str(row["system"])))
