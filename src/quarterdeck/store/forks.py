"""Forks: a task that has ended is run again as a new one, from one of its steps; what it recorded before that step is the new one's too.

Before and after are places among the recorded events, not times. A step stands where its value was kept, a part that was delegated and a
question where they began. Kept is what was over before the place of the chosen one, and every effect that was begun before it and done.
"""

from __future__ import annotations

import json
import shlex
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final, Literal, cast

from sqlalchemy import Connection, Table, null, select

from quarterdeck.errors import Conflict, NotFound
from quarterdeck.model.records import Entry
from quarterdeck.model.wording import nearest
from quarterdeck.model.work import ENDED, Fork, Order, Task
from quarterdeck.store import rows, tables, tasks
from quarterdeck.store.rows import Row
from quarterdeck.store.turn import Turn, target_of, task_of

Kind = Literal["step", "part", "question", "sent", "effect"]
FENCE: Final = 1
"""Under which a fork is made, so that whoever claims it first (under the next one) is given its steps."""
WHATEVER: Final = ""
"""The arguments of an effect that a fork keeps: they may name the task, and its code may be mended, and yet it is not called again."""
NOBODY: Final = ""
NEVER: Final = float("inf")
_POINTS: Final = ("step", "part", "question")
"""What a task can be run again from."""
_LISTED: Final = 20
_E, _T, _F, _O = tables.task_events, tables.tasks, tables.forgotten, tables.outbox
_TABLES: Final[Mapping[Kind, tuple[Table, str]]] = {
    "step": (tables.steps, "step.kept"),
    "part": (tables.steps, "step.kept"),
    "sent": (tables.steps, "step.kept"),
    "question": (tables.questions, "question.kept"),
    "effect": (tables.effects, "effect.kept"),
}
"""Where each kind is kept, and how that is noted. What came of parts, and the keys of what was sent, are steps of a fork, whose code begins
with the sign of children: `agents.part` knows them by it.
"""
_BEGINS: Final = {"step": "name", "step.kept": "name", "question": "name", "question.kept": "name",
                  "effect.started": "key", "effect.kept": "key"}  # fmt: skip
_OVER: Final = {"answer": "name", "question.kept": "name"}


@dataclass(frozen=True, slots=True)
class Piece:
    """Something that a task recorded: where it stands, where it was over (NEVER: it was not), and the row a fork keeps of it.

    `mine`: by the task itself or below it. Effects are those of its whole tree, of which it may be a part.
    """

    kind: Kind
    name: str
    place: float
    over: float
    row: Row
    mine: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """What a fork keeps, and what is done again, in the order in which it was recorded; `step` is the whole name of where it begins."""

    origin: Row
    step: str | None
    kept: tuple[Piece, ...]
    again: tuple[Piece, ...]


@dataclass(slots=True)
class _Places:
    """Where things stand among the events of a tree: by kind and name, the first place of what began and the last of what was over."""

    begun: dict[tuple[str, str], int] = field(default_factory=dict)
    over: dict[tuple[str, str], int] = field(default_factory=dict)
    _seqs: list[int] = field(default_factory=list)
    _times: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, connection: Connection, origin: Row) -> _Places:
        found, task = cls(), origin["id"]
        query = select(_E).join(_T, _E.c.task == _T.c.id).where(_T.c.root == origin["root"]).order_by(_E.c.seq)
        events = rows.many(connection, _E, query)
        found._seqs = [cast("int", event["seq"]) for event in events]
        found._times = list(accumulate((cast("float", event["at"]) for event in events), max))  # a clock may have been put back
        for event in events:
            found._hear(event, mine=event["task"] == task)
        return found

    def _hear(self, event: Row, *, mine: bool) -> None:
        kind, seq, detail = str(event["kind"]), cast("int", event["seq"]), json.loads(str(event["detail"]))
        if kind == "submit":
            self.begun[kind, str(event["task"])] = seq
        if kind in ENDED:
            self.over["end", str(event["task"])] = seq
        if kind in _BEGINS and (mine or kind.startswith("effect")):
            self.begun.setdefault((kind.partition(".")[0], str(detail[_BEGINS[kind]])), seq)
        if kind in _OVER and mine:
            self.over["question", str(detail["name"])] = seq

    def at(self, time: float) -> float:
        """The place of something of which only the time is known: right after the last event before it."""
        before = bisect_left(self._times, time)
        return self._seqs[before - 1] + 0.5 if before else 0.0


def plan(connection: Connection, fork: Fork) -> Plan:
    """What a fork would keep. Raises NotFound for what is no step, Conflict for a task that has not ended or an effect nobody knows of."""
    origin = tasks.require(connection, fork.task)
    if origin["state"] not in ENDED:
        unknown = f"qd task resolve {fork.task} says what became of its effect"
        hint = unknown if origin["state"] == "unknown" else f"qd task cancel {fork.task}, or wait until it has ended"
        raise Conflict(f"task {fork.task} is still {origin['state']}", hint=hint)
    pieces = sorted(_pieces(connection, origin), key=lambda piece: piece.place)
    if fork.step is None:
        return Plan(origin, None, (), tuple(piece for piece in pieces if piece.mine))
    points = {piece.name: piece.place for piece in pieces if piece.kind in _POINTS}
    step = _step(fork, list(points))
    before = points[step]
    for piece in pieces:
        if piece.kind == "effect" and piece.place < before:
            _must_be_known(fork, piece)
    kept = tuple(piece for piece in pieces if piece.over < before)
    return Plan(origin, step, kept, tuple(piece for piece in pieces if piece.over >= before and piece.mine))


def _step(fork: Fork, names: Sequence[str]) -> str:
    """The whole name: `total` is `total#1` where it was used once."""
    wanted = str(fork.step)
    alike = [name for name in names if wanted in (name, name.rpartition("#")[0])]
    if wanted in names:
        return wanted
    if len(alike) == 1:
        return alike[0]
    near = nearest(wanted, names) or next((name for name in names if wanted in name), "")
    guess = f"did you mean {near!r}? " if near and not alike else ""
    more = f", and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    listed = f"its steps are {', '.join(names[:_LISTED])}{more}" if names else "without a step all of it is run again"
    several = f"{len(alike)} steps {wanted!r}" if alike else f"no step {wanted!r}"
    raise NotFound(f"task {fork.task} has {several}", hint=guess + listed)


def _must_be_known(fork: Fork, effect: Piece) -> None:
    outcome, task = effect.row["outcome"], effect.row["task"]
    if outcome == "unknown":
        hint = f"qd task resolve {task} {shlex.quote(effect.name)} --done|--failed|--again says what became of it"
        raise Conflict(f"the outcome of effect {effect.name!r}, which was begun before {fork.step!r}, is unknown", hint=hint)
    if outcome == "started":
        raise Conflict(f"effect {effect.name!r} is being called by task {task}", hint="wait until that task has ended")


def _pieces(connection: Connection, origin: Row) -> Iterator[Piece]:
    places, task = _Places.of(connection, origin), str(origin["id"])
    for row in rows.many(connection, tables.steps, select(tables.steps).where(tables.steps.c.task == task)):
        place = places.begun.get(("step", str(row["name"])), places.at(cast("float", row["at"])))
        yield Piece("step", str(row["name"]), place, place, row)
    yield from _parts(connection, task, places)
    for row in rows.many(connection, tables.questions, select(tables.questions).where(tables.questions.c.task == task)):
        name, said = str(row["name"]), row["state"] in ("answered", "expired")
        yield Piece("question", name, places.begun["question", name], places.over["question", name] if said else NEVER, row)
    for name, key, at, seq in _sent(connection, origin):
        place = places.at(at) if seq is None else seq
        yield Piece("sent", name, place, place, {"name": name, "code": tasks.CHILD, "value": json.dumps(key), "at": at})
    below = {task}
    for one in tasks.tree(connection, str(origin["root"])):  # parents come before their children
        below |= {one.id} if one.parent in below else set()
    effects = select(tables.effects).where(tables.effects.c.root == origin["root"])
    for row in rows.many(connection, tables.effects, effects):
        place = places.begun["effect", str(row["key"])]
        yield Piece("effect", str(row["key"]), place, place if row["outcome"] == "done" else NEVER, row, row["task"] in below)


def _parts(connection: Connection, task: str, places: _Places) -> Iterator[Piece]:
    """What was delegated: the result, or how else it ended and why (`^ID STATE` as its code)."""
    b = tables.task_bodies
    mine = select(_T.c.id).where(_T.c.parent == task)
    results = {row["task"]: row for row in rows.many(connection, b, select(b).where(b.c.kind == "result", b.c.task.in_(mine)))}
    for child in tasks.children(connection, task):
        name = str(child.key).removeprefix(f"{tasks.CHILD}{task}/")
        value = str(results[child.id]["body"]) if child.state == "done" else json.dumps(child.reason)
        over = places.over["end", child.id] if child.state in ENDED else NEVER
        row: Row = {"name": name, "code": f"{tasks.CHILD}{child.id} {child.state}", "value": value, "at": child.ended}
        yield Piece("part", name, places.begun["submit", child.id], over, row)


def _sent(connection: Connection, origin: Row) -> Iterator[tuple[str, str, float, int | None]]:
    """Tasks and messages that it gave others without a key: the name of each, the key it got for it, when, and its place if it is known."""
    own, posted = f"{origin['id']}/", f"task/{origin['id']}/"
    begun = select(_T.c.key, _T.c.created, _E.c.seq).join(_E, _E.c.task == _T.c.id).where(_E.c.kind == "submit")
    for table, query in ((_T, begun), (_F, select(_F.c.key, _F.c.created, null()))):
        given = table.c.system == origin["system"], table.c.key > own, table.c.key < f"{own}{tasks.LAST_CHARACTER}"
        for key, created, seq in connection.execute(query.where(*given)):
            yield key.removeprefix(own), key, created, seq
    sender = target_of(origin).name
    mine = _O.c.system == origin["system"], _O.c.sender == sender, _O.c.key > posted, _O.c.key < f"{posted}{tasks.LAST_CHARACTER}"
    for key, created in connection.execute(select(_O.c.key, _O.c.created).where(*mine)):
        yield key.removeprefix(posted), key, created, None


def order(connection: Connection, fork: Fork, key: str | None, now: float) -> Order:
    """The order of a fork: the same work with the same limits, due as long from now as its origin was at first. Raises as `plan`."""
    origin = tasks.require(connection, fork.task)
    step = fork.step if _is_known(connection, origin, fork, key) else plan(connection, fork).step
    task = task_of(origin)
    return Order(
        task.target,
        tasks.body(connection, task.id, "input") or "null",
        task.verb,
        key=key or next_key(connection, origin),
        tenant=task.tenant,
        priority=task.priority,
        lane=task.lane,
        deadline=None if task.deadline is None else now + task.deadline - task.created,
        attempts=task.most,
        budget=task.budget,
        fork=Fork(fork.task, step, fork.actor, fork.reason),
    )


def _is_known(connection: Connection, origin: Row, fork: Fork, key: str | None) -> bool:
    """Whether that very fork was made before: then it does not matter how its origin stands now."""
    query = select(_T.c.id).where(_T.c.system == origin["system"], _T.c.key == key)
    made = None if key is None else connection.execute(query).scalar()
    return made is not None and origin_of(connection, made) == {"task": fork.task, "step": fork.step}


def next_key(connection: Connection, origin: Row) -> str:
    """`KEY~fork-N`, the first one that nobody has taken; of a task without a key of its user, or with a very long one, with its id."""
    own = str(origin["key"] or tasks.CHILD)
    stem = str(origin["id"]) if own.startswith(tasks.CHILD) or len(own) > tasks.KEY_LIMIT - 20 else own
    n = len(of(connection, str(origin["id"]))) + 1
    while _taken(connection, str(origin["system"]), f"{stem}~fork-{n}"):
        n += 1
    return f"{stem}~fork-{n}"


def _taken(connection: Connection, system: str, key: str) -> bool:
    named = (select(table.c.key).where(table.c.system == system, table.c.key == key) for table in (_T, _F))
    return any(connection.execute(query).first() for query in named)


def begin(turn: Turn, row: Row, fork: Fork, found: Plan) -> None:
    """A new task goes on with what its origin recorded. Nobody carries any of it out again."""
    task, actor = str(row["id"]), fork.actor.name
    told = {"task": fork.task, "step": found.step, "key": key_of(turn, task_of(found.origin))}
    turn.insert(tables.task_bodies, task=task, kind="fork", body=json.dumps(told))
    for piece in found.kept:
        table, noted = _TABLES[piece.kind]
        named = "key" if piece.kind == "effect" else "name"
        turn.insert(table, **{**piece.row, **_owned(table, task, mine=piece.mine)})
        turn.note(row, noted, actor, **{named: piece.name})
        alias = piece.name.replace(fork.task, task).replace(str(found.origin["root"]), task)
        if turn.find(table, task, alias) is None:  # it was named after the task, and will be again
            turn.insert(table, **{**piece.row, **_owned(table, task, mine=False), named: alias})
            turn.note(row, noted, actor, **{named: alias})
    turn.note(found.origin, "forked", actor, into=task, step=found.step)
    after = {"task": task, "key": row["key"], "from": fork.task, "step": found.step, "kept": len(found.kept), "again": len(found.again)}
    turn.journal(Entry(fork.actor, "task.fork", target_of(row).name, fork.reason, after=after, system=str(row["system"])))


def _owned(table: Table, task: str, *, mine: bool) -> Row:
    """What of a row is the fork's own. A question keeps its arguments: an answer is an answer to exactly what was asked.

    What others of a tree have done is not done again, and is shown to nobody: they may be of a cluster that is not his.
    """
    if table is tables.effects:
        return {"root": task, "task": task if mine else NOBODY, "fence": FENCE, "arguments": WHATEVER}
    return {"task": task, **({"fence": FENCE} if table is tables.steps else {})}


def key_of(turn: Turn, task: Task) -> str | None:
    """The key as its handler knows it: a fork does the work of its origin, whatever itself is called."""
    told = turn.find(tables.task_bodies, task.id, "fork")
    return task.key if told is None else cast("str | None", json.loads(str(told["body"]))["key"])


def origin_of(connection: Connection, task: str) -> dict[str, str | None] | None:
    """Of a fork, its origin and the step from which it was run again."""
    text = tasks.body(connection, task, "fork")
    return None if text is None else {name: json.loads(text)[name] for name in ("task", "step")}


def of(connection: Connection, task: str) -> list[str]:
    """The forks that were made of a task, the oldest first."""
    query = select(_E).where(_E.c.task == task, _E.c.kind == "forked").order_by(_E.c.seq)
    return [json.loads(str(row["detail"]))["into"] for row in rows.many(connection, _E, query)]
