"""Plans as they are shown, and their exit codes."""

import pytest


def test_plan_is_grouped_by_phase_and_ends_with_the_index(fake, qd):
    ran = qd("plan")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == (
        "infrastructure_provisioning\n  + analysts not there yet\n"
        "service_mesh_configuration\n  + analysts->reporting not open\n"
        "agent_cluster_deployment\n  + analysts/analyst 2 replicas\n"
        "\nPlan: 3 to add, 0 to change, 0 to remove · index 41\n"
    )


def test_plan_json_is_the_document(fake, qd):
    document = qd("plan", "quarterdeck.yaml", "-o", "json").json
    assert (document["kind"], document["index"], set(document["steps"][0])) == ("Plan", 41, {"phase", "action", "target", "reason"})


@pytest.mark.parametrize(
    ("steps", "options", "code"), [(None, (), 0), (None, ("--detailed-exitcode",), 2), ([], ("--detailed-exitcode",), 0)]
)
def test_detailed_exit_code(fake, qd, documents, steps, options, code):  # noqa: PLR0917 fixtures
    if steps is not None:
        fake.answers["POST", "/v1/plan"] = documents.plan(steps)
    assert qd("plan", *options).code == code


def test_plan_shows_changes_with_their_reason(fake, qd, documents):
    why = 'replicas 3 → 5 (human change 12, "load test", until 18:00)'
    fake.answers["POST", "/v1/plan"] = documents.plan([{**documents.steps[2], "action": "change", "reason": why}])
    assert f"  ~ analysts/analyst {why}\n" in qd("plan").out


def test_warnings_keep_their_excerpt_on_stderr(fake, qd, documents):
    fake.answers["POST", "/v1/plan"] = {**documents.plan(), "warnings": ["f.yaml:1:2: odd\n  1 | x\n    | ^"]}
    ran = qd("plan")
    assert ran.err == "warning: f.yaml:1:2: odd\n  1 | x\n    | ^\n"
    assert qd("plan", "-q").err == ""


def test_apply_returns_at_once(fake, qd):
    ran = qd("apply", "--index", "41", "--reason", "why")
    assert (ran.code, ran.out) == (0, "revision 1 of triage applied · index 42\n")
    body = fake.asked("POST", "/v1/apply")[0][1]
    assert (body["index"], body["reason"]) == (41, "why")
    assert not fake.asked("GET", "/v1/status")
