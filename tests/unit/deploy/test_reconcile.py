"""The loop itself: what it survives, that it ends when it is told to, and that it keeps no word of what is gone."""

import asyncio
import json
from dataclasses import asdict

from quarterdeck.clock import SystemClock
from quarterdeck.deploy.reconcile import Reconciler
from quarterdeck.deploy.witness import EventWitness
from quarterdeck.engines.memory import MemoryEngine
from quarterdeck.errors import Transient
from quarterdeck.model.desired import Template
from quarterdeck.model.records import Actor, Change, Patch
from quarterdeck.model.steps import Probe
from quarterdeck.store import changes, revisions


async def refused():
    await asyncio.sleep(0)
    raise Transient("the bus went away in the middle of a look")


class Unsteady(MemoryEngine):
    """Its first look fails in a task of a group, which Python 3.11 leaves the caller marked as cancelled for."""

    looks = 0

    async def observe(self, system):
        self.looks += 1
        if self.looks == 1:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(refused())
            except ExceptionGroup as failed:
                raise failed.exceptions[0] from failed
        return await super().observe(system)


class Deaf(MemoryEngine):
    """Takes every cancellation of a look for its own, as the bus's library can."""

    async def observe(self, system):
        try:
            await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            raise Transient("timeout") from None
        return await super().observe(system)


def reconciler(engine, store, compose):
    loop = Reconciler(store, engine, compose, {}, SystemClock(), EventWitness(store))
    loop.wake("s")
    return loop


def test_a_look_that_fails_is_followed_by_another(store, compose, clock):
    async def scenario():
        engine = Unsteady(clock)
        running = asyncio.create_task(reconciler(engine, store, compose).run())
        async with asyncio.timeout(5):
            while engine.looks < 3:  # noqa: ASYNC110 it counts, and nothing else tells
                await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.wait([running], timeout=5)
        assert running.cancelled()

    asyncio.run(scenario())


def test_it_ends_though_a_look_takes_the_cancellation_for_its_own(store, compose, clock):
    async def scenario():
        running = asyncio.create_task(reconciler(Deaf(clock), store, compose).run())
        await asyncio.sleep(0.02)
        running.cancel()
        done, _ = await asyncio.wait([running], timeout=5)
        assert done

    asyncio.run(scenario())


ACTOR = Actor("uid:0", "socket")
LINKED = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: s}
spec:
  clusters:
    one: {agents: {a: {run: "agents:a"}, c: {run: "agents:c"}}}
    two: {agents: {b: {run: "agents:b"}}}
  links: [{from: one, to: two}]
"""
CUT = LINKED.replace(', c: {run: "agents:c"}', "").replace("  links: [{from: one, to: two}]\n", "")
TEMPLATES = json.dumps({f"{name}": asdict(Template("1" * 64, "tree", "agents:a")) for name in ("one/a", "one/c", "two/b")})


def want(store, spec, digest):
    store.write_sync(lambda tx: revisions.apply(tx, "s", spec, digest, "tree", "lock", ACTOR, digest, templates=TEMPLATES))


def settle(loop, clock):
    """Tick until nothing is to be done."""

    async def scenario():
        for _ in range(20):
            look = await loop.tick("s")
            clock.advance(0.1)
        return look

    return asyncio.run(scenario())


def told(loop, look):
    return {f"{c.kind} {c.target}": c for c in loop.conditions(look.desired).values()}


def test_conditions_of_a_link_and_an_agent_that_were_removed_are_forgotten(store, compose, clock):
    loop = Reconciler(store, MemoryEngine(clock), compose, {}, clock, EventWitness(store))
    want(store, LINKED, "d2")
    assert {"LinkOpen one->two", "AgentAnswers one/c", "Step:ApplyWorkload one/c"} <= set(told(loop, settle(loop, clock)))
    want(store, CUT, "d3")
    look = settle(loop, clock)
    left = set(told(loop, look))
    assert "PathClosed one->two" in left
    assert [name for name in left if name.endswith(" one/c") or name in ("LinkOpen one->two", "LinkCarries one->two")] == []
    assert [name for name in left if name.startswith("Step:") and name.endswith("one->two")] == []
    want(store, LINKED, "d4")
    assert "PathClosed one->two" not in told(loop, settle(loop, clock))


def test_conditions_of_what_is_gone_wait_for_a_store_that_can_write(store, compose, clock, monkeypatch):
    loop = Reconciler(store, MemoryEngine(clock), compose, {}, clock, EventWitness(store))
    want(store, LINKED, "d2")
    settle(loop, clock)
    want(store, CUT, "d3")
    with monkeypatch.context() as patched:
        patched.setattr(type(store), "writable", property(lambda _: False))
        assert "AgentAnswers one/c" in told(loop, settle(loop, clock))
    assert "AgentAnswers one/c" not in told(loop, settle(loop, clock))


def test_nobody_answers_for_an_agent_whose_only_replica_is_quarantined_until_it_is_released(store, compose, clock):
    loop = Reconciler(store, MemoryEngine(clock), compose, {}, clock, EventWitness(store))
    want(store, LINKED, "d2")
    assert settle(loop, clock).plan.ready
    patch = Patch("quarantined", value=True)
    kept = store.write_sync(lambda tx: changes.add(tx, Change(0, "s", "human", "uid:0", "one/a-0", patch, "odd", clock.now(), None)))
    look = settle(loop, clock)
    found = told(loop, look)
    assert not look.plan.ready
    assert look.plan.steps == ()
    answers = found["AgentAnswers one/a"]
    assert (answers.status, answers.reason) == ("false", "Quarantined")
    assert answers.message == 'no replica serves: a-0 quarantined (human change 1, "odd")'
    assert "LogsArriving one/a" not in found
    assert asyncio.run(loop.prove(look.desired, Probe("AgentAnswers", "one/a", "integration_validation"))).status == "false"
    store.write_sync(lambda tx: changes.end(tx, kept.id, "reverted", ACTOR, "looked at"))
    look = settle(loop, clock)
    assert look.plan.ready
    assert told(loop, look)["AgentAnswers one/a"].status == "true"
