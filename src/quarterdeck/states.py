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

TASK: Final = Machine(
    "Task",
    "queued",
    _moves(
        {
            "queued": "running failed dead cancelled",  # failed: its deadline passed; dead: given up without another attempt
            "running": "waiting done failed unknown queued dead cancelled",  # queued: tried again
            "waiting": "running queued failed dead cancelled",  # for other tasks, or for a human
            "unknown": "queued cancelled",  # somebody said what became of the effect
            "dead": "queued",  # somebody wants it tried again
            "failed": "queued",
            "done": "",
            "cancelled": "",
        }
    ),
)

EFFECT: Final = Machine(
    "Effect",
    "started",
    _moves(
        {
            "started": "done failed unknown started",  # started again under a newer fence, where a second call does no harm
            "failed": "started",
            "unknown": "done failed started",  # somebody said so; started: may be called again
            "done": "",
        }
    ),
)

QUESTION: Final = Machine(
    "Question",
    "open",
    _moves({"open": "answered expired withdrawn", "answered": "", "expired": "", "withdrawn": ""}),
)

MESSAGE: Final = Machine(
    "Message",
    "waiting",
    _moves(
        {
            "behind": "waiting",  # the one before it of the same order has ended
            "waiting": "sent done dead",  # done, dead: the stream had it, though its word was lost
            "sent": "waiting done dead",  # waiting: the stream lost it
            "dead": "waiting done",  # somebody wants it tried again; done: another copy of it was handled
            "done": "",
        }
    ),
)

MACHINES: Final = (REPLICA, CHANGE, PHASE, BREAKER, TASK, EFFECT, QUESTION, MESSAGE)
