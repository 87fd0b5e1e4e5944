"""The desired whole, composed anew only when it can have changed."""

import json
from dataclasses import asdict

import pytest

from quarterdeck.clock import VirtualClock
from quarterdeck.deploy.composer import Composer
from quarterdeck.model.desired import Template
from quarterdeck.model.home import Home
from quarterdeck.model.records import Actor, Change, Patch
from quarterdeck.store import changes, revisions, systems
from quarterdeck.store.store import Store

ACTOR = Actor("uid:0", "socket")
SPEC = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: s}
spec: {clusters: {a: {quota: {replicas: 9}, agents: {reader: {run: "agents:reader", replicas: 2}}}}}
"""
TEMPLATES = json.dumps({"a/reader": asdict(Template("1" * 64, "tree", "agents:reader"))})


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def store(tmp_path, clock):
    opened = Store.open(Home(tmp_path / "home"), clock)
    opened.write_sync(lambda tx: revisions.apply(tx, "s", SPEC, "d1", "tree", "lock", ACTOR, "first", templates=TEMPLATES))
    yield opened
    opened.close()


@pytest.fixture
def compose(store, clock):
    return Composer(store, clock)


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
