"""What is there, what nobody serves, and which Conditions tell of something that is gone."""

from dataclasses import replace

import pytest

from quarterdeck.deploy import nouns
from quarterdeck.deploy.converged import QUARANTINED, due, isolated, outdated
from quarterdeck.deploy.evidence import proof
from quarterdeck.deploy.status import status

WHY = 'no replica serves: writer-0 quarantined (human change 7, "odd")'


def document(scene):
    return status(scene.look(), scene.now, engine="memory", weakenings=())


def gone(scene):
    return {(c.kind, c.target) for c in outdated(scene.desired, scene.world, scene.conditions)}


def test_an_agent_whose_every_replica_is_quarantined_is_not_whole_and_the_sentence_says_why(scene):
    scene.quarantine("b/writer", 0)
    scene.condition("AgentAnswers", "b/writer", status="false", reason=QUARANTINED, message=WHY)
    found = document(scene)
    assert not found["ready"]
    assert found["agents"] == {"ready": 2, "desired": 3}
    assert found["sentence"] == "agents: 2 of 3 ready, nobody serves b/writer: quarantined"
    assert (found["failure"]["step"], found["failure"]["target"], found["failure"]["cause"]) == ("AgentAnswers", "b/writer", WHY)
    assert [c["health"] for c in nouns.clusters(scene.look(), "")] == ["healthy", "down"]
    assert nouns.agents(scene.look())[1]["reason"] == WHY
    assert nouns.explain(scene.look(), "b/writer")["sentence"] == f"0 of 1 answering: {WHY}"


def test_the_others_of_a_quarantined_replica_carry_on(scene):
    scene.quarantine("a/reader", 1)
    found = document(scene)
    assert (found["ready"], found["agents"]) == (True, {"ready": 2, "desired": 2})


def test_a_quarantine_is_named_with_or_without_the_change_that_made_it(scene):
    scene.quarantine("b/writer", 0)
    writer = scene.desired.workload("b/writer")
    assert isolated(writer) == WHY
    assert isolated(replace(writer, because=())) == "no replica serves: writer-0 quarantined"
    assert isolated(replace(writer, replicas=0, stopped=True, quarantined=frozenset())) == ""


@pytest.mark.parametrize(("generation", "reason"), [(1, None), (2, "desired state changed")])
def test_a_proof_that_a_quarantine_refutes_is_tried_again_when_something_was_changed(scene, generation, reason):
    scene.condition("AgentAnswers", "b/writer", status="false", reason=QUARANTINED, age=9999)
    assert due(proof("AgentAnswers"), scene.conditions["AgentAnswers", "b/writer"], generation, scene.now) == reason


def test_proofs_of_a_removed_link_and_agent_are_outdated_at_once_and_attempts_once_nothing_is_left(scene):
    rest = {("Step:EnsureLink", "a->b"), ("Step:ApplyWorkload", "b/writer"), ("BusIntact", "b/writer")}
    for kind, target in (*rest, ("Step:EnsureBus", "bus"), ("RecoveredFromCrash", "s")):
        scene.condition(kind, target)
    assert gone(scene) == set()
    scene.desired = replace(scene.desired, links=(), workloads=scene.desired.workloads[:1])
    proofs = {(kind, "a->b") for kind in ("LinkOpen", "LinkCarries")} | {(kind, "b/writer") for kind in ("LogsArriving", "AgentAnswers")}
    assert gone(scene) == proofs | {("PathRefused", "b->a")}
    scene.world = replace(scene.world, links=(), workloads=scene.world.workloads[:1])
    assert gone(scene) == proofs | {("PathRefused", "b->a")} | rest


def test_a_loss_is_told_of_although_the_agent_is_gone(scene):
    scene.condition("BusIntact", "b/nobody", status="false")
    assert gone(scene) == set()


def test_a_link_that_is_new_outdates_the_proof_that_the_path_was_closed(scene):
    scene.condition("PathClosed", "a->b")
    assert gone(scene) == {("PathClosed", "a->b")}
