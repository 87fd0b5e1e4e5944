"""One replica, one agent, the traffic of one link: in their stable shapes."""

import json
from dataclasses import asdict, replace

import pytest

from quarterdeck.deploy import details, nouns, status
from quarterdeck.model.records import Record
from quarterdeck.model.world import Flow, Sample, StreamSeen, Verb

OLD = (
    "name",
    "cluster",
    "agent",
    "state",
    "reason",
    "pid",
    "incarnation",
    "restarts",
    "revision",
    "since",
    "lag_ms",
    "inflight",
    "last_exit",
)


def flow(to, sent, per_second, failed=0, failed_per_second=0.0):
    return Flow(to, sent, failed, per_second, failed_per_second)


def sample(at, incarnation=1, **fields):
    return Sample(**{**asdict(Sample(at, incarnation, 3, 0.25, 0, 1 << 26, 1.5, 7, 1, 4, 0, 0.5)), **fields})


def record(verb, at, reason="", **evidence):
    return Record(7, at, "node", "engine", "", verb, "a/reader-0", reason, None, None, "done", evidence, "", "", "s")


def link(scene):
    return nouns.links(scene.look(), scene.world.workloads)[0]


def test_a_link_sums_what_the_replicas_at_its_source_send_to_its_target(scene):
    scene.replica("a/reader-0", flows=(flow("b", 10, 1.5, 2, 0.25), flow("a", 99, 9.0)))
    scene.replica("a/reader-1", flows=(flow("b", 5, 0.25),))
    scene.replica("b/writer-0", flows=(flow("b", 1000, 100.0),))
    found = link(scene)
    assert (found["per_second"], found["failed_per_second"], found["sent"]) == (1.75, 0.25, 15)


def test_a_replica_counts_once_by_the_worst_of_its_breakers_towards_the_target(scene):
    assert link(scene)["circuits"] == {"closed": 2, "half-open": 0, "open": 0}
    scene.replica("a/reader-0", circuits=(("b/writer", "half-open"), ("b/other", "open"), ("a/reader", "open")))
    assert link(scene)["circuits"] == {"closed": 1, "half-open": 0, "open": 1}
    scene.replica("a/reader-1", circuits=(("bb/writer", "open"),))
    assert link(scene)["circuits"] == {"closed": 1, "half-open": 0, "open": 1}
    scene.replica("a/reader-1", pid=None)
    assert link(scene)["circuits"] == {"closed": 0, "half-open": 0, "open": 1}


def test_traffic_that_cannot_be_seen_is_unknown_and_not_nothing(scene):
    unseen = nouns.links(scene.look(), None)[0]
    assert (unseen["per_second"], unseen["failed_per_second"], unseen["sent"], unseen["circuits"]) == (None, None, None, {})
    scene.desired = replace(scene.desired, namespaces=scene.desired.namespaces[1:])
    assert link(scene)["per_second"] is None, "of a link into what a caller may see, the sender is not his to see"


def test_a_replica_keeps_the_fields_it_always_had_and_gains_at_their_end(scene):
    scene.replica("a/reader-0", flows=(flow("b", 10, 1.5),), circuits=(("b/writer", "open"),), handled=8, failed=1)
    found = status.replicas(scene.world.workloads)[0]
    assert tuple(found)[: len(OLD)] == OLD
    assert (found["handled"], found["failed"], found["circuits"]) == (8, 1, {"b/writer": "open"})
    assert found["flows"] == [{"to": "b", "sent": 10, "failed": 0, "per_second": 1.5, "failed_per_second": 0.0}]


def test_a_replica_whole_has_its_samples_as_columns_and_rows(scene):
    seen = details.youngest(scene.world.workloads, "a/reader-0")
    found = details.replica(seen, (sample(1.23456), sample(2.0, beat_age=None, memory_bytes=5)), ())
    assert (found["kind"], found["name"], found["memory_bytes"], found["cpu_seconds"]) == ("Replica", "a/reader-0", 5, 1.5)
    rows = [dict(zip(found["samples"]["columns"], row, strict=True)) for row in found["samples"]["rows"]]
    assert [(row["at"], row["beat_age"], row["handled"]) for row in rows] == [(1.235, 0.5, 7), (2.0, None, 7)]
    assert found["samples"]["every_seconds"] == 1.0
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("change", [{"pid": None}, {"incarnation": 2}], ids=["none", "not measured yet"])
def test_what_another_process_used_is_not_told_as_this_ones(scene, change):
    scene.replica("a/reader-0", **change)
    found = details.replica(details.youngest(scene.world.workloads, "a/reader-0"), (sample(1.0),), ())
    assert (found["memory_bytes"], found["cpu_seconds"]) == (None, None)
    assert len(found["samples"]["rows"]) == 1


def test_of_two_incarnations_the_younger_is_the_replica(scene):
    workload = scene.world.workloads[0]
    old = workload.replicas[0]
    both = replace(workload, replicas=(replace(old, incarnation=2, pid=7), *workload.replicas))
    assert details.youngest((both,), old.name).pid == 7
    assert details.youngest((both,), "a/nobody-0") is None


def test_the_history_of_a_replica_is_its_states_with_their_causes(scene):
    told = (
        record("replica.ready", 4.0, pid=12, incarnation=2),
        record("replica.exited", 3.0, "hung: no beat", pid=11, incarnation=1),
        record("replica.killed", 2.0, "no beat"),
    )
    found = details.replica(details.youngest(scene.world.workloads, "a/reader-0"), (), told)["history"]
    assert [(h["state"], h["cause"], h["incarnation"], h["pid"]) for h in found] == [
        ("ready", "", 2, 12),
        ("stopped", "hung: no beat", 1, 11),
    ]
    assert found[1]["at"].startswith("1970-01-01T00:00:03")


def test_an_end_that_was_understood_late_stands_before_the_start_after_it(scene):
    told = (
        record("replica.failed", 6.0, "gave up"),
        record("replica.exited", 5.0, "exit 3", pid=12, incarnation=2),
        record("replica.ready", 4.5, pid=12, incarnation=2),
        record("replica.exited", 4.0, "SIGKILL", pid=11, incarnation=1),
        record("replica.started", 3.0, pid=12, incarnation=2),
        record("replica.ready", 2.0, pid=11, incarnation=1),
    )
    found = details.replica(details.youngest(scene.world.workloads, "a/reader-0"), (), told)["history"]
    states = [(h["incarnation"], h["state"]) for h in found]
    assert states == [(None, "failed"), (2, "stopped"), (2, "ready"), (2, "starting"), (1, "stopped"), (1, "ready")]


def test_an_agent_whole_has_its_verbs_its_stream_and_its_replicas(scene):
    scene.bus(streams=(StreamSeen("a", "reader", 3, 9, 6, 600), StreamSeen("b", "writer", 0, 0, 0, 0)))
    verbs = (Verb("window", {"type": "object"}, "Read one.", task=True), Verb("flush", None, ""))
    found = details.agent(scene.look(), "a/reader", scene.world, verbs)
    assert (found["kind"], found["name"], found["replicas"]["ready"]) == ("Agent", "a/reader", 2)
    assert found["verbs"] == {
        "window": {"payload": {"type": "object"}, "doc": "Read one.", "task": True},
        "flush": {"payload": None, "doc": "", "task": False},
    }
    assert (found["verbs_reason"], found["stream"]) == ("", {"messages": 6, "bytes": 600, "taken_in": 9})
    assert [r["name"] for r in found["replicas_seen"]] == ["a/reader-0", "a/reader-1"]


def test_an_agent_that_nobody_can_ask_says_why(scene):
    world = replace(scene.world, reachable=False, workloads=(), bus=replace(scene.world.bus, streams=()))
    found = details.agent(scene.look(), "a/reader", world, "the node is not attached")
    assert (found["verbs"], found["verbs_reason"], found["stream"], found["replicas_seen"]) == ({}, "the node is not attached", None, [])
    assert details.agent(scene.look(), "a/nobody", world, ()) is None
