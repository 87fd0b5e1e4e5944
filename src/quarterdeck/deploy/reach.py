"""Who may give work to whom: as messages go, inside a cluster and along links. Asked from any thread, so it reads the newest look."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from quarterdeck.deploy.reconcile import Look
from quarterdeck.model.desired import Desired
from quarterdeck.model.work import Target


@dataclass(frozen=True, slots=True)
class Reach:
    """Callable with (system, cluster of who gives the work or "" for a person, target): why not, or nothing."""

    looks: Mapping[str, Look]
    compose: Callable[[str], Desired | None]

    def __call__(self, system: str, source: str, target: Target) -> str:
        """A sentence when it may not."""
        look = self.looks.get(system)
        desired = look.desired if look else None
        if desired is None or not _has(desired, target):  # applied a moment ago, perhaps
            desired = self.compose(system)
        if desired is None:
            return f"there is no system {system!r}"
        if not _has(desired, target):
            return f"{system} has no agent {target.name}"
        if (
            source
            and source != target.cluster
            and not any((link.source, link.target) == (source, target.cluster) for link in desired.links)
        ):
            return f"no link leads from {source} to {target.cluster}"
        return ""


@dataclass(frozen=True, slots=True)
class Staff:
    """Callable with a target: its replicas that are ready, as (number, incarnation); None when nobody has looked."""

    looks: Mapping[str, Look]

    def __call__(self, target: Target) -> frozenset[tuple[int, int]] | None:
        """As last seen."""
        look = self.looks.get(target.system)
        seen = look.world.workload(target.name) if look is not None and look.world.reachable else None
        return None if seen is None else frozenset((r.slot, r.incarnation) for r in seen.replicas if r.state == "ready")


def _has(desired: Desired, target: Target) -> bool:
    return any(workload.name == target.name for workload in desired.workloads)
