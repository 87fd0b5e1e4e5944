"""Work that is held back, and all of a system that is stopped: what people are told of it, and that it ends with its cause."""

from dataclasses import replace

from quarterdeck.deploy.held import held_back
from quarterdeck.deploy.readiness import readiness
from quarterdeck.deploy.status import status
from quarterdeck.deploy.stopped import in_words, stop_of
from quarterdeck.model.desired import Allowance
from quarterdeck.model.records import Change, Patch
from quarterdeck.store.trips import Trip

TRIP = Trip("s", "a", "2023-11-14", "a spent 9 within a minute", 1_699_999_990.0)
GUARDED = (Allowance("a", "day", (), 1.5), Allowance("", "day", (("money", 5.0),)))


def document(scene, stops=()):
    return status(scene.look(), scene.now, engine="memory", weakenings=(), stops=stops)


def trip(scene):
    scene.desired = replace(scene.desired, budgets=GUARDED)
    scene.conditions |= held_back(scene.desired, [TRIP], scene.now)


def stop(number, target, reason="incident 4711"):
    return Change(number, "s", "human", "uid:0", target, Patch("stopped", value=True), reason, 1_699_999_000.0, None)


def halt(scene, *names):
    found = tuple(replace(w, stopped=True, replicas=0) if w.name in names else w for w in scene.desired.workloads)
    scene.desired = replace(scene.desired, workloads=found)


def test_a_trip_is_a_false_condition_that_status_and_readiness_see(scene):
    before = readiness(scene.desired, scene.conditions, scene.now)
    trip(scene)
    assert [(one["kind"], one["target"]) for one in document(scene)["incidents"]] == [("WithinBudget", "a")]
    assert "a spent 9 within a minute" in document(scene)["incidents"][0]["message"]
    after = readiness(scene.desired, scene.conditions, scene.now)
    assert after.score == before.score - 7
    (lost,) = [p for p, q in zip(after.points, before.points, strict=True) if p != q]
    assert (lost.earned, lost.evidence, lost.age_seconds) == (0, "WithinBudget a: a spent 9 within a minute", 10.0)
    assert after.next[0] == "qd budget resume, +7"


def test_a_trip_leaves_the_deployment_ready(scene):
    trip(scene)
    assert document(scene)["ready"]


def test_a_trip_that_no_budget_asks_for_any_more_holds_nothing_back(scene):
    assert held_back(scene.desired, [TRIP], scene.now) == {}
    assert held_back(replace(scene.desired, budgets=GUARDED[1:]), [replace(TRIP, cluster="")], scene.now) == {}


def test_a_fully_stopped_system_is_stopped_and_not_ready(scene):
    halt(scene, "a/reader", "b/writer")
    found = document(scene, [stop(1, "a", "before"), stop(2, "s:")])
    assert not found["ready"]
    assert found["stopped"]["command"] == "qd start fleet"
    assert in_words(found["stopped"]) == "stopped by uid:0 since 2023-11-14T21:56:40.000Z: incident 4711"


def test_a_part_that_is_stopped_leaves_the_rest_as_it_is(scene):
    halt(scene, "a/reader")
    assert document(scene, [stop(1, "a/reader")])["stopped"] is None
    mine = [w for w in scene.desired.workloads if w.cluster == "a"]
    assert stop_of(mine, [stop(1, "b"), stop(2, "a/reader"), stop(3, "a")])["command"] == "qd start cluster a"
    assert stop_of(mine, [stop(2, "a/reader")])["command"] == "qd start agent a/reader"
    assert stop_of([], [stop(1, "s:")]) is None
