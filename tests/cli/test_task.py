"""`qd task` against the fake: what is sent, what is shown, and with which exit code it ends."""

import json

import pytest

from quarterdeck.cli.task_wait import Seen
from quarterdeck.client.wire import Event

TASK = "01M8HXFD25B4EETYEXX2273T60"
CHILD = "01M8HXFD8C0DG1R1GDWVJ4BPN5"
HOSTILE = "\x1b[31mred\x1b[0m \x1b]0;title\x07 \u202egnp.exe"


def task(state="done", **more):
    return {
        "apiVersion": "quarterdeck.dev/v1alpha1",
        "kind": "Task",
        "id": TASK,
        "key": "INC-1",
        "system": "triage",
        "target": "analysts/analyst",
        "verb": "",
        "state": state,
        "reason": "",
        "attempts": 1,
        "most_attempts": 5,
        "owner": "analysts/analyst-0",
        "fence": 1,
        "parent": None,
        "created_at": "2026-11-24T16:12:01.000Z",
        "started_at": "2026-11-24T16:12:01.100Z",
        "ended_at": "2026-11-24T16:12:02.800Z" if state in ("done", "failed", "dead", "cancelled") else None,
        "deadline": None,
        "payload": {"text": "hello"},
        "result": {"cause": "ts-food-service"} if state == "done" else None,
        "error": None,
        "children": [],
        "steps": [{"name": "read#1", "state": "done", "at": "2026-11-24T16:12:02.000Z", "fence": 1}],
        "effects": [],
        "questions": [],
        "budget": {"calls": {"limit": 20, "reserved": 1, "spent": 3}},
        "waits_on": [],
        "progress": None,
        "forked_from": None,
        "forks": [],
        **more,
    }


def event(number, name, of=TASK, actor="analysts/analyst-0#1", **detail):
    told = {"sequence": number, "task": of, "event": name, "time": "2026-11-24T16:12:01.000Z", "actor": actor, "fence": 1}
    return f"id: {number}\nevent: event\ndata: {json.dumps({**told, 'detail': detail})}\n\n"


END = 'event: end\ndata: {"state": "done"}\n\n'
STREAM = [
    event(1, "submit", actor="uid:0"),
    event(2, "claim", attempt=1),
    event(3, "submit", of=CHILD),
    event(4, "done", of=CHILD),
    event(5, "effect.done", key="report"),
    event(6, "done"),
    END,
]


@pytest.fixture
def given(fake):
    """A task that was given: what the fake says of it."""

    def give(state="done", stream=STREAM, **more):
        fake.answers["POST", "/v1/tasks"] = {**task("queued"), "created": True}
        fake.answers["GET", f"/v1/tasks/{TASK}"] = task(state, **more)
        fake.answers["GET", f"/v1/tasks/{TASK}/events"] = lambda *_: iter(stream)
        fake.answers["GET", f"/v1/tasks/{TASK}/tree"] = {"items": [task(state, **more)]}
        fake.answers["GET", "/v1/tasks/by-key"] = task(state)
        return fake

    return give


def test_every_option_of_submit_is_sent(given, qd):
    fake = given()
    options = "--key INC-1 --verb read --timeout 2m --priority 3 --lane l --tenant t --attempts 2 --budget calls=20,money=1.5 --delay 5s"
    ran = qd("task", "submit", "analysts/analyst", "-d", '{"a": 1}', *options.split())
    assert (ran.code, ran.out) == (0, f"task {TASK} queued · analysts/analyst\n")
    ((_, body),) = fake.asked("POST", "/v1/tasks")
    assert body == {
        "target": "analysts/analyst",
        "payload": {"a": 1},
        "key": "INC-1",
        "verb": "read",
        "timeout": 120.0,
        "priority": 3,
        "lane": "l",
        "tenant": "t",
        "attempts": 2,
        "budget": {"calls": 20, "money": 1.5},
        "delay": 5.0,
    }


def test_payloads_come_from_files_and_stdin_and_the_entry_is_the_target_without_one(given, qd, tmp_path, monkeypatch):
    fake = given()
    (tmp_path / "incident.json").write_text('{"text": "from a file"}')
    assert qd("task", "submit", "-d", "@incident.json").code == 0
    assert fake.asked("POST", "/v1/tasks")[0][1] == {"payload": {"text": "from a file"}}
    assert qd("task", "submit", "-d", "@nowhere.json").code == 1
    assert qd("task", "submit", "-d", "{").code == 2


@pytest.mark.parametrize("limits", ["cows=1", "calls", "calls=-1", "money=nan", "calls=x", "calls=inf"])
def test_a_budget_that_is_none_is_a_usage_error(given, qd, limits):
    fake = given()
    assert qd("task", "submit", "analysts/analyst", "--budget", limits).code == 2
    assert fake.requests == []


def test_a_known_key_is_said_to_be_known(given, qd):
    fake = given()
    fake.answers["POST", "/v1/tasks"] = {**task("done"), "created": False}
    assert qd("task", "submit", "analysts/analyst").out == f"task {TASK} done · analysts/analyst · was there already\n"


def test_waiting_tells_each_change_in_a_pipe_and_how_it_ended(given, qd):
    given()
    ran = qd("task", "submit", "analysts/analyst", "--wait")
    assert ran.code == 0
    assert ran.out == f'task {TASK} done in 1.8 s · 1 child · 1 effect · {{"cause": "ts-food-service"}}\n'
    assert qd("task", "submit", "analysts/analyst", "--wait", "-q").err == ""
    assert qd("task", "submit", "analysts/analyst", "--wait", "-o", "json").json == task()


@pytest.mark.parametrize(("state", "code"), [("done", 0), ("failed", 1), ("dead", 1), ("cancelled", 1), ("unknown", 5)])
def test_the_exit_code_says_how_it_ended(given, qd, state, code):
    given(state, [event(1, "claim", attempt=1), event(2, state), END], reason="because")
    ran = qd("task", "submit", "analysts/analyst", "--wait")
    assert ran.code == code
    assert f"task {TASK} {state}" in ran.out
    assert ("because" in ran.out) == (state != "done")


def test_a_wait_that_takes_too_long_is_given_up_and_the_task_is_not(given, qd):
    def silent(*_):
        yield event(1, "claim", attempt=1)
        import time  # noqa: PLC0415

        time.sleep(2)

    fake = given("running")
    fake.answers["GET", f"/v1/tasks/{TASK}/events"] = silent
    ran = qd("task", "submit", "analysts/analyst", "--wait", "--within", "300ms")
    assert ran.code == 5
    assert "not in time: the task goes on" in ran.err
    assert not fake.asked("POST", f"/v1/tasks/{TASK}/cancel")


def test_a_task_that_was_unknown_once_is_waited_for(given, qd):
    """Events of its past are read too; what counts is how it stands."""
    given(
        "done", [event(1, "claim", attempt=1), event(2, "unknown"), event(3, "again"), event(4, "claim", attempt=2), event(5, "done"), END]
    )
    assert qd("task", "submit", "analysts/analyst", "--wait").code == 0


def test_waiting_ends_where_nobody_goes_on_before_a_human_has_said_what_became_of_an_effect_below(given, qd):
    happened = [
        event(1, "claim", attempt=1),
        event(2, "submit", of=CHILD),
        event(3, "claim", of=CHILD),
        event(4, "wait"),
        event(5, "unknown", of=CHILD),
    ]

    def endless(*_):
        yield from happened
        import time  # noqa: PLC0415

        time.sleep(2)
        yield END

    fake = given("waiting")
    fake.answers["GET", f"/v1/tasks/{TASK}/events"] = endless
    fake.answers["GET", f"/v1/tasks/{TASK}/tree"] = {"items": [task("waiting"), {**task("unknown"), "id": CHILD}]}
    ran = qd("task", "submit", "analysts/analyst", "--wait")
    assert ran.code == 5
    assert "waiting on analysts/analyst-0 · 0 of 1 child done · 1 unknown" in ran.err
    assert f"nobody knows what became of an effect · next: qd get effects · qd task resolve {CHILD} KEY" in ran.err
    assert "not in time" not in ran.err


def test_waiting_goes_on_while_others_do_and_says_who_asks(given, qd):
    other = CHILD[:-1] + "Z"
    given(
        "done",
        [
            *(event(n, "submit", of=child) for n, child in enumerate((CHILD, other), 1)),
            event(3, "claim", of=other),
            event(4, "unknown", of=CHILD),
            event(5, "question", of=other),
            event(6, "answer", of=other),
            event(7, "again", of=CHILD),
            event(8, "done", of=CHILD),
            event(9, "done", of=other),
            event(10, "done"),
            END,
        ],
    )
    ran = qd("task", "submit", "analysts/analyst", "--wait")
    assert ran.code == 0


def test_the_line_tells_what_waits_for_a_human():
    seen = Seen(TASK)
    for one in (("submit", CHILD), ("question", CHILD), ("wait", TASK)):
        seen.take(Event("1", "event", {"event": one[0], "task": one[1], "actor": "a#1"}))
    assert seen.line == "waiting · 0 of 1 child done · 1 asks a human"
    assert not seen.stuck
    seen.take(Event("2", "event", {"event": "answer", "task": CHILD, "actor": "uid:0"}))
    assert seen.line == "waiting · 0 of 1 child done"


def test_a_terminal_shows_one_line_that_moves(given, terminal):
    def slowly(*_):
        import time  # noqa: PLC0415

        for part in STREAM:
            yield part
            time.sleep(0.3)

    fake = given()
    fake.answers["GET", f"/v1/tasks/{TASK}/events"] = slowly
    code, written = terminal("task", "submit", "analysts/analyst", "--wait", columns=120)
    assert code == 0
    assert "running on analysts/analyst-0 · 1 of 1 child done" in written
    assert written.count("\n") <= 4
    assert "\r\x1b[K" in written


def test_the_tree_shows_who_does_what_and_what_it_waits_for(given, qd, documents):
    fake = given()
    wait = [{"kind": "human", "target": "question#1", "since": "2026-11-24T16:12:02.000Z"}]
    effect = {"key": "report", "semantics": "unsafe", "outcome": "unknown", "error": "cut off", "fence": 2}
    child = task("waiting", id=CHILD, parent=TASK, waits_on=wait, effects=[effect], attempts=2, key=None, budget={}, steps=[])
    fake.answers["GET", f"/v1/tasks/{TASK}/tree"] = documents.listed([task("running"), child, {**child, "id": f"{CHILD[:-1]}6"}])
    lines = qd("task", "get", TASK, "--tree").out.splitlines()
    assert lines[0].startswith(f"running   {TASK} analysts/analyst · INC-1 · analysts/analyst-0 fence 1")
    assert "│  budget calls 3 of 20, 1 reserved" in lines
    assert "│  steps read#1" in lines
    assert any(line.startswith(f"├─ waiting   {CHILD} analysts/analyst") and "attempt 2 of 5" in line for line in lines)
    assert any(line.startswith("└─ ") for line in lines)
    assert any("waits for a human's answer to question#1 since" in line for line in lines)
    assert any("effect report unknown: cut off (unsafe, fence 2)" in line for line in lines)


def test_nothing_an_agent_says_steers_the_terminal(given, qd, documents):
    fake = given("dead", reason=HOSTILE, error=HOSTILE, payload=HOSTILE, verb="x")
    fake.answers["GET", f"/v1/tasks/{TASK}/history"] = {
        **documents.listed([json.loads(event(1, "dead", reason=HOSTILE).split("data: ")[1])]),
        "next": None,
    }
    fake.answers["GET", f"/v1/tasks/{TASK}/tree"] = documents.listed([task("dead", reason=HOSTILE)])
    for line in (("get", TASK), ("get", TASK, "--tree"), ("history", TASK)):
        out = qd("task", *line).out
        assert "\x1b" not in out
        assert "\u202e" not in out
        assert "red" in out


def test_a_key_is_looked_up_whatever_is_in_it(given, qd):
    fake = given()
    assert qd("task", "get", "INC/4711 ?#").code == 0
    assert fake.asked("GET", "/v1/tasks/by-key") == [({"key": "INC/4711 ?#"}, None)]
    assert fake.asked("GET", f"/v1/tasks/{TASK}")


def test_lists_send_their_filters_and_go_on_to_the_next_page(fake, qd, documents):
    pages = [
        {**documents.listed([task(id=f"{n:026}") for n in range(2)]), "next": 7},
        {**documents.listed([task(id=f"{9:026}")]), "next": None},
    ]
    fake.answers["GET", "/v1/tasks"] = lambda *_: pages.pop(0)
    ran = qd("get", "tasks", "--state", "done,failed", "--target", "analysts/analyst", "--key", "INC", "--limit", "5", "-o", "name")
    assert ran.out.split() == [f"{n:026}" for n in (0, 1, 9)]
    first, second = (query for query, _ in fake.asked("GET", "/v1/tasks"))
    assert (first["target"], first["key"], first["limit"]) == ("analysts/analyst", "INC", "5")
    assert (second["before"], second["limit"]) == ("7", "3")
    assert qd("get", "replicas", "--key", "x").code == 2


def test_resolve_wants_one_word_and_a_reason(given, qd):
    fake = given("unknown")
    fake.answers["POST", f"/v1/tasks/{TASK}/resolve"] = task("queued")
    path = ("task", "resolve", TASK, "pay:1")
    assert qd(*path, "--reason", "x").code == 2
    assert qd(*path, "--done", "--failed", "--reason", "x").code == 2
    assert qd(*path, "5", "--failed", "--reason", "x").code == 2
    assert qd(*path, "--done").code == 2
    assert qd(*path, "--done", '{"receipt": 5}', "--reason", "seen").code == 0
    assert qd(*path, "--again", "--reason", "harmless").code == 0
    said = [body for _, body in fake.asked("POST", f"/v1/tasks/{TASK}/resolve")]
    assert said[0] == {"key": "pay:1", "outcome": "done", "value": {"receipt": 5}, "reason": "seen"}
    assert said[1] == {"key": "pay:1", "outcome": "again", "reason": "harmless"}


def question(**more):
    asked = {"name": "q#1", "state": "open", "question": f"May I?\nnext: qd down {HOSTILE}", "options": ["approve", "deny"], "answer": None}
    return {**asked, "arguments": {"amount": 5}, "until": None, "default": None, "by": "", **more}


def test_a_question_is_put_behind_a_bar_and_answered_by_its_number(given, terminal):
    fake = given("waiting", questions=[question()])
    fake.answers["POST", f"/v1/tasks/{TASK}/answer"] = {"name": "q#1", "answer": "deny", "task": TASK}
    code, written = terminal("task", "answer", TASK, typed=b"2\n")
    assert code == 0, written
    assert [body for _, body in fake.asked("POST", f"/v1/tasks/{TASK}/answer")] == [{"answer": "deny", "name": "q#1", "reason": ""}]
    lines = [line for line in written.replace("\r", "").split("\n") if "qd down" in line or "amount" in line or "approve" in line]
    assert all("| " in line for line in lines)
    assert "\u202e" not in written


@pytest.mark.parametrize("typed", [b"\n", b"3\n", b"perhaps\n"])
def test_what_is_no_answer_is_not_sent(given, terminal, typed):
    fake = given("waiting", questions=[question()])
    code, _ = terminal("task", "answer", TASK, typed=typed)
    assert code == 1
    assert not fake.asked("POST", f"/v1/tasks/{TASK}/answer")


def test_without_a_terminal_the_answer_has_to_be_given(given, qd, monkeypatch):
    given("waiting", questions=[question(), question(name="q#2")])
    assert qd("task", "answer", TASK).code == 2
    given("done")
    assert qd("task", "answer", TASK).code == 3


@pytest.mark.parametrize("verb", ["cancel", "retry"])
def test_deeds_carry_their_reason(given, qd, verb):
    fake = given()
    fake.answers["POST", f"/v1/tasks/{TASK}/{verb}"] = task("cancelled" if verb == "cancel" else "queued")
    assert qd("task", verb, TASK, "--reason", "why").code == 0
    assert fake.asked("POST", f"/v1/tasks/{TASK}/{verb}")[0][1] == {"reason": "why"}


def test_empty_lists_say_so(fake, qd, documents):
    for noun, words in (("tasks", "qd task submit"), ("questions", "nothing asks for a human"), ("effects", "no effect is unknown")):
        fake.answers["GET", f"/v1/{noun}"] = {**documents.listed([]), "next": None}
        ran = qd("get", noun)
        assert (ran.code, ran.out) == (0, "")
        assert words in ran.err
