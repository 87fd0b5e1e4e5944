"""What `qd top` shows of each noun: rows made of documents, their order, and which of them match. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from quarterdeck.cli.render import cell, label, pick, since, size
from quarterdeck.client.wire import Document

Heading = tuple[str, str]
"""What stands above a column, and the dotted field in it."""
MEASURED: Final[Mapping[str, tuple[Heading, ...]]] = {
    "clusters": (
        ("NAME", "name"),
        ("HEALTH", "health"),
        ("READY", "capacity"),
        ("CPU", "quota.used.cpu"),
        ("LIMIT", "quota.limit.cpu"),
        ("MEMORY", "quota.used.memory"),
        ("LIMIT", "quota.limit.memory"),
        ("HANDLED/s", "handled_per_second"),
        ("FAILED/s", "failed_per_second"),
        ("RESTARTS", "restarts"),
        ("LINKS", "links"),
    ),
    "agents": (
        ("NAME", "name"),
        ("READY", "replicas"),
        ("CPU", "cpu"),
        ("MEMORY", "memory_bytes"),
        ("HANDLED/s", "handled_per_second"),
        ("FAILED/s", "failed_per_second"),
        ("IN FLIGHT", "inflight"),
        ("RESTARTS", "restarts"),
        ("REVISION", "revision"),
        ("REASON", "reason"),
    ),
    "replicas": (
        ("NAME", "name"),
        ("STATE", "state"),
        ("CPU", "cpu"),
        ("MEMORY", "memory_bytes"),
        ("HANDLED/s", "handled_per_second"),
        ("FAILED/s", "failed_per_second"),
        ("LAG MS", "lag_ms"),
        ("IN FLIGHT", "inflight"),
        ("RESTARTS", "restarts"),
        ("AGE", "since"),
        ("REASON", "reason"),
    ),
}
"""The nouns of which `qd top` tells how busy they are; of the others it shows what `qd get` does."""
DEEPER: Final = {"clusters": "agents", "agents": "replicas"}
"""What a thing of a kind consists of."""
_SUMS: Final = ("cpu", "memory_bytes", "handled_per_second", "failed_per_second", "inflight", "restarts")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows below their headings: the text of each cell, the item that each row is of."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    items: tuple[Document, ...]
    numeric: frozenset[int]
    """Columns of numbers, which are set flush right."""

    @property
    def names(self) -> list[str]:
        """What the items are called, row by row."""
        return [label(item) for item in self.items]


def summed(things: Iterable[Document], replicas: Sequence[Document], owner: Callable[[Document], str]) -> list[Document]:
    """Clusters or agents with the sum of what their replicas take and do; `owner` names the thing that a replica belongs to."""
    parts: dict[str, list[Document]] = {}
    for replica in replicas:
        parts.setdefault(owner(replica), []).append(replica)
    return [{**thing, **{field: _sum(parts.get(str(thing["name"]), []), field) for field in _SUMS}} for thing in things]


def _sum(parts: Iterable[Document], field: str) -> float | int | None:
    """None where no part tells it."""
    known = [part[field] for part in parts if part.get(field) is not None]
    return round(sum(known), 3) if known else None


def inside(items: Iterable[Document], kind: str, within: str) -> list[Document]:
    """Those of a cluster or an agent; all of them for no name."""
    if not within:
        return list(items)
    field = (lambda item: f"{item['cluster']}/{item['agent']}") if kind == "replicas" and "/" in within else (lambda item: item["cluster"])
    return [item for item in items if field(item) == within]


def tabulated(columns: Sequence[Heading], items: Sequence[Document], *, sort: int, down: bool, wanted: str, now: float) -> Table:
    """Items as rows: those in which any cell has the text `wanted`, ordered by column number `sort`, `down` from the greatest."""
    found = [(tuple(_cell(field, pick(item, field), now) for _, field in columns), item) for item in items]
    if wanted:
        found = [(row, item) for row, item in found if any(wanted.lower() in one.lower() for one in row)]
    field = columns[sort][1] if sort < len(columns) else columns[0][1]
    found.sort(key=lambda pair: _rank(pick(pair[1], field)), reverse=down)
    values = [[pick(item, field) for _, item in found] for _, field in columns]
    numeric = frozenset(n for n, column in enumerate(values) if any(map(_is_number, column)))
    return Table(tuple(name for name, _ in columns), tuple(row for row, _ in found), tuple(item for _, item in found), numeric)


def ordered(kind: str) -> tuple[int, bool]:
    """How a noun is ordered at first, by column and whether from the greatest: the busiest on top, others by their first column."""
    return (next(n for n, (name, _) in enumerate(MEASURED[kind]) if name == "CPU"), True) if kind in MEASURED else (0, False)


def _cell(field: str, value: Any, now: float) -> str:
    match field.rpartition(".")[2]:
        case "memory_bytes" | "memory":
            return "" if value is None else size(value)
        case "since":
            return since(value, now) if value else ""
        case "cpu" | "handled_per_second" | "failed_per_second":
            return "" if value is None else f"{value:.2f}"
        case "lag_ms":
            return "" if value is None else f"{value:.1f}"
        case "capacity" | "replicas" if isinstance(value, Mapping):
            return f"{value['ready']} of {value['desired']}"
        case _:
            return cell(value)


def _rank(value: Any) -> tuple[bool, float, str]:
    """What is not known is less than anything, what looks alike is alike; a count of replicas is how many are ready."""
    if isinstance(value, Mapping):
        value = value.get("ready", str(value))
    return value is not None, round(value, 2) if _is_number(value) else 0.0, "" if value is None or _is_number(value) else cell(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
