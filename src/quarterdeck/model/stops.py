"""The proof of a stop: for each source what it says, never a guess. What cannot be read is unknown, and an unknown is no zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from quarterdeck.model.records import Outcome
from quarterdeck.version import API_VERSION

UNKNOWN: Final = "unknown"
KIND: Final = "StopProof"
FLEET: Final = "fleet"
"""The target of the proof when everything of a system was stopped."""
EXIT_CODES: Final[dict[Outcome, int]] = {"done": 0, "failed": 1, "unknown": 5}


@dataclass(frozen=True, slots=True)
class Source:
    """One look: where, what should be none of, how many there are (None: it cannot be read), and what a person can check."""

    source: str
    claim: str
    found: int | None
    evidence: str

    def to_json(self) -> dict[str, Any]:
        """As in the document."""
        found = UNKNOWN if self.found is None else self.found
        return {"source": self.source, "claim": self.claim, "found": found, "evidence": self.evidence}


def verdict(sources: tuple[Source, ...]) -> Outcome:
    """failed: something lives. unknown: nothing that can be seen lives, and something cannot be seen. done: nothing is left."""
    if any(source.found for source in sources):
        return "failed"
    return "unknown" if any(source.found is None for source in sources) else "done"


@dataclass(frozen=True, slots=True)
class StopProof:
    """What was found once a stop had been carried out. `at` is epoch seconds, `ms` how long it took from the order to here.

    `kept` says where the order is written down: `change 12`, `node`.
    """

    system: str
    target: str
    at: float
    ms: float
    sources: tuple[Source, ...]
    kept: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The document."""
        return {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "system": self.system or None,
            "target": self.target,
            "at": self.at,
            "ms": round(self.ms),
            "outcome": verdict(self.sources),
            "kept": list(self.kept),
            "sources": [source.to_json() for source in self.sources],
        }
