"""The other verbs against the fake: shapes, exit codes, words on stderr."""

import json

import pytest
from ruamel.yaml import YAML

from quarterdeck.cli.get import following
from quarterdeck.clock import SystemClock
from quarterdeck.version import VERSION


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


def test_status_is_one_screen(fake, qd):
    ran = qd("status")
    assert (ran.code, ran.err) == (0, "")
    assert " triage is ready · revision 1 · local engine · agents: 2 of 2 ready\n" in ran.out
    assert " Replicas         2 of 2 ready, at most 4\n" in ran.out
    assert " Readiness        38 of 100 · next: qd validate --deep, +4\n" in ran.out
    assert " Limits journal   records 12, limit 1000\n" in ran.out
    assert " Weakened         unsandboxed; cgroup v1\n" in ran.out


LIMITS = {
    "store": {
        "database_bytes": 4096, "wal_bytes": 2 << 20, "kept_after_failure_bytes": 0, "head_file_bytes": 512,
        "journal_records": 62, "journal_records_limit": 1_000_000, "journal_bytes": 30_000, "journal_bytes_limit": 512 << 20,
    },
    "bus": {"bytes": 0, "per_agent_limit": 32 << 20},
    "logs": {"bytes": 3072, "per_replica_limit": 10 << 20},
    "revisions": {"kept": 3, "limit": 10},
    "some_thing": {"used_up": 1},
}  # fmt: skip


def test_limits_are_told_in_words_with_their_use(fake, qd, documents):
    fake.statuses = [{**documents.status(), "limits": LIMITS}]
    out = qd("status").out
    assert out[out.index(" Limits") : out.index(" Weakened")] == (
        " Limits store     database 4 KiB, write-ahead log 2 MiB, head file 512 B\n"
        "        journal   62 of 1000000 records, 29.3 KiB of 512 MiB\n"
        "        bus       0 B, at most 32 MiB an agent\n"
        "        logs      3 KiB, at most 10 MiB a replica\n"
        "        revisions 3 of 10 kept\n"
        "        some_thing used up 1\n"
    )
    assert qd("status", "-o", "json").json["limits"] == LIMITS


def test_status_json_passes_the_document_through(fake, qd, documents):
    assert qd("status", "-o", "json").json == documents.status()


def test_status_yaml(fake, qd, documents):
    assert YAML(typ="safe").load(qd("status", "-o", "yaml").out) == documents.status()


def test_shared_options_work_before_and_after_the_verb(fake, qd):
    assert qd("-s", "triage", "-o", "json", "status").json["kind"] == "Status"
    assert fake.requests[-1][2] == {"system": "triage"}
    assert qd("-s", "one", "status", "-s", "two").code == 0
    assert fake.requests[-1][2] == {"system": "two"}


def test_get_is_a_table_in_a_pipe_without_colour_or_cuts(fake, qd):
    ran = qd("get", "replicas", "-o", "wide")
    first, *rows = ran.out.splitlines()
    assert first.split() == ["NAME", "STATE", "PID", "RESTARTS", "AGE", "REASON", "INCARNATION", "REVISION", "LAST", "EXIT"]
    assert rows[1].split()[:4] == ["analysts/analyst-1", "starting", "101", "1"]
    assert rows[1].endswith("signal 9")
    assert "\x1b" not in ran.out


def test_get_json_is_a_list_document(fake, qd, documents):
    assert qd("get", "replicas", "-o", "json").json == documents.listed(documents.replicas)


def test_get_one_by_singular_and_name(fake, qd):
    assert [item["pid"] for item in qd("get", "replica", "analysts/analyst-1", "-o", "json").json["items"]] == [101]
    assert qd("get", "replicas", "-o", "name").out == "analysts/analyst-0\nanalysts/analyst-1\n"


def test_an_empty_list_says_how_to_fill_it_on_stderr(fake, qd):
    ran = qd("get", "changes")
    assert (ran.code, ran.out) == (0, "")
    assert "qd scale makes one" in ran.err
    assert qd("get", "changes", "-o", "json").json["items"] == []


def message(n, **more):
    return {"kind": "Message", "id": f"{n:032x}", "state": "dead", "from": "a/b-0", "target": "c/d", "key": f"order-{n}", **more}


def test_messages_are_filtered_and_paged_as_tasks_are(fake, qd):
    pages = {None: ([message(2), message(1)], 1), "1": ([message(0)], None)}

    def answer(query, *_):
        items, following = pages[query.get("before")]
        return {"apiVersion": "quarterdeck.dev/v1alpha1", "kind": "List", "items": items, "next": following}

    fake.answers["GET", "/v1/messages"] = answer
    ran = qd("get", "messages", "--state", "dead", "--key", "order-", "--target", "c/d", "-o", "json")
    assert [item["key"] for item in ran.json["items"]] == ["order-2", "order-1", "order-0"]
    assert [query["before"] for _, path, query, *_ in fake.requests if path == "/v1/messages" and "before" in query] == ["1"]
    assert fake.requests[-1][2].items() >= {"state": "dead", "key": "order-", "target": "c/d"}.items()
    assert qd("message", "list", "--key", "order-", "--limit", "2", "-o", "name").out.splitlines() == [f"{2:032x}", f"{1:032x}"]


def test_one_message_is_found_by_its_id_however_many_there_are(fake, qd):
    fake.answers["GET", f"/v1/messages/{5:032x}"] = {"apiVersion": "quarterdeck.dev/v1alpha1", **message(5)}
    assert [item["key"] for item in qd("get", "message", f"{5:032x}", "-o", "json").json["items"]] == ["order-5"]


@pytest.mark.parametrize("arguments", [("replicas", "--state", "ready"), ("effects", "--key", "x"), ("budgets", "--target", "a/b")])
def test_a_filter_that_a_noun_does_not_have_is_a_usage_error(fake, qd, arguments):
    ran = qd("get", *arguments)
    assert ran.code == 2
    assert "--state, --target and --key are for tasks and messages" in ran.err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("get", "replicas", "nobody/nowhere-7"), 3),
        (("get", "replcas"), 2),
        (("explain", "nobody/nowhere"), 3),
        (("statu",), 2),
        (("scale", "analysts/analyst"), 2),
        (("scale", "analysts/analyst", "many"), 2),
        (("status", "--nonsense"), 2),
        (("wait", "--for", "sunshine"), 2),
        (("wait", "--for", "analysts/analyst=reday"), 2),
        (("ask", "nonsense", "x"), 2),
        (("logs", "--tail", "-1"), 2),
        (("journal", "nonsense"), 2),
        (("up", "--port"), 2),
        (("logs", "--since", "yesterday"), 2),
        (("status",), 0),
    ],
)
def test_exit_codes(fake, qd, arguments, code):
    ran = qd(*arguments)
    assert ran.code == code
    assert "Traceback" not in ran.err
    assert bool(ran.err) == bool(code)
    if code:
        assert ran.err.startswith("error: ")
        assert "\nhint: " in ran.err


def test_a_line_that_typer_refuses_is_told_like_every_other_error(fake, qd):
    assert qd("rollback", "x").err == (
        "error: invalid value for 'REVISION': Input should be a valid integer, unable to parse string as an integer [E1002]\n"
        "hint: usage: qd rollback [OPTIONS] [REVISION] · more: qd rollback --help\n"
    )
    assert qd("statu").err == "error: there is no verb 'statu'; did you mean 'status'? [E1002]\nhint: more: qd --help\n"


@pytest.mark.parametrize(
    ("kind", "http", "code", "known"),
    [
        ("Forbidden", 403, 4, "E1004"),
        ("Transient", 503, 5, "E1005"),
        ("StoreReadOnly", 507, 5, "E1006"),
        ("Conflict", 409, 1, "E1007"),
        ("Strange", 500, 1, "E1000"),
    ],
)
def test_exit_codes_come_from_the_answer(fake, qd, documents, kind, http, code, known):  # noqa: PLR0917 fixtures
    fake.answers["GET", "/v1/status"] = documents.refused(kind, http, code, "the reason", hint="do this", where="here")
    ran = qd("status")
    assert (ran.code, ran.out, ran.err) == (code, "", f"error: the reason [{known}]\n  at: here\nhint: do this\n")


def test_nobody_answers(home, qd):
    ran = qd("status")
    assert ran.code == 5
    assert ran.err.startswith(f"error: no control plane answers for {home.root} [E1013]\n")
    assert ran.err.endswith("hint: start one with qd up\n")


@pytest.mark.parametrize("text", ["<html>", ""])
def test_an_answer_that_is_no_json_is_no_traceback(fake, qd, text):
    fake.answers["GET", "/v1/status"] = lambda *_: iter([text])
    ran = qd("status")
    assert (ran.code, ran.err.splitlines()[0]) == (5, "error: GET /v1/status: the answer is not JSON [E1005]")


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


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--for", "condition=Ready"), 0),
        (("analysts/analyst-0", "--for", "ready"), 0),
        (("analysts/analyst-0", "--for", "condition=ready"), 0),
        (("analysts/analyst-0",), 0),
        (("analysts/analyst-1", "--for", "starting"), 0),
        (("triage:", "--for", "ready"), 0),
        (("triage:", "--for", "starting"), 2),
        (("analysts/analyst", "--for", "ready", "--timeout", "50ms"), 5),
        (("analysts", "--for", "ready", "--timeout", "50ms"), 5),
        (("analysts/analyst-7", "--timeout", "50ms"), 5),
    ],
)
def test_wait_for_a_target(fake, qd, arguments, code):
    assert qd("wait", *arguments).code == code


def test_wait(fake, qd, documents):
    fake.statuses = [documents.status(3, "running")] * 2 + [documents.status()]
    assert qd("wait", "--for", "ready").code == 0
    assert qd("wait", "--for", "analysts/analyst-0=ready").code == 0
    ran = qd("wait", "--for", "analysts/analyst=ready", "--timeout", "200ms")
    assert ran.code == 5
    assert "ready, starting" in ran.err


def test_validate(fake, qd):
    items = [{"name": "links", "status": "passed", "evidence": "4 ms", "age_seconds": 1.2}]
    fake.answers["POST", "/v1/validate"] = {"kind": "Validation", "items": items, "readiness": {"score": 40, "next": []}, "ok": True}
    ran = qd("validate", "--deep")
    assert fake.asked("POST", "/v1/validate")[0][1] == {"deep": True}
    assert (ran.code, ran.out) == (0, "CHECK  STATUS  AGE  EVIDENCE\nlinks  passed  1 s  4 ms\nreadiness 40 of 100\n")
    fake.answers["POST", "/v1/validate"] = {"kind": "Validation", "items": items, "readiness": {}, "ok": False}
    assert qd("validate").code == 1


def test_ask(fake, qd):
    fake.answers["POST", "/v1/ask"] = lambda _, body, __: {"reply": body["payload"], "from": "collectors/intake-0", "ms": 1.5}
    ran = qd("ask", "collectors/intake", "submit", '{"a": [1]}')
    assert (ran.code, json.loads(ran.out), ran.err) == (0, {"a": [1]}, "collectors/intake-0 answered in 1.5 ms\n")
    ran = qd("ask", "collectors/intake", "submit", "hello")
    assert ran.code == 2
    assert "not JSON" in ran.err


@pytest.mark.parametrize(
    ("digests", "current", "possible"),
    [("a", 1, False), ("ab", 2, True), ("ab", 1, False), ("aa", 2, False), ("aba", 3, True)],
)
def test_going_back_is_recommended_only_where_there_is_something_to_go_back_to(digests, current, possible):
    items = [{"number": n, "current": n == current, "digest": digest} for n, digest in enumerate(digests, 1)]
    assert ("qd rollback" in following("revisions", items[::-1])) == possible


def test_what_is_recommended_below_a_list_works_with_what_is_in_it():
    ended, live = ({"id": n, "state": state} for n, state in ((9, "reverted"), (7, "live")))
    assert following("changes", [ended, live]) == "qd revert 7"
    assert "revert" not in following("changes", [ended])
    effect = {"task": "01M8", "key": "pay", "outcome": "unknown"}
    assert following("effects", [effect]).startswith("qd task resolve 01M8 pay ")
    assert "resolve" not in following("effects", [{**effect, "outcome": "done"}])
    assert "resume" in following("budgets", [{"name": "a", "tripped": None}, {"name": "b", "tripped": {"reason": "x"}}])
    assert "resume" not in following("budgets", [{"name": "a", "tripped": None}])


def test_history_and_rollback(fake, qd, documents):
    fake.answers["GET", "/v1/revisions"] = documents.listed(
        [{"number": 1, "current": True, "at": "2026-11-24T16:12:01Z", "actor": "uid:0", "code": "3f9c", "reason": "first"}]
    )
    assert qd("history").out.splitlines()[1].split() == ["1", "true", "2026-11-24", "16:12:01.000", "uid:0", "3f9c", "first"]
    fake.answers["POST", "/v1/rollback"] = {"kind": "Revision", "system": "triage", "number": 2}
    fake.statuses = [documents.status(4, "running", revision=2), documents.status(revision=2)]
    ran = qd("rollback", "1", "--reason", "errors")
    assert fake.asked("POST", "/v1/rollback")[0][1] == {"to": 1, "reason": "errors"}
    assert ran.code == 0
    assert "✔ integration_validation" in ran.out
    assert qd("rollback", "1", "--no-wait", "-o", "json").json["number"] == 2


def test_a_dry_rollback_prints_its_plan_and_waits_for_nothing(fake, qd, documents):
    fake.answers["POST", "/v1/rollback"] = documents.plan(documents.steps[2:])
    ran = qd("rollback", "1", "--dry-run")
    assert fake.asked("POST", "/v1/rollback")[0][1] == {"to": 1, "dry_run": True}
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == ("agent_cluster_deployment\n  + analysts/analyst 2 replicas\n\nPlan: 1 to add, 0 to change, 0 to remove · index 41\n")
    assert qd("rollback", "--dry-run", "-o", "json").json["kind"] == "Plan"
    assert not fake.asked("GET", "/v1/status")


def test_logs_end_and_hostile_text_steers_no_terminal(fake, qd):
    lines = [
        {"replica": "a/b-0", "at": 1.0, "stream": "stdout", "text": "plain \x1b[31mred\x1b[0m \x1b]0;title\x07 \x9b2J bell\x07 \u202e"}
    ]
    fake.answers["GET", "/v1/logs"] = lambda *_: iter(
        [*(f"event: line\ndata: {json.dumps(one)}\n\n" for one in lines), "event: end\ndata: {}\n\n"]
    )
    ran = qd("logs", "a/b", "--since", "10m", "--previous", "--tail", "5")
    assert ran.out == "a/b-0 | plain red  \ufffd2J bell\ufffd \ufffd\n"
    assert fake.asked("GET", "/v1/logs")[0][0] == {"target": "a/b", "since": "600.0", "tail": "5", "previous": "true"}
    assert json.loads(qd("logs", "-o", "json").out) == lines[0]


def test_journal_in_order(fake, qd, documents):
    fake.answers["GET", "/v1/journal"] = documents.listed([documents.record(3), documents.record(2)])
    ran = qd("journal", "--limit", "2")
    assert [line.split()[0] for line in ran.out.splitlines()] == ["SEQ", "2", "3"]
    assert fake.asked("GET", "/v1/journal")[0][0] == {"limit": "2", "newest": "true"}
    item = qd("journal", "-o", "json").json["items"][0]
    assert item == documents.record(2)


def test_no_output_and_no_record_are_told_apart_from_nothing_deployed(fake, qd, documents):
    fake.answers["GET", "/v1/logs"] = lambda *_: iter(["event: end\ndata: {}\n\n"])
    assert (qd("logs", "a/b").out, qd("logs", "a/b").err) == ("", "no output yet; qd logs -f waits for it\n")
    assert qd("logs", "a/b", "--since", "1m").err == "no such line\n"
    assert qd("logs", "a/b", "--tail", "0").err == ""
    fake.answers["GET", "/v1/journal"] = documents.listed([])
    assert "qd up deploys" in qd("journal").err
    assert qd("journal", "--verb", "nonsense").err == "no record is like that; qd journal shows them all\n"


def test_an_export_that_cannot_be_written_is_no_traceback(fake, qd, tmp_path):
    fake.answers["GET", "/v1/journal/export"] = lambda *_: iter(['{"kind":"end"}\n'])
    ran = qd("journal", "export", tmp_path / "missing" / "j")
    assert ran.code == 1
    assert ran.err.startswith(f"error: {tmp_path / 'missing' / 'j'} cannot be written: No such file or directory [E1001]\nhint: ")


def test_journal_head_and_export(fake, qd, tmp_path):
    fake.answers["GET", "/v1/journal/head"] = {"seq": 9, "hash": "ab", "at": 0.0}
    assert qd("journal", "head").out == "9 ab 1970-01-01 00:00:00.000\n"
    assert qd("journal", "head", "-o", "json").json == {"seq": 9, "hash": "ab", "at": 0.0}
    fake.answers["GET", "/v1/journal/export"] = lambda *_: iter(['{"kind":"Journal"}\n', '{"kind":"end"}\n'])
    assert qd("journal", "export").out == '{"kind":"Journal"}\n{"kind":"end"}\n'
    assert qd("journal", "export", tmp_path / "j").code == 0
    assert (tmp_path / "j").read_text() == '{"kind":"Journal"}\n{"kind":"end"}\n'


def test_open_version_openapi_schema_completion(fake, qd):
    fake.answers["GET", "/openapi.json"] = {"openapi": "3.1.0"}
    assert qd("open").out == "http://127.0.0.1:7410/login?once=x\n"
    assert qd("version", "-o", "json").json["server"]["version"] == "0.1.0"
    assert qd("api", "openapi").json == {"openapi": "3.1.0"}
    assert qd("schema").json["title"] == "Quarterdeck system"
    assert "_QD_COMPLETE=complete_bash" in qd("completion", "bash").out


def test_version_of_one_side_alone(fake, qd):
    asked = len(fake.requests)
    assert qd("version", "--client").out == f"qd {VERSION}\n"
    assert qd("version", "--client", "-o", "json").json["server"] is None
    assert len(fake.requests) == asked
    served = qd("version", "--server")
    assert (served.code, served.out.startswith("control plane 0.1.0, pid ")) == (0, True)
    assert qd("version", "--server", "-o", "json").json["client"] is None
    assert qd("version", "--client", "--server").code == 2


def test_a_control_plane_of_another_version_is_named_with_what_to_do(fake, qd):
    fake.answers["GET", "/v1/version"]["version"] = "0.0.9"
    ran = qd("version", "--server", "-o", "name")
    assert (ran.code, ran.out) == (0, "0.0.9\n")
    assert f"warning: qd {VERSION} talks to a control plane of 0.0.9" in ran.err
    assert qd("version", "-o", "name").out == f"{VERSION}\n"


def test_the_version_of_a_control_plane_that_does_not_run_is_an_error(home, qd):
    assert qd("version", "--server").code == 5


def test_version_without_a_control_plane(home, qd):
    ran = qd("version")
    assert (ran.code, ran.out.split()[0]) == (0, "qd")
    assert "qd up starts one" in ran.err


def test_completion_offers_live_names(fake, qd, monkeypatch):
    monkeypatch.setenv("_QD_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "qd explain analysts/analyst-")
    monkeypatch.setenv("COMP_CWORD", "2")
    assert qd().out.split() == ["analysts/analyst-0", "analysts/analyst-1"]
    fake.stop()
    ran = qd()
    assert (ran.out.strip(), ran.err) == ("", "")
