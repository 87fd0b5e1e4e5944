"""Decides what to start, drain and kill for one workload: rolling update, scaling, quarantine, hang, restart. Pure.

Level-triggered: called again after anything happened, it looks only at the row, the processes as seen and what is remembered of each slot,
so a decision that was carried out only in part, or lost, is made again. What it promises, in its order of importance:

- it never takes a ready replica away when that would leave fewer than desired - max_unavailable ready ones;
- it never starts a process when desired + surge are alive, those that still drain included;
- a template that does not get ready within `ready_within` stops its rollout, and what served before goes on serving.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from quarterdeck.engines.local.node.memory import FRESH, Memory, may_start_at
from quarterdeck.model.table import Row


@dataclass(frozen=True, slots=True)
class Live:
    """A process as seen. `started` is epoch seconds, all other times are monotonic; `ready_at` is None until it answers."""

    n: int
    incarnation: int
    template: str
    started: float
    began: float
    ready_at: float | None = None
    beat: float = 0.0
    drain_until: float | None = None
    paused: bool = False
    killed: bool = False

    @property
    def key(self) -> tuple[int, int]:
        """Slot and incarnation."""
        return self.n, self.incarnation

    @property
    def standing(self) -> bool:
        """Meant to go on."""
        return self.drain_until is None and not self.killed

    @property
    def serving(self) -> bool:
        """Answers and takes work."""
        return self.standing and self.ready_at is not None and not self.paused


@dataclass(frozen=True, slots=True)
class Halt:
    """A rollout that was stopped: of what, when (monotonic), and why."""

    key: tuple[str, float]
    at: float
    reason: str


@dataclass(frozen=True, slots=True)
class Seen:
    """`next_incarnation` has every slot of the row; `good` is the digest of the template that last was up in full.

    `end_by` is the time (monotonic) by which all of it must have ended, because it was stopped by order: until then it drains, and
    nothing of it is started. None: it may run.
    """

    live: tuple[Live, ...]
    memory: Mapping[int, Memory]
    next_incarnation: Mapping[int, int]
    good: str | None = None
    halted: Halt | None = None
    end_by: float | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """Start the next incarnation of a slot from the template with this digest."""

    n: int
    template: str


@dataclass(frozen=True, slots=True)
class Drain:
    """Ask a process to finish within so many seconds."""

    n: int
    incarnation: int
    within: float
    reason: str


@dataclass(frozen=True, slots=True)
class Kill:
    """End a process and its descendants now. `hang` asks for a stack dump first; `counts` charges it to the restart budget."""

    n: int
    incarnation: int
    reason: str
    hang: bool = False
    counts: bool = True


@dataclass(frozen=True, slots=True)
class Pause:
    """Quarantine: keep the process, give it no work."""

    n: int
    incarnation: int


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop the rollout; slots that failed on it start anew from what was good."""

    halt: Halt


@dataclass(frozen=True, slots=True)
class Finish:
    """The template is up in full: from now on it is what a stopped rollout goes on with."""

    template: str


Order = Start | Drain | Kill | Pause | Stop | Finish
STOPPED: Final = "stopped by order"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now, and the monotonic time at which to ask again even if nothing happens (None: only when something does)."""

    orders: tuple[Order, ...]
    again_at: float | None


def rollout_key(row: Row) -> tuple[str, float]:
    """What a rollout is of: a template, or a restart of it."""
    return row.template.digest, row.restart_before


def decide(row: Row, seen: Seen, now: float) -> Decision:
    """Everything that should happen to the workload now."""
    if seen.end_by is not None:
        return _ending(seen, seen.end_by, now)
    view = _View(row, seen, now)
    stop = _stop(view)
    if stop is not None:
        view = _View(row, replace(seen, halted=stop.halt, memory={}), now)
    orders: list[Order] = [stop] if stop is not None else []
    for rule in (_kills, _pauses, _leaving, _starts, _roll):
        found = rule(view)
        orders += found
        view = view.after(found)
    if _finished(view):
        orders.append(Finish(row.template.digest))
    return Decision(tuple(orders), _again_at(view))


def _ending(seen: Seen, by: float, now: float) -> Decision:
    """Stopped by order: what the row asks for counts for nothing. A drain that began before is not given more time than the order gives."""
    left = [p for p in seen.live if not p.killed]
    if now >= by:
        return Decision(tuple(Kill(p.n, p.incarnation, STOPPED, counts=False) for p in left), None)
    over = [p for p in left if p.drain_until is not None and now >= p.drain_until]
    kills = [Kill(p.n, p.incarnation, "did not finish in time", counts=False) for p in over]
    drains = [Drain(p.n, p.incarnation, by - now, STOPPED) for p in left if p.drain_until is None]
    ends = [p.drain_until for p in left if p.drain_until is not None and p.drain_until > now]
    return Decision((*kills, *drains), min([by, *ends]) if left else None)


class _View:
    """The situation with the orders found so far taken as carried out."""

    def __init__(self, row: Row, seen: Seen, now: float) -> None:
        self.row = row
        self.seen = seen
        self.now = now

    def after(self, orders: list[Order]) -> _View:
        if not orders:
            return self
        live = {process.key: process for process in self.seen.live}
        for order in orders:
            match order:
                case Start(n, template):
                    incarnation = max((p.incarnation for p in live.values() if p.n == n), default=0) + 1
                    began = Live(n, max(incarnation, self.seen.next_incarnation[n]), template, max(self.row.restart_before, 0.0), self.now)
                    live[began.key] = began
                case Drain(n, incarnation, within, _):
                    live[n, incarnation] = replace(live[n, incarnation], drain_until=self.now + within)
                case Kill(n, incarnation):
                    live[n, incarnation] = replace(live[n, incarnation], killed=True)
                case Pause(n, incarnation):
                    live[n, incarnation] = replace(live[n, incarnation], paused=True)
                case Stop() | Finish():
                    pass
        return _View(self.row, replace(self.seen, live=tuple(live.values())), self.now)

    @cached_property
    def wanted(self) -> tuple[int, ...]:
        return tuple(slot.n for slot in self.row.slots)

    @cached_property
    def working(self) -> tuple[int, ...]:
        """Slots that should serve."""
        return tuple(n for n in self.wanted if n not in self.row.quarantined)

    @cached_property
    def halted(self) -> bool:
        halt = self.seen.halted
        return halt is not None and halt.key == rollout_key(self.row) and self.now < halt.at + self.row.restart.retry_after

    @cached_property
    def surge(self) -> int:
        """With neither surge nor unavailability allowed nothing could ever be replaced, so one of surge is taken then."""
        rollout = self.row.rollout
        return rollout.surge if rollout.surge or rollout.max_unavailable else 1

    @cached_property
    def room(self) -> int:
        """How many more processes may be alive."""
        return len(self.wanted) + self.surge - len(self.seen.live)

    @cached_property
    def serving(self) -> frozenset[int]:
        return frozenset(p.n for p in self.seen.live if p.serving and p.n in self.working)

    @cached_property
    def by_slot(self) -> Mapping[int, list[Live]]:
        slots: defaultdict[int, list[Live]] = defaultdict(list)
        for process in self.seen.live:
            slots[process.n].append(process)
        return slots

    def standing(self, n: int) -> tuple[Live, ...]:
        return tuple(p for p in self.by_slot.get(n, ()) if p.standing)

    def dying(self, n: int) -> bool:
        """Whether a process of the slot is being killed: how that counts is known only when it is gone, so a successor waits for it."""
        return any(p.killed and p.drain_until is None for p in self.by_slot.get(n, ()))

    def fresh(self, process: Live) -> bool:
        return process.template == self.row.template.digest and process.started >= self.row.restart_before

    def template(self) -> str:
        """What to start from now."""
        return self.seen.good if self.halted and self.seen.good else self.row.template.digest

    def startable(self, n: int) -> bool:
        return may_start_at(self.seen.memory.get(n, FRESH), self.row.restart) <= self.now and self.credentialed(n)

    def credentialed(self, n: int) -> bool:
        return not self.row.bus_url or self.seen.next_incarnation[n] in self._credentials[n]

    @cached_property
    def _credentials(self) -> dict[int, set[int]]:
        return {slot.n: {c.incarnation for c in slot.credentials} for slot in self.row.slots}


def _stop(view: _View) -> Stop | None:
    row, good = view.row, view.seen.good
    if good is None or good == row.template.digest or view.halted:
        return None
    for n in view.working:
        memory = view.seen.memory.get(n, FRESH)
        late = (
            memory.trying is not None
            and memory.trying[0] == row.template.digest
            and view.now - memory.trying[1] >= row.rollout.ready_within
        )
        if memory.failed_at is not None or late:
            cause = memory.reason or f"not ready within {row.rollout.ready_within:g} s"
            return Stop(Halt(rollout_key(row), view.now, cause))
    return None


def _kills(view: _View) -> list[Order]:
    return [order for process in view.seen.live if not process.killed for order in _kill(view, process)]


def _kill(view: _View, p: Live) -> list[Order]:
    row, now = view.row, view.now
    if p.drain_until is not None:
        return [Kill(p.n, p.incarnation, "did not finish in time", counts=False)] if now >= p.drain_until else []
    if p.paused:
        return []
    if p.ready_at is None:
        if view.halted and view.fresh(p):
            return [Kill(p.n, p.incarnation, "rollout stopped", counts=False)]
        late = now - p.began >= row.rollout.ready_within
        return [Kill(p.n, p.incarnation, f"not ready within {row.rollout.ready_within:g} s")] if late else []
    if now - p.beat >= row.template.hang_after:
        return [Kill(p.n, p.incarnation, f"no beat for {row.template.hang_after:g} s", hang=True)]
    return []


def _pauses(view: _View) -> list[Order]:
    return [Pause(p.n, p.incarnation) for n in view.wanted if n in view.row.quarantined for p in view.standing(n) if not p.paused]


def _leaving(view: _View) -> list[Order]:
    """Drains that cost no serving replica: unwanted, replaced, out of quarantine, or old and not ready anyway."""
    found: list[Order] = []
    for p in view.seen.live:
        reason = _leaves(view, p) if p.standing else ""
        if reason:
            found.append(Drain(p.n, p.incarnation, view.row.rollout.drain, reason))
    return found


def _leaves(view: _View, p: Live) -> str:
    if p.n not in view.wanted:
        return "no longer wanted"
    if p.n in view.row.quarantined:
        return ""
    if p.paused:
        return "quarantine lifted"
    if any(q.serving and view.fresh(q) and (q.incarnation > p.incarnation or not view.fresh(p)) for q in view.standing(p.n) if q is not p):
        return "replaced"
    stale = not view.fresh(p) and not (view.halted and p.template == view.seen.good)
    return "outdated" if stale and p.ready_at is None else ""


def _starts(view: _View) -> list[Order]:
    missing = [n for n in view.working if not view.standing(n) and not view.dying(n) and view.startable(n)]
    return [Start(n, view.template()) for n in missing[: max(view.room, 0)]]


def _roll(view: _View) -> list[Order]:
    if view.halted:
        return []
    outdated = [n for n in view.working if view.standing(n) and not any(view.fresh(p) for p in view.standing(n))]
    ahead = [n for n in outdated if view.startable(n)][: max(view.room, 0)]
    starts: list[Order] = [Start(n, view.row.template.digest) for n in ahead]
    spare = len(view.serving) - (len(view.working) - view.row.rollout.max_unavailable)
    first = [p for n in outdated if n not in ahead and view.startable(n) for p in view.standing(n) if p.serving][: max(spare, 0)]
    return [*starts, *(Drain(p.n, p.incarnation, view.row.rollout.drain, "outdated") for p in first)]


def _finished(view: _View) -> bool:
    if view.seen.good == view.row.template.digest or not view.working:
        return False
    settled = all(p.serving and view.fresh(p) for n in view.working for p in view.standing(n))
    return settled and view.serving == frozenset(view.working)


def _again_at(view: _View) -> float | None:
    row, seen = view.row, view.seen
    times = [at for p in seen.live if not p.killed for at in _deadlines(view, p)]
    times += [may_start_at(seen.memory.get(n, FRESH), row.restart) for n in view.working]
    if seen.good is not None and seen.good != row.template.digest:
        times += [m.trying[1] + row.rollout.ready_within for n in view.working if (m := seen.memory.get(n, FRESH)).trying]
    if seen.halted is not None and view.halted:
        times.append(seen.halted.at + row.restart.retry_after)
    later = [at for at in times if at > view.now]
    return min(later, default=None)


def _deadlines(view: _View, p: Live) -> list[float]:
    if p.drain_until is not None:
        return [p.drain_until]
    if p.paused:
        return []
    return [p.began + view.row.rollout.ready_within] if p.ready_at is None else [p.beat + view.row.template.hang_after]
