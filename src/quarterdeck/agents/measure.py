"""What a replica measures of its own work: how long messages were on their way to it, and how long its places were taken, by verb.

Both are counted since the start, so that a beat that is lost loses nothing, and both are bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Literal

from quarterdeck.clock import Clock
from quarterdeck.model.measures import Histogram

Lane = Literal["message", "durable", "task"]
SERIES: Final = 64
"""Senders' clusters and kinds that are told apart, and verbs; further ones are not measured."""
MOST_LATE: Final = 86_400_000.0
"""Milliseconds beyond which a time of sending says nothing about the way."""


@dataclass(slots=True)
class _Busy:
    """Places that one verb takes: how many now, and their seconds until `since`."""

    since: float
    running: int = 0
    seconds: float = 0.0

    def at(self, now: float) -> float:
        """Its seconds until now."""
        return self.seconds + self.running * (now - self.since)

    def change(self, by: int, now: float) -> None:
        """Take or give back a place."""
        self.seconds, self.since, self.running = self.at(now), now, self.running + by


@dataclass(slots=True)
class Measures:
    """One for a replica that works on `concurrency` messages, as many durable ones and as many tasks at once.

    Its places are those of the kinds of work that have come to it so far: an agent that is given tasks alone is full when these are.
    """

    clock: Clock
    concurrency: int = 1
    _lanes: set[Lane] = field(default_factory=set)
    _ways: dict[tuple[str, str], Histogram] = field(default_factory=dict)
    _busy: dict[str, _Busy] = field(default_factory=dict)

    def arrived(self, source: str, kind: str, sent: float | None) -> None:
        """Handling of a message begins now that was sent then (epoch seconds; None: nobody knows)."""
        if sent is not None:
            self.took(source, kind, (self.clock.now() - sent) * 1000)

    def took(self, source: str, kind: str, milliseconds: float) -> None:
        """A message was on its way so long."""
        if milliseconds > MOST_LATE:
            return
        way = self._ways.get((source, kind))
        if way is None:
            if len(self._ways) >= SERIES:
                return
            way = self._ways[source, kind] = Histogram()
        way.add(milliseconds)

    @contextmanager
    def working(self, verb: str, lane: Lane) -> Iterator[None]:
        """A place is taken meanwhile."""
        self._lanes.add(lane)
        busy = self._busy.get(verb)
        if busy is None:
            busy = _Busy(self.clock.monotonic())
            if len(self._busy) < SERIES:
                self._busy[verb] = busy
        busy.change(1, self.clock.monotonic())
        try:
            yield
        finally:
            busy.change(-1, self.clock.monotonic())

    def told(self) -> dict[str, object]:
        """For a beat: `busy` is milliseconds; each of `ways` [cluster, kind, microseconds, first bucket in use, counts from there on]."""
        now = self.clock.monotonic()
        busy = {verb: round(busy.at(now) * 1000) for verb, busy in self._busy.items()}
        ways = [[source, kind, *_short(way)] for (source, kind), way in self._ways.items()]
        return {"busy": busy, "ways": ways, "places": self.concurrency * len(self._lanes)}


def _short(way: Histogram) -> tuple[int, int, list[int]]:
    """Most buckets of a way are empty, at both ends."""
    filled = [n for n, count in enumerate(way.counts) if count]
    return way.micros, filled[0], way.counts[filled[0] : filled[-1] + 1]
