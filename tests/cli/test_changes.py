"""What people change: scale, restart, quarantine, hold, release, revert."""

import pytest

from quarterdeck.clock import SystemClock


@pytest.mark.parametrize(
    ("arguments", "field", "value"),
    [
        (("scale", "analysts/analyst", "5"), "replicas", 5),
        (("quarantine", "analysts/analyst-1"), "quarantined", True),
        (("hold", "analysts/analyst"), "hold", True),
    ],
)
def test_changes_are_proposed(fake, qd, arguments, field, value):
    fake.answers["POST", "/v1/changes"] = lambda _, body, __: {"id": 12, **body}
    ran = qd(*arguments, "--reason", "load test")
    body = fake.asked("POST", "/v1/changes")[0][1]
    assert ran.code == 0
    assert (body["target"], body["field"], body["value"], body["reason"]) == (arguments[1], field, value, "load test")
    assert ran.out.startswith("change 12: ")
    assert "qd revert 12" in ran.err


ENDED = [
    {"id": n, "target": "analysts/analyst-1", "patch": {"field": field, "value": True}, "reason": why, "state": "reverted"}
    for n, field, why in ((3, "quarantined", "wrong answers"), (7, "hold", "hands \x1b[31moff"))
]


@pytest.mark.parametrize(
    ("options", "out"),
    [
        ((), "change 3 has ended: analysts/analyst-1 quarantined, wrong answers\nchange 7 has ended: analysts/analyst-1 hold, hands off\n"),
        (("-o", "name"), "3\n7\n"),
    ],
)
def test_a_release_says_what_it_ended(fake, qd, documents, options, out):
    fake.answers["POST", "/v1/changes/release"] = documents.listed(ENDED)
    ran = qd("release", "other:analysts/analyst-1", "--reason", "looked at", *options)
    body = {"system": "other", "target": "analysts/analyst-1", "reason": "looked at"}
    assert fake.asked("POST", "/v1/changes/release") == [({}, body)]
    assert (ran.code, ran.out) == (0, out)
    assert "next: qd explain analysts/analyst-1" in ran.err or options


def test_a_release_needs_a_reason(fake, qd):
    assert qd("release", "analysts/analyst-1", "--reason", " ").code == 2
    assert fake.asked("POST", "/v1/changes/release") == []


def test_restart_names_this_moment_and_until_is_epoch_seconds(fake, qd):
    fake.answers["POST", "/v1/changes"] = lambda _, body, __: {"id": 1, **body}
    qd("restart", "other:analysts/analyst", "--reason", "x")
    body = fake.asked("POST", "/v1/changes")[0][1]
    assert abs(body["value"] - SystemClock().now()) < 60
    assert (body["system"], body["target"]) == ("other", "analysts/analyst")
    qd("scale", "analysts/analyst", "5", "--until", "2h", "--reason", "x")
    assert abs(fake.asked("POST", "/v1/changes")[1][1]["until"] - SystemClock().now() - 7200) < 60


def test_a_number_that_is_not_granted_is_said_to_be_cut(fake, qd, documents):
    fake.answers["POST", "/v1/changes"] = lambda _, body, __: {"id": 12, **body}
    because = ['replicas 2 → 4 (human change 12, "x", asked for 500, the quota of analysts leaves 4)']
    agent = {"name": "analysts/analyst", "replicas": {"ready": 2, "desired": 4, "min": 2, "max": 2}, "because": because}
    fake.answers["GET", "/v1/agents"] = documents.listed([agent])
    assert f"warning: analysts/analyst gets 4, not 500: {because[0]}\n" in qd("scale", "analysts/analyst", "500", "--reason", "x").err
    assert "warning" not in qd("scale", "analysts/analyst", "4", "--reason", "x").err


def test_a_change_without_a_reason_is_asked_for_one(fake, qd):
    ran = qd("restart", "analysts/analyst", "--reason", " ")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: a change needs a reason [E1002]\nhint: --reason ")
    assert not fake.asked("POST", "/v1/changes")


def test_a_change_that_has_ended_is_refused_without_a_traceback(fake, qd, documents):
    fake.answers["DELETE", "/v1/changes/12"] = documents.refused("InvalidTransition", 500, 1, "Change: reverted cannot become reverted")
    ran = qd("revert", "12")
    assert (ran.code, ran.err) == (1, "error: Change: reverted cannot become reverted [E1000]\n")


def test_revert(fake, qd):
    fake.answers["DELETE", "/v1/changes/12"] = {"id": 12, "state": "reverted"}
    assert qd("revert", "12", "--reason", "done").out == "change 12 is reverted\n"
    assert fake.asked("DELETE", "/v1/changes/12")[0][0] == {"reason": "done"}


def test_a_restart_is_told_as_done_once_and_no_revert_of_it_is_proposed(fake, qd, documents):
    fake.answers["POST", "/v1/changes"] = lambda _, body, __: {"id": 3, **body}
    ran = qd("restart", "analysts/analyst", "--reason", "r")
    assert ran.out == "change 3: analysts/analyst restart\n"
    assert "next: qd explain analysts/analyst · qd get changes\n" in ran.err
    change = {"id": 3, "target": "analysts/analyst", "patch": {"field": "restart_before", "value": 1764531372.5}, "reason": "r"}
    fake.answers["GET", "/v1/changes"] = documents.listed([{**change, "state": "live"}])
    row = qd("get", "changes").out.splitlines()[1]
    assert row.split() == ["3", "analysts/analyst", "restart", "-", "done", "r"]
    assert qd("get", "changes", "-o", "json").json["items"][0]["state"] == "live", "a program reads what is kept"
    fake.answers["GET", "/v1/changes"] = documents.listed([{**change, "state": "reverted"}])
    assert "reverted" in qd("get", "changes").out


def test_a_number_that_is_cut_is_told_with_what_cuts_it(fake, qd, documents):
    change = {"id": 1, "target": "analysts/analyst", "patch": {"field": "replicas", "value": 99}, "state": "live", "reason": "many"}
    fake.answers["GET", "/v1/changes"] = documents.listed([{**change, "cut": "at most 4"}, {**change, "cut": None}])
    told = [line for line in qd("get", "changes").out.splitlines() if "replicas" in line]
    assert ["99, at most 4" in line for line in told] == [True, False]
