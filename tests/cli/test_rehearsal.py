"""`--dry-run`: the plan is shown, and nothing is changed."""

import pytest

SYSTEM = {"apiVersion": "quarterdeck.dev/v1alpha1", "kind": "Plan"}


@pytest.mark.parametrize(
    ("arguments", "method", "path"),
    [
        (("scale", "analysts/analyst", "5", "--reason", "x"), "POST", "/v1/changes"),
        (("restart", "analysts/analyst", "--reason", "x"), "POST", "/v1/changes"),
        (("quarantine", "analysts/analyst-1", "--reason", "x"), "POST", "/v1/changes"),
        (("hold", "analysts/analyst", "--reason", "x"), "POST", "/v1/changes"),
        (("release", "analysts/analyst", "--reason", "x"), "POST", "/v1/changes/release"),
        (("revert", "12"), "DELETE", "/v1/changes/12"),
        (("stop", "fleet", "--reason", "x"), "POST", "/v1/stops/fleet"),
        (("stop", "cluster", "analysts", "--reason", "x"), "POST", "/v1/stops"),
        (("stop", "agent", "analysts/analyst", "--reason", "x"), "POST", "/v1/stops"),
    ],
)
def test_the_plan_is_printed_and_only_planned(fake, qd, documents, arguments, method, path):  # noqa: PLR0917 fixtures
    fake.answers[method, path] = documents.plan(documents.steps[2:])
    ran = qd(*arguments, "--dry-run")
    ((query, body),) = fake.asked(method, path)
    assert (body or {}).get("dry_run") is True or query.get("dry_run") == "true"
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == "agent_cluster_deployment\n  + analysts/analyst 2 replicas\n\nPlan: 1 to add, 0 to change, 0 to remove · index 41\n"
    assert len(fake.requests) == 1
    assert qd(*arguments, "--dry-run", "-o", "json").json["kind"] == "Plan"


def test_a_stop_of_every_system_has_a_plan_for_each(fake, qd, documents):
    fake.answers["POST", "/v1/stops/fleet"] = documents.listed([documents.plan([]), documents.plan()])
    ran = qd("stop", "fleet", "--reason", "x", "--dry-run")
    assert ran.out.count("Plan: ") == 2
    assert qd("stop", "fleet", "--reason", "x", "--dry-run", "-o", "json").json["kind"] == "List"


def test_a_rehearsed_stop_never_goes_past_an_absent_control_plane(home, qd):
    ran = qd("stop", "fleet", "--reason", "x", "--dry-run")
    assert ran.code == 5
    assert "no control plane answers" in ran.err
    assert list(home.root.iterdir()) == []


def test_a_rehearsed_down_says_what_would_be_ended_and_ends_nothing(fake, qd, home):
    ran = qd("down", "--dry-run", "--purge")
    assert ran.code == 0
    assert f" would end     socket {home.api_socket}\n" in ran.out
    assert f" would remove  state in {home.root}\n" in ran.out
    assert not home.stop_order.exists()
    assert not fake.asked("POST", "/v1/down")
    assert qd("status").code == 0
    document = qd("down", "--dry-run", "-o", "json").json
    assert (document["kind"], document["dry_run"], document["removes"]) == ("Down", True, [])


def test_a_rehearsed_down_of_one_system_names_its_replicas(fake, qd):
    ran = qd("down", "--dry-run", "-s", "triage")
    assert ran.out.splitlines() == [
        " would end     replica analysts/analyst-0, pid 100",
        " would end     replica analysts/analyst-1, pid 101",
        " would remove  system triage",
    ]


def test_where_nothing_runs_nothing_would_be_ended(home, qd):
    assert qd("down", "--dry-run").out == " nothing is running\n"


def test_a_revision_is_named_by_its_place_or_by_its_option(fake, qd, documents):
    fake.answers["POST", "/v1/rollback"] = documents.plan([])
    for arguments in (("3",), ("--revision", "3"), ("3", "--revision", "3")):
        assert qd("rollback", *arguments, "--dry-run").code == 0
    assert [body["to"] for _, body in fake.asked("POST", "/v1/rollback")] == [3, 3, 3]
    ran = qd("rollback", "2", "--revision", "3")
    assert (ran.code, len(fake.asked("POST", "/v1/rollback"))) == (2, 3)
    assert "2 and --revision 3 are two revisions" in ran.err
