"""What the spec says about the work of a system: what it may cost, and how much of it the door takes. Asked from any thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from quarterdeck.deploy.reconcile import Look
from quarterdeck.model.desired import Allowance, Desired, Intake


@dataclass(frozen=True, slots=True)
class Allowances:
    """Callable with a system's name: its budgets. From the newest look, or composed when there is none yet."""

    looks: Mapping[str, Look]
    compose: Callable[[str], Desired | None]

    def __call__(self, system: str) -> tuple[Allowance, ...]:
        """Those of the system first, then those of its clusters; none for a system there is not."""
        desired = self._desired(system)
        return () if desired is None else desired.budgets

    def intake(self, system: str) -> Intake:
        """How much work the door takes."""
        desired = self._desired(system)
        return Intake() if desired is None else desired.intake

    def _desired(self, system: str) -> Desired | None:
        look = self.looks.get(system)
        return (look.desired if look else None) or self.compose(system)
