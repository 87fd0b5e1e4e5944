"""What one field cannot know: whether links, bounds, quotas, the entry agent and secrets fit together.

Each check is a function from a system to Findings. `written` holds every cluster name of the file, so that a link to a cluster whose own
fields are wrong is not reported as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath

from quarterdeck.errors import UserError
from quarterdeck.spec import secrets
from quarterdeck.spec.problems import Finding, Path, shown
from quarterdeck.spec.system import AgentSpec, BudgetSpec, ClusterSpec, SystemSpec


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a spec lives: its folder, the environment of `qd`, and all cluster and agent names that the file writes, faulty ones too."""

    base: FilePath
    environ: Mapping[str, str]
    clusters: tuple[str, ...]
    agents: tuple[tuple[str, str], ...]
    faulty: frozenset[str] = frozenset()


def check(system: SystemSpec, around: Surroundings) -> tuple[Finding, ...]:
    """Everything found, errors and warnings, in the order of the file's sections."""
    return (*_code(system, around), *_entry(system, around), *_clusters(system, around), *_links(system, around))


def _code(system: SystemSpec, around: Surroundings) -> Iterator[Finding]:
    if not (around.base / system.spec.code).is_dir():
        message = f"code: there is no folder {shown(system.spec.code)}"
        yield Finding(("spec", "code"), message, hint=f"looked in {around.base}", code="E1301")


def _entry(system: SystemSpec, around: Surroundings) -> Iterator[Finding]:
    entry = system.spec.entry
    if entry is None:
        return
    matches = [f"{c}/{a}" for c, a in around.agents if entry in (a, f"{c}/{a}")]
    path = ("spec", "entry")
    if not matches:
        names = tuple(f"{c}/{a}" for c, a in around.agents) if "/" in entry else tuple(a for _, a in around.agents)
        yield Finding(path, f'there is no agent "{shown(entry)}"', wrong=entry, allowed=names, code="E1302")
    elif len(matches) > 1:
        yield Finding(path, f'"{entry}" is an agent of several clusters', allowed=tuple(matches), hint="write cluster/agent", code="E1303")


def _clusters(system: SystemSpec, around: Surroundings) -> Iterator[Finding]:
    yield from _budgets(("spec",), system.spec.budgets)
    for name, cluster in system.spec.clusters.items():
        for agent, spec in cluster.agents.items():
            yield from _agent(("spec", "clusters", name, "agents", agent), spec, around)
        yield from _names(name, cluster)
        yield from _budgets(("spec", "clusters", name), cluster.budgets)
        if name not in around.faulty:
            yield from _quota(name, cluster)


def _budgets(path: Path, budgets: Sequence[BudgetSpec]) -> Iterator[Finding]:
    for n, budget in enumerate(budgets):
        if budget.owner is not None and budget.money_per_minute is not None:
            message, hint = "money_per_minute holds all tasks back, not those of one owner", "leave owner out, or write a budget of its own"
            yield Finding((*path, "budgets", n, "money_per_minute"), message, at="key", hint=hint, code="E1304")


def _agent(path: tuple[str, ...], agent: AgentSpec, around: Surroundings) -> Iterator[Finding]:
    bounds = agent.replicas
    if bounds.min > bounds.max:
        message = f"max ({bounds.max}) is less than min ({bounds.min})"
        yield Finding((*path, "replicas", "max"), message, hint="bounds upside down", code="E1305")
    if agent.rollout.surge == 0 and agent.rollout.max_unavailable == 0:
        yield Finding(
            (*path, "rollout"),
            "surge and max_unavailable are both 0: nothing could ever be replaced",
            at="key",
            hint="set one of them to 1",
            code="E1306",
        )
    for name in sorted(agent.env.keys() & agent.secrets.keys()):
        yield Finding((*path, "secrets", name), f"{name} is in env as well", at="key", code="E1307")
    for name, reference in agent.secrets.items():
        try:
            secrets.resolve(reference, base=around.base, environ=around.environ)
        except UserError as error:
            yield Finding((*path, "secrets", name), f"secret {name}: {error.message}", hint=error.hint, code="E1308")


def _names(name: str, cluster: ClusterSpec) -> Iterator[Finding]:
    """`a-1` beside `a` would read as replica 1 of `a`."""
    for agent in cluster.agents:
        other = re.sub(r"-[0-9]+\Z", "", agent)
        if other != agent and other in cluster.agents:
            message = f'"{agent}" reads as a replica of agent "{other}"'
            hint = f"name it {other}{agent[len(other) + 1 :]}"
            yield Finding(("spec", "clusters", name, "agents", agent), message, at="key", hint=hint, code="E1309")


def _quota(name: str, cluster: ClusterSpec) -> Iterator[Finding]:
    path = ("spec", "clusters", name, "quota")
    quota, least = cluster.quota, sum(agent.replicas.min for agent in cluster.agents.values())
    if quota.replicas < least:
        message = f"the agents of {name} need at least {least} replicas, its quota allows {quota.replicas}"
        yield Finding((*path, "replicas"), message, hint=f"raise quota.replicas to {least} or more", code="E1310")
        return
    yield from _surge(name, cluster, quota.replicas - least)
    for agent, spec in cluster.agents.items():
        if quota.memory is not None and spec.memory is not None and spec.memory * spec.replicas.min > quota.memory:
            message = f"{spec.replicas.min} x {spec.memory} is more than the {quota.memory} of the cluster's quota"
            yield Finding(("spec", "clusters", name, "agents", agent, "memory"), message, code="E1311")


def _surge(name: str, cluster: ClusterSpec, room: int) -> Iterator[Finding]:
    """Room for surge is handed out in the order of the file, exactly as compose does it; who gets none is replaced in place."""
    for agent, spec in cluster.agents.items():
        wanted = spec.rollout.surge if spec.replicas.min else 0
        room -= wanted
        if room >= 0 or not wanted:
            continue
        path = ("spec", "clusters", name, "agents", agent)
        insists = spec.rollout.max_unavailable == 0 and "max_unavailable" in spec.rollout.model_fields_set
        message = f"the quota of {name} leaves {max(room + wanted, 0)} replicas for the surge of {wanted} that {agent} wants"
        hint = f"raise quota.replicas to {cluster.quota.replicas - room}, or set rollout: {{surge: 0, max_unavailable: 1}}"
        end = "" if insists else "; it will be replaced in place"
        if insists and room + wanted > 0:
            continue
        place = (*path, "rollout") if insists else path
        yield Finding(place, message + end, at="key", hint=hint, warning=not insists, code="E1312")


def _links(system: SystemSpec, around: Surroundings) -> Iterator[Finding]:
    seen: set[tuple[str, str]] = set()
    for index, link in enumerate(system.spec.links):
        path = ("spec", "links", index)
        for end, name in (("from", link.source), ("to", link.target)):
            if name not in around.clusters:
                yield Finding((*path, end), f'there is no cluster "{shown(name)}"', wrong=name, allowed=around.clusters, code="E1313")
        if link.source == link.target:
            yield Finding((*path, "to"), "a cluster needs no link to itself", hint="inside a cluster all agents may talk", code="E1314")
        elif (link.source, link.target) in seen:
            yield Finding(path, f"the link {link.source} -> {link.target} is written twice", code="E1315")
        seen.add((link.source, link.target))
