"""The proof that work was done once: what the ledger of effects says of the newest tasks that are done. Pure."""

from __future__ import annotations

from typing import Final

from quarterdeck.model.records import Condition, Status
from quarterdeck.store.overview import Settled

EFFECTS_COUNTED: Final = "EffectsCounted"
"""True since a task ended done with effects that are done; false while of some effect nobody knows whether it happened."""
_APART: Final = 60.0
"""Seconds by which newer evidence must be newer to be written down."""


def counted(system: str, found: Settled, known: Condition | None, now: float) -> Condition | None:
    """The Condition to write down; None when the known one still says it, and while there is nothing to tell."""
    status: Status
    if found.unknown:
        status, reason, at = "false", "Unknown", now
        text = f"of {found.unknown} effect{'s' * (found.unknown > 1)} nobody knows whether it happened: qd get effects"
    elif found.at is not None:
        status, reason, at = "true", "Counted", found.at
        effects = f"{found.effects} effect{'s' * (found.effects > 1)}"
        text = f"{found.tasks} of the newest tasks done with {effects}, each counted once, none unknown"
        text += f"; {found.again} of them after more than one attempt" if found.again else ""
    elif known is not None and known.status == "false":
        status, reason, at, text = "unknown", "Resolved", now, "none is unknown now; of the newest tasks none is done with effects"
    else:
        return None
    if known is not None and known.status == status and at - known.observed < _APART:
        return None
    return Condition(EFFECTS_COUNTED, system, status, reason, text, at, at, text)
