"""What the plan promises, over generated systems and worlds. Each test's name is the promise."""

import asyncio
import itertools
from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from quarterdeck.clock import VirtualClock
from quarterdeck.deploy.converged import Comparison
from quarterdeck.deploy.evidence import CONTROL, PROOFS
from quarterdeck.deploy.plan import plan, structural
from quarterdeck.engines.memory import MemoryEngine
from quarterdeck.errors import NotFound
from quarterdeck.model.desired import Desired, Link, Namespace, Quota, Rollout, Template, Workload
from quarterdeck.model.records import Condition
from quarterdeck.model.steps import (
    PHASES,
    ApplyWorkload,
    EnsureAccount,
    EnsureNamespace,
    Probe,
    RemoveLink,
    RemoveNamespace,
    RemoveWorkload,
)
from quarterdeck.model.world import World

EARLY = 1_600_000_000.0
ENOUGH_ROUNDS = 30
CLUSTERS = ("alpha", "beta", "gamma")
THOROUGH = settings(max_examples=25, deadline=None)


@dataclass
class Fleet:
    """A loop without a store: looks, plans, performs, remembers proofs. `refuse` names the targets whose room cannot be made."""

    clock: VirtualClock = field(default_factory=VirtualClock)
    conditions: dict = field(default_factory=dict)
    refuse: frozenset = frozenset()
    engine: MemoryEngine = field(init=False)

    def __post_init__(self):
        self.engine = MemoryEngine(self.clock)

    async def world(self) -> World:
        return await self.engine.observe("s")

    async def plan(self, desired):
        return plan(desired, await self.world(), self.conditions, self.clock.now())

    async def do(self, desired, step) -> None:
        if isinstance(step, EnsureNamespace) and step.target in self.refuse:
            return
        if not isinstance(step, Probe):
            await self.engine.perform("s", step)
            return
        try:
            evidence, status = await self.engine.probe(desired, step), "true"
        except NotFound as error:
            evidence, status = error.message, "false"
        now = self.clock.now()
        found = Condition(step.kind, step.target, status, "Tried", evidence, now, now, evidence, desired.generation, step.phase)
        self.conditions[step.kind, step.target] = found

    async def converge(self, desired, *, at_most: int | None = None) -> int:
        """Perform plans until one is empty, or until `at_most` steps are done; returns how many were."""
        done = 0
        for _ in range(ENOUGH_ROUNDS):
            todo = await self.plan(desired)
            if not todo.steps:
                return done
            for step in todo.steps:
                if done == at_most:
                    return done
                await self.do(desired, step)
                done += 1
            self.clock.advance(0.1)
        return done


def fingerprint(world: World):
    """What two worlds must share to count as the same: everything but times, incarnations and pids."""
    return (
        {n.cluster: n for n in world.namespaces},
        {k.name: k for k in world.links},
        world.bus.ready,
        world.bus.accounts,
        {(s.account, s.name) for s in world.bus.streams},
        {w.name: (w.template, w.replicas_wanted, w.restart_before, w.quarantined, w.rollout_digest) for w in world.workloads},
        {(r.name, r.state, r.revision) for w in world.workloads for r in w.replicas},
    )


@st.composite
def workloads(draw, cluster: str, agent: str) -> Workload:
    count = draw(st.integers(0, 3))
    digest = draw(st.sampled_from(["1" * 64, "2" * 64]))
    return Workload(
        cluster=cluster,
        agent=agent,
        template=Template(digest, "tree", "agents:run"),
        revision=1,
        replicas=count,
        bounds=(0, 5),
        restart_before=draw(st.sampled_from([0.0, EARLY])),
        quarantined=frozenset(draw(st.sets(st.sampled_from(range(count))))) if count else frozenset(),
        rollout=draw(st.sampled_from([Rollout(), Rollout(surge=2)])),
    )


@st.composite
def systems(draw, *, least: int = 1, generation: int = 1) -> Desired:
    names = draw(st.lists(st.sampled_from(CLUSTERS), min_size=least, max_size=3, unique=True))
    agents = [(c, a) for c in names for a in draw(st.lists(st.sampled_from(["one", "two"]), min_size=1, max_size=2, unique=True))]
    pairs = list(itertools.permutations(names, 2))
    links = draw(st.lists(st.sampled_from(pairs), max_size=3, unique=True)) if pairs else []
    return Desired(
        system="s",
        revision=generation,
        generation=generation,
        index=generation,
        entry=None,
        namespaces=tuple(Namespace(c, Quota(None, None, draw(st.sampled_from([8, 9])))) for c in names),
        workloads=tuple(draw(workloads(c, a)) for c, a in agents),
        links=tuple(Link(a, b, timeout=draw(st.sampled_from([1.0, 5.0]))) for a, b in links),
    )


@st.composite
def gates(draw, world: World) -> World:
    """The same world with some of the ground under it gone: bus away, accounts or rooms forgotten."""
    bus = replace(world.bus, ready=draw(st.booleans()), accounts=draw(st.sampled_from([world.bus.accounts, frozenset()])))
    return replace(world, bus=bus, namespaces=draw(st.sampled_from([world.namespaces, ()])))


@given(systems(), systems(generation=2))
@THOROUGH
def test_performing_plans_until_empty_converges(first, second):
    async def scenario():
        fleet = Fleet()
        for desired in (first, second):
            await fleet.converge(desired)
            world = await fleet.world()
            assert (await fleet.plan(desired)).ready
            assert structural(desired, world) == ()
            assert set(world.namespaces) == set(desired.namespaces)
            assert set(world.links) == set(desired.links)
            assert {w.name for w in world.workloads} == {w.name for w in desired.workloads}
            assert Comparison(desired, world).running == {w.name for w in desired.workloads}

    asyncio.run(scenario())


@given(systems(), st.floats(0.0, 200.0))
@THOROUGH
def test_the_plan_of_a_converged_world_is_empty(desired, later):
    async def scenario():
        fleet = Fleet()
        await fleet.converge(desired)
        fleet.clock.advance(later)
        todo = await fleet.plan(desired)
        assert todo.steps == ()
        assert todo.ready

    asyncio.run(scenario())


@given(systems())
@THOROUGH
def test_when_evidence_grows_old_only_probes_are_planned(desired):
    async def scenario():
        fleet = Fleet()
        await fleet.converge(desired)
        fleet.clock.advance(2 * max(p.fresh_for for p in PROOFS))
        steps = (await fleet.plan(desired)).steps
        assert {(s.kind, s.target) for s in steps} == {(p.kind, t) for p in PROOFS for t, _ in p.targets(desired)}

    asyncio.run(scenario())


@given(systems(), systems(generation=2), st.integers(0, 60), st.sets(st.sampled_from([p.kind for p in PROOFS])))
@THOROUGH
def test_a_plan_interrupted_after_any_prefix_converges_to_the_same_world(first, second, steps, unwritten):
    async def scenario():
        undisturbed, interrupted = Fleet(), Fleet()
        await undisturbed.converge(first)
        await undisturbed.converge(second)
        await interrupted.converge(first, at_most=steps)
        await interrupted.converge(first)
        await interrupted.converge(second, at_most=steps)
        interrupted.conditions = {k: c for k, c in interrupted.conditions.items() if k[0] not in unwritten}
        await interrupted.converge(second)
        assert fingerprint(await interrupted.world()) == fingerprint(await undisturbed.world())

    asyncio.run(scenario())


@given(systems(), systems(generation=2), st.integers(0, 60))
@THOROUGH
def test_a_new_wish_in_the_middle_of_a_deployment_converges_to_the_new_wish(first, second, steps):
    async def scenario():
        fleet = Fleet()
        await fleet.converge(first, at_most=steps)
        await fleet.converge(second)
        todo = await fleet.plan(second)
        assert todo.steps == ()
        assert todo.ready

    asyncio.run(scenario())


@given(systems(), systems(generation=2))
@THOROUGH
def test_an_unreachable_engine_yields_no_steps(first, second):
    async def scenario():
        fleet = Fleet()
        await fleet.converge(first)
        unseen = replace(await fleet.world(), reachable=False, reason="no answer", namespaces=(), links=(), workloads=())
        todo = plan(second, unseen, fleet.conditions, fleet.clock.now())
        assert todo.steps == ()
        assert not todo.ready

    asyncio.run(scenario())


@given(systems(least=2))
@THOROUGH
def test_a_workload_of_a_healthy_cluster_is_planned_although_another_clusters_room_cannot_be_made(desired):
    async def scenario():
        sick = desired.namespaces[0].cluster
        fleet = Fleet(refuse=frozenset({sick}))
        await fleet.converge(desired)
        world = await fleet.world()
        assert Comparison(desired, world).running == {w.name for w in desired.workloads if w.cluster != sick}
        assert not (await fleet.plan(desired)).ready

    asyncio.run(scenario())


@st.composite
def unproven(draw, conditions: dict) -> dict:
    """The same Conditions with one proof of the control plane refuted, unknown or never tried."""
    missing = draw(st.sampled_from([p.kind for p in CONTROL])), "s"
    status = draw(st.sampled_from(["false", "unknown", None]))
    others = {key: c for key, c in conditions.items() if key != missing}
    return others if status is None else {**others, missing: replace(conditions[missing], status=status)}


@given(st.data())
@THOROUGH
def test_nothing_is_created_before_the_control_planes_proofs_hold(data):
    desired = data.draw(systems())

    async def scenario():
        fleet = Fleet()
        for step in (await fleet.plan(desired)).steps:
            await fleet.do(desired, step)
        fleet.conditions = data.draw(unproven(fleet.conditions))
        steps = (await fleet.plan(desired)).steps
        assert all(s.phase in PHASES[:2] for s in steps)

    asyncio.run(scenario())


@given(st.data())
@THOROUGH
def test_nothing_grows_while_a_proof_of_the_control_plane_does_not_hold_although_everything_it_rests_on_is_there(data):
    first, second = data.draw(systems()), data.draw(systems(generation=2))

    async def scenario():
        fleet = Fleet()
        await fleet.converge(first)
        conditions, world = data.draw(unproven(fleet.conditions)), await fleet.world()
        steps = plan(second, world, conditions, fleet.clock.now()).steps
        for step in (s for s in steps if s.action in ("add", "change") and s.phase not in PHASES[:2]):
            assert isinstance(step, ApplyWorkload)
            assert_is_less(step.workload, world.workload(step.target))

    asyncio.run(scenario())


def assert_is_less(workload, seen):
    """Nothing is started or replaced by going from what is seen to this workload."""
    assert seen is not None
    assert workload.template.digest == seen.template
    assert workload.replicas <= seen.replicas_wanted
    assert workload.restart_before <= seen.restart_before
    assert workload.quarantined >= {n for n in seen.quarantined if n < workload.replicas}


@given(systems(), st.sets(st.sampled_from([p.kind for p in PROOFS if p not in CONTROL]), min_size=1))
@THOROUGH
def test_a_probe_waits_only_for_what_it_looks_at(desired, lost):
    async def scenario():
        fleet = Fleet()
        await fleet.converge(desired)
        kept = {key: c for key, c in fleet.conditions.items() if key[0] not in lost}
        kept["AnonymousRefused", "s"] = replace(kept["AnonymousRefused", "s"], status="false")
        steps = plan(desired, await fleet.world(), kept, fleet.clock.now()).steps
        assert {(s.kind, s.target) for s in steps} == {(p.kind, t) for p in PROOFS if p.kind in lost for t, _ in p.targets(desired)}

    asyncio.run(scenario())


@given(st.data())
@THOROUGH
def test_removal_is_planned_whatever_the_gates_say(data):
    first, second = data.draw(systems()), data.draw(systems(generation=2))

    async def scenario():
        fleet = Fleet()
        await fleet.converge(first)
        return await fleet.world()

    world = data.draw(gates(asyncio.run(scenario())))
    steps = plan(second, world, {}, EARLY).steps
    gone = {w.name for w in first.workloads} - {w.name for w in second.workloads}
    assert {s.name for s in steps if isinstance(s, RemoveWorkload)} == gone
    closed = {(k.source, k.target) for k in first.links} - {(k.source, k.target) for k in second.links}
    assert {(s.link.source, s.link.target) for s in steps if isinstance(s, RemoveLink)} == closed


@st.composite
def reductions(draw, held: Workload) -> Workload:
    """The same workload with fewer replicas or all of them in quarantine."""
    fewer = draw(st.integers(0, held.replicas - 1))
    left = frozenset(n for n in held.quarantined if n < fewer)
    isolated = replace(held, quarantined=frozenset(range(held.replicas)))
    return draw(st.sampled_from([replace(held, replicas=fewer, quarantined=left), isolated]))


async def held(desired: Desired) -> tuple[World, dict]:
    """The world and the Conditions after a deployment, told by an engine that keeps templates whole."""
    fleet = Fleet()
    await fleet.converge(desired)
    templates = {w.name: w.template for w in desired.workloads}
    world = await fleet.world()
    return replace(world, workloads=tuple(replace(w, held=templates[w.name]) for w in world.workloads)), fleet.conditions


@given(st.data())
@THOROUGH
def test_scale_down_and_quarantine_are_planned_whatever_the_gates_say(data):
    first = data.draw(systems().filter(lambda d: any(w.replicas for w in d.workloads)))
    big = data.draw(st.sampled_from([w for w in first.workloads if w.replicas]))
    less = data.draw(reductions(big))
    second = replace(first, generation=2, workloads=tuple(less if w is big else w for w in first.workloads))
    world, conditions = asyncio.run(held(first))
    world = data.draw(gates(world))
    known = data.draw(st.sampled_from([{}, conditions]))
    planned = [s.workload for s in plan(second, world, known, EARLY).steps if isinstance(s, ApplyWorkload)]
    assert planned == ([] if less == big else [less])


@given(st.data())
@THOROUGH
def test_scale_down_and_quarantine_do_not_wait_for_the_new_template_or_the_restart_that_comes_with_them(data):
    first = data.draw(systems().filter(lambda d: any(w.replicas for w in d.workloads)))
    big = data.draw(st.sampled_from([w for w in first.workloads if w.replicas]))
    less = data.draw(reductions(big))
    grown = replace(less, template=replace(less.template, digest="3" * 64), restart_before=big.restart_before + 1)
    second = replace(first, generation=2, workloads=tuple(grown if w is big else w for w in first.workloads))
    world, conditions = asyncio.run(held(first))
    steps = plan(second, world, data.draw(unproven(conditions)), EARLY).steps
    planned = [s.workload for s in steps if isinstance(s, ApplyWorkload)]
    assert planned == ([] if less == big else [less])


@given(st.data())
@THOROUGH
def test_a_quarantined_replica_is_shut_out_of_the_bus_whatever_the_control_planes_proofs_say(data):
    desired = data.draw(systems())
    quarantined = {w.cluster for w in desired.workloads if w.quarantined}
    world, conditions = asyncio.run(held(desired))
    outdated = data.draw(st.frozensets(st.sampled_from([n.cluster for n in desired.namespaces])))
    world = replace(world, bus=replace(world.bus, accounts=world.bus.accounts - outdated))
    steps = plan(desired, world, data.draw(unproven(conditions)), EARLY).steps
    assert [s.target for s in steps if isinstance(s, EnsureAccount)] == [
        n.cluster for n in desired.namespaces if n.cluster in outdated & quarantined
    ]


@given(systems(), systems(generation=2))
@THOROUGH
def test_what_was_held_up_at_the_gate_follows_when_it_opens(first, second):
    async def scenario():
        fleet = Fleet()
        await fleet.converge(first)
        proven, fleet.conditions = fleet.conditions, {}
        for step in (await fleet.plan(second)).steps:
            if isinstance(step, ApplyWorkload):
                await fleet.do(second, step)
        fleet.conditions = proven
        await fleet.converge(second)
        assert (await fleet.plan(second)).ready

    asyncio.run(scenario())


@given(systems(), systems(generation=2))
@THOROUGH
def test_a_room_is_taken_away_only_when_no_workload_is_left_in_it(first, second):
    async def scenario():
        fleet = Fleet()
        await fleet.converge(first)
        for _ in range(ENOUGH_ROUNDS):
            world = await fleet.world()
            todo = plan(second, world, fleet.conditions, fleet.clock.now())
            busy = {w.name.split("/")[0] for w in world.workloads}
            assert not busy & {s.cluster for s in todo.steps if isinstance(s, RemoveNamespace)}
            for step in todo.steps:
                await fleet.do(second, step)
            fleet.clock.advance(0.1)

    asyncio.run(scenario())


@given(systems(), systems(generation=2), st.integers(0, 60))
@THOROUGH
def test_no_step_is_planned_twice_in_one_plan_and_each_has_a_phase_and_a_reason(first, second, steps):
    async def scenario():
        fleet = Fleet()
        await fleet.converge(first, at_most=steps)
        todo = (await fleet.plan(second)).steps
        names = [(type(s).__name__, s.target, getattr(s, "kind", "")) for s in todo]
        assert len(names) == len(set(names))
        assert all(s.phase in PHASES and s.reason for s in todo)

    asyncio.run(scenario())


@given(systems())
@THOROUGH
def test_a_crashed_replica_needs_no_plan_because_the_engine_brings_it_back(desired):
    async def scenario():
        fleet = Fleet()
        await fleet.converge(desired)
        for seen in (await fleet.world()).workloads:
            for replica in seen.replicas:
                fleet.engine.crash("s", replica.name)
        assert (await fleet.plan(desired)).steps == ()

    asyncio.run(scenario())
