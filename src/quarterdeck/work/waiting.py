"""Deadlocks in the wait-for graph of a system: who waits for whom, which of them can never go on, and whose wait to break.

Pure: a picture of the system goes in, deadlocks come out; time is an argument. The runtime records the edges, agents declare none.

A wait ends as soon as *one* of what it is for ends, so this is the OR model of Chandy, Misra and Haas ("Distributed Deadlock Detection",
ACM TOCS 1983). There a cycle alone condemns nobody: who can still reach anything live, or anything we know nothing about, is live. Dead is
what remains, and each strongly connected component of it that nothing leads out of (a *knot*) is one deadlock, which one broken wait ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

ActivityKind = Literal["task", "ask", "message"]
WaitKind = Literal["ask", "delegate", "barrier"]
EdgeKind = Literal["ask", "delegate", "barrier", "place"]
"""How an activity depends on another: by a wait of its own, or because that one holds the `place` it is queued for."""

SETTLED: Final = 0.5
"""Seconds between two looks that must show the same.

What was reported longer ago than this must be left out of the picture. Then every report of the second look is younger than the first look,
so that all edges held at that instant, and a picture put together from parts cannot deceive. A wait that has since ended by itself (a
deadline) cannot be broken any more: whoever breaks the victim's names it by its `since`.
"""
MOST_TOLD: Final = 12
"""Edges of a cycle that its sentence shows."""
_VERBS: Final[Mapping[str, str]] = {
    "ask": "asks",
    "delegate": "delegates to",
    "barrier": "waits at a barrier for",
    "place": "queued behind",
}
_PLACE: Final = "\0"
"""Begins the name of a node that stands for all places at an agent: n that are queued and m that hold make n + m edges so, not n * m."""


@dataclass(frozen=True, slots=True)
class Activity:
    """Something that runs at a replica (`at` = `cluster/agent-n`) or is queued for a place at an agent (`at` = `cluster/agent`).

    `since` in seconds, any one clock; `progress` changes with every step it makes; `label` says more to people than the id does.
    """

    id: str
    at: str
    kind: ActivityKind
    since: float
    priority: int = 0
    label: str = ""
    progress: int = 0

    @property
    def told(self) -> str:
        """`analysts/analyst-0 task 01J…`."""
        return f"{self.at} {self.kind} {self.label or self.id}"


@dataclass(frozen=True, slots=True)
class Wait:
    """`waiter` cannot go on until one of the activities `on` ends. Waits for humans, timers and models are none: those come to an end."""

    waiter: str
    on: tuple[str, ...]
    kind: WaitKind
    since: float


@dataclass(frozen=True, slots=True)
class Places:
    """Who holds the places at agent (or replica) `at`, and how many are `free`. An activity there that holds none is queued for one."""

    at: str
    holders: tuple[str, ...]
    free: int


@dataclass(frozen=True, slots=True)
class Edge:
    """One step of a cycle: `waiter` needs `on` to end."""

    waiter: str
    kind: EdgeKind
    on: str


@dataclass(frozen=True, slots=True)
class Deadlock:
    """Activities that all wait for one another and for nobody else.

    `members` in order; `cycle` a shortest one through the `victim`, beginning there; the `victim`'s first edge is the wait to break: then
    all members can go on one after the other. `who` is the cycle's activities.
    """

    members: tuple[str, ...]
    cycle: tuple[Edge, ...]
    victim: str
    who: tuple[Activity, ...] = field(repr=False)

    @property
    def told(self) -> str:
        """A sentence: `analysts/analyst-0 task 01A delegates to reporting/reporter task 01B → queued behind … → asks …`."""
        names = {activity.id: activity.told for activity in self.who}
        shown = [f"{_VERBS[edge.kind]} {names[edge.on]}" for edge in self.cycle[:MOST_TOLD]]
        left = len(self.cycle) - len(shown)
        return f"{names[self.victim]} {' → '.join(shown)}" + (f" → … and {left} more, back to {names[self.victim]}" if left else "")


def deadlocks(activities: Iterable[Activity], waits: Iterable[Wait], places: Iterable[Places]) -> tuple[Deadlock, ...]:
    """Every deadlock of the picture, in the order of their members; the same picture in another order gives the same answer."""
    picture = _Picture.of(activities, waits, places)
    stuck = picture.stuck()
    found = [picture.deadlock(core) for core in _knots({node: picture.needs[node] for node in stuck})] if stuck else []
    return tuple(sorted(found, key=lambda deadlock: deadlock.members))


@dataclass(frozen=True, slots=True)
class Suspect:
    """A deadlock as seen in looks from `since` to `seen`; `state` is what must not have changed in between."""

    deadlock: Deadlock
    since: float
    seen: float
    state: frozenset[object] = field(repr=False)

    @property
    def certain(self) -> bool:
        """Whether it was seen for long enough to act on it."""
        return self.seen - self.since >= SETTLED


def look(activities: Sequence[Activity], waits: Sequence[Wait], places: Iterable[Places], now: float) -> tuple[Suspect, ...]:
    """What one look at the picture gives reason to suspect; `now` on the clock that the next looks use as well."""
    found = deadlocks(activities, waits, places)
    states: list[set[object]] = [set() for _ in found]
    state_of = {member: state for deadlock, state in zip(found, states, strict=True) for member in deadlock.members}
    for activity in activities:
        if activity.id in state_of:
            state_of[activity.id].add((activity.id, activity.at, activity.progress))
    for wait in waits:
        if wait.waiter in state_of:
            state_of[wait.waiter].add((wait.waiter, wait.on, wait.kind, wait.since))
    return tuple(Suspect(deadlock, now, now, frozenset(state)) for deadlock, state in zip(found, states, strict=True))


def confirm(previous: Iterable[Suspect], current: Iterable[Suspect]) -> tuple[Suspect, ...]:
    """The current suspects, each dated back to the first of the looks in a row that showed it unchanged; act on the `certain` ones."""
    known = {suspect.deadlock.members: suspect for suspect in previous}
    return tuple(_dated_back(suspect, known.get(suspect.deadlock.members)) for suspect in current)


def _dated_back(suspect: Suspect, before: Suspect | None) -> Suspect:
    return suspect if before is None or before.state != suspect.state else replace(suspect, since=before.since)


@dataclass(frozen=True, slots=True)
class _Picture:
    """The graph: `needs` of each node (a place last), any one of which would do; `live` nodes can go on whatever those do."""

    activities: Mapping[str, Activity]
    waits: Mapping[str, Sequence[Wait]]
    needs: Mapping[str, Sequence[str]]
    live: frozenset[str]

    @classmethod
    def of(cls, activities: Iterable[Activity], waits: Iterable[Wait], places: Iterable[Places]) -> _Picture:
        known = {activity.id: activity for activity in activities}
        holders, live = _by_agent(places, known)
        needs: dict[str, list[str]] = {name: [] for name in known}
        own: dict[str, list[Wait]] = {}
        for wait in waits:
            if wait.waiter in known:
                own.setdefault(wait.waiter, []).append(wait)
                needs[wait.waiter].extend(wait.on)
                if not wait.on or not known.keys() >= set(wait.on):
                    live.add(wait.waiter)
        for name, activity in known.items() if holders else ():
            if activity.at in holders and name not in holders[activity.at]:
                needs[name].append(_PLACE + activity.at)
        live.update(name for name, wanted in needs.items() if not wanted)
        return cls(known, own, needs | {_PLACE + at: sorted(held) for at, held in holders.items()}, frozenset(live))

    def stuck(self) -> list[str]:
        """Nodes that are not live, in the least fixed point: whoever needs a live one is live."""
        needed_by: dict[str, list[str]] = {}
        for node, wanted in self.needs.items():
            for need in wanted:
                needed_by.setdefault(need, []).append(node)
        live, front = set(self.live), list(self.live)
        while front:
            for node in needed_by.get(front.pop(), ()):
                if node not in live:
                    live.add(node)
                    front.append(node)
        return [node for node in self.needs if node not in live]

    def deadlock(self, core: Iterable[str]) -> Deadlock:
        """The knot with these nodes, told by its members."""
        members = sorted(node for node in core if node in self.activities)
        waiting = [name for name in members if name in self.waits]
        victim = min(waiting or members, key=self._spared)
        cycle = tuple(self._cycle(victim))
        return Deadlock(tuple(members), cycle, victim, tuple(self.activities[edge.waiter] for edge in cycle))

    def _spared(self, name: str) -> tuple[int, float, str]:
        """Sorts those to spare last: of the lowest priority the youngest goes first, which has the least work to lose."""
        activity = self.activities[name]
        return activity.priority, -activity.since, name

    def _cycle(self, start: str) -> list[Edge]:
        """A shortest cycle through `start`, breadth first."""
        came: dict[str, tuple[str, EdgeKind]] = {}
        expanded: set[str] = set()
        front = deque([start])
        while start not in came:
            name = front.popleft()
            for on, kind in self._steps(name, expanded):
                if on not in came:
                    came[on] = name, kind
                    front.append(on)
        cycle = [Edge(came[start][0], came[start][1], start)]
        while (on := cycle[-1].waiter) != start:
            cycle.append(Edge(came[on][0], came[on][1], on))
        return cycle[::-1]

    def _steps(self, name: str, expanded: set[str]) -> list[tuple[str, EdgeKind]]:
        """What an activity needs; what a place needs only for the first that is queued there, as for later ones it leads to nothing new."""
        steps: list[tuple[str, EdgeKind]] = sorted((on, wait.kind) for wait in self.waits.get(name, ()) for on in wait.on)
        place = self.needs[name][-1]
        if place.startswith(_PLACE) and place not in expanded:
            expanded.add(place)
            steps += [(holder, "place") for holder in self.needs[place]]
        return steps


def _by_agent(places: Iterable[Places], known: Mapping[str, Activity]) -> tuple[dict[str, set[str]], set[str]]:
    """Holders by agent, and the nodes of agents where somebody may get a place: one is free, or held by an activity we do not know.

    Nobody there at all is trouble of another kind, which others mend.
    """
    holders: dict[str, set[str]] = {}
    live: set[str] = set()
    for place in places:
        holders.setdefault(place.at, set()).update(place.holders)
        if place.free > 0:
            live.add(_PLACE + place.at)
    live.update(_PLACE + at for at, held in holders.items() if not held or not known.keys() >= held)
    return holders, live


def _knots(needs: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """The strongly connected components that nothing leads out of.

    After Tarjan ("Depth-First Search and Linear Graph Algorithms", 1972), with a stack of our own: chains are longer than Python's.
    """
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    component: dict[str, int] = {}
    path: list[str] = []
    knots: list[list[str]] = []
    for root in needs:
        if root in order:
            continue
        work = [_visit(root, needs, order, low, path)]
        while work:
            node, rest = work[-1]
            for need in rest:
                if need not in order:
                    work.append(_visit(need, needs, order, low, path))
                    break
                if order[need] < low[node] and need not in component:
                    low[node] = order[need]
            else:
                work.pop()
                if work:
                    parent = work[-1][0]
                    low[parent] = min(low[parent], low[node])
                if low[node] == order[node]:
                    members = _taken(path, node, component)
                    if all(component[need] == component[node] for member in members for need in needs[member]):
                        knots.append(members)
    return knots


def _visit(
    node: str, needs: Mapping[str, Sequence[str]], order: dict[str, int], low: dict[str, int], path: list[str]
) -> tuple[str, Iterator[str]]:
    order[node] = low[node] = len(order)
    path.append(node)
    return node, iter(needs[node])


def _taken(path: list[str], root: str, component: dict[str, int]) -> list[str]:
    """Take the component of `root` from the end of the path."""
    number = len(component)
    start = len(path) - 1
    while path[start] != root:
        start -= 1
    members = path[start:]
    del path[start:]
    component.update(dict.fromkeys(members, number))
    return members
