"""One transaction of work: what it writes down about tasks, and what the rest must hear once it is on disk."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, cast

from sqlalchemy import Connection, Select, Table, func, select

from quarterdeck.model.records import Entry
from quarterdeck.model.work import Holder, Target, Task
from quarterdeck.store import journal, rows, tables
from quarterdeck.store.fairness import Fairness
from quarterdeck.store.rows import Key, Row
from quarterdeck.store.writing import Writing

_PLAIN: Final = ("id", "number", "verb", "key", "tenant", "lane", "behind", "state", "reason", "attempts", "most", "fence", "owner",
                 "after", "deadline", "parent", "root", "depth", "cancel", "trace", "path", "created", "started", "ended")  # fmt: skip
_NEWEST: Final = {table: select(func.max(column)) for table, column in ((tables.tasks, tables.tasks.c.number),
                                                                        (tables.task_events, tables.task_events.c.seq))}  # fmt: skip

T = TypeVar("T")
_FEW: Final = 3


@dataclass(slots=True)
class _Pending:
    """Of one table: the rows this turn knows (None: there is none), which of them are new, and which columns of the others changed."""

    known: dict[Key, Row | None] = field(default_factory=dict)
    new: dict[Key, None] = field(default_factory=dict)
    changed: dict[Key, dict[str, None]] = field(default_factory=dict)


@dataclass(slots=True)
class Turn:
    """Made for each write; `close` it at the end of the write's work. The sets and lists are for whoever waits for the commit.

    Rows go through it (`find`, `insert`, `update`, `select`): they are read once, and written in one statement for each kind of row.
    Whoever uses `tx` or `connection` instead finds everything written that was changed before.

    `queued`: an agent for each task that may be claimed, and from when on. `claimed`: (fence, holder) by task. `freed`: nobody works on
    these under that fence any more. `ended`: tasks that came to an end. `moved`: tasks whose holder should look again; `cancelling`: those
    to be given up. `posted`: agents for which the outbox has something to send. `made`: agents of new tasks.
    `metered`: claimed tasks whose time costs. `reserved`: tasks that have something reserved. `paid`: money spent, and by whom.
    """

    _writing: Writing
    fairness: Fairness
    queued: list[tuple[Target, float]] = field(default_factory=list)
    claimed: dict[str, tuple[int, Holder]] = field(default_factory=dict)
    freed: dict[str, int] = field(default_factory=dict)
    ended: list[Task] = field(default_factory=list)
    moved: set[str] = field(default_factory=set)
    cancelling: set[str] = field(default_factory=set)
    posted: set[Target] = field(default_factory=set)
    made: list[Target] = field(default_factory=list)
    metered: set[str] = field(default_factory=set)
    reserved: set[str] = field(default_factory=set)
    paid: list[tuple[Target, float]] = field(default_factory=list)
    tally: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """How often what was noted, by system, cluster and kind; a claim of a task that was claimed before is a `redelivery` too."""
    touched: frozenset[str] = frozenset()
    """Tasks to which something happened, once it is closed."""
    now: float = field(init=False)
    """Epoch seconds."""
    _events: list[Row] = field(default_factory=list)
    _number: int = 0
    letters: int = 0
    """The number of the newest message, once somebody has looked."""
    rooms: dict[Target, tuple[int, int]] = field(default_factory=dict)
    """How many messages, of how many characters, wait for a target, where somebody has looked."""
    _pending: dict[Table, _Pending] = field(default_factory=dict)
    _last: list[Callable[[Turn], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.now = float(self._writing.now)

    @property
    def tx(self) -> Writing:
        """The open write, for whoever changes rows by himself."""
        self._flush()
        self._pending.clear()
        return self._writing

    @property
    def connection(self) -> Connection:
        """Of the open transaction, for reading."""
        self._flush()
        return self._writing.connection

    def find(self, table: Table, *key: object) -> Row | None:
        """The row of a primary key, checked."""
        known = self._of(table).known
        if key not in known:
            written = self._writing.known(table).get(key)
            known[key] = written or rows.one(self._writing.connection, table, **dict(zip(rows.keys_of(table), key, strict=True)))
        return known[key]

    def load(self, table: Table, keys: Iterable[Key]) -> None:
        """Read rows ahead that will be looked for, at once."""
        known, written = self._of(table).known, self._writing.known(table)
        wanted = [key for key in dict.fromkeys(keys) if key not in known and key not in written]
        if len(wanted) <= _FEW:
            return  # `find` does it, as cheaply
        known.update(dict.fromkeys(wanted))
        for row in rows.some(self._writing.connection, table, wanted):
            known[rows.key_of(table, row)] = row

    def those(self, table: Table, keys: Sequence[Key]) -> list[Row]:
        """The rows of primary keys, in their order; without those that are not there."""
        self.load(table, keys)
        return [row for key in keys if (row := self.find(table, *key)) is not None]

    def select(self, table: Table, statement: Select[Any], **values: object) -> list[Row]:
        """All rows of a `select(table)…`."""
        found = rows.many(self.connection, table, statement, values)
        self._of(table).known.update((rows.key_of(table, row), row) for row in found)
        return found

    def insert(self, table: Table, **values: object) -> Row:
        """Add a row."""
        row = rows.plain(table, values)
        pending, key = self._of(table), rows.key_of(table, row)
        pending.known[key] = row
        pending.new[key] = None
        return row

    def update(self, table: Table, row: Mapping[str, object], **values: object) -> Row:
        """Change some values of a row that was read before."""
        pending, key = self._of(table), rows.key_of(table, row)
        pending.known[key] = new = rows.plain(table, {**(pending.known.get(key) or row), **values})
        if key not in pending.new:
            pending.changed.setdefault(key, {}).update(dict.fromkeys(values))
        return new

    def journal(self, entry: Entry) -> None:
        """Append to the journal."""
        journal.append(self._writing, entry)

    def number(self) -> int:
        """The next task's."""
        if not self._number:
            self._number = self._newest(tables.tasks)
        self._number += 1
        return self._number

    def note(self, row: Mapping[str, object], kind: str, actor: str, /, **detail: object) -> None:
        """Record what happened to a task, with the fence it has now."""
        told = {name: value for name, value in detail.items() if value is not None}
        text = json.dumps(told) if told else "{}"
        where = str(row["system"]), str(row["cluster"])
        self.tally[(*where, kind)] += 1
        self._events.append({"task": row["id"], "kind": kind, "at": self.now, "actor": actor, "fence": row["fence"], "detail": text})

    def noted(self, task: str, fence: int, actor: str, kinds: Iterable[str]) -> bool:
        """Whether one of these things was recorded of a task under a fence, by an actor."""
        wanted = {(task, fence, actor, kind) for kind in kinds}
        if any((e["task"], e["fence"], e["actor"], e["kind"]) in wanted for e in self._events):
            return True
        e = tables.task_events
        query = select(e.c.seq).where(e.c.task == task, e.c.fence == fence, e.c.actor == actor, e.c.kind.in_(list(kinds)))
        return self._writing.connection.execute(query.limit(1)).first() is not None

    def at_last(self, work: Callable[[Turn], None]) -> None:
        """Have something done when the turn is closed, once."""
        if work not in self._last:
            self._last.append(work)

    def close(self) -> None:
        """Write what is to be written. Nothing follows."""
        while self._last:
            self._last.pop(0)(self)
        self._flush()
        self._pending.clear()
        if self._events:
            first = self._newest(tables.task_events) + 1
            rows.insert_many(self._writing, tables.task_events, [{"seq": first + n, **event} for n, event in enumerate(self._events)])
            self.touched |= {str(event["task"]) for event in self._events}
            self._events = []

    def _of(self, table: Table) -> _Pending:
        found = self._pending.get(table)
        if found is None:
            found = self._pending[table] = _Pending()
        return found

    def _flush(self) -> None:
        for table, pending in self._pending.items():
            if pending.new:
                rows.insert_many(self._writing, table, [cast("Row", pending.known[key]) for key in pending.new])
                pending.new.clear()
            if pending.changed:
                changed = [(cast("Row", pending.known[key]), tuple(names)) for key, names in pending.changed.items()]
                rows.update_many(self._writing, table, changed)
                pending.changed.clear()

    def _newest(self, table: Table) -> int:
        return int(self.connection.execute(_NEWEST[table]).scalar() or 0)


def turning(fairness: Fairness, work: Callable[[Turn], T]) -> Callable[[Writing], tuple[Turn, T]]:
    """The work of one write: a turn that is closed, and what `work` gave."""

    def whole(tx: Writing) -> tuple[Turn, T]:
        turn = Turn(tx, fairness)
        found = work(turn)
        turn.close()
        return turn, found

    return whole


def task_of(row: Mapping[str, object]) -> Task:
    """The value of a row of `tasks`."""
    values: dict[str, Any] = {name: row[name] for name in _PLAIN}
    return Task(**values, target=target_of(row), priority=-cast("int", row["rank"]), budget=json.loads(str(row["budget"])))


def target_of(row: Mapping[str, object]) -> Target:
    """Whose task it is."""
    return Target(str(row["system"]), str(row["cluster"]), str(row["agent"]))
