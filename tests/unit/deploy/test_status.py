"""The Status document and the list of replicas in their stable shapes."""

from dataclasses import replace

from quarterdeck.deploy import status as statuses
from quarterdeck.model.steps import PHASES


def status(scene, **more):
    return statuses.status(scene.look(), scene.now, engine="memory", weakenings=(), **more)


def test_the_shape_is_the_published_one(scene):
    found = status(scene)
    wanted = "apiVersion kind system ready sentence phases readiness agents capacity validation failure engine revision weakenings"
    assert set(wanted.split()) <= set(found)
    assert found["kind"] == "Status"
    assert [p["name"] for p in found["phases"]] == list(PHASES)
    assert set(found["phases"][0]) == {"name", "status", "seconds", "message"}
    assert set(found["readiness"]) == {"score", "points", "next"}
    assert set(found["validation"][0]) == {"name", "status", "evidence", "age_seconds"}


def test_ready_counts_replicas_and_capacity(scene):
    found = status(scene)
    assert found["ready"]
    assert found["failure"] is None
    assert found["agents"] == {"ready": 3, "desired": 3}
    assert found["capacity"] == {"ready": 3, "desired": 3, "max": 8}
    assert found["weakenings"] == ["cgroup v1"]
    assert found["observed_generation"] == scene.desired.generation


def test_evidence_that_grew_old_does_not_make_a_served_system_unready(scene):
    scene.condition("AgentAnswers", "a/reader", age=400)
    assert status(scene)["ready"]


def test_a_missing_replica_makes_it_unready(scene):
    scene.replica("a/reader-1", state="starting")
    found = status(scene)
    assert not found["ready"]
    assert found["agents"] == {"ready": 2, "desired": 3}


def test_a_failure_names_phase_step_target_cause_and_what_is_complete(scene):
    scene.replica("b/writer-0", state="failed", reason="exit 1")
    found = status(scene)["failure"]
    assert set(found) == {"phase", "step", "target", "cause", "details", "completed", "resume"}
    assert found["cause"] == "0 of 1 answering: exit 1"
    assert found["completed"] == list(PHASES[:4])


def test_an_engine_that_cannot_be_seen_is_unknown_not_failed(scene):
    scene.world = replace(scene.world, reachable=False, reason="no answer", workloads=())
    found = status(scene)
    assert found["failure"] is None
    assert not found["ready"]
    assert found["sentence"] == "waiting for the engine: no answer"


def test_validation_lists_every_proof_in_phase_order_with_its_age(scene):
    scene.condition("JournalReadable", age=12)
    names = [v["name"] for v in status(scene)["validation"]]
    assert names[0].startswith("AnonymousRefused")
    assert len(names) == len([kind for kind, _ in scene.conditions if kind != "Phase"])
    last = next(v for v in status(scene)["validation"] if v["name"] == "JournalReadable s")
    assert last == {"name": "JournalReadable s", "status": "passed", "evidence": "JournalReadable held", "age_seconds": 12.0}


def test_a_phase_tells_its_seconds_only_for_the_revision_they_were_measured_in(scene):
    assert statuses.seconds(scene.look(), PHASES[0]) == 0.25
    scene.desired = replace(scene.desired, revision=2)
    assert statuses.seconds(scene.look(), PHASES[0]) is None


def test_a_phase_is_told_as_done_only_together_with_the_time_it_took(scene):
    del scene.conditions["Phase", PHASES[5]]
    found = status(scene)
    assert [p["status"] for p in found["phases"]] == [*["done"] * 5, "running", "done"]
    assert not found["ready"]


def test_a_phase_that_runs_tells_the_time_since_the_one_before_it_was_whole(scene):
    del scene.conditions["Phase", PHASES[5]]
    scene.now += 3
    assert (running := status(scene)["phases"][5])["status"] == "running"
    assert running["seconds"] == 3.0
    before = scene.conditions["Phase", PHASES[4]]
    scene.conditions["Phase", PHASES[4]] = replace(before, generation=0)
    assert status(scene)["phases"][5]["seconds"] is None, "the time is that of another revision"


def test_a_phase_that_was_whole_and_runs_again_cannot_say_since_when(scene):
    scene.replica("b/writer-0", state="starting")
    again = status(scene)["phases"][4]
    assert (again["status"], again["seconds"]) == ("running", None)


def test_the_first_phase_has_none_before_it(scene):
    del scene.conditions["Phase", PHASES[0]]
    first = status(scene)["phases"][0]
    assert (first["status"], first["seconds"]) == ("running", None)


def test_a_phase_that_failed_tells_how_long_ago_it_was_whole_or_the_one_before_it_was(scene):
    scene.replica("b/writer-0", state="failed", reason="exit 1")
    scene.world = replace(scene.world, at=scene.world.at + 7)
    failed = status(scene)["phases"][4]
    assert (failed["status"], failed["seconds"]) == ("failed", 7.0)
    del scene.conditions["Phase", PHASES[4]]
    before = scene.conditions["Phase", PHASES[3]]
    scene.conditions["Phase", PHASES[3]] = replace(before, observed=before.observed + 3)
    assert status(scene)["phases"][4]["seconds"] == 4.0
    del scene.conditions["Phase", PHASES[3]]
    assert status(scene)["phases"][4]["seconds"] is None
