"""One converged system as values: two linked clusters, three replicas, every proof held an instant ago. And one kept in a store."""

import json
from dataclasses import asdict, dataclass, replace

import pytest

from quarterdeck.clock import VirtualClock
from quarterdeck.deploy.composer import Composer
from quarterdeck.deploy.evidence import DEEP, PROOFS
from quarterdeck.deploy.plan import plan
from quarterdeck.deploy.reconcile import Look
from quarterdeck.model.desired import Desired, Link, Namespace, Quota, Template, Workload
from quarterdeck.model.home import Home
from quarterdeck.model.records import Actor, Condition
from quarterdeck.model.steps import PHASES
from quarterdeck.model.world import BusSeen, Exit, Replica, StreamSeen, WorkloadSeen, World
from quarterdeck.store import revisions
from quarterdeck.store.store import Store

NOW = 1_700_000_000.0
ACTOR = Actor("uid:0", "socket")
SPEC = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: s}
spec: {clusters: {a: {quota: {replicas: 9}, agents: {reader: {run: "agents:reader", replicas: 2}}}}}
"""
TEMPLATES = json.dumps({"a/reader": asdict(Template("1" * 64, "tree", "agents:reader"))})
LIMITS = Quota(cpu=1.0, memory=1024**3, replicas=4)


def workload(cluster: str, agent: str, replicas: int) -> Workload:
    template = Template("d" * 64, "tree", f"agents:{agent}", env=(("WINDOW", "60s"),), secrets=(("KEY", "/secret/file"),))
    return Workload(cluster, agent, template, 1, replicas, (1, 6))


def seen(wanted: Workload) -> WorkloadSeen:
    replicas = tuple(
        Replica(
            f"{wanted.name}-{n}", wanted.cluster, wanted.agent, n, "ready", "", 100 + n, 1, 0, wanted.template.digest, NOW - 60, NOW - 60
        )
        for n in range(wanted.replicas)
    )
    digest = wanted.template.digest
    return WorkloadSeen(wanted.name, digest, wanted.replicas, wanted.restart_before, wanted.quarantined, wanted.rollout_digest, replicas)


@dataclass
class Scene:
    """Desired, world and Conditions, and the ways to disturb them."""

    desired: Desired
    world: World
    conditions: dict
    now: float = NOW

    def quarantine(self, name: str, *slots: int) -> None:
        """By a person, as asked for and as the engine has carried it out."""

        def wanted(w: Workload) -> Workload:
            why = tuple(f'{w.agent}-{n} quarantined (human change 7, "odd")' for n in slots)
            return replace(w, quarantined=frozenset(slots), because=why) if w.name == name else w

        self.desired = replace(self.desired, workloads=tuple(wanted(w) for w in self.desired.workloads))
        found = (replace(w, quarantined=frozenset(slots)) if w.name == name else w for w in self.world.workloads)
        self.world = replace(self.world, workloads=tuple(found))
        for n in slots:
            self.replica(f"{name}-{n}", state="quarantined")

    def look(self) -> Look:
        return Look(
            self.desired, self.world, plan(self.desired, self.world, self.conditions, self.now), self.conditions, self.desired.generation
        )

    def condition(
        self, kind: str, target: str = "s", *, status: str = "true", reason: str = "Tried", message: str = "seen", age: float = 0.0
    ) -> None:
        at = self.now - age
        phase = next((p.phase for p in (*PROOFS, *DEEP) if p.kind == kind), "")
        self.conditions[kind, target] = Condition(kind, target, status, reason, message, at, at, f"{kind} held", 1, phase)

    def bus(self, **changes) -> None:
        self.world = replace(self.world, bus=replace(self.world.bus, **changes))

    def replica(self, name: str, **changes) -> None:
        def changed(w: WorkloadSeen) -> WorkloadSeen:
            return replace(w, replicas=tuple(replace(r, **changes) if r.name == name else r for r in w.replicas))

        self.world = replace(self.world, workloads=tuple(changed(w) for w in self.world.workloads))


@pytest.fixture
def scene():
    """a/reader with two replicas, b/writer with one, a link from a to b."""
    names = {"a": ("reader", 2), "b": ("writer", 1)}
    desired = Desired(
        system="s",
        revision=1,
        generation=1,
        index=41,
        entry="a/reader",
        namespaces=tuple(Namespace(cluster, LIMITS) for cluster in names),
        workloads=tuple(workload(cluster, *agent) for cluster, agent in names.items()),
        links=(Link("a", "b"),),
    )
    streams = tuple(StreamSeen(cluster, agent, 0, 0, 0, 0) for cluster, (agent, _) in names.items())
    bus = BusSeen(ready=True, reason="", sync_always=True, version="2", accounts=frozenset(names), streams=streams, probe_ms=0.5)
    found = tuple(seen(w) for w in desired.workloads)
    world = World(NOW, True, "", bus, desired.namespaces, desired.links, found, weakenings=("cgroup v1",))
    made = Scene(desired, world, {})
    for proof in PROOFS:
        for target, _ in proof.targets(desired):
            made.condition(proof.kind, target)
    for phase in PHASES:
        made.conditions["Phase", phase] = Condition("Phase", phase, "true", "Revision1", "", NOW, NOW, "0.250", 1, phase)
    return made


@pytest.fixture
def killed():
    return Exit(code=None, signal=9, oom=False, hang=False, at=NOW - 5, detail="killed by SIGKILL")


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def store(tmp_path, clock):
    """Holds system s: two readers."""
    opened = Store.open(Home(tmp_path / "home"), clock)
    opened.write_sync(lambda tx: revisions.apply(tx, "s", SPEC, "d1", "tree", "lock", ACTOR, "first", templates=TEMPLATES))
    yield opened
    opened.close()


@pytest.fixture
def compose(store, clock):
    return Composer(store, clock)
