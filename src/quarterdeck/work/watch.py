"""Who waits for whom in a whole system, put together from what its replicas report, and which wait to break when nothing can go on.

Memory only, one thread: nothing here is needed after a restart, as replicas report again. Reports are made at different times, so a cycle
seen in them is no more than a suspicion. The replicas in it are then asked to look once more: what both reports of each say, the first
from before the suspicion and the second made after it, held at that instant everywhere at once. A replica that does not answer (paused,
dead, cut off) proves nothing, and whatever leads to it counts as live.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from quarterdeck.clock import Clock
from quarterdeck.model import ops
from quarterdeck.model.work import Holder, Target, Task, is_task_id
from quarterdeck.work.leases import Leases
from quarterdeck.work.waiting import Activity, Deadlock, Places, Suspect, Wait, WaitKind, confirm, look

POLICY: Final = "of the lowest priority, the youngest gives way"
FORGET: Final = 12.0
"""Seconds after which a report that was not repeated says nothing any more."""
LOOK_ANYWAY: Final = 2.0
"""Seconds between looks at reports in which nothing has changed."""
LOOP_AGAIN: Final = 60.0
"""Seconds for which a loop that is known is not written down once more."""
MOST_LOOPS: Final = 1000

Staff = Callable[[Target], frozenset[tuple[int, int]] | None]
"""The replicas of an agent that may take tasks (number, incarnation), as last seen; None when nobody knows."""
Speak = Callable[[Target, int], None]
"""Says "talk to the ledger now" to a replica."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A deadlock that was found, and what is to be done: fail the `victim`'s wait for `on`, and cancel `child` if that is a task."""

    system: str
    holder: Holder
    deadlock: Deadlock
    on: str
    child: str | None

    @property
    def told(self) -> str:
        """Why the wait fails."""
        return f"a deadlock, broken here ({POLICY}): {self.deadlock.told}"


@dataclass(frozen=True, slots=True)
class Asking:
    """An agent that a task asked and that has not answered yet, for the doors. `since` is epoch seconds."""

    to: str
    since: float


@dataclass(frozen=True, slots=True)
class _Report:
    """`at` and `proven` are monotonic seconds: when it came, and what it certainly was made after."""

    op: ops.Waits
    at: float
    proven: float


@dataclass(slots=True)
class Watch:
    """`leases` say who works on which task; `staff` who could."""

    clock: Clock
    leases: Leases
    speak: Speak
    staff: Staff = lambda _: None
    found: list[Broken] = field(default_factory=list)
    """To be written down."""
    ended: list[Broken] = field(default_factory=list)
    """Those whose wait has ended: what was waited for is in vain now."""
    _reports: dict[Holder, _Report] = field(default_factory=dict)
    _places: dict[Holder, int | None] = field(default_factory=dict)
    """How many tasks a replica works on at once; None until it has said so."""
    _suspects: dict[str, tuple[Suspect, ...]] = field(default_factory=dict)
    _doubted: dict[Holder, float] = field(default_factory=dict)
    """Who is to look again, as of when."""
    _verdicts: dict[Holder, dict[tuple[str, str], Broken]] = field(default_factory=dict)
    _unwanted: dict[Holder, dict[str, str]] = field(default_factory=dict)
    _stale: bool = False
    _looked: float = -math.inf
    _loops: dict[tuple[str, str, tuple[str, ...]], float] = field(default_factory=dict)

    # what is heard

    def serves(self, holder: Holder, places: int | None) -> None:
        """A replica takes tasks, so many at once if it said so."""
        if (places is not None or holder not in self._places) and self._places.get(holder, -1) != places:
            self._places[holder] = places
            self._stale = True

    def gone(self, holder: Holder) -> None:
        """A replica has ended."""
        self._drop(holder)
        self._places.pop(holder, None)

    def heard(self, holder: Holder, op: ops.Waits) -> ops.Verdicts:
        """Take a report, and say what to do about it."""
        now, known = self.clock.monotonic(), self._reports.get(holder)
        self.serves(holder, op.places)
        if known is None or known.op.n < op.n:
            self._take(holder, op, now)
        verdicts = self._verdicts.get(holder, {})
        broken = [(waiter, on, verdict.told) for (waiter, on), verdict in verdicts.items()]
        unwanted = list(self._unwanted.pop(holder, {}).items())
        return {"seen": now, "again": holder in self._doubted, "broken": broken, "unwanted": unwanted}

    def _take(self, holder: Holder, op: ops.Waits, now: float) -> None:
        known, proven = self._reports.get(holder), op.seen if op.seen <= now else -math.inf
        self._stale |= known is None or (known.op.asks, known.op.waits, known.op.free) != (op.asks, op.waits, op.free)
        if proven > self._doubted.get(holder, math.inf):
            del self._doubted[holder]
        open_ = {(waiter, on) for waiter, _, _, on, *_ in op.waits}
        for wait in [wait for wait in self._verdicts.get(holder, {}) if wait not in open_]:
            self.ended.append(self._verdicts[holder].pop(wait))
        if op.asks or op.waits:
            self._reports[holder] = _Report(op, now, proven)
        else:
            self._drop(holder)

    def is_new(self, system: str, op: ops.Looped) -> bool:
        """Whether a loop is worth writing down: that verb has not gone that round of late."""
        now, key = self.clock.monotonic(), (system, op.verb, op.cycle)
        if now - self._loops.get(key, -math.inf) < LOOP_AGAIN:
            return False
        self._loops.pop(key, None)
        self._loops[key] = now
        if len(self._loops) > MOST_LOOPS:
            del self._loops[next(iter(self._loops))]
        return True

    def asks(self, task: str) -> tuple[Asking, ...]:
        """What a task asked and waits for. From any thread."""
        return tuple(
            Asking(to, since)
            for report in tuple(self._reports.values())
            for waiter, _, _, _, how, to, since in report.op.waits
            if waiter == task and how == "ask"
        )

    # what is seen

    def suspected(self) -> frozenset[str] | None:
        """The tasks in what may be a deadlock, of which the rows are to tell more; None, as nearly always, when nothing may be one."""
        now = self.clock.monotonic()
        if not self._stale and not self._suspects and now - self._looked < LOOK_ANYWAY:
            return None
        self._stale, self._looked = False, now
        self._forget()
        found = [suspect for system in self._systems() for suspect in look(*self._picture(system, None).parts, now)]
        if not found:
            self._suspects.clear()
            return None
        return frozenset(name for suspect in found for name in suspect.deadlock.members if is_task_id(name))

    def look(self, rows: Mapping[str, Task]) -> None:
        """Look once, with those rows; what is certain is broken by a word to who waits."""
        now = self.clock.monotonic()
        systems = self._systems()
        self._suspects = {system: self._suspects[system] for system in self._suspects if system in systems}
        for system in systems:
            picture = self._picture(system, rows)
            self._suspects[system] = confirm(self._suspects.get(system, ()), look(*picture.parts, now))
            for suspect in self._suspects[system]:
                if self._proven(suspect, picture) and suspect.certain:
                    self._break(system, suspect, picture)
        self._suspects = {system: suspects for system, suspects in self._suspects.items() if suspects}

    def _forget(self) -> None:
        old = self.clock.monotonic() - FORGET
        for holder in [holder for holder, report in self._reports.items() if report.at < old]:
            self._drop(holder)

    def _drop(self, holder: Holder) -> None:
        self._reports.pop(holder, None)
        self._doubted.pop(holder, None)
        self._verdicts.pop(holder, None)
        self._unwanted.pop(holder, None)

    def _systems(self) -> list[str]:
        return sorted({holder.system for holder in self._reports})

    def _picture(self, system: str, rows: Mapping[str, Task] | None) -> _Picture:
        picture = _Picture(self.leases, rows, self.clock.now())
        for holder, report in self._reports.items():
            if holder.system == system:
                picture.add(holder, report.op)
        picture.close(self._free)
        return picture

    def _free(self, target: Target, held: int) -> int:
        """Places for tasks at an agent that nobody has; one, whenever we do not know of all of its replicas."""
        known = {holder: places for holder, places in self._places.items() if holder.target == target}
        staff = self.staff(target)
        if staff is None or None in known.values() or staff - {(holder.n, holder.incarnation) for holder in known}:
            return 1
        return max(0, sum(places or 0 for places in known.values()) - held)

    def _proven(self, suspect: Suspect, picture: _Picture) -> bool:
        """Whether each replica in it was heard to say the same after it was first seen; who was not is asked."""
        late = [holder for holder in picture.sources(suspect.deadlock.members) if self._reports[holder].proven <= suspect.since]
        for holder in late:
            self._doubted[holder] = max(suspect.since, self._doubted.get(holder, suspect.since))
            self.speak(holder.target, holder.n)
        return not late

    def _break(self, system: str, suspect: Suspect, picture: _Picture) -> None:
        deadlock = suspect.deadlock
        edge = deadlock.cycle[0]
        holder = picture.source[edge.waiter]  # who waits by a wait of its own was reported
        if (edge.waiter, edge.on) in self._verdicts.get(holder, {}):
            self.speak(holder.target, holder.n)
            return
        task = edge.kind in ("delegate", "barrier")
        broken = Broken(system, holder, deadlock, edge.on, edge.on if task else None)
        self._verdicts.setdefault(holder, {})[edge.waiter, edge.on] = broken
        self.found.append(broken)
        self.speak(holder.target, holder.n)
        callee = picture.source.get(edge.on)
        if not task and callee is not None and edge.on in picture.queued:
            self._unwanted.setdefault(callee, {})[edge.on] = broken.told
            self.speak(callee.target, callee.n)


@dataclass(slots=True)
class _Picture:
    """One system. `rows` None: what no memory tells of tasks is taken for the worst."""

    leases: Leases
    rows: Mapping[str, Task] | None
    now: float
    activities: dict[str, Activity] = field(default_factory=dict)
    waits: list[Wait] = field(default_factory=list)
    places: list[Places] = field(default_factory=list)
    source: dict[str, Holder] = field(default_factory=dict)
    """The replica whose report tells of an activity."""
    queued: set[str] = field(default_factory=set)
    """Asks that wait for a place."""
    _double: set[str] = field(default_factory=set)
    _children: dict[str, ops.WaitOpen] = field(default_factory=dict)
    """The waits for delegated tasks, by task."""

    @property
    def parts(self) -> tuple[list[Activity], list[Wait], list[Places]]:
        """What `waiting.look` takes."""
        return list(self.activities.values()), self.waits, self.places

    def add(self, holder: Holder, op: ops.Waits) -> None:
        """What one replica reports; what it could not know is left out."""
        for name, verb, since, held in op.asks:
            self._active(holder, Activity(name, holder.replica, "ask", since, label=verb))
            if not held:
                self.queued.add(name)
        self.places.append(Places(holder.replica, tuple(name for name, _, _, held in op.asks if held), op.free))
        delegations = [waiter for waiter, _, _, _, how, *_ in op.waits if how in ("delegate", "lane")]
        for waiter, kind, verb, on, how, to, since in op.waits:
            if not self._waits(holder, waiter, kind, verb):
                continue
            told: WaitKind = "ask" if how in ("ask", "human") else "barrier" if delegations.count(waiter) > 1 else "delegate"
            self.waits.append(Wait(waiter, (on,), told, since))
            if how in ("delegate", "lane"):
                self._children[on] = waiter, kind, verb, on, how, to, since

    def _active(self, holder: Holder, activity: Activity) -> None:
        if activity.id in self.activities:
            self._double.add(activity.id)
        self.activities[activity.id] = activity
        self.source[activity.id] = holder

    def _waits(self, holder: Holder, waiter: str, kind: str, verb: str) -> bool:
        """Whether this replica may speak for who waits there; adds it."""
        if self.source.get(waiter) == holder:
            return waiter not in self.queued
        if kind == "ask" or waiter in self.source:
            return False
        if kind == "message":
            self._active(holder, Activity(waiter, f"{holder.replica} (stream)", "message", self.now, label=verb))
            return True
        lease = self.leases.get(waiter)
        if lease is None or lease.holder != holder:
            return False
        row = (self.rows or {}).get(waiter)
        since, priority = (self.now, 0) if row is None else (row.started or row.created, row.priority)
        self._active(holder, Activity(waiter, holder.target.name, "task", since, priority, progress=lease.fence))
        return True

    def close(self, free: Callable[[Target, int], int]) -> None:
        """Add the tasks that are waited for and that nobody works on, and the places they are queued for."""
        targets = {holder.target for name, holder in self.source.items() if self.activities[name].kind == "task"}
        system = next((holder.system for holder in self.source.values()), "")
        for child, wait in self._children.items():
            cluster, _, agent = wait[5].partition("/")
            target = Target(system, cluster, agent)
            if child in self.activities or self.leases.get(child) is not None:
                continue
            queued = self._queued(wait, target)
            if queued is not None:
                self.activities[child] = queued
                targets.add(target)
        for target in targets:
            holders = self.leases.at(target)
            self.places.append(Places(target.name, tuple(holders), free(target, len(holders))))
        for name in self._double:  # two replicas claim it: we know nothing of it
            self.activities.pop(name, None)

    def _queued(self, wait: ops.WaitOpen, target: Target) -> Activity | None:
        """A task in the queue, if that may be what it waits for; behind another one of its lane, it waits for that one."""
        waiter, _, _, child, how, _, since = wait
        if self.rows is None and how == "lane":  # at worst it is behind the one that waits for it
            at = f"{target.name} (behind {waiter})"
            self.places.append(Places(at, (waiter,), 0))
            return Activity(child, at, "task", since)
        if self.rows is None:
            return Activity(child, target.name, "task", since)
        row = self.rows.get(child)
        if row is None or row.state != "queued" or row.cancel is not None or row.after > self.now or row.target != target:
            return None
        if row.behind is None:
            return Activity(child, target.name, "task", row.created, row.priority)
        at = f"{target.name} (behind {row.behind})"
        self.places.append(Places(at, (row.behind,), 0))
        return Activity(child, at, "task", row.created, row.priority)

    def sources(self, members: Iterable[str]) -> Iterator[Holder]:
        """The replicas that tell of them."""
        return iter({self.source[name] for name in members if name in self.source})
