"""`qd explain` of what runs, and of a field."""

import pytest


def test_explain_is_one_screen(fake, qd, documents):
    fake.answers["GET", "/v1/explain"] = {
        "kind": "Explanation",
        "target": "analysts/analyst",
        "sentence": "5 of 5 ready",
        "spec": {"replicas": 3},
        "desired": {"replicas": 5},
        "state": {"replicas": [{"name": "analysts/analyst-0", "state": "ready", "reason": "", "pid": 7, "restarts": 0}]},
        "changes": [{"id": 12, "author": "human", "patch": {"field": "replicas", "value": 5}, "reason": "load test", "until": None}],
        "plan": [],
        "conditions": [{"kind": "AgentAnswers", "status": "true", "message": "", "evidence": "1 ms"}],
        "journal": [documents.record(7)],
    }
    assert qd("explain", "analysts/analyst").out.splitlines() == [
        "analysts/analyst: 5 of 5 ready",
        "  Spec        replicas 3",
        "  Desired     replicas 5",
        "  State       analysts/analyst-0 ready, pid 7",
        '  Changes     human change 12: replicas 5, "load test"',
        "  Plan        nothing to do",
        "  Conditions  AgentAnswers true: 1 ms",
        "  Journal     7 2026-11-24 16:12:01.250 uid:0 apply triage done (first)",
    ]


def test_a_system_is_called_by_its_name_with_one_colon_behind_it(fake, qd):
    fake.answers["GET", "/v1/explain"] = {"target": "hello:", "sentence": "agents: 3 of 3 ready"}
    assert qd("explain", "hello:").out.splitlines()[0] == "hello: agents: 3 of 3 ready"
    assert qd("explain", "hello:", "-o", "name").out == "hello:\n"


def test_explain_shows_the_last_plan_that_was_carried_out_beside_what_is_pending(fake, qd, documents):
    step = {"at": "2026-11-24T16:12:02.500Z", "target": "analysts/analyst", "reason": "replicas 3 → 5"}
    failed = {**step, "outcome": "failed", "evidence": "no room", "reason": "replicas 5 → 6"}
    edit = {"at": "2026-11-24T16:12:01Z", "verb": "revision.apply", "target": "triage", "actor": "uid:0", "reason": "more", "revision": 4}
    explained = {"target": "analysts/analyst", "sentence": "5 of 6 ready", "plan": [documents.steps[2]]}
    steps = [{**step, "outcome": "done"}, failed, {**step, "outcome": "begun"}]
    explained["carried_out"] = {"at": step["at"], "edit": edit, "steps": steps}
    fake.answers["GET", "/v1/explain"] = explained
    assert qd("explain", "analysts/analyst").out.splitlines()[1:] == [
        '  Carried out for revision 4 of 2026-11-24 16:12:01.000 by uid:0 ("more")',
        "              2026-11-24 16:12:02.500 analysts/analyst replicas 3 → 5: done",
        "              2026-11-24 16:12:02.500 analysts/analyst replicas 5 → 6: failed (no room)",
        "              2026-11-24 16:12:02.500 analysts/analyst replicas 3 → 5: begun, and not ended",
        "  Plan        + analysts/analyst 2 replicas",
    ]
    change = {**edit, "verb": "change.add", "target": "analysts/analyst", "revision": None, "reason": ""}
    explained["carried_out"] = {"at": step["at"], "edit": change, "steps": [{**step, "outcome": "done"}] * 12}
    lines = qd("explain", "analysts/analyst").out.splitlines()
    assert lines[1:3] == [
        "  Carried out for change.add analysts/analyst of 2026-11-24 16:12:01.000 by uid:0",
        "              2 steps before these",
    ]
    explained["carried_out"]["edit"] = None
    assert qd("explain", "analysts/analyst").out.splitlines()[1] == "  Carried out for an edit elsewhere"


@pytest.mark.parametrize(("bounds", "written"), [([3, 3], "replicas 3"), ([3, 6], "replicas 3 to 6")])
def test_explain_tells_the_spec_as_it_is_written_and_what_is_wanted_now_apart(fake, qd, bounds, written):
    fake.answers["GET", "/v1/explain"] = {
        "target": "analysts/analyst",
        "sentence": "5 of 5 ready",
        "spec": {"replicas": 5, "bounds": bounds, "memory": 1 << 29, "rollout": {"surge": 1, "drain": 10.0}},
        "desired": {"revision": 1},
        "conditions": [
            {"kind": "AgentAnswers", "target": "analysts/analyst", "status": "true", "message": "1 ms"},
            {"kind": "LinkOpen", "target": "analysts->reporting", "status": "true", "message": "2 ms"},
        ],
    }
    assert qd("explain", "analysts/analyst").out.splitlines()[1:] == [
        f"  Spec        {written}",
        "              memory 512 MiB",
        "              rollout surge 1, drain 10 s",
        "  Desired     replicas 5",
        "              revision 1",
        "  Plan        nothing to do",
        "  Conditions  AgentAnswers true: 1 ms",
        "              LinkOpen analysts->reporting true: 2 ms",
    ]


def test_explain_a_field_needs_no_control_plane(home, qd):
    ran = qd("explain", "spec.clusters.agents.replicas")
    assert ran.code == 0
    assert "How many copies run" in ran.out
    assert qd("explain", "spec.clusers").code == 3
