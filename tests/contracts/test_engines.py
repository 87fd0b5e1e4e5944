"""What every engine promises. An engine is under the suite as soon as `engines/<its name>.py` beside this file can open one:

`opened(folder)` is an async context manager that gives an engine which serves nothing yet, `crash(engine, system, replica)` ends a replica.
"""

import asyncio
import importlib.util
import pkgutil
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

import quarterdeck.engines
from quarterdeck.errors import NotFound, QuarterdeckError
from quarterdeck.model.desired import Desired, Link, Namespace, Quota, Template, Workload
from quarterdeck.model.steps import (
    ApplyWorkload,
    EnsureAccount,
    EnsureBus,
    EnsureLink,
    EnsureNamespace,
    Probe,
    RemoveLink,
    RemoveNamespace,
    RemoveWorkload,
)

HARNESSES = Path(__file__).parent / "engines"
SHIPPED = {m.name for m in pkgutil.iter_modules(quarterdeck.engines.__path__)} - {"base"}
WITHIN = 20.0
LIMITS = Quota(None, None, 8)
READER = Workload("a", "reader", Template("1" * 64, "tree", "agents:reader"), 1, 2, (1, 4))
WRITER = Workload("b", "writer", Template("2" * 64, "tree", "agents:writer"), 1, 1, (1, 4))
LINK = Link("a", "b")
DESIRED = Desired("s", 1, 1, 1, None, (Namespace("a", LIMITS), Namespace("b", LIMITS)), (READER, WRITER), (LINK,))
DEPLOYMENT = (
    *(EnsureNamespace(n, "add", "test") for n in DESIRED.namespaces),
    EnsureBus("test"),
    EnsureAccount(DESIRED.namespaces[0], ("reader",), "add", "test"),
    EnsureAccount(DESIRED.namespaces[1], ("writer",), "add", "test"),
    EnsureLink(LINK, "add", "test"),
    ApplyWorkload(READER, "add", "test"),
    ApplyWorkload(WRITER, "add", "test"),
)


def harness(name):
    spec = importlib.util.spec_from_file_location(f"contract_harness_{name}", HARNESSES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=sorted(p.stem for p in HARNESSES.glob("*.py")))
def kind(request):
    return harness(request.param)


@pytest.fixture
def deployed(kind, tmp_path):
    """An async context manager that gives an engine with `DESIRED` running on it."""

    @asynccontextmanager
    async def start():
        async with kind.opened(tmp_path) as engine:
            for step in DEPLOYMENT:
                await engine.preflight("s", step)
                assert await engine.perform("s", step)
                if isinstance(step, EnsureBus):
                    await until(engine, lambda world: world.bus.ready)
            await until(engine, lambda world: ready(world) == {"a/reader-0", "a/reader-1", "b/writer-0"})
            yield engine

    return start


async def until(engine, holds):
    """The first observation for which `holds` is true; looked at as the loop does, with upkeep at every look."""
    deadline = time.monotonic() + WITHIN
    while not holds(world := await engine.observe("s")):
        assert time.monotonic() < deadline, world
        await engine.upkeep(DESIRED)
        await asyncio.sleep(0.01)
    return world


def ready(world):
    return {r.name for w in world.workloads for r in w.replicas if r.state == "ready"}


def one(world, name):
    return next(r for w in world.workloads for r in w.replicas if r.name == name)


def test_every_engine_that_ships_is_under_this_suite():
    assert SHIPPED
    assert {p.stem for p in HARNESSES.glob("*.py")} == SHIPPED


def test_an_engine_that_serves_nothing_sees_nothing_and_is_reachable(kind, tmp_path):
    async def scenario():
        async with kind.opened(tmp_path) as engine:
            world = await engine.observe("s")
            assert world.reachable
            assert (world.namespaces, world.links, world.workloads) == ((), (), ())
            assert world.bus.accounts == frozenset()

    asyncio.run(scenario())


def test_what_was_performed_is_observed(deployed):
    async def scenario():
        async with deployed() as engine:
            world = await engine.observe("s")
            assert set(world.namespaces) == set(DESIRED.namespaces)
            assert world.links == (LINK,)
            assert world.bus.ready
            assert world.bus.sync_always
            assert world.bus.accounts == {"a", "b"}
            assert {(s.account, s.name) for s in world.bus.streams} == {("a", "reader"), ("b", "writer")}
            for wanted in DESIRED.workloads:
                found = world.workload(wanted.name)
                assert (found.template, found.replicas_wanted) == (wanted.template.digest, wanted.replicas)
                assert found.rollout_digest == wanted.rollout_digest

    asyncio.run(scenario())


def test_the_workloads_alone_are_those_of_a_whole_look(deployed):
    async def scenario():
        async with deployed() as engine:
            alone, whole = await engine.workloads("s"), (await engine.observe("s")).workloads
            assert [replace(w, replicas=()) for w in alone] == [replace(w, replicas=()) for w in whole]
            assert [[(r.name, r.pid) for r in w.replicas] for w in alone] == [[(r.name, r.pid) for r in w.replicas] for w in whole]
            assert await engine.workloads("t") == ()

    asyncio.run(scenario())


def test_every_step_may_be_repeated_and_changes_nothing(deployed):
    async def scenario():
        async with deployed() as engine:
            before = {r.name: (r.pid, r.incarnation) for w in (await engine.observe("s")).workloads for r in w.replicas}
            for step in DEPLOYMENT:
                await engine.perform("s", step)
            world = await until(engine, lambda world: len(ready(world)) == 3)
            assert {r.name: (r.pid, r.incarnation) for w in world.workloads for r in w.replicas} == before

    asyncio.run(scenario())


def test_systems_do_not_see_each_other(deployed):
    async def scenario():
        async with deployed() as engine:
            other = await engine.observe("t")
            assert (other.namespaces, other.links, other.workloads) == ((), (), ())

    asyncio.run(scenario())


@pytest.mark.parametrize("count", [0, 1, 4])
def test_a_workload_is_scaled_and_replicas_keep_their_names(deployed, count):
    async def scenario():
        async with deployed() as engine:
            await engine.perform("s", ApplyWorkload(replace(READER, replicas=count), "change", "test"))
            world = await until(engine, lambda w: ready(w) == {"b/writer-0", *(f"a/reader-{n}" for n in range(count))})
            assert world.workload("a/reader").replicas_wanted == count

    asyncio.run(scenario())


def test_a_new_template_replaces_every_replica_of_that_workload_and_no_other(deployed):
    async def scenario():
        async with deployed() as engine:
            other = one(await engine.observe("s"), "b/writer-0").pid
            new = replace(READER, template=replace(READER.template, digest="3" * 64))
            await engine.perform("s", ApplyWorkload(new, "change", "test"))
            done = {"a/reader-0", "a/reader-1"}
            world = await until(engine, lambda w: {r.name for v in w.workloads for r in v.replicas if r.revision == "3" * 64} == done)
            assert one(world, "a/reader-0").incarnation == 2
            assert one(world, "b/writer-0").pid == other

    asyncio.run(scenario())


def test_a_quarantined_replica_is_kept_out_and_comes_back(deployed):
    async def scenario():
        async with deployed() as engine:
            await engine.perform("s", ApplyWorkload(replace(READER, quarantined=frozenset({1})), "change", "test"))
            world = await until(engine, lambda w: one(w, "a/reader-1").state == "quarantined")
            assert one(world, "a/reader-0").state == "ready"
            await engine.perform("s", ApplyWorkload(READER, "change", "test"))
            await until(engine, lambda w: one(w, "a/reader-1").state == "ready")

    asyncio.run(scenario())


def test_a_crashed_replica_comes_back_by_itself_one_incarnation_later_and_the_engine_tells(kind, deployed):
    async def scenario():
        async with deployed() as engine:
            await kind.crash(engine, "s", "a/reader-0")
            happened = await asyncio.wait_for(engine.changed(), WITHIN)
            assert "s" in {h.system for h in happened}
            world = await until(engine, lambda w: one(w, "a/reader-0").incarnation == 2 and one(w, "a/reader-0").state == "ready")
            fallen = one(world, "a/reader-0")
            assert fallen.last_exit.signal == 9
            assert fallen.restarts == 1

    asyncio.run(scenario())


async def sampled(engine, name, holds):
    """The samples of a replica for which `holds` is true; time has to pass for them, and somebody who looks."""
    deadline = time.monotonic() + WITHIN
    while not holds(found := await engine.samples("s", name)):
        assert time.monotonic() < deadline, found
        await engine.observe("s")
        await asyncio.sleep(0.05)
    return found


def test_how_a_replica_has_been_is_told_in_order_and_without_inventing_numbers(deployed):
    async def scenario():
        async with deployed() as engine:
            found = await sampled(engine, "a/reader-1", lambda found: found and found[-1].beat_age is not None)
            assert [sample.at for sample in found] == sorted({sample.at for sample in found})
            assert {sample.incarnation for sample in found} == {1}
            for sample in found:
                counters = (sample.progress, sample.inflight, sample.memory_bytes, sample.handled, sample.failed, sample.sent)
                assert all(type(count) is int and count >= 0 for count in counters)
                assert sample.unanswered <= sample.sent
                assert sample.cpu_seconds >= 0.0
                assert sample.beat_age is None or sample.beat_age >= 0.0
            told = one(await engine.observe("s"), "a/reader-1")
            assert (told.handled, told.failed, told.flows, told.circuits) == (0, 0, (), ())

    asyncio.run(scenario())


def test_what_was_before_a_crash_is_kept_and_its_successor_counts_anew(kind, deployed):
    async def scenario():
        async with deployed() as engine:
            before = await sampled(engine, "a/reader-0", len)
            await kind.crash(engine, "s", "a/reader-0")
            await until(engine, lambda w: one(w, "a/reader-0").incarnation == 2 and one(w, "a/reader-0").state == "ready")
            after = await sampled(engine, "a/reader-0", lambda found: {sample.incarnation for sample in found} == {1, 2})
            assert after[: len(before)] == before

    asyncio.run(scenario())


def test_verbs_are_told_of_agents_that_are_there_and_nothing_of_others(deployed):
    async def scenario():
        async with deployed() as engine:
            assert isinstance(await engine.verbs("s", "a/reader"), tuple)
            for ask, target in ((engine.verbs, "a/nobody"), (engine.samples, "a/reader-7"), (engine.samples, "a/nobody-0")):
                with pytest.raises(NotFound):
                    await ask("s", target)
                with pytest.raises(NotFound):
                    await ask("t", target)

    asyncio.run(scenario())


def test_links_workloads_and_rooms_are_taken_away_one_by_one(deployed):
    async def scenario():
        async with deployed() as engine:
            await engine.perform("s", RemoveWorkload("b/writer", "test"))
            await until(engine, lambda w: w.workload("b/writer") is None)
            await engine.perform("s", RemoveLink(LINK, "test"))
            await engine.perform("s", RemoveNamespace("b", "test"))
            world = await until(engine, lambda w: not w.links and len(w.namespaces) == 1)
            assert ready(world) == {"a/reader-0", "a/reader-1"}

    asyncio.run(scenario())


def test_a_probe_gives_evidence_and_one_of_nothing_is_refused(deployed):
    async def scenario():
        async with deployed() as engine:
            assert await engine.probe(DESIRED, Probe("AgentAnswers", "a/reader", "integration_validation"))
            with pytest.raises(QuarterdeckError):
                await engine.probe(DESIRED, Probe("AgentAnswers", "a/nobody", "integration_validation"))

    asyncio.run(scenario())


def test_a_removed_system_leaves_nothing_and_says_so(deployed):
    async def scenario():
        async with deployed() as engine:
            assert await engine.remove("s") == ()
            world = await engine.observe("s")
            assert (world.namespaces, world.links, world.workloads) == ((), (), ())

    asyncio.run(scenario())
