"""How many orders are taken in at a time. One that is too many is refused as bytes: reading it as HTTP and routing it is most of its cost.

Without this a storm of orders is read before it is refused, all of it at once, and whatever was let in waits behind those that were not.
Where most of what is read is refused then, and our processor is what is scarce, no more is read than a little above what is taken: the
adaptive throttling of "Handling Overload" (Beyer et al., "Site Reliability Engineering", 2016, chapter 21), on the server's side.
"""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from quarterdeck.api.errors import refuse
from quarterdeck.clock import Clock, SystemClock
from quarterdeck.model.work import Overloaded

MOST: Final = 64
"""Orders at a time. More are not written down faster, they only wait longer."""
HELD: Final = 0.5
"""Seconds after which a refusal is told: whoever asks again at once can do so only twice a second on each connection."""
ABOVE: Final = 1.25
"""Orders that may be read for each that is taken, while we are busy; what is refused of these says that there is still too much."""
SOME: Final = 16.0
"""Orders that may be read besides: from them it is known when there is room again."""
WINDOW: Final = 1.0
"""Seconds after which what was read and taken counts for a third."""
BUSY: Final = 0.85
"""The part of one core that our process takes when it has no more to give."""
LOOK_EVERY: Final = 0.25
"""Seconds over which that is measured, or longer where no orders come."""
_ORDER: Final = b"POST /v1/tasks HTTP/1.1\r\n"
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)[ \t]*\r\n", re.IGNORECASE)
_OTHERWISE: Final = re.compile(rb"\r\n(transfer-encoding|expect|connection|upgrade):", re.IGNORECASE)


@dataclass(slots=True)
class Turnstile:
    """One for all connections of a control plane, on the doors' loop. `refused` counts those that were turned away as `door`.

    `processor` tells the seconds of processor time that this process has taken.
    """

    refused: Counter[str] = field(default_factory=Counter)
    clock: Clock = field(default_factory=SystemClock)
    most: int = MOST
    processor: Callable[[], float] = time.process_time
    _inside: set[object] = field(default_factory=set)
    _read: float = 0.0
    _taken: float = 0.0
    """How many orders, each counting less as it grows old."""
    _at: float = 0.0
    _busy: bool = False
    _looked: tuple[float, float] = (-math.inf, 0.0)
    """When we looked last whether we are busy, and how much processor time had been taken then."""

    def closed(self) -> bool:
        """Whether nobody may enter just now."""
        if len(self._inside) >= self.most:
            return True
        self._fade()
        return self._short() and self._read > self._enough()

    def enter(self, connection: object) -> None:
        """What it brought is being answered."""
        self._inside.add(connection)

    def leave(self, connection: object, *, taken: bool | None = None) -> bool:
        """It is answered: `taken`, or told to come again. Or its client is gone (None). Gives whether it was inside."""
        inside = connection in self._inside
        self._inside.discard(connection)
        if inside and taken is not None:
            self._fade()
            self._read += 1
            self._taken += taken
        return inside

    def _fade(self) -> None:
        now = self.clock.monotonic()
        left = math.exp((self._at - now) / WINDOW)
        self._read, self._taken, self._at = self._read * left, self._taken * left, now

    def _short(self) -> bool:
        """Whether our processor is what is scarce: one interpreter uses one core, whatever others there are."""
        (then, before), now = self._looked, self.clock.monotonic()
        if now - then >= LOOK_EVERY:
            spent = self.processor()
            was, self._busy = self._busy, spent - before >= BUSY * (now - then)
            self._looked = now, spent
            if self._busy and not was:  # what was read while there was time for it is no reason to read nothing now
                self._read = min(self._read, self._enough())
        return self._busy

    def _enough(self) -> float:
        return ABOVE * self._taken + SOME


def is_order(data: bytes) -> bool:
    """Whether these are all the bytes of one order and no others, sent as everybody sends them; anything else has to be read with care."""
    if not data.startswith(_ORDER):
        return False
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = _LENGTH.findall(head + b"\r\n")
    return len(lengths) == 1 and int(lengths[0]) == len(body) and _OTHERWISE.search(head) is None


def _refusal() -> bytes:
    answer = refuse(Overloaded("more orders arrive than can be taken in", hint="come again after Retry-After"))
    lines = [b"HTTP/1.1 %d Too Many Requests" % answer.status_code, *(b"%s: %s" % header for header in answer.raw_headers)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + bytes(answer.body)


REFUSAL: Final = _refusal()
"""As it goes over the wire."""
