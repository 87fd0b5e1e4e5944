"""Which replica is at which kept message: the ledger's memory, so that two copies of one message are not handled at the same time. Pure.

It promises nothing: a ledger that starts knows of nobody. What was handled is a row; that alone stops a second time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from quarterdeck.model.work import Holder

TERM: Final = 15.0
"""Seconds after which somebody else may have a message that its holder has neither finished nor taken again."""


@dataclass(slots=True)
class Takes:
    """Times are monotonic seconds."""

    term: float = TERM
    _held: dict[str, tuple[Holder, float]] = field(default_factory=dict)

    def take(self, message: str, holder: Holder, now: float) -> bool:
        """Whether this holder may work on it: nobody else is at it. Taking it again prolongs it."""
        known = self._held.get(message)
        if known is not None and known[0] != holder and known[1] > now:
            return False
        self._held.pop(message, None)  # the oldest stay in front
        self._held[message] = (holder, now + self.term)
        self._forget(now)
        return True

    def end(self, message: str) -> None:
        """Nobody is at it any more."""
        self._held.pop(message, None)

    def gone(self, holder: Holder) -> None:
        """A replica has ended."""
        for message in [message for message, (held, _) in self._held.items() if held == holder]:
            del self._held[message]

    def _forget(self, now: float) -> None:
        while self._held and (oldest := next(iter(self._held.items())))[1][1] <= now:
            del self._held[oldest[0]]
