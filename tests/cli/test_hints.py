"""The command after an answer: it works when it is pasted, names what is known, and leads on from where one is."""

import re
import shlex
import signal
import subprocess
import time

import pytest
from tests.cli.test_task import TASK, event, task
from tests.cli.typist import QD

API = "quarterdeck.dev/v1alpha1"
PROOF = {
    "apiVersion": API,
    "kind": "StopProof",
    "system": "triage",
    "target": "analysts/analyst",
    "at": "2026-11-24T16:12:01Z",
    "ms": 120.0,
    "outcome": "done",
    "kept": ["node"],
    "sources": [{"source": "/proc", "claim": "processes that are alive", "found": 0, "evidence": "looked at 9 processes of this home"}],
}


def following(written):
    """The commands behind `next:`, taken apart as they are shown."""
    lines = re.sub(r"\x1b\[[0-9;]*m", "", written).splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("next: "))
    return [part.strip() for line in lines[start:] for part in line.removeprefix("next: ").split(" · ")]


@pytest.mark.parametrize(
    "arguments",
    [
        ("scale", "analysts/analyst", "5", "--reason", "load test", "--until", "2h"),
        ("restart", "triage:analysts/analyst", "--reason", "stale"),
        ("hold", "analysts/analyst", "--reason", "it's broken"),
        ("release", "analysts/analyst", "--reason", "x"),
        ("revert", "12"),
        ("stop", "agent", "analysts/analyst", "--reason", "x", "--drain", "5s"),
        ("stop", "fleet", "--reason", "incident 4711"),
    ],
)
def test_a_rehearsal_ends_with_the_whole_command(fake, terminal, documents, arguments):
    for method, path in (("POST", "/v1/changes"), ("POST", "/v1/changes/release"), ("DELETE", "/v1/changes/12")):
        fake.answers[method, path] = documents.plan(documents.steps)
    for path in ("/v1/stops", "/v1/stops/fleet"):
        fake.answers["POST", path] = documents.plan(documents.steps)
    _, written = terminal(*arguments, "--dry-run", NO_COLOR="1")
    (command,) = following(written)
    said = shlex.split(command)
    assert said[0] == "qd"
    assert sorted(said[1:]) == sorted(arguments)


def test_a_rehearsed_end_of_everything_ends_with_the_whole_command(fake, terminal):
    _, written = terminal("down", "--dry-run", "--purge", NO_COLOR="1")
    assert following(written) == ["qd down --purge"]


def test_after_a_stop_the_way_back_is_named(fake, terminal):
    fake.answers["POST", "/v1/stops"] = PROOF
    _, written = terminal("stop", "agent", "analysts/analyst", "--reason", "x", NO_COLOR="1")
    assert following(written) == ["qd start agent analysts/analyst", "qd get changes"]
    fake.answers["POST", "/v1/stops/fleet"] = {**PROOF, "target": "fleet"}
    _, written = terminal("stop", "fleet", "--reason", "x", NO_COLOR="1")
    assert following(written) == ["qd start fleet", "qd get changes"]


def test_the_way_back_needs_no_reason_because_it_is_given_as_a_command(fake, qd, documents):
    fake.answers["POST", "/v1/starts"] = documents.listed([])
    fake.answers["POST", "/v1/starts/fleet"] = documents.listed([])
    assert qd("start", "agent", "analysts/analyst").code == 0
    assert qd("start", "fleet").code == 0
    assert qd("stop", "fleet").code == 2


@pytest.mark.parametrize("arguments", [("fleet",), ("agent", "analysts/analyst"), ("task", TASK)])
def test_a_stop_where_nothing_ever_ran_says_so_and_leaves_nothing_there(home, qd, arguments):
    ran = qd("stop", *arguments, "--reason", "x")
    assert ran.code == 3
    assert ran.err.splitlines()[0] == f"error: nothing was ever deployed in the home {home.root} [E1003]"
    assert list(home.root.iterdir()) == []


COMMAND = re.compile(r"qd [a-z-]+( [^ ;,]+| '[^']*')*( > [a-z.-]+)?")
"""One command: a verb and its words, without a word of prose."""
SPOKEN = re.compile(r"\b(to|it|this|then|and|gives|with|packs|again|where|is|do|on another)\b")
ANSWERS = [
    ("history",),
    ("explain", "spec.clusters.agents.rollout.surge"),
    ("explain", "E1201"),
    ("validate",),
    ("plan",),
    ("context", "show"),
    ("context", "list"),
    ("journal",),
    ("journal", "head"),
    ("doctor",),
    ("version",),
    ("down", "-s", "triage", "--yes"),
    ("rollback",),
    ("task", "get", TASK),
    ("task", "get", TASK, "--tree"),
    ("task", "history", TASK),
    ("message", "get", "0193"),
    ("message", "list"),
    ("budget", "resume"),
    ("token", "list"),
    ("get", "tokens"),
    ("get", "changes"),
]


@pytest.fixture
def answered(fake, documents):
    """A control plane that has something of everything."""
    message = {"id": "0193", "state": "sent", "target": "analysts/analyst"}
    budget = {"name": "triage", "was": "2026-11-24T16:12:01Z"}
    submitted = {"sequence": 1, "task": TASK, "event": "submit", "time": budget["was"], "actor": "uid:0", "fence": 0, "detail": {}}
    fake.answers["GET", "/v1/revisions"] = documents.listed([{"number": 1, "current": True, "digest": "a", "code": "b"}])
    fake.answers["POST", "/v1/validate"] = {"apiVersion": API, "kind": "Validation", "ok": False, "items": []}
    fake.answers["POST", "/v1/rollback"] = documents.applied()
    fake.answers["POST", "/v1/plan"] = documents.plan([])
    fake.answers["GET", "/v1/journal"] = documents.listed([documents.record(7)])
    fake.answers["GET", "/v1/journal/head"] = {"seq": 7, "hash": "ab", "at": "2026-11-24T16:12:01Z"}
    fake.answers["GET", f"/v1/tasks/{TASK}"] = task("done")
    fake.answers["GET", f"/v1/tasks/{TASK}/tree"] = {"kind": "TaskTree", "items": [task("done")]}
    fake.answers["GET", f"/v1/tasks/{TASK}/history"] = {**documents.listed([submitted]), "next": None}
    fake.answers["GET", "/v1/messages/0193"] = message
    fake.answers["GET", "/v1/messages"] = {**documents.listed([message]), "next": None}
    fake.answers["POST", "/v1/budgets/resume"] = budget
    fake.answers["POST", "/v1/down"] = {"stopped": [], "left": []}
    fake.answers["GET", "/v1/tokens"] = documents.listed([{"id": "0b55d336", "user": "", "created": "2026-11-24T16:12:01Z"}])
    return fake


@pytest.mark.parametrize("arguments", ANSWERS, ids=" ".join)
def test_what_comes_next_is_a_command_and_no_prose(answered, terminal, arguments):
    _, written = terminal(*arguments, NO_COLOR="1", columns=200)
    said = re.split(r"next: ", "\n".join(line for line in written.splitlines() if "next: " in line))
    assert len(said) > 1, written
    for command in said[-1].strip().split(" · "):
        assert COMMAND.fullmatch(command), command
        assert not SPOKEN.search(command), command


def test_nobody_is_proposed_to_end_the_token_that_was_just_made(answered, terminal):
    _, written = terminal("token", "list", NO_COLOR="1", columns=200)
    assert following(written) == ["qd journal --verb token."]


def test_the_doctor_of_another_machine_does_not_propose_what_works_only_there(home, qd, tmp_path):
    token = tmp_path / "token"
    token.write_text("x")
    token.chmod(0o600)
    qd("context", "add", "far", "--url", "http://127.0.0.1:9", "--token-file", token)
    ran = qd("--context", "far", "doctor")
    assert ran.code == 1
    assert "next: qd up" not in ran.err
    assert "none answers at http://127.0.0.1:9" in ran.out


def test_documents_for_programs_say_what_they_are(fake, qd, documents):
    assert {"apiVersion": API, "kind": "Login"}.items() <= qd("open", "--print", "-o", "json").json.items()
    fake.answers["POST", "/v1/ask"] = {"reply": 1, "from": "analysts/analyst-0", "ms": 1.0}
    assert {"apiVersion": API, "kind": "Answer"}.items() <= qd("ask", "analysts/analyst", "x", "-o", "json").json.items()
    lines = qd("up", "--progress", "json").out.splitlines()
    assert lines
    assert all(f'"apiVersion": "{API}", "kind": ' in line for line in lines)


def test_who_waits_for_a_task_sees_its_id_at_once_and_again_when_interrupted(fake, terminal):
    def slow(*_):
        yield event(2, "claim", attempt=1)
        time.sleep(30)

    fake.answers["POST", "/v1/tasks"] = (201, {**task("queued"), "created": True})
    fake.answers["GET", f"/v1/tasks/{TASK}/events"] = lambda *_: (200, slow())
    code, written = terminal("task", "submit", "analysts/analyst", "--wait", typed=b"", after=(f"task {TASK} queued", b"\x03"))
    assert code == 130
    assert written.index(f"task {TASK} queued") < written.index(f"interrupted: the task goes on · qd task get {TASK}")


def test_an_interrupted_wait_in_a_pipe_says_that_the_task_goes_on(fake):
    fake.answers["POST", "/v1/tasks"] = (201, {**task("queued"), "created": True})
    fake.answers["GET", f"/v1/tasks/{TASK}/events"] = lambda *_: time.sleep(5) or (200, "")
    argv = [*QD, "task", "submit", "analysts/analyst", "--wait"]
    waiting = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert "queued" in waiting.stderr.readline()
    waiting.send_signal(signal.SIGINT)
    _, err = waiting.communicate(timeout=10)
    assert waiting.returncode == 130
    assert f"the task goes on · qd task get {TASK}" in err
