"""Every state machine of Quarterdeck as one table of allowed pairs.

A pair that is not in the table raises `InvalidTransition` with the object's story. The docs draw their pictures from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from quarterdeck.errors import InvalidTransition


@dataclass(frozen=True, slots=True)
class Machine:
    """A state machine: the name of its noun, its first state, and the states each state may go to."""

    noun: str
    first: str
    moves: dict[str, frozenset[str]]

    def allows(self, old: str, new: str) -> bool:
        """Whether `old` may become `new`."""
        return new in self.moves.get(old, frozenset())

    def step(self, old: str, new: str, *, story: tuple[str, ...] = ()) -> str:
        """Return `new`, or raise `InvalidTransition` with the story so far."""
        if not self.allows(old, new):
            msg = f"{self.noun}: {old} cannot become {new} (allowed: {', '.join(sorted(self.moves.get(old, ()))) or 'nothing'})"
            raise InvalidTransition(msg, story=story)
        return new


def _moves(table: dict[str, str]) -> dict[str, frozenset[str]]:
    return {old: frozenset(new.split()) for old, new in table.items()}


REPLICA: Final = Machine(
    "Replica",
    "pending",
    _moves(
        {
            "pending": "starting failed stopped quarantined",  # failed: its fork server could not import the code
            "starting": "ready failed draining stopped pending quarantined",  # pending: died while starting, will be started again
            "ready": "draining failed stopped pending quarantined",
            "draining": "stopped",
            "failed": "pending stopped",  # back-off over, or a Change asked
            "quarantined": "draining pending stopped",
            "stopped": "pending",  # the same name may be wanted again
        }
    ),
)

CHANGE: Final = Machine("Change", "live", _moves({"live": "expired reverted", "expired": "", "reverted": ""}))

PHASE: Final = Machine(
    "Phase",
    "pending",
    _moves({"pending": "running", "running": "done failed", "failed": "running", "done": "running"}),
)

BREAKER: Final = Machine(
    "Breaker",
    "closed",
    _moves({"closed": "open", "open": "half-open", "half-open": "closed open"}),
)

MACHINES: Final = (REPLICA, CHANGE, PHASE, BREAKER)
