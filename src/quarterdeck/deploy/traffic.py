"""What goes over a link, by the word of the replicas at its source. Pure."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from quarterdeck.model.desired import Link
from quarterdeck.model.world import Replica, WorkloadSeen

Json = dict[str, Any]
_WORST: Final = ("open", "half-open", "closed")
NO_TRAFFIC: Final[Json] = {"per_second": None, "failed_per_second": None, "sent": None, "circuits": {}}
"""Of a link whose source cannot be seen."""


def traffic(link: Link, seen: tuple[WorkloadSeen, ...]) -> Json:
    """What goes over a link: rates of the last ten seconds, how much the replicas that run sent since their start, their breakers.

    A replica is counted by the worst of its breakers towards the target.
    """
    senders = [r for w in seen if w.name.startswith(f"{link.source}/") for r in w.replicas if r.pid is not None]
    flows = [flow for r in senders for flow in r.flows if flow.to == link.target]
    breakers = Counter(_breaker(r, link.target) for r in senders)
    return {
        "per_second": round(sum(f.per_second for f in flows), 2),
        "failed_per_second": round(sum(f.failed_per_second for f in flows), 2),
        "sent": sum(f.sent for f in flows),
        "circuits": {state: breakers[state] for state in reversed(_WORST)},
    }


def _breaker(replica: Replica, cluster: str) -> str:
    states = {state for to, state in replica.circuits if to.startswith(f"{cluster}/")}
    return next((state for state in _WORST if state in states), "closed")
