"""The desired whole, composed anew only when it can have changed."""

from quarterdeck.model.records import Change, Patch
from quarterdeck.store import changes, systems

from .conftest import ACTOR


def scale(store, count, until=None):
    change = Change(0, "s", "human", ACTOR.name, "a/reader", Patch("replicas", count), "load", 0.0, until)
    return store.write_sync(lambda tx: changes.add(tx, change, via="socket"))


def replicas(desired):
    return desired.workloads[0].replicas


def test_without_an_edit_it_is_the_same_whole(compose):
    assert compose("s") is compose("s")


def test_an_edit_is_seen_at_once(store, compose):
    assert replicas(compose("s")) == 2
    made = scale(store, 5)
    assert replicas(compose("s")) == 5
    store.write_sync(lambda tx: changes.end(tx, made.id, "reverted", ACTOR))
    assert replicas(compose("s")) == 2
    store.write_sync(lambda tx: systems.remove(tx, "s", ACTOR, "done"))
    assert compose("s") is None


def test_a_change_whose_time_is_over_has_no_effect_though_nobody_has_ended_it(store, compose, clock):
    scale(store, 5, until=clock.now() + 60)
    assert replicas(compose("s")) == 5
    clock.advance(61)
    assert replicas(compose("s")) == 2
