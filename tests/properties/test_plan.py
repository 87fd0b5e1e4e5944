"""What the plan promises, over generated systems and worlds. Each test's name is the promise."""

import asyncio
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from tests.properties.deployments import ENOUGH_ROUNDS, THOROUGH, Fleet, systems

from quarterdeck.deploy.converged import Comparison
from quarterdeck.deploy.evidence import PROOFS
from quarterdeck.deploy.plan import plan, structural
from quarterdeck.model.steps import (
    PHASES,
    RemoveNamespace,
)
from quarterdeck.model.world import World


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
