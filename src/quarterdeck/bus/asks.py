"""The asks at one replica: which wait for a place and which have one. The receiver notes them, for whoever asks who waits for whom.

Pure bookkeeping, a few operations for each ask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from quarterdeck.bus.connection import Incoming
from quarterdeck.bus.envelope import attempt
from quarterdeck.clock import Clock, SystemClock


@dataclass(slots=True, eq=False)
class Ask:
    """One that has come in: `id` is what its sender calls this attempt, `since` epoch seconds; `held`: it has a place.

    `unwanted` says why nobody waits for its answer any more: it is turned away when its turn comes.
    """

    id: str
    verb: str
    since: float
    held: bool = False
    unwanted: str = ""


@dataclass(slots=True)
class Asks:
    """Over all connections of a replica. `queued` is called when one has to wait; `places` is how many may be worked on at once."""

    clock: Clock = field(default_factory=SystemClock)
    queued: Callable[[], None] = lambda: None
    places: int = 0
    _open: dict[Ask, None] = field(default_factory=dict)

    def came(self, incoming: Incoming, *, waits: bool) -> Ask:
        """One more; `over` ends it."""
        ask = Ask(attempt(incoming.headers), incoming.verb, self.clock.now())
        self._open[ask] = None
        if waits:
            self.queued()
        return ask

    def over(self, ask: Ask) -> None:
        """It was answered, or given up."""
        del self._open[ask]

    def turn_away(self, identity: str, why: str) -> None:
        """Refuse one that waits for a place as soon as it gets one; nothing if it has one, or is not here."""
        for ask in self._open:
            if ask.id == identity and not ask.held:
                ask.unwanted = why

    @property
    def free(self) -> int:
        """Places that nobody has."""
        return max(0, self.places - sum(ask.held for ask in self._open))

    def __iter__(self) -> Iterator[Ask]:
        return iter(self._open)
