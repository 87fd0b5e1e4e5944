"""How long messages were on their way, added up for each cluster over all replicas it ever had, so that no series falls when one ends."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from quarterdeck.model.measures import BUCKETS, KINDS, Histogram

SERIES: Final = 64
"""Of one beat, and those that are kept of one cluster: foreign code names them."""
_MOST: Final = 2**53
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,127}\Z")
_PARTS: Final = 5

Way = tuple[str, str]
"""The sender's cluster and the kind."""
Told = Mapping[Way, tuple[int, int, tuple[int, ...]]]
"""By way: microseconds, the first bucket that is not empty, counts from there on."""


def told(value: object) -> Told | None:
    """What a beat says of ways; None for anything else than `Measures.told` makes."""
    if not isinstance(value, list) or len(value) > SERIES:
        return None
    found: dict[Way, tuple[int, int, tuple[int, ...]]] = {}
    for one in value:
        if not isinstance(one, list) or len(one) != _PARTS:
            return None
        source, kind, micros, first, counts = one
        if not (
            isinstance(source, str) and _NAME.match(source) and isinstance(kind, str) and kind in KINDS and _count(micros) and _count(first)
        ):
            return None
        if not (isinstance(counts, list) and 0 < len(counts) <= BUCKETS - first and all(map(_count, counts))):
            return None
        found[source, kind] = micros, first, tuple(counts)
    return found


@dataclass(slots=True)
class Ways:
    """Begins at nothing with the node; at most SERIES for each cluster."""

    _by_cluster: dict[tuple[str, str], dict[Way, Histogram]] = field(default_factory=dict)

    def take(self, system: str, cluster: str, before: Told, now: Told) -> None:
        """Add what one process says more than before; what it takes back is a lie and changes nothing."""
        if not now:
            return
        kept = self._by_cluster.setdefault((system, cluster), {})
        for way, new in now.items():
            old = before.get(way, (0, 0, ()))
            if new == old or (way not in kept and len(kept) >= SERIES):
                continue
            more = tuple(n - o for n, o in zip(_full(new), _full(old), strict=True))
            if min(more) >= 0 and new[0] >= old[0]:
                kept.setdefault(way, Histogram()).grow(more, new[0] - old[0])

    def keep_only(self, clusters: set[tuple[str, str]]) -> None:
        """Forget clusters that are no more."""
        for gone in self._by_cluster.keys() - clusters:
            del self._by_cluster[gone]

    def told(self) -> list[tuple[str, str, str, str, list[int], int]]:
        """[system, source, destination, kind, counts, microseconds] of each."""
        return [
            (system, source, cluster, kind, found.counts, found.micros)
            for (system, cluster), ways in self._by_cluster.items()
            for (source, kind), found in ways.items()
        ]


def _count(value: object) -> bool:
    return type(value) is int and 0 <= value < _MOST


def _full(way: tuple[int, int, tuple[int, ...]]) -> list[int]:
    _, first, counts = way
    return [*(0 for _ in range(first)), *counts, *(0 for _ in range(BUCKETS - first - len(counts)))]
