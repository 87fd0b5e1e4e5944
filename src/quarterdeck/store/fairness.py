"""Whose turn it is: start-time fair queueing over tenants, so that one with a thousand tasks does not hold up one with a single task.

A task gets a tag when it is queued; an agent's tasks of one priority are worked on in the order of their tags. Goyal, Vin and Cheng,
"Start-time Fair Queueing", SIGCOMM 1996. A cache over the rows: it is filled from them at start, and is used by the writer's thread only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from quarterdeck.model.work import Target

MOST_TENANTS: Final = 10_000
"""Tenants in all lines after which those are forgotten whose last tag says nothing any more."""
Line = tuple[Target, int]
"""Tasks that wait in one order: of an agent, at one priority."""


@dataclass(slots=True)
class Fairness:
    """`reached` is the tag of the newest task that was taken out of a line, `last` the newest tag of a tenant there."""

    reached: dict[Line, float] = field(default_factory=dict)
    last: dict[tuple[Line, str], float] = field(default_factory=dict)

    def tag(self, line: Line, tenant: str) -> float:
        """Put one more task of a tenant in line."""
        tag = max(self.reached.get(line, 0.0), self.last.get((line, tenant), 0.0)) + 1.0
        if len(self.last) >= MOST_TENANTS:
            self._forget()
        self.last[line, tenant] = tag
        return tag

    def take(self, line: Line, tag: float) -> None:
        """A task was taken out."""
        self.reached[line] = max(tag - 1.0, self.reached.get(line, 0.0))

    def note(self, line: Line, tenant: str, last: float, first: float) -> None:
        """Tasks that are in line already, at start, with their last and their first tag."""
        self.last[line, tenant] = max(last, self.last.get((line, tenant), 0.0))
        self.reached[line] = min(first - 1.0, self.reached.get(line, first))

    def _forget(self) -> None:
        """Tenants whose last task was reached get the same tag without being remembered."""
        self.last = {key: tag for key, tag in self.last.items() if tag > self.reached.get(key[0], 0.0)}
