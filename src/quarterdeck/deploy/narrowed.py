"""The fleet as somebody sees it whose token is for one cluster: every answer is made from that cluster alone, not cut out of the whole one.

A link that leaves or enters the cluster is part of it, with the name of the cluster at its other end and nothing else of that one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from quarterdeck.clock import Clock
from quarterdeck.deploy.converged import Conditions
from quarterdeck.deploy.drafts import Planned
from quarterdeck.deploy.fleet import Fleet
from quarterdeck.deploy.readiness import RULES
from quarterdeck.deploy.reconcile import Look
from quarterdeck.model.desired import Desired, Link
from quarterdeck.model.grant import Grant
from quarterdeck.model.records import Actor, Change
from quarterdeck.model.world import WorkloadSeen, World
from quarterdeck.store import changes

Json = dict[str, Any]
PHASE = "Phase"
"""The kind of the Conditions that keep how long a phase took: their evidence is a number."""


@dataclass(slots=True)
class Narrowed(Fleet):
    """`grant` is bound to a cluster. Calls its base by name: a class with slots has no bare `super()` (CPython issue 90562)."""

    grant: Grant = field(kw_only=True)

    @classmethod
    def of(cls, fleet: Fleet, grant: Grant) -> Narrowed:
        """A fleet, narrowed."""
        return cls(fleet.home, fleet.store, fleet.engine, fleet.reconciler, fleet.clock, grant=grant)

    def names(self) -> tuple[str, ...]:
        """The systems that have the cluster."""
        return tuple(name for name in Fleet.names(self) if self.grant.knows(name) and self.desired(name) is not None)

    def one(self, name: str | None) -> str:
        """As for everybody; a system that is not meant is refused in the same words whether or not it exists."""
        if name is not None and name not in self.names():
            raise self.grant.outside()
        return Fleet.one(self, name)

    def desired(self, system: str) -> Desired | None:
        """The cluster as it should be; None where the system has no such cluster."""
        whole = Fleet.desired(self, system)
        mine = desired_of(whole, str(self.grant.cluster)) if whole else None
        return mine if mine and mine.namespaces else None

    async def look(self, system: str) -> Look:
        """The newest look at the cluster."""
        if system not in self.names():
            raise self.grant.outside()
        return look_at(await Fleet.look(self, system), str(self.grant.cluster), self.clock)

    async def workloads(self, system: str) -> tuple[WorkloadSeen, ...]:
        """The cluster's, observed now."""
        return tuple(w for w in await Fleet.workloads(self, system) if self.grant.reaches(system, w.name))

    async def plan_change(self, change: Change) -> Planned:
        """As for everybody, and only what it does here."""
        self.grant.require(change.system, change.target)
        return self._here(await Fleet.plan_change(self, change))

    async def change(self, change: Change, actor: Actor) -> Change:
        """As for everybody; refused beyond the cluster."""
        self.grant.require(change.system, change.target)
        return await Fleet.change(self, change, actor)

    async def plan_revert(self, number: int) -> Planned:
        """As for everybody, and only what it does here."""
        self._mine(number)
        return self._here(await Fleet.plan_revert(self, number))

    async def revert(self, number: int, actor: Actor, reason: str) -> Change:
        """As for everybody; a Change beyond the cluster is refused in the same words as one that does not exist."""
        self._mine(number)
        return await Fleet.revert(self, number, actor, reason)

    async def plan_release(self, system: str, target: str) -> Planned:
        """As for everybody, and only what it does here."""
        self.grant.require(system, target)
        return self._here(await Fleet.plan_release(self, system, target))

    async def release(self, system: str, target: str, actor: Actor, reason: str) -> tuple[Change, ...]:
        """As for everybody; refused beyond the cluster."""
        self.grant.require(system, target)
        return await Fleet.release(self, system, target, actor, reason)

    def _mine(self, number: int) -> None:
        with self.store.read() as conn:
            found = changes.find(conn, number)
        if found is None or not self.grant.reaches(found.system, found.target):
            raise self.grant.outside()

    def _here(self, planned: Planned) -> Planned:
        return replace(planned, steps=tuple(s for s in planned.steps if self.grant.reaches(planned.system, s.target)))


def look_at(whole: Look, cluster: str, clock: Clock) -> Look:
    """What a look at one cluster would have given. Pure but for the time."""
    desired = desired_of(whole.desired, cluster)
    conditions = conditions_of(whole.conditions, desired, cluster)
    look = Look.of(desired, world_of(whole.world, cluster), conditions, clock.now())
    return replace(look, observed_generation=whole.observed_generation)


def desired_of(whole: Desired, cluster: str) -> Desired:
    """One cluster as it should be."""
    return replace(
        whole,
        entry=whole.entry if whole.entry and _of(whole.entry, cluster) else None,
        namespaces=tuple(n for n in whole.namespaces if n.cluster == cluster),
        workloads=tuple(w for w in whole.workloads if w.cluster == cluster),
        links=tuple(k for k in whole.links if _ends_at(k, cluster)),
    )


def world_of(whole: World, cluster: str) -> World:
    """One cluster as it is. What the machine lacks concerns it as much as any other, and names nothing that runs."""
    bus = replace(
        whole.bus,
        accounts=whole.bus.accounts & {cluster},
        streams=tuple(s for s in whole.bus.streams if s.account == cluster),
    )
    return replace(
        whole,
        bus=bus,
        namespaces=tuple(n for n in whole.namespaces if n.cluster == cluster),
        workloads=tuple(w for w in whole.workloads if _of(w.name, cluster)),
        links=tuple(k for k in whole.links if _ends_at(k, cluster)),
        delivered=tuple(d for d in whole.delivered if d.destination == cluster),
    )


def conditions_of(whole: Conditions, desired: Desired, cluster: str) -> Conditions:
    """What was found of the cluster; of the system and of links only whether it holds, because their evidence tells of others."""
    about = {desired.system, "bus", *(k.name for k in desired.links)}
    mine = {key: c for key, c in whole.items() if _of(c.target, cluster)}
    times = {key: replace(c, message="") for key, c in whole.items() if c.kind == PHASE}
    told = {key: replace(c, evidence="", message="") for key, c in whole.items() if key not in mine and c.target in about}
    return {**mine, **told, **times}


def points_of(told: Json, desired: Desired) -> Json:
    """Of a readiness score what can be seen of one cluster: a rule with a proof that has no target here may hold elsewhere or not."""
    seen = {rule.name for rule in RULES if set(rule.kinds) <= {kind for kind, _ in rule.wanted(desired)}}
    points = [{**point, "evidence": _named(point["evidence"])} for point in told["points"] if point["name"] in seen]
    return {"score": sum(point["earned"] for point in points), "points": points, "next": []}


def _named(evidence: str) -> str:
    """Evidence without the colons after which nothing is told."""
    return evidence.replace(": ;", ";").replace(": and ", " and ").removesuffix(": ")


def _of(target: str, cluster: str) -> bool:
    return target.partition("/")[0] == cluster


def _ends_at(link: Link, cluster: str) -> bool:
    return cluster in (link.source, link.target)
