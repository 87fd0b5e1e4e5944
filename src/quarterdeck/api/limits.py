"""How often somebody may ask: a bucket for each token, and patience with an address that shows secrets nobody knows.

In memory and bounded: a restart forgives, and whoever invents names to fill the table pushes out the oldest.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final, TypeVar

from quarterdeck.api.errors import TooMany
from quarterdeck.clock import Clock

RATE: Final = 50.0
"""Requests a second that a token may make for ever."""
BURST: Final = 200.0
"""Requests at once."""
SUBMISSION: Final = 1 / 32
"""What giving one task costs of that: programs give work faster than people look at pages, and it is the cheapest request there is."""
FORGIVEN: Final = 5
"""Failures of an address before it has to wait."""
LONGEST: Final = 60.0
"""Seconds of the longest wait; also after twice as long without a failure all is forgotten."""
_KEPT: Final = 4096
T = TypeVar("T")


@dataclass(slots=True)
class Rates:
    """A token bucket each (RFC 2697 calls its parts rate and burst): `take` one for every request, or a part for a small one."""

    clock: Clock
    rate: float = RATE
    burst: float = BURST
    _left: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    def take(self, key: str, cost: float = 1.0) -> None:
        """Raise TooMany when less than that is left."""
        now = self.clock.monotonic()
        left, then = self._left.pop(key, (self.burst, now))
        left = min(self.burst, left + (now - then) * self.rate)
        _keep(self._left, key, (left - cost if left >= cost else left, now))
        if left < cost:
            raise TooMany(
                f"more than {self.rate / cost:g} requests a second",
                hint="follow a stream (-f) instead of asking again and again",
                retry_after=math.ceil((cost - left) / self.rate),
            )


@dataclass(slots=True)
class Backoff:
    """Failures by address. From the sixth on each is answered with a wait, which doubles from 1 s to 60 s.

    Only failures are made to wait: a secret has 256 bits and cannot be guessed however often one tries, whereas an agent on this
    machine, which shares the address with its owner's browser, must not be able to lock that one out.
    """

    clock: Clock
    _failed: OrderedDict[str, tuple[int, float]] = field(default_factory=OrderedDict)

    def failed(self, address: str) -> None:
        """Note a failure; raise TooMany when the address has to wait."""
        now = self.clock.monotonic()
        count, until = self._failed.pop(address, (0, now))
        if now > until + 2 * LONGEST:
            count = 0
        if now < until:
            _keep(self._failed, address, (count, until))
            raise self._wait(until - now)
        wait = min(2.0 ** (count - FORGIVEN), LONGEST) if count >= FORGIVEN else 0.0
        _keep(self._failed, address, (count + 1, now + wait))
        if wait:
            raise self._wait(wait)

    @staticmethod
    def _wait(seconds: float) -> TooMany:
        message = "too many tokens and login codes from this address were wrong"
        return TooMany(
            message, hint="qd open makes a fresh login link; qd token list shows which tokens live", retry_after=math.ceil(seconds)
        )


def _keep(table: OrderedDict[str, T], key: str, value: T) -> None:
    table[key] = value
    while len(table) > _KEPT:
        table.popitem(last=False)
