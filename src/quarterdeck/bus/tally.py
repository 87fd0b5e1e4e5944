"""What a participant sent and took in since its start, counted where it happens. Cumulative, so that a beat that is lost loses nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import TracebackType
from typing import Final

from quarterdeck.bus.envelope import NoAnswer

MOST: Final = 64
"""Clusters that are told apart; whatever goes to further ones is sent all the same and not counted."""


class Sent:
    """Calls to one cluster. `with` around a call counts it, and whether it got no answer; a generator of contextlib would cost more."""

    __slots__ = ("failed", "sent")

    def __init__(self) -> None:
        self.sent = 0
        self.failed = 0

    def __enter__(self) -> None:
        self.sent += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None and issubclass(kind, NoAnswer):
            self.failed += 1


@dataclass(slots=True)
class Outgoing:
    """What was sent, by cluster."""

    _by_cluster: dict[str, Sent] = field(default_factory=dict)

    def to(self, cluster: str) -> Sent:
        """The count of one cluster."""
        found = self._by_cluster.get(cluster)
        if found is None:
            found = Sent()
            if len(self._by_cluster) < MOST:
                self._by_cluster[cluster] = found
        return found

    def told(self) -> dict[str, tuple[int, int]]:
        """(sent, failed) by cluster."""
        return {cluster: (count.sent, count.failed) for cluster, count in self._by_cluster.items()}


@dataclass(slots=True)
class Worked:
    """Messages of an agent's own verbs, and attempts at its tasks, that were worked off: `handled` well, `failed` with an error.

    Not the platform's messages, and no attempt that was told to stop.
    """

    handled: int = 0
    failed: int = 0

    def note(self, *, well: bool, count: int = 1) -> None:
        """One more, or so many."""
        if well:
            self.handled += count
        else:
            self.failed += count
