"""The readiness score: executed evidence and its age, nothing else."""

from dataclasses import replace

import pytest

from quarterdeck.deploy.evidence import DEEP, PROOFS
from quarterdeck.deploy.readiness import RULES, Now, readiness


def score(scene):
    return readiness(scene.desired, scene.conditions, scene.now)


def point(scene, name):
    return next(p for p in score(scene).points if p.name == name)


def test_the_rules_sum_to_a_hundred_and_name_proofs_that_exist():
    assert sum(r.possible for r in RULES) == 100
    known = {p.kind for p in (*PROOFS, *DEEP)} | {"RecoveredFromCrash", "EffectsCounted"}
    assert {kind for r in RULES for kind in r.kinds} == known


def test_without_evidence_the_score_is_zero(scene):
    scene.conditions.clear()
    assert score(scene).score == 0


def test_every_proof_of_a_deployment_counts(scene):
    assert score(scene).score == 34


def test_what_this_version_cannot_prove_scores_zero_and_says_so(scene):
    found = [p for p, r in zip(score(scene).points, RULES, strict=True) if not r.kinds]
    assert found
    assert {(p.earned, p.evidence) for p in found} == {(0, "not in this version")}


def test_the_next_proofs_name_only_commands_of_this_version_cheapest_first(scene):
    assert score(scene).next == (
        "qd validate --deep, +4",
        "give a task whose agent calls ctx.effect: qd task submit --help, +8",
        "kill -9 the process of a replica; its pid: qd get replicas, +4",
    )
    scene.conditions.clear()
    assert score(scene).next[0] == "qd validate, +34"  # one command, told once


@pytest.mark.parametrize(("age", "earned"), [(300.0, 7), (301.0, 3), (3000.0, 3), (3001.0, 0)])
def test_evidence_decays_to_half_and_then_to_nothing(scene, age, earned):
    for target in ("a/reader", "b/writer"):
        scene.condition("AgentAnswers", target, age=age)
    assert point(scene, "every replica answers and takes work").earned == earned


@pytest.mark.parametrize("status", ["false", "unknown"])
def test_one_target_that_does_not_hold_costs_the_whole_rule(scene, status):
    scene.condition("AgentAnswers", "b/writer", status=status)
    found = point(scene, "every replica answers and takes work")
    assert (found.earned, found.evidence, found.age_seconds) == (0, "1 of 2 proofs hold", None)


def test_a_point_links_its_evidence_and_the_age_of_the_oldest(scene):
    scene.condition("AgentAnswers", "b/writer", age=40)
    found = point(scene, "every replica answers and takes work")
    assert found.evidence == "AgentAnswers a/reader: AgentAnswers held; AgentAnswers b/writer: AgentAnswers held"
    assert found.age_seconds == 40


def test_a_rule_without_targets_earns_nothing_and_is_no_advice(scene):
    scene.desired = replace(scene.desired, links=(), namespaces=scene.desired.namespaces[:1], workloads=scene.desired.workloads[:1])
    for name in ("links carry messages", "clusters isolated"):
        found = point(scene, name)
        assert (found.earned, found.evidence, found.age_seconds) == (0, "nothing to prove in this system", None)
    assert not any(step.startswith("qd validate,") for step in score(scene).next)
    scene.conditions.clear()
    assert [step for step in score(scene).next if step.startswith("qd validate,")] == ["qd validate, +23"]


def test_a_quarantine_that_leaves_nobody_to_answer_is_advised_to_be_ended(scene):
    scene.condition("AgentAnswers", "b/writer", status="false", reason="Quarantined")
    assert score(scene).next[0] == "qd validate --deep, +4"
    assert "end the quarantine in b/writer: qd release, +7" in score(scene).next


def test_work_done_with_effects_counts_and_an_effect_that_may_be_lost_takes_it_away(scene):
    scene.condition("EffectsCounted", age=60)
    assert (point(scene, "work done once, effects counted").earned, score(scene).score) == (8, 42)
    scene.condition("EffectsCounted", status="false")
    assert (point(scene, "work done once, effects counted").earned, score(scene).score) == (0, 34)
    assert score(scene).next[0] == "qd task resolve, +8"


def test_a_healed_crash_counts_for_a_week(scene):
    scene.condition("RecoveredFromCrash", age=6 * 86400)
    assert point(scene, "recovered from a crash").earned == 4
    scene.condition("RecoveredFromCrash", age=8 * 86400)
    assert point(scene, "recovered from a crash").earned == 2


def test_an_old_proof_does_not_speak_against_what_is_seen_now(scene):
    for target in ("a/reader", "b/writer"):
        scene.condition("AgentAnswers", target, age=40.0)
    name, sound = "every replica answers and takes work", {"a/reader": Now(), "b/writer": Now()}

    def found(**seen):
        points = readiness(scene.desired, scene.conditions, scene.now, {**sound, **seen}).points
        return next(p for p in points if p.name == name)

    assert found().earned == 7
    failed = found(**{"b/writer": Now("0 of 1 answering")})
    assert (failed.earned, failed.evidence) == (0, "no longer so: b/writer: 0 of 1 answering; the last proof is 40 s old")
    changed = found(**{"b/writer": Now(changed=scene.now - 5)})
    assert changed.earned == 7
    assert "(40 s ago, before its replicas changed)" in changed.evidence
