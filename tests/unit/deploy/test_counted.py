"""Work that was done once, as evidence: when it is written down, and when it says that something may be lost."""

import asyncio
from dataclasses import replace

import pytest

from quarterdeck.deploy.counted import counted
from quarterdeck.deploy.reconcile import COUNT_EVERY, Reconciler
from quarterdeck.deploy.witness import EventWitness
from quarterdeck.engines.memory import MemoryEngine
from quarterdeck.model.work import Hold, Holder, Order, Target
from quarterdeck.store import claims, effects, orders, tasks
from quarterdeck.store.fairness import Fairness
from quarterdeck.store.overview import Settled
from quarterdeck.store.turn import Turn

NOW = 1000.0
DONE = Settled(tasks=2, again=1, effects=3, at=900.0, unknown=0)
NONE = Settled(0, 0, 0, None, 0)


def test_nothing_is_told_while_nothing_was_done():
    assert counted("s", NONE, None, NOW) is None


def test_work_that_was_done_is_evidence_as_old_as_the_work():
    found = counted("s", DONE, None, NOW)
    assert (found.kind, found.target, found.status, found.observed) == ("EffectsCounted", "s", "true", 900.0)
    text = "2 of the newest tasks done with 3 effects, each counted once, none unknown; 1 of them after more than one attempt"
    assert found.evidence == text


@pytest.mark.parametrize(("later", "told"), [(59.0, False), (60.0, True)])
def test_newer_work_is_written_down_once_a_minute(later, told):
    known = counted("s", DONE, None, NOW)
    assert (counted("s", replace(DONE, at=900.0 + later), known, NOW + later) is not None) == told
    assert counted("s", NONE, known, NOW) is None, "it was done, though newer tasks have no effects"


def test_an_unknown_effect_says_so_at_once_and_no_longer_than_it_is_unknown():
    known = counted("s", DONE, None, NOW)
    lost = counted("s", replace(DONE, unknown=1), known, NOW)
    assert (lost.status, lost.message) == ("false", "of 1 effect nobody knows whether it happened: qd get effects")
    assert counted("s", DONE, lost, NOW).status == "true"
    assert counted("s", NONE, lost, NOW).status == "unknown"


def work(store):
    """A task of the store's system ends done with one effect."""

    def whole(tx):
        turn = Turn(tx, Fairness())
        holder = Holder("s", "a", "reader", 0, 1)
        orders.submit(turn, Order(Target("s", "a", "reader"), "1"), "me")
        ((task, _),) = claims.claim(turn, holder, 1, (), 1 << 20)
        hold = Hold(holder, task.id, task.fence)
        effects.begin(turn, hold, "pay", "unsafe", "hash")
        effects.finish(turn, hold, "pay", effects.Came("done", "1"))
        tasks.done(turn, hold, "2")
        turn.close()

    store.write_sync(whole)


def test_the_loop_writes_it_down_some_seconds_later(store, compose, clock):
    loop = Reconciler(store, MemoryEngine(clock), compose, {}, clock, EventWitness(store))
    asyncio.run(loop.tick("s"))
    work(store)
    clock.advance(COUNT_EVERY - 0.1)
    look = asyncio.run(loop.tick("s"))
    assert ("EffectsCounted", "s") not in loop.conditions(look.desired)
    clock.advance(0.2)
    look = asyncio.run(loop.tick("s"))
    found = loop.conditions(look.desired)["EffectsCounted", "s"]
    assert found.evidence == "1 of the newest tasks done with 1 effect, each counted once, none unknown"
