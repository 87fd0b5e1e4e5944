"""What should be, from the spec and the live Changes: `desired = spec + Changes`, clamped to bounds and quota. Pure.

Who may ask for how many replicas: everybody stays within `min..max` where the spec writes bounds. Where it writes a plain number there is
nothing for automation to choose, while a person may choose any number (`qd scale` would be useless otherwise). Nobody leaves the cluster's
quota: what Changes ask for beyond it is cut, and the text in `because` says so. What is stopped gets none, whatever bounds or others say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from quarterdeck.model.desired import Allowance, Breaker, Desired, Intake, Link, Namespace, Quota, Restart, Rollout, Template, Workload
from quarterdeck.model.records import RANK, Change
from quarterdeck.model.work import BUDGETS
from quarterdeck.spec.overrides import Overrides, cite
from quarterdeck.spec.system import AgentSpec, BudgetSpec, ClusterSpec, LinkSpec, SystemSpec
from quarterdeck.spec.targets import Target


@dataclass(frozen=True, slots=True)
class _Count:
    """How many replicas an agent gets: the spec's number, what the deciding Change asks for within the bounds, and why not more or less."""

    name: str
    spec: int
    wanted: int
    change: Change | None = None
    cut: str = ""
    stopped: bool = False

    def because(self, now: float) -> tuple[str, ...]:
        """`replicas 3 → 5 (human change 12, …)`, or nothing when no Change asks for a number."""
        if self.change is None:
            return (f"replicas {self.spec} → {self.wanted} ({self.cut})",) if self.cut else ()
        return (f"replicas {self.spec} → {self.wanted} {cite(self.change, now, self.cut)}",)


def compose(
    spec: SystemSpec,
    *,
    revision: int,
    generation: int,
    index: int,
    templates: Mapping[str, Template],
    revisions: Mapping[str, int],
    changes: Sequence[Change],
    now: float,
) -> Desired:
    """The desired whole at `now`. `templates` and `revisions` hold, for each `cluster/agent`, its template and the revision it came with.

    Raises KeyError when a template or revision of an agent of the spec is missing.
    """
    overrides = Overrides.of(spec, changes, now)
    workloads: list[Workload] = []
    for name, cluster in spec.spec.clusters.items():
        counts = _fit(name, cluster, [_count(name, agent, body, overrides) for agent, body in cluster.agents.items()])
        rollouts = _rollouts(name, cluster, counts)
        for agent, body in cluster.agents.items():
            full = f"{name}/{agent}"
            basis = _workload(name, agent, body, templates[full], revisions[full])
            workloads.append(_changed(basis, counts[agent], rollouts[agent], overrides, now))
    return Desired(
        system=spec.name,
        revision=revision,
        generation=generation,
        index=index,
        entry=entry(spec),
        namespaces=tuple(_namespace(name, cluster) for name, cluster in spec.spec.clusters.items()),
        workloads=tuple(workloads),
        links=tuple(_link(link) for link in spec.spec.links),
        budgets=_allowances(spec),
        intake=Intake(spec.spec.admission.rate, spec.spec.admission.burst, spec.spec.admission.open),
    )


def entry(spec: SystemSpec) -> str | None:
    """The entry agent as `cluster/agent`."""
    return next((f"{c}/{a}" for c, a, _ in spec.agents() if spec.spec.entry in (a, f"{c}/{a}")), None)


def _count(cluster: str, agent: str, body: AgentSpec, overrides: Overrides) -> _Count:
    """The spec's number, or what the deciding Change asks for within the bounds that bind its author."""
    bounds = body.replicas
    stops = overrides.covering("stopped", Target(cluster, agent))
    if stops:
        return _Count(agent, bounds.min, 0, stops[0], "stopped: nothing of it may run", stopped=True)
    change = overrides.winner("replicas", Target(cluster, agent))
    if change is None or not isinstance(change.patch.value, int):
        return _Count(agent, bounds.min, bounds.min)
    asked = change.patch.value
    if bounds.fixed and change.author == "human":
        return _Count(agent, bounds.min, asked, change)
    wanted = max(bounds.min, min(bounds.max, asked))
    limits = f"the spec says {bounds.min}" if bounds.fixed else f"the spec allows {bounds.min} to {bounds.max}"
    return _Count(agent, bounds.min, wanted, change, f"asked for {asked}, {limits}" if wanted != asked else "")


def _fit(cluster: str, body: ClusterSpec, counts: list[_Count]) -> dict[str, _Count]:
    """Cut to the quota. The spec's own numbers come first; more than that is granted to the Changes by rank, the older first."""
    room = body.quota.replicas
    fitted: dict[str, _Count] = {}
    for count in counts:
        granted = min(count.wanted, count.spec, room)
        room -= granted
        fitted[count.name] = count if granted == count.wanted else replace(count, wanted=granted)
    asking = [count for count in counts if count.wanted > fitted[count.name].wanted]
    for count in sorted(asking, key=_turn):
        least = fitted[count.name].wanted
        granted = min(count.wanted, least + room)
        room -= granted - least
        cut = f"asked for {count.wanted}, the quota of {cluster} leaves {granted}" if granted < count.wanted else count.cut
        fitted[count.name] = replace(count, wanted=granted, cut=cut)
    return fitted


def _turn(count: _Count) -> tuple[int, float, int, str]:
    """Whose raise is served first when the quota is short; the agent's name makes the order complete."""
    if count.change is None:
        return -1, 0.0, 0, count.name
    return RANK[count.change.author], count.change.at, count.change.id, count.name


def _rollouts(cluster: str, body: ClusterSpec, counts: Mapping[str, _Count]) -> dict[str, tuple[Rollout, str]]:
    """Each agent's rollout with its share of the room that is left for surge; without any, a replica is replaced in place."""
    room = body.quota.replicas - sum(count.wanted for count in counts.values())
    shares: dict[str, tuple[Rollout, str]] = {}
    for agent, spec in body.agents.items():
        asked = spec.rollout
        surge = min(asked.surge, room) if counts[agent].wanted else asked.surge
        room -= surge if counts[agent].wanted else 0
        missing = max(asked.max_unavailable, 0 if surge else 1)
        why = f"rollout surge {asked.surge} → {surge} (the quota of {cluster} leaves no more)" if surge < asked.surge else ""
        shares[agent] = Rollout(surge, missing, float(asked.ready_within), float(asked.drain)), why
    return shares


def _changed(basis: Workload, count: _Count, rollout: tuple[Rollout, str], overrides: Overrides, now: float) -> Workload:
    """The workload with everything that the Changes say about it, each with its reason."""
    place = Target(basis.cluster, basis.agent)
    restarts = overrides.covering("restart_before", place)
    restart = max(restarts, key=_restart_before, default=None)
    quarantined = [(n, change) for n, change in _quarantined(overrides, place) if n < count.wanted]
    hold = overrides.hold(place)
    because = (
        *count.because(now),
        *((rollout[1],) if rollout[1] else ()),
        *((f"restart {cite(restart, now)}",) if restart else ()),
        *(f"{basis.agent}-{n} quarantined {cite(change, now)}" for n, change in quarantined),
        *((f"held: no automation {cite(hold, now)}",) if hold else ()),
    )
    return replace(
        basis,
        replicas=count.wanted,
        stopped=count.stopped,
        rollout=rollout[0],
        restart_before=_restart_before(restart) if restart else 0.0,
        quarantined=frozenset(n for n, _ in quarantined),
        because=because,
    )


def _restart_before(change: Change) -> float:
    """Never later than the Change itself: a time ahead would replace every replica again and again until it has passed."""
    value = change.patch.value
    return min(float(value), change.at) if isinstance(value, int | float) else 0.0


def _quarantined(overrides: Overrides, place: Target) -> list[tuple[int, Change]]:
    found = overrides.inside("quarantined", place)
    return sorted(((target.n, change) for target, change in found if target.n is not None and change.patch.value), key=lambda one: one[0])


def _workload(cluster: str, agent: str, body: AgentSpec, template: Template, revision: int) -> Workload:
    return Workload(
        cluster=cluster,
        agent=agent,
        template=template,
        revision=revision,
        replicas=body.replicas.min,
        bounds=(body.replicas.min, body.replicas.max),
        restart=Restart(body.restart.budget, float(body.restart.within), float(body.restart.retry_after)),
    )


def _namespace(name: str, cluster: ClusterSpec) -> Namespace:
    quota = cluster.quota
    cpu = None if quota.cpu is None else float(quota.cpu)
    memory = None if quota.memory is None else int(quota.memory)
    return Namespace(name, Quota(cpu, memory, quota.replicas))


def _link(link: LinkSpec) -> Link:
    breaker = Breaker(link.breaker.failures, float(link.breaker.reset), link.breaker.probes)
    return Link(link.source, link.target, float(link.timeout), link.attempts, breaker)


def _allowances(spec: SystemSpec) -> tuple[Allowance, ...]:
    """Those of the system first."""
    named = [("", spec.spec.budgets), *((name, cluster.budgets) for name, cluster in spec.spec.clusters.items())]
    return tuple(_allowance(name, budget) for name, budgets in named for budget in budgets)


def _allowance(cluster: str, budget: BudgetSpec) -> Allowance:
    limits = {kind: getattr(budget, kind) for kind in BUDGETS}
    named = tuple((kind, float(limit)) for kind, limit in limits.items() if limit is not None)
    return Allowance(cluster, budget.per, named, budget.money_per_minute, budget.owner or "")
