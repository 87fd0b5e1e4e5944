"""Where clusters, agents and links stand in the picture of a fleet: pure geometry, in pixels of an SVG.

Clusters are drawn in columns, senders left of receivers (longest path from a cluster that nobody sends to; a link that would close a circle
leads back to the left). A replica is a mark of its own up to MARKS of an agent; beyond, states are counted. On a phone the same clusters
stand below each other, in the same order.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

MARKS: Final = 64
"""Replicas of one agent that are drawn one by one."""
PER_ROW: Final = 16
_WIDTH, _GAP_X, _GAP_Y, _HEAD, _NAME, _ROW, _FOOT = 236.0, 120.0, 28.0, 34.0, 24.0, 14.0, 10.0
_INSET, _MARK = 12.0, 13.0
_ASIDE, _LANE, _TURN = 16.0, 26.0, 8.0
"""Pixels between a link forward and one back, between the lanes of those that lead back below the boxes, and of their corners."""
_BELOW, _RIGHT, _NEXT, _PORT = 44.0, 38.0, 12.0, 24.0
"""Where boxes stand below each other, pixels between them, from them to the first lane at their right, between lanes, between ends."""
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Mark:
    """A replica, or where there are too many `count` of them in one state."""

    x: float
    y: float
    state: str
    name: str
    title: str
    count: int = 1
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class Role:
    """An agent inside its cluster's box. `y` is the baseline of its name."""

    agent: Json
    y: float
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class Box:
    """A cluster."""

    cluster: Json
    x: float
    y: float
    width: float
    height: float
    roles: tuple[Role, ...]


@dataclass(frozen=True, slots=True)
class Arc:
    """A link: a curve, and where its label stands, by its `anchor` as SVG has it."""

    link: Json
    path: str
    x: float
    y: float
    anchor: str = "middle"


@dataclass(frozen=True, slots=True)
class Picture:
    """The whole, with its size."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    arcs: tuple[Arc, ...]


def picture(clusters: Sequence[Json], agents: Sequence[Json], links: Sequence[Json], replicas: Sequence[Json]) -> Picture:
    """Lay a fleet out; the arguments are items of the API's lists."""
    column = columns([c["name"] for c in clusters], [(k["from"], k["to"]) for k in links])
    heights: defaultdict[int, float] = defaultdict(float)
    boxes = []
    for cluster in clusters:
        at = column[cluster["name"]]
        mine = [a for a in agents if a["cluster"] == cluster["name"]]
        box = _box(cluster, at * (_WIDTH + _GAP_X), heights[at], mine, replicas)
        heights[at] += box.height + _GAP_Y
        boxes.append(box)
    height = max(heights.values(), default=_GAP_Y) - _GAP_Y
    width = (max(column.values(), default=0) + 1) * (_WIDTH + _GAP_X) - _GAP_X
    placed = [_moved(box, 0.0, (height - heights[column[box.cluster["name"]]] + _GAP_Y) / 2) for box in boxes]
    by_name = {box.cluster["name"]: box for box in placed}
    arcs = []
    for k in links:
        if k["from"] in by_name and k["to"] in by_name:
            source, target = by_name[k["from"]], by_name[k["to"]]
            around = source.x - target.x > _WIDTH + _GAP_X
            height += _LANE * around
            arcs.append(_around(k, source, target, height) if around else _arc(k, source, target))
    return Picture(width, height, tuple(placed), tuple(arcs))


def stacked(wide: Picture) -> Picture:
    """The same for a narrow window: one box below the other, from the leftmost on; a link that is not to a neighbour runs at the right."""
    boxes: list[Box] = []
    for box in sorted(wide.boxes, key=lambda box: (box.x, box.y)):
        top = boxes[-1].y + boxes[-1].height + _BELOW if boxes else 0.0
        boxes.append(_moved(box, -box.x, top - box.y))
    rank = {box.cluster["name"]: n for n, box in enumerate(boxes)}
    links = [(arc.link, boxes[rank[arc.link["from"]]], boxes[rank[arc.link["to"]]]) for arc in wide.arcs]
    near = [abs(rank[k["to"]] - rank[k["from"]]) == 1 for k, _, _ in links]
    aside = [link for link, is_near in zip(links, near, strict=True) if not is_near]
    arcs = [_straight(*link) for link, is_near in zip(links, near, strict=True) if is_near]
    ports = _ports([box for _, source, target in aside for box in (source, target)])
    for n, (k, _, _) in enumerate(aside):
        y1, y2, lane = ports[2 * n], ports[2 * n + 1], _WIDTH + _RIGHT + n * _NEXT
        arcs.append(Arc(k, f"M{_WIDTH:.0f} {y1:.0f}H{lane:.0f}V{y2:.0f}H{_WIDTH + 5:.0f}", _WIDTH + 6, y1 + 3, "start"))
    width = _WIDTH + (_RIGHT + (len(aside) - 1) * _NEXT + 4 if aside else 0.0)
    return Picture(width, boxes[-1].y + boxes[-1].height if boxes else 0.0, tuple(boxes), tuple(arcs))


def _straight(link: Json, source: Box, target: Box) -> Arc:
    """To the box below or above, its label at its right; the way up runs left of the way down."""
    if target.y > source.y:
        x, start, end = _WIDTH / 2, source.y + source.height, target.y - 5
    else:
        x, start, end = _WIDTH / 8, source.y, target.y + target.height + 5
    return Arc(link, f"M{x:.0f} {start:.0f}V{end:.0f}", x + 8, (start + end) / 2 + 11, "start")


def _ports(ends: Sequence[Box]) -> list[float]:
    """The height at which each of these links' ends meets its box: one below the other at its right side, all of them within it."""
    names = [box.cluster["name"] for box in ends]
    many, taken, found = Counter(names), Counter[str](), []
    for box, name in zip(ends, names, strict=True):
        found.append(box.y + _HEAD / 2 + taken[name] * min(_PORT, (box.height - _HEAD) / many[name]))
        taken[name] += 1
    return found


def columns(names: Sequence[str], pairs: Iterable[tuple[str, str]]) -> dict[str, int]:
    """The column of each cluster: one right of the rightmost that sends to it, where that is possible without going round in a circle."""
    before: defaultdict[str, list[str]] = defaultdict(list)
    for source, target in pairs:
        if source in names and target in names and not _leads(before, target, source):
            before[target].append(source)
    found: dict[str, int] = {}

    def place(name: str) -> int:
        if name not in found:
            found[name] = max((place(other) + 1 for other in before[name]), default=0)
        return found[name]

    for name in names:
        place(name)
    return found


def _leads(before: Mapping[str, list[str]], start: str, end: str) -> bool:
    """Whether `end` is reached from `start` already, so that a link from `end` to `start` would close a circle."""
    ahead, seen = [end], set()
    while ahead:
        name = ahead.pop()
        if name == start:
            return True
        if name not in seen:
            seen.add(name)
            ahead += before.get(name, [])
    return False


def _box(cluster: Json, x: float, y: float, agents: Sequence[Json], replicas: Sequence[Json]) -> Box:
    roles, depth = [], _HEAD
    for agent in agents:
        mine = [r for r in replicas if r["cluster"] == agent["cluster"] and r["agent"] == agent["agent"]]
        marks = _marks(mine, x + _INSET, y + depth + _NAME)
        roles.append(Role(agent, y + depth + 16, marks))
        rows = len({mark.y for mark in marks}) or 1
        depth += _NAME + rows * _ROW + _FOOT
    return Box(cluster, x, y, _WIDTH, depth + 4, tuple(roles))


def _marks(replicas: Sequence[Json], x: float, y: float) -> tuple[Mark, ...]:
    if len(replicas) <= MARKS:
        return tuple(
            Mark(x + 6 + n % PER_ROW * _MARK, y + 6 + n // PER_ROW * _ROW, r["state"], r["name"], _title(r), restarts=r["restarts"])
            for n, r in enumerate(replicas)
        )
    counts = Counter(r["state"] for r in replicas)
    return tuple(
        Mark(x + 6, y + 6 + row * _ROW, state, "", f"{count} {state}", count) for row, (state, count) in enumerate(counts.most_common())
    )


def _title(r: Json) -> str:
    reason = f", {r['reason']}" if r["reason"] else ""
    return f"{r['name']}: {r['state']}{reason}, pid {r['pid'] or 'none'}, {r['restarts']} restarts"


def _moved(box: Box, across: float, down: float) -> Box:
    roles = tuple(replace(r, y=r.y + down, marks=tuple(replace(m, x=m.x + across, y=m.y + down) for m in r.marks)) for r in box.roles)
    return replace(box, x=box.x + across, y=box.y + down, roles=roles)


def _arc(link: Json, source: Box, target: Box) -> Arc:
    """Through the gap between them: from the side of the sender that faces the receiver; one that leads back runs below one forward."""
    y1, y2 = source.y + source.height / 2, target.y + target.height / 2
    if target.x > source.x:
        x1, x2, tip, label = source.x + source.width, target.x, -5.0, 0.0
    else:
        x1, x2, tip, label = source.x, target.x + target.width, 5.0, _ASIDE + 8
        y1, y2 = y1 + _ASIDE, y2 + _ASIDE
    middle = (x1 + x2) / 2
    path = f"M{x1:.0f} {y1:.0f}C{middle:.0f} {y1:.0f} {middle:.0f} {y2:.0f} {x2 + tip:.0f} {y2:.0f}"
    return Arc(link, path, middle, (y1 + y2) / 2 + label)


def _around(link: Json, source: Box, target: Box, lane: float) -> Arc:
    """Back over more than one column, where boxes are in the way: out at the left, below all boxes at height `lane`, in at the right."""
    y1, y2, t = source.y + source.height / 2 + _ASIDE, target.y + target.height / 2 + _ASIDE, _TURN
    x1, x2 = source.x - _GAP_X / 4, target.x + target.width + _GAP_X / 4
    down = f"M{source.x:.0f} {y1:.0f}H{x1 + t:.0f}Q{x1:.0f} {y1:.0f} {x1:.0f} {y1 + t:.0f}V{lane - t:.0f}"
    along = f"Q{x1:.0f} {lane:.0f} {x1 - t:.0f} {lane:.0f}H{x2 + t:.0f}Q{x2:.0f} {lane:.0f} {x2:.0f} {lane - t:.0f}"
    up = f"V{y2 + t:.0f}Q{x2:.0f} {y2:.0f} {x2 - t:.0f} {y2:.0f}H{target.x + target.width + 5:.0f}"
    return Arc(link, down + along + up, (x1 + x2) / 2, lane)
