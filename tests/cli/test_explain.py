"""`qd explain` of work: the place that has it, and one task, against the fake."""

import pytest

TASK, CHILD, OTHER = "01M8HXFD25B4EETYEXX2273T60", "01M8HXFD8C0DG1R1GDWVJ4BPN5", "01M8HXFD8C0DG1R1GDWVJ4BPN6"
SINCE = "2026-11-24T16:12:01.000Z"
HOSTILE = "\x1b[31mred \u202egnp.exe"


def task(name=TASK, state="running", **more):
    return {
        "id": name, "key": None, "system": "triage", "target": "analysts/analyst", "state": state, "reason": "", "attempts": 2,
        "most_attempts": 5, "owner": None, "fence": 3, "parent": None, "created_at": SINCE, "not_before": None, "effects": [],
        "questions": [], "budget": {}, "waits_on": [], **more,
    }  # fmt: skip


def wait(kind, target):
    return {"kind": kind, "target": target, "since": SINCE}


@pytest.fixture
def told(fake, qd):
    """What `qd explain` says of a tree of tasks."""

    def tell(*tree, ask=TASK, options=()):
        history = [{"sequence": 4, "task": TASK, "event": "claim", "time": SINCE, "actor": "analysts/analyst-0#1", "fence": 3}]
        fake.answers["GET", f"/v1/tasks/{TASK}/tree"] = {"items": list(tree)}
        fake.answers["GET", f"/v1/tasks/{TASK}/history"] = {"items": history}
        return qd("explain", ask, *options)

    return tell


@pytest.mark.parametrize(
    ("state", "more", "sentence", "command"),
    [
        ("running", {"owner": "c/a-0"}, "running: c/a-0 works on it, attempt 2 of 5", "qd logs -f c/a-0"),
        ("queued", {}, "queued: no replica of analysts/analyst has taken it yet", f"qd task get {TASK} --tree"),
        ("queued", {"waits_on": [wait("stop", "triage:")]}, "queued", "qd start fleet"),
        ("queued", {"waits_on": [wait("stop", "analysts")]}, "queued", "qd start cluster analysts"),
        ("queued", {"waits_on": [wait("budget", "triage/analysts")]}, "queued", "qd budget resume analysts"),
        ("queued", {"waits_on": [wait("budget", "triage")]}, "queued", "qd budget resume"),
        ("dead", {"reason": "no"}, "dead: given up after 2 of 5 attempts: no", f"qd task retry {TASK}"),
        ("failed", {"reason": "no"}, "failed: no", f"qd task retry {TASK}"),
        ("waiting", {"waits_on": [wait("human", "q#1")]}, "waiting", f"qd task answer {TASK}"),
        ("queued", {"not_before": SINCE}, "queued: not before 2026-11-24", f"qd task get {TASK} --tree"),
    ],
)  # fmt: skip
def test_each_state_says_why_and_what_to_do(told, state, more, sentence, command):
    ran = told(task(state=state, **more))
    assert ran.code == 0
    assert ran.out.startswith(f"{TASK}: {sentence}")
    assert f"  Next    {command}" in ran.out


def test_what_holds_up_a_task_from_below_comes_first(told):
    effect = {"key": "pay", "outcome": "unknown", "semantics": "unsafe"}
    below = task(CHILD, "unknown", parent=TASK, effects=[effect], waits_on=[wait("effect", "pay")])
    ran = told(task(state="waiting", waits_on=[wait("task", CHILD)]), below, task(OTHER, "done", parent=TASK))
    assert f"Waits   for task {CHILD}" in ran.out
    assert "Below   1 unknown, 1 done" in ran.out
    assert f"Stuck   {CHILD} analysts/analyst unknown for a human's word on effect pay" in ran.out
    assert f"Next    qd task resolve {CHILD} pay --done|--failed|--again --reason TEXT" in ran.out
    assert "History 4 2026-11-24 16:12:01.000 claim" in ran.out


def test_it_is_a_document_too(told):
    found = told(task(state="dead", reason="no"), options=("-o", "json")).json
    assert (found["kind"], found["target"], found["below"]) == ("Explanation", TASK, {})
    assert found["next"][0] == f"qd task retry {TASK} --reason TEXT"


def test_a_task_is_found_by_its_key_where_no_place_is_called_so(fake, told, documents):
    fake.answers["GET", "/v1/explain"] = documents.refused("NotFound", 404, 3, 'triage has no "INC-1"')
    fake.answers["GET", "/v1/tasks/by-key"] = task()
    assert told(task(key="INC-1", owner="a/b-0"), ask="INC-1").out.startswith(f"{TASK} INC-1: running")
    fake.answers["GET", "/v1/tasks/by-key"] = documents.refused("NotFound", 404, 3, "no such key")
    ran = told(task(), ask="INC-2")
    assert ran.code == 3
    assert 'triage has no "INC-1"' in ran.err


def test_what_agents_say_is_made_harmless(told):
    ran = told(task(state="dead", reason=HOSTILE, key=HOSTILE))
    assert "\x1b" not in ran.out
    assert "\u202e" not in ran.out


def test_a_place_tells_its_work_and_what_to_do_about_it(fake, qd):
    stuck = [task(state="unknown", key="INC-1", waits_on=[wait("effect", "pay")]), task(CHILD, "dead", reason="no")]
    fake.answers["GET", "/v1/explain"] = {
        "target": "analysts/analyst",
        "sentence": "stopped by uid:0 since 2026-11-24T16:12:01.000Z: incident",
        "work": {"states": {"dead": 1, "unknown": 1}, "questions": 0, "unknown_effects": 1, "tasks": stuck},
        "next": ["qd start fleet", "qd get effects"],
    }
    ran = qd("explain", "analysts/analyst")
    work = ran.out[ran.out.index("  Work") :].splitlines()[:3]
    assert work[0] == "  Work        1 dead, 1 unknown, 1 effect unknown"
    assert work[1].strip().startswith(f"{TASK} INC-1 unknown: for a human's word on effect pay since")
    assert work[2].strip() == f"{CHILD} dead: no"
    assert [line.split(maxsplit=1)[-1] for line in ran.out.splitlines()[-2:]] == ["qd start fleet", "get effects"]


def test_status_says_stopped_and_how_it_goes_on(fake, qd):
    stop = {"target": "triage:", "by": "uid:0", "since": SINCE, "reason": "incident 4711", "command": "qd start fleet"}
    fake.statuses = [{**fake.statuses[0], "ready": False, "stopped": stop, "incidents": []}]
    ran = qd("status")
    assert "triage is stopped" in ran.out
    assert "by uid:0 since 2026-11-24 16:12:01.000: incident 4711" in ran.out
    assert "(goes on with qd start fleet)" in ran.out


def test_an_apply_to_what_is_stopped_ends_at_once_and_says_so(fake, qd):
    stop = {"target": "triage:", "by": "uid:0", "since": SINCE, "reason": "incident 4711", "command": "qd start fleet"}
    fake.statuses = [{**fake.statuses[0], "ready": False, "stopped": stop}]
    ran = qd("up")
    assert ran.code == 5
    assert "Stopped by uid:0: incident 4711; what was applied runs once it is started" in ran.out
    assert "Do: qd start fleet" in ran.out
