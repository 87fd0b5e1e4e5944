"""What the plan holds up until the ground under it is proven, and what it never does, over generated systems and worlds."""

import asyncio
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from tests.properties.deployments import EARLY, THOROUGH, Fleet, systems

from quarterdeck.deploy.evidence import CONTROL, PROOFS
from quarterdeck.deploy.plan import plan
from quarterdeck.model.desired import Desired, Workload
from quarterdeck.model.steps import (
    PHASES,
    ApplyWorkload,
    EnsureAccount,
    RemoveLink,
    RemoveWorkload,
)
from quarterdeck.model.world import World


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


@st.composite
def gates(draw, world: World) -> World:
    """The same world with some of the ground under it gone: bus away, accounts or rooms forgotten."""
    bus = replace(world.bus, ready=draw(st.booleans()), accounts=draw(st.sampled_from([world.bus.accounts, frozenset()])))
    return replace(world, bus=bus, namespaces=draw(st.sampled_from([world.namespaces, ()])))


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
