"""Where the bars of a delegation tree stand on a line of time: pure geometry, in pixels of an SVG.

A row each, children below their parent in the order in which they were given; a thin line while a task waits in the queue, a bar from its
last begin to its end or to now, a mark for each effect.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

Json = dict[str, Any]
MOST: Final = 200
"""Rows that are drawn."""
WIDTH: Final = 1000.0
NAMES: Final = 330.0
"""Pixels for the names."""
ROW: Final = 22.0
HEAD: Final = 22.0
_INDENT: Final = 14.0
_DEEPEST: Final = 8
_RIGHT: Final = 16.0
_LEAST: Final = 2.0
_STEPS: Final = tuple(base * 10.0**power for power in range(-3, 8) for base in (1, 2, 5))


@dataclass(frozen=True, slots=True)
class Spot:
    """An effect on a bar."""

    x: float
    title: str
    state: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One task: its name begins at `indent`; `queued` is where the thin line begins, `x` and `width` are the bar (width 0: not begun)."""

    task: Json
    y: float
    indent: float
    queued: float
    x: float
    width: float
    spots: tuple[Spot, ...]


@dataclass(frozen=True, slots=True)
class Tick:
    """A time on the axis after the first submit."""

    x: float
    words: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """The whole; `left_out` rows were too many."""

    height: float
    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    left_out: int


def timeline(tree: Sequence[Json], now: float) -> Timeline:
    """Lay a tree out: documents of tasks, parents before children; `now` in epoch seconds."""
    begin = min(_seconds(task["created_at"], now) for task in tree)
    end = max([begin + 0.001, *(_seconds(task["ended_at"], now) for task in tree)])
    scale = (WIDTH - NAMES - _RIGHT) / (end - begin)

    def x(at: str | None) -> float:
        return NAMES + (_seconds(at, now) - begin) * scale

    bars = []
    for n, (task, depth) in enumerate(_ordered(tree)):
        started = x(task["started_at"]) if task["started_at"] else x(task["ended_at"])
        width = max(x(task["ended_at"]) - started, _LEAST) if task["started_at"] else 0.0
        spots = tuple(
            Spot(x(e["ended_at"] or e["started_at"]), f"effect {e['key']}: {e['outcome']}", e["outcome"]) for e in task["effects"]
        )
        bars.append(Bar(task, HEAD + n * ROW, min(depth, _DEEPEST) * _INDENT, x(task["created_at"]), started, width, spots))
        if n + 1 == MOST:
            break
    ticks = tuple(Tick(NAMES + seconds * scale, _spelled(seconds)) for seconds in _axis(end - begin))
    return Timeline(HEAD + len(bars) * ROW + 6, tuple(bars), ticks, len(tree) - len(bars))


def _ordered(tree: Sequence[Json]) -> Iterator[tuple[Json, int]]:
    """Each task with its depth below the first, children right below their parent."""
    below: dict[str | None, list[Json]] = {}
    for task in tree[1:]:
        below.setdefault(task["parent"], []).append(task)
    waiting = [(tree[0], 0)]
    while waiting:
        task, depth = waiting.pop()
        yield task, depth
        waiting += [(child, depth + 1) for child in reversed(below.get(task["id"], []))]


def _axis(length: float) -> list[float]:
    """Round times, about five of them."""
    step = next((step for step in _STEPS if length / step <= 6), _STEPS[-1])  # noqa: PLR2004 more would touch each other
    return [n * step for n in range(int(length / step) + 1)]


def _spelled(seconds: float) -> str:
    """A round time of the axis, so that no two read the same."""
    if 0 < seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    return f"{seconds:.10g} s" if seconds < 600 else f"{seconds / 60:.10g} min"  # noqa: PLR2004 then minutes are shorter


def _seconds(at: str | None, now: float) -> float:
    return datetime.fromisoformat(at).timestamp() if at else now


def below(tree: Sequence[Json]) -> Mapping[str, int]:
    """How many of what is below the first task is in each state."""
    found: dict[str, int] = {}
    for task in tree[1:]:
        found[task["state"]] = found.get(task["state"], 0) + 1
    return found
