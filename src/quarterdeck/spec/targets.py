"""What a Change may be aimed at: a system, a cluster, `cluster/agent` or `cluster/agent-n`, with `system:` in front where several run."""

from __future__ import annotations

import re
from dataclasses import dataclass

from quarterdeck.errors import NotFound, UserError
from quarterdeck.model.records import Patch
from quarterdeck.model.wording import nearest
from quarterdeck.spec.system import MOST_REPLICAS, SystemSpec


@dataclass(frozen=True, slots=True)
class Target:
    """A place in a system; what is None is meant as a whole."""

    cluster: str | None = None
    agent: str | None = None
    n: int | None = None

    def covers(self, other: Target) -> bool:
        """Whether `other` is this place or inside it."""
        mine = (self.cluster, self.agent, self.n)
        return all(own is None or own == theirs for own, theirs in zip(mine, (other.cluster, other.agent, other.n), strict=True))


def find(spec: SystemSpec, text: str) -> Target | None:
    """The target that `text` names in this system, or None. An agent's own name comes before "replica n of": `a-1` is the agent `a-1`."""
    cluster, slash, rest = text.removeprefix(f"{spec.name}:").partition("/")
    if not slash:
        return Target() if cluster in ("", spec.name) and cluster not in spec.spec.clusters else _cluster(spec, cluster)
    agents = spec.spec.clusters[cluster].agents if cluster in spec.spec.clusters else {}
    if rest in agents:
        return Target(cluster, rest)
    agent, _, n = rest.rpartition("-")
    if agent not in agents or not re.fullmatch(r"0|[1-9][0-9]{0,5}", n):
        return None
    return Target(cluster, agent, int(n))


def resolve(spec: SystemSpec, text: str) -> Target:
    """As `find`, but raises NotFound with the nearest name."""
    target = find(spec, text)
    if target is None:
        names = (*spec.spec.clusters, *(f"{cluster}/{agent}" for cluster, agent, _ in spec.agents()))
        near = nearest(text, names)
        raise NotFound(f'{spec.name} has no "{text}"', hint=f'did you mean "{near}"?' if near else f"there are {', '.join(names[:20])}")
    return target


def stop_target(spec: SystemSpec, text: str) -> str:
    """A target as a stop is written down, so that it can be compared as text; raises NotFound, or UserError for a replica.

    `system:` for everything, which no cluster can be called, else `cluster` or `cluster/agent`.
    """
    target = check_patch(spec, text, Patch("stopped", value=True))
    return "/".join(part for part in (target.cluster, target.agent) if part) or whole(spec.name)


def whole(system: str) -> str:
    """Everything of a system, as the target of a stop."""
    return f"{system}:"


def check_patch(spec: SystemSpec, text: str, patch: Patch) -> Target:
    """The target of a Change about to be made; raises NotFound or UserError when `compose` could not carry it out."""
    target = resolve(spec, text)
    if target.cluster and target.agent and target.n is not None and target.n >= (most := _most(spec, target.cluster, target.agent)):
        raise NotFound(f"{text} can never be: there are at most {most}", hint="qd get replicas lists those there are")
    if fault := unfit(target, patch):
        raise UserError(f"{patch.field} of {text}: {fault}", hint=f"qd explain {text} shows what holds now")
    return target


def unfit(target: Target, patch: Patch) -> str:
    """Why a patch cannot be meant for a target, or nothing."""
    value = patch.value
    match patch.field:
        case "replicas":
            whole = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_REPLICAS
            place = "" if target.agent and target.n is None else "only an agent (cluster/agent) has a number of replicas"
            return place or ("" if whole else f"must be a whole number from 0 to {MOST_REPLICAS}")
        case "restart_before":
            number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
            place = "one replica cannot be restarted alone in this version" if target.n is not None else ""
            return place or ("" if number else "must be a time in epoch seconds")
        case "quarantined":
            place = "" if target.n is not None else "only one replica (cluster/agent-n) can be quarantined"
            return place or ("" if isinstance(value, bool) else "must be true or false")
        case "hold":
            return "" if isinstance(value, bool) else "must be true or false"
        case "stopped":
            place = "one replica cannot be stopped alone: qd quarantine keeps it from work" if target.n is not None else ""
            return place or ("" if value is True else "must be true: qd start ends it")


def _most(spec: SystemSpec, cluster: str, agent: str) -> int:
    """How many replicas an agent may ever have."""
    room = spec.spec.clusters[cluster]
    bounds = room.agents[agent].replicas
    return room.quota.replicas if bounds.fixed else bounds.max


def _cluster(spec: SystemSpec, name: str) -> Target | None:
    return Target(name) if name in spec.spec.clusters else None
