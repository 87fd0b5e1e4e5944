"""What a replica tells with each beat, and what the node keeps of it: the newest counters, the rates of the last seconds, the ring.

A beat comes from foreign code: what is not exactly what the runtime sends is no beat. Nothing here grows with what is told.
"""

from __future__ import annotations

import re
import sys
from array import array
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, TypeGuard

from quarterdeck.engines.local.node.ways import Told as Ways
from quarterdeck.engines.local.node.ways import told as ways_told
from quarterdeck.model.world import Flow, Sample, Usage
from quarterdeck.states import BREAKER

DESTINATIONS: Final = 64
"""Clusters and circuits that one beat may name."""
WINDOW: Final = 10.0
"""Seconds over which rates are taken."""
SAMPLES: Final = 600
"""Lines of a ring: ten minutes, a line each second."""
COLUMNS: Final = tuple(column.name for column in fields(Sample))
"""What a line tells, in this order."""
_KEPT: Final = 16
_APART: Final = WINDOW / 14
"""Seconds between two beats that are kept for rates, so that whoever beats faster still fills the window with _KEPT of them."""
_MOST: Final = 2**53
"""What a JSON number can count to without losing one."""
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,127}(/[a-z0-9][a-z0-9_-]{0,127})?\Z")
_NEVER: Final = -1.0

Sent = Mapping[str, tuple[int, int]]
"""(sent, failed) by cluster."""
Busy = tuple[tuple[str, int], ...]
"""Milliseconds for which places were taken, by verb."""


@dataclass(frozen=True, slots=True)
class Beat:
    """One sign of life. `lag` is milliseconds; the counters are since the process began; `circuits` are those not closed."""

    progress: int = 0
    lag: float = 0.0
    inflight: int = 0
    handled: int = 0
    failed: int = 0
    sent: Sent = field(default_factory=dict)
    circuits: tuple[tuple[str, str], ...] = ()
    busy: Busy = ()
    ways: Ways = field(default_factory=dict)
    places: int = 0

    @classmethod
    def read(cls, message: dict[str, Any]) -> Beat | None:
        """From what a replica said; None when it is no beat."""
        lag = message.get("lag")
        counts = [message.get("progress"), message.get("inflight"), message.get("handled", 0), message.get("failed", 0)]
        sent, circuits = message.get("sent", {}), message.get("circuits", {})
        busy, ways, places = message.get("busy", {}), ways_told(message.get("ways", [])), message.get("places", 0)
        if not (_is_lag(lag) and all(map(_is_count, [*counts, places])) and _are_sent(sent) and _are_circuits(circuits)):
            return None
        if ways is None or not (_is_table(busy) and all(map(_is_count, busy.values()))):
            return None
        progress, inflight, handled, failed = counts
        flows = {to: (count[0], count[1]) for to, count in sent.items()}
        taken = tuple((sys.intern(verb), spent) for verb, spent in busy.items())
        return cls(progress, float(lag), inflight, handled, failed, flows, tuple(circuits.items()), taken, ways, places)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < _MOST


def _is_lag(value: Any) -> TypeGuard[float]:
    return type(value) in (int, float) and 0 <= value < _MOST  # which NaN is not


def _are_sent(value: object) -> TypeGuard[dict[str, list[int]]]:
    return _is_table(value) and all(
        isinstance(count, list) and len(count) == 2 and all(map(_is_count, count)) and count[1] <= count[0]  # noqa: PLR2004 a pair
        for count in value.values()
    )


def _are_circuits(value: object) -> TypeGuard[dict[str, str]]:
    return _is_table(value) and all(isinstance(state, str) and state in BREAKER.moves for state in value.values())


def _is_table(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict) and len(value) <= DESTINATIONS and all(_NAME.match(name) for name in value)


class Vitals:
    """The newest beat of one process, when it was heard (monotonic seconds, None before the first), and what rates are taken from.

    Measured: 10 KB where a replica sends to two clusters, 14 KB where it has three verbs and hears from three clusters as well, 260 KB
    where all of these are as many as are told apart; a beat is then 144, 338 and 5,519 bytes.
    """

    def __init__(self, began: float) -> None:
        self.beat = Beat()
        self.heard: float | None = None
        self._oldest = 0.0
        self._kept: deque[tuple[float, Sent, Busy]] = deque([(began, {}, ())], maxlen=_KEPT)

    def take(self, beat: Beat, now: float) -> None:
        """A beat came."""
        self._oldest = max(self._oldest, self._age(now))
        self.beat, self.heard = beat, now
        if now - self._kept[-1][0] >= _APART:
            self._kept.append((now, beat.sent, beat.busy))

    def oldest(self, now: float) -> float | None:
        """The greatest age in seconds that the newest beat had since this was asked last; None before the first beat.

        Lines are taken about as often as beats come: the age at the time of a line would tell how far the two clocks have drifted apart.
        """
        found, self._oldest = max(self._oldest, self._age(now)), 0.0
        return None if self.heard is None else found

    def _age(self, now: float) -> float:
        return 0.0 if self.heard is None else now - self.heard

    def flows(self, now: float) -> tuple[Flow, ...]:
        """What goes where, by cluster. A process that has not told anything for long sends nothing, as far as anybody knows."""
        since, before, _ = self._base(now)
        seconds = max(now - since, 1.0)
        return tuple(
            Flow(to, sent, failed, *(_rate(new - old, seconds) for new, old in zip((sent, failed), before.get(to, (0, 0)), strict=True)))
            for to, (sent, failed) in sorted(self.beat.sent.items())
        )

    def utilization(self, now: float) -> tuple[tuple[str, float], ...]:
        """What part of its places each verb took, by verb, as of the newest beat; nothing of one that has not beaten for a window."""
        if self.heard is None or now - self.heard > WINDOW or not self.beat.places:
            return ()
        since, _, earlier = self._base(self.heard)
        before, room = dict(earlier), (self.heard - since) * 1000 * self.beat.places
        parts = ((verb, (spent - before.get(verb, 0)) / room if room > 0 else 0.0) for verb, spent in self.beat.busy)
        return tuple((verb, round(min(max(part, 0.0), 1.0), 4)) for verb, part in sorted(parts))

    def _base(self, now: float) -> tuple[float, Sent, Busy]:
        """The last kept counters that are older than the window, or the oldest there are."""
        base = self._kept[0]
        for kept in self._kept:
            if kept[0] > now - WINDOW:
                break
            base = kept
        return base


def _rate(more: int, seconds: float) -> float:
    """Counters that went backwards are a replica's lie or a new count; neither makes a rate."""
    return round(max(more, 0) / seconds, 2)


class Ring:
    """The last SAMPLES lines of one replica slot, over its incarnations: 12 numbers of 8 bytes each, 58 KB when it is full."""

    def __init__(self) -> None:
        self._numbers = array("d")
        self._oldest = 0

    def add(self, sample: Sample) -> None:
        """Keep a line, instead of the oldest one when there is no room."""
        line = array("d", (_NEVER if (value := getattr(sample, name)) is None else value for name in COLUMNS))
        if len(self._numbers) < SAMPLES * len(COLUMNS):
            self._numbers.extend(line)
            return
        start = self._oldest * len(COLUMNS)
        self._numbers[start : start + len(COLUMNS)] = line
        self._oldest = (self._oldest + 1) % SAMPLES

    def usage(self, incarnation: int) -> Usage:
        """What that incarnation takes and does by its newest line, and the one of its lines that is up to WINDOW seconds older."""
        count = len(self._numbers) // len(COLUMNS)
        new, old = self._line(count - 1) if count else None, None
        if new is None or new["incarnation"] != incarnation:
            return Usage()
        for back in range(min(int(WINDOW), count - 1), 0, -1):
            line = self._line(count - 1 - back)
            if line["incarnation"] == incarnation and new["at"] - line["at"] <= WINDOW + 1:
                old = line
                break
        memory = int(new["memory_bytes"])
        if old is None or new["at"] <= old["at"]:
            return Usage(memory)
        seconds = new["at"] - old["at"]
        cpu, handled, failed = (max(new[name] - old[name], 0.0) / seconds for name in ("cpu_seconds", "handled", "failed"))
        return Usage(memory, round(cpu, 3), round(handled, 2), round(failed, 2))

    def _line(self, n: int) -> dict[str, float]:
        """Line `n`, the oldest is 0."""
        start = (self._oldest + n) % (len(self._numbers) // len(COLUMNS)) * len(COLUMNS)
        return dict(zip(COLUMNS, self._numbers[start : start + len(COLUMNS)], strict=True))

    def rows(self, since: float) -> Iterator[list[float | None]]:
        """The lines taken after `since` (epoch seconds), oldest first, in the order of COLUMNS."""
        count = len(self._numbers) // len(COLUMNS)
        for n in range(count):
            start = (self._oldest + n) % count * len(COLUMNS)
            if self._numbers[start] > since:
                yield [None if value == _NEVER else value for value in self._numbers[start : start + len(COLUMNS)]]
