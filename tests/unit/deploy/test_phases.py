"""The seven phases as people see them."""

from dataclasses import replace

import pytest

from quarterdeck.deploy.phases import checks, failure, phases
from quarterdeck.model.steps import PHASES


def statuses(scene):
    return [v.status for v in phases(scene.desired, scene.world, scene.conditions)]


def failed(scene):
    return failure(scene.desired, scene.world, scene.conditions)


def test_a_converged_system_has_seven_done_phases_in_their_order(scene):
    views = phases(scene.desired, scene.world, scene.conditions)
    assert tuple(v.name for v in views) == PHASES
    assert {v.status for v in views} == {"done"}
    assert failed(scene) is None


def test_the_messages_count_what_is_there(scene):
    messages = [v.message for v in phases(scene.desired, scene.world, scene.conditions)]
    assert messages[0] == "2 namespaces, 3 of 8 replicas, 2.0 GiB reserved"
    assert messages[3] == "1 link open, 1 forbidden path refused"
    assert messages[4] == "3 of 3 replicas answering"
    assert messages[6] == "5 of 5 probes"


def test_where_no_path_is_forbidden_none_is_counted(scene):
    scene.desired = replace(scene.desired, namespaces=scene.desired.namespaces[:1], links=())
    scene.world = replace(scene.world, links=())
    assert phases(scene.desired, scene.world, scene.conditions)[3].message == "0 links open"


def test_an_empty_world_runs_the_first_phase_and_waits_with_the_others(scene):
    scene.world = replace(scene.world, namespaces=(), links=(), workloads=())
    scene.conditions.clear()
    assert statuses(scene) == ["running", *["pending"] * 6]


def test_a_phase_is_not_reached_before_the_one_before_it_is_done(scene):
    scene.condition("NodeAttached", status="unknown")
    assert statuses(scene)[:4] == ["done", "running", "pending", "pending"]


def test_agents_that_answer_stay_done_while_an_earlier_proof_is_renewed(scene):
    scene.condition("NodeAttached", status="unknown")
    assert statuses(scene)[4] == "done"


def test_a_failed_replica_fails_the_fifth_phase_with_its_cause_and_what_is_complete(scene):
    scene.replica("a/reader-0", state="failed", reason="ImportError: No module named 'pandas' (agents.py:4)")
    scene.replica("a/reader-1", state="failed", reason="ImportError: No module named 'pandas' (agents.py:4)")
    found = failed(scene)
    assert statuses(scene) == ["done"] * 4 + ["failed", "pending", "pending"]
    assert (found.phase, found.step, found.target) == ("agent_cluster_deployment", "ApplyWorkload", "a/reader")
    assert found.cause == "0 of 2 answering: ImportError: No module named 'pandas' (agents.py:4)"
    assert found.completed == PHASES[:4]
    assert found.details == "1 replica of other agents is running."
    assert found.resume == "resumes at phase 5"


@pytest.mark.parametrize(
    ("step", "target", "phase"),
    [
        ("EnsureNamespace", "a", 0),
        ("EnsureBus", "bus", 2),
        ("EnsureAccount", "b", 2),
        ("EnsureLink", "a->b", 3),
    ],
)
def test_a_step_that_failed_fails_its_phase(scene, step, target, phase):
    scene.world = replace(scene.world, namespaces=() if phase == 0 else scene.world.namespaces, links=())
    scene.bus(ready=step != "EnsureBus", accounts=frozenset({"a"}) if step == "EnsureAccount" else scene.world.bus.accounts)
    scene.condition(f"Step:{step}", target, status="false", message="no room left")
    found = failed(scene)
    assert (found.phase, found.step, found.target, found.cause) == (PHASES[phase], step, target, "no room left")


def test_a_path_that_nothing_permits_any_more_keeps_its_phase_from_being_done(scene):
    scene.desired = replace(scene.desired, links=())
    assert statuses(scene)[:4] == ["done", "done", "done", "running"]
    scene.condition("Step:RemoveLink", "a->b", status="false", message="the bus refuses it")
    found = failed(scene)
    assert (found.phase, found.step, found.target, found.cause) == (PHASES[3], "RemoveLink", "a->b", "the bus refuses it")


def test_a_step_that_failed_earlier_but_holds_now_is_no_failure(scene):
    scene.condition("Step:EnsureLink", "a->b", status="false", message="was refused once")
    assert failed(scene) is None


def test_a_refuted_proof_fails_its_phase_and_an_unknown_one_does_not(scene):
    scene.condition("PathRefused", "b->a", status="unknown")
    assert statuses(scene)[6] == "running"
    scene.condition("PathRefused", "b->a", status="false", message="b reached a")
    assert failed(scene).cause == "b reached a"


def test_a_phase_that_waits_says_for_what_and_why_it_could_not_be_told(scene):
    scene.condition("PathRefused", "b->a", status="unknown", message="no answer within 5 s")
    assert phases(scene.desired, scene.world, scene.conditions)[6].message.endswith(", waiting for b->a (no answer within 5 s)")


def test_every_check_belongs_to_a_phase_and_comes_in_phase_order(scene):
    order = [PHASES.index(c.phase) for c in checks(scene.desired, scene.world, scene.conditions)]
    assert order == sorted(order)
    assert set(order) == set(range(7))
