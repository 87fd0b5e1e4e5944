"""What monitoring reads: the fleet as last observed, what messages and replicas did, and what became of work."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse

from quarterdeck.api.exposition import CONTENT_TYPE, Family, text
from quarterdeck.api.roles import needs
from quarterdeck.api.services import Given, Services
from quarterdeck.deploy import status
from quarterdeck.deploy.reconcile import Look
from quarterdeck.model.grant import Grant
from quarterdeck.model.measures import MILLISECONDS
from quarterdeck.model.work import ENDED
from quarterdeck.states import REPLICA
from quarterdeck.store import overview
from quarterdeck.store.store import Store

router = APIRouter()
_EFFECTS = ("done", "failed", "unknown")
_Counts = dict[tuple[str, str], int]


@router.get("/metrics", response_class=PlainTextResponse, **needs("viewer", scope="cluster"))
async def metrics(given: Given) -> PlainTextResponse:
    """Prometheus text format."""
    looks = [(name, await given.fleet.look(name)) for name in given.fleet.names()]
    rows = await asyncio.to_thread(_rows, given.store)
    families = [*_fleet(given, looks), *_measured(look for _, look in looks), *_counted(given), *_stored(rows, given.grant), *_own(given)]
    return PlainTextResponse(text(families), media_type=CONTENT_TYPE)


def _fleet(given: Services, looks: list[tuple[str, Look]]) -> Iterator[Family]:
    replicas = Family("quarterdeck_replicas", "gauge", "Replicas by state, as last observed.")
    scores = Family("quarterdeck_readiness_score", "gauge", "Production readiness of a system, 0 to 100.")
    for name, look in looks:
        counts = {(namespace.cluster, state): 0 for namespace in look.desired.namespaces for state in REPLICA.moves}
        for replica in (r for workload in look.world.workloads for r in workload.replicas):
            if (replica.cluster, replica.state) in counts:
                counts[replica.cluster, replica.state] += 1
        for (cluster, state), count in counts.items():
            replicas.add(count, {"system": name, "cluster_name": cluster, "state": state})
        full = status.status(look, given.clock.now(), engine=given.fleet.engine.name, weakenings=())
        scores.add(full["readiness"]["score"], {"system": name})
    yield replicas
    yield scores


def _measured(looks: Iterable[Look]) -> tuple[Family, Family]:
    """What replicas measured of their work. Their labels are fixed, and name no system: two fleets with the same clusters are one."""
    latency = Family("message_delivery_latency", "histogram", "Latency of inter-agent message delivery in milliseconds.")
    used = Family("agent_utilization", "gauge", "Current use of agent processing capacity, a ratio: by verb over the last 10 s.")
    ways: dict[tuple[str, str, str], tuple[list[int], int]] = {}
    taken: dict[tuple[str, str, str], float] = {}
    for look in looks:
        for way in look.world.delivered:
            before, micros = ways.get((way.source, way.destination, way.kind), ([0] * len(way.counts), 0))
            ways[way.source, way.destination, way.kind] = [a + b for a, b in zip(before, way.counts, strict=True)], micros + way.micros
        for replica in (r for workload in look.world.workloads for r in workload.replicas):
            for verb, ratio in replica.utilization:
                taken[replica.cluster, replica.name, verb] = max(ratio, taken.get((replica.cluster, replica.name, verb), 0.0))
    for (source, destination, kind), (counts, micros) in ways.items():
        labels = {"source_cluster": source, "destination_cluster": destination, "message_type": kind}
        latency.histogram(labels, MILLISECONDS, counts, micros / 1000)
    for (cluster, name, verb), ratio in taken.items():
        used.add(ratio, {"cluster_name": cluster, "agent_id": name, "task_type": verb})
    return latency, used


def _counted(given: Services) -> Iterator[Family]:
    """What was noted of tasks since this control plane began."""
    ended = Family("quarterdeck_tasks_total", "counter", "Tasks that ended, by how.")
    effects = Family("quarterdeck_effects_total", "counter", "Effects that ended, by outcome.")
    others = {
        "claim": Family("quarterdeck_task_claims_total", "counter", "Tasks given to a replica."),
        "redelivery": Family("quarterdeck_task_redeliveries_total", "counter", "Of these, tasks that had been given to one before."),
        "refused": Family("quarterdeck_fence_rejections_total", "counter", "Attempts that were refused because their fence is old."),
    }
    for (system, cluster, kind), count in sorted(given.work.tallied.items()):
        labels, effect = {"system": system, "cluster_name": cluster}, kind.removeprefix("effect.")
        if not given.grant.reaches(system, f"{cluster}/"):
            continue
        if kind in ENDED:
            ended.add(count, {**labels, "state": kind})
        elif effect != kind and effect in _EFFECTS:
            effects.add(count, {**labels, "outcome": effect})
        elif kind in others:
            others[kind].add(count, labels)
    yield from (ended, *others.values(), effects)


def _rows(store: Store) -> tuple[dict[tuple[str, str, str], int], _Counts, _Counts, _Counts]:
    with store.read() as conn:
        return overview.in_work(conn), overview.asked(conn), overview.unsure(conn), overview.unsent(conn)


def _stored(rows: tuple[dict[tuple[str, str, str], int], _Counts, _Counts, _Counts], grant: Grant) -> Iterator[Family]:
    """What is now, from the rows of what is open."""
    in_work, *others = rows
    tasks = Family("quarterdeck_tasks", "gauge", "Unfinished tasks by state.")
    for (system, cluster, state), count in sorted(in_work.items()):
        if grant.reaches(system, f"{cluster}/"):
            tasks.add(count, {"system": system, "cluster_name": cluster, "state": state})
    yield tasks
    names = (
        ("quarterdeck_questions_open", "Questions that wait for a human."),
        ("quarterdeck_effects_unknown", "Effects of which nobody knows whether they happened."),
        ("quarterdeck_outbox_pending", "Durable messages that are kept and not on the bus yet."),
    )
    for (name, told), counts in zip(names, others, strict=True):
        family = Family(name, "gauge", told)
        for (system, cluster), count in sorted(counts.items()):
            if grant.reaches(system, f"{cluster}/"):
                family.add(count, {"system": system, "cluster_name": cluster})
        yield family


def _own(given: Services) -> Iterator[Family]:
    """The control plane itself, for who sees all of it."""
    writable = Family("quarterdeck_store_writable", "gauge", "Whether the store takes writes.")
    writable.add(int(given.store.writable))
    yield writable
    if given.grant.bound:
        return
    refused = Family("quarterdeck_submit_refusals_total", "counter", "Orders that were not let in, by reason.")
    for reason, count in sorted(given.work.gate.refused.items() if given.work.gate else ()):
        refused.add(count, {"reason": reason})
    took = given.work.took()
    requests = Family("quarterdeck_ledger_request_seconds", "histogram", "Time to answer a request of a replica to the ledger.")
    requests.histogram({}, [bound / 1000 for bound in MILLISECONDS], tuple(took.counts), took.micros / 1e6)
    yield refused
    yield requests
