"""The probes of the local engine: each does the thing it proves, through the bus or through a replica, and returns evidence."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from quarterdeck.bus import envelope, subjects
from quarterdeck.bus.admin import Admin
from quarterdeck.clock import Clock
from quarterdeck.engines.local.client import NodeClient
from quarterdeck.errors import NotFound, Terminal, Transient
from quarterdeck.model.desired import Desired
from quarterdeck.model.steps import Probe
from quarterdeck.model.world import WorkloadSeen

WITHIN = 5.0
"""Seconds for one answer."""


@dataclass(frozen=True, slots=True)
class Question:
    """To `cluster/agent` or `cluster/agent-n`; `within` is seconds."""

    system: str
    target: str
    verb: str
    payload: object
    within: float


@dataclass(frozen=True, slots=True)
class Reply:
    """What an agent answered, which replica it was, and after how many milliseconds."""

    value: object
    replica: str
    ms: float


@dataclass(frozen=True, slots=True)
class Bench:
    """What a proof works with; `seen` is the node's newest observation."""

    desired: Desired
    bus: Admin
    node: NodeClient
    seen: dict[str, Any]
    clock: Clock


async def prove(bench: Bench, probe: Probe) -> str:
    """Run one probe; raises Transient when it could not be told, Terminal when it does not hold."""
    match probe.kind:
        case "BusSynced":
            return await _bus_synced(bench)
        case "LinkOpen":
            source, target = probe.target.split("->")
            return f"{await bench.bus.open_link(bench.desired.system, source, target):.1f} ms from account to account"
        case "PathClosed":
            return await _path_closed(bench, probe.target)
        case "AgentAnswers":
            return await _agent_answers(bench, probe.target)
        case "LinkCarries":
            return await _link_carries(bench, probe.target)
        case "PathRefused":
            return await _path_refused(bench, probe.target)
        case _:
            raise NotFound(f"the local engine has no probe {probe.kind}", hint="deploy/evidence.py lists the proofs")


async def ask(bus: Admin, clock: Clock, question: Question) -> Reply:
    """Put a question in the control plane's own name; raises Transient when nobody answers in time, RemoteError when the agent failed."""
    cluster, _, to = question.target.partition("/")
    now = clock.now()
    sender = subjects.Sender(subjects.PLATFORM, "control", 0)
    headers = envelope.Envelope(
        id=envelope.new_id(now, os.urandom(10)),
        sender=sender,
        trace=envelope.Trace.begin(os.urandom(24)),
        deadline=now + question.within,
    ).headers()
    body = json.dumps(question.payload).encode()
    envelope.check_size(body, f"the payload for {question.target}")
    answer = await bus.ask(question.system, cluster, to, question.verb, body, within=question.within, headers=headers)
    value = json.loads(envelope.result(answer.headers, answer.data) or b"null")
    return Reply(value, answer.headers.get(envelope.FROM, ""), answer.ms)


async def verbs(node: NodeClient, seen: tuple[WorkloadSeen, ...], system: str, agent: str) -> object:
    """What a ready replica of an agent says that it answers to. Raises NotFound, Transient when there is none to ask."""
    workload = next((w for w in seen if w.name == agent), None)
    if workload is None:
        raise NotFound(f"{system} has no agent {agent}", hint="qd get agents lists those it has")
    for replica in workload.replicas:
        if replica.state == "ready":
            probe = {"kind": "verbs"}
            return await node.request("probe", system=system, replica=replica.name, probe=probe, timeout=WITHIN, limit=WITHIN + 1)
    raise Transient(f"{agent} has no replica to ask")


async def _bus_synced(bench: Bench) -> str:
    server = await bench.bus.varz()
    if not server.sync_always:
        raise Terminal("the bus acknowledges messages before they are on disk")
    return f"bus: every ack synced, probe {await bench.bus.probe():.1f} ms"


async def _path_closed(bench: Bench, path: str) -> str:
    source, target = path.split("->")
    found = await bench.bus.forbidden(bench.desired.system, source, target)
    if not found.refused:
        raise Terminal(f"{source} reaches {target} without a link: {found.reason}")
    return found.reason


async def _agent_answers(bench: Bench, name: str) -> str:
    replicas = _ready(bench, name)
    if not replicas:
        raise Transient(f"{name} has no replica to ask")
    times = []
    for replica in replicas:
        reply = await ask(bench.bus, bench.clock, Question(bench.desired.system, replica["name"], "_ping", {}, WITHIN))
        if reply.replica != replica["name"]:
            raise Terminal(f"{replica['name']} was asked and {reply.replica or 'somebody unnamed'} answered")
        times.append(reply.ms)
    return f"{len(times)} of {len(replicas)} replicas, slowest {max(times):.1f} ms"


async def _link_carries(bench: Bench, path: str) -> str:
    source, target = path.split("->")
    serving = (w.agent for w in bench.desired.workloads if w.cluster == target and w.replicas > len(w.quarantined))
    to = next(serving)  # evidence.py asks for no link to a cluster where nobody serves
    probe: dict[str, object] = {"kind": "link", "cluster": target, "agent": to}
    replica, found = await _from_a_replica(bench, source, probe)
    return f"{replica} → {found['from']} in {found['ms']:.1f} ms"


async def _path_refused(bench: Bench, path: str) -> str:
    source, target = path.split("->")
    to = next(w.agent for w in bench.desired.workloads if w.cluster == target)
    sender = _sender(bench, source)
    subject = subjects.subject("ask", sender, target, to, "_ping")
    replica, found = await _from_a_replica(bench, source, {"kind": "forbidden", "subject": subject})
    if not found["refused"]:
        raise Terminal(f"{replica} could send on {subject}")
    return f"{replica} refused on {subject}"


def _sender(bench: Bench, cluster: str) -> subjects.Sender:
    name = _first(bench, cluster)["name"].partition("/")[2]
    agent, _, n = name.rpartition("-")
    return subjects.Sender(cluster, agent, int(n))


async def _from_a_replica(bench: Bench, cluster: str, probe: dict[str, object]) -> tuple[str, dict[str, Any]]:
    name = _first(bench, cluster)["name"]
    found = await bench.node.request("probe", system=bench.desired.system, replica=name, probe=probe, timeout=WITHIN, limit=WITHIN + 1)
    return name, found


def _first(bench: Bench, cluster: str) -> dict[str, Any]:
    for workload in bench.desired.workloads:
        if workload.cluster == cluster and (ready := _ready(bench, workload.name)):
            return ready[0]
    raise Transient(f"no replica of {cluster} is ready")


def _ready(bench: Bench, workload: str) -> list[dict[str, Any]]:
    rows = [r for r in bench.seen["rows"] if (r["system"], r["name"]) == (bench.desired.system, workload)]
    return [replica for row in rows for replica in row["replicas"] if replica["state"] == "ready"]
