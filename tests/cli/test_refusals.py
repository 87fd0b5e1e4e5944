"""What is refused, with which exit code, and with words that teach: no text of a library, no guess where the version says it."""

import os
import time
from pathlib import Path

import pytest

from quarterdeck.cli import coming
from quarterdeck.cli.get import NARROW
from quarterdeck.cli.verbs import VERBS, find
from quarterdeck.client.wire import Request, Wire, lost

EMPTY = {"apiVersion": "quarterdeck.dev/v1alpha1", "kind": "List", "items": [], "next": None}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("get", "nonsense"), "one of systems, clusters"),
        (("get", "tasks", "--state", "bogus"), "--state takes queued, running, waiting, unknown, dead, failed, done, cancelled, open"),
        (("get", "tasks", "--state", "done,bogus"), "tasks are never 'bogus'"),
        (("task", "list", "--state", "bogus"), "tasks are never 'bogus'"),
        (("message", "list", "--state", "bogus"), "--state takes behind, waiting, sent, dead, done, open"),
        (("get", "effects", "--state", "done,failed"), "--state takes started, failed, unknown, done"),
        (("token", "create", "--role", "viewer", "--ttl", "0s"), "--ttl takes 1s to 365d"),
        (("token", "create", "--role", "viewer", "--ttl", "366d"), "no token works for 366d"),
        (("token", "create", "--role", "viewer", "--note", "x" * 201), "--note takes 200 characters"),
        (("token", "create", "--role", "viewer", "--cluster", "No Way"), "CLUSTER or SYSTEM/CLUSTER"),
        (("open", "--cluster", "No Way"), "CLUSTER or SYSTEM/CLUSTER"),
        (("token", "revoke", "zzzz"), "qd token list shows them"),
        (("context", "add", "prod", "--url", "https://x:1"), "qd context add prod --url https://x:1 --token-file FILE"),
        (("status", "-o", "jsonpath={.items["), "-o json | jq"),
        (("scale", "analysts/analyst", "3", "-o", "jsonpath=$["), "is no JSONPath"),
        (("status", "-o", "jsonpath"), "-o jsonpath='$.items[*].name'"),
        (("logs", "-o", "jsonpath=$.line"), "-o json"),
        (("wait", "--for", "sunshine"), "qd wait collectors/collector-1 --for ready"),
        (("wait", "--for", "condition=LinkOpen"), "--for condition=Ready"),
        (("wait", "analysts/analyst", "--for", "sunshine"), "one of pending, starting, ready"),
        (("wait", "analysts/analyst", "--for", "a/b=ready"), "qd wait analysts/analyst --for ready"),
        (("journal", "-f", "-o", "yaml"), "-o json prints one JSON document a line"),
        (("journal", "-f", "-o", "name"), "-o name cannot show what goes on and on"),
        (("logs", "-o", "yaml"), "-o yaml cannot show lines of output"),
        (("logs", "-f", "-o", "name"), "-o json prints one JSON document a line"),
        (("attach", "front/greeter", "-o", "yaml"), "-o yaml cannot show what goes on and on"),
        (("stop", "front/greeter"), "hint: qd stop agent front/greeter --reason TEXT"),
        (("stop", "hello:front/greeter"), "hint: qd stop agent hello:front/greeter --reason TEXT"),
        (("stop", "front"), "hint: qd stop cluster front --reason TEXT"),
        (("stop", "hello:"), "hint: qd stop fleet --system hello --reason TEXT"),
        (("stop", "01JD8Z0V7Q4W8X2N5R3T6Y9B1C"), "hint: qd stop task 01JD8Z0V7Q4W8X2N5R3T6Y9B1C --reason TEXT"),
        (("stop", "INC-4711"), "hint: qd stop task INC-4711 --reason TEXT"),
        (("stop", "flet"), "did you mean 'fleet'?"),
        (("stop", "--reason", "x", "front"), "hint: first one of fleet, cluster, agent, task, then its options: qd stop PART --help"),
        (("start", "front/greeter"), "hint: qd start agent front/greeter --reason TEXT"),
        (("start", "front"), "hint: qd start cluster front --reason TEXT"),
        (("start", "01JD8Z0V7Q4W8X2N5R3T6Y9B1C"), "hint: qd task retry 01JD8Z0V7Q4W8X2N5R3T6Y9B1C --reason TEXT"),
        (("task", "INC-4711"), "hint: qd task get INC-4711"),
        (("journal", "front/greeter"), "hint: qd journal --target front/greeter"),
        (("service", "restart"), "hint: its parts: install, uninstall, status, run"),
        (("token", "revoke"), "qd token revoke ID · qd token revoke --user NAME"),
        (("token", "revoke", "0b55d336", "--user", "alice"), "qd token revoke ID · qd token revoke --user NAME"),
        (("token", "revoke", "--user", ""), "qd token revoke ID · qd token revoke --user NAME"),
    ],
)
def test_a_usage_error_says_what_is_taken(fake, qd, arguments, words):
    ran = qd(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert words in ran.err
    assert "pattern" not in ran.err
    assert fake.requests == []


@pytest.mark.parametrize("noun", [*coming.NOUNS, "alert", "trace"])
def test_a_noun_to_come_says_so_with_what_does_it_today(fake, qd, noun):
    ran = qd("get", noun)
    assert ran.code == 2
    assert "not in this version" in ran.err
    assert "did you mean" not in ran.err
    assert "hint: qd " in ran.err


@pytest.mark.parametrize("verb", coming.VERBS)
def test_a_verb_to_come_says_so_with_what_does_it_today(fake, qd, verb):
    ran = qd(verb, "something", "--option")
    assert ran.code == 2
    assert f"error: {verb}: not in this version [E1002]\nhint: qd " in ran.err


@pytest.mark.parametrize("advice", [*coming.NOUNS.values(), *coming.VERBS.values()])
def test_what_is_advised_instead_exists(advice):
    for command in (part.strip() for part in advice.replace(":", ";").split(";")):
        if command.startswith("qd ") and command.split()[1] != "VERB":
            _, verb, *more = command.split()
            named = find(verb)
            assert named, command
            assert not named.parts or any(part.name == more[0] for part in named.parts) or named.alone, command


def test_the_names_of_this_version_are_none_of_the_next():
    assert not set(NARROW) & set(coming.NOUNS)
    assert not {verb.name for verb in VERBS} & set(coming.VERBS)


@pytest.mark.parametrize("noun", ["tasks", "messages"])
def test_an_agent_that_is_not_there_is_not_found_and_one_without_work_is(fake, qd, noun):
    fake.answers["GET", f"/v1/{noun}"] = EMPTY
    ran = qd("get", noun, "--target", "analysts/analist")
    assert (ran.code, ran.out) == (3, "")
    assert "did you mean 'analysts/analyst'?" in ran.err
    assert "qd get agents" in qd("get", noun, "--target", "nope/x").err
    assert qd("get", noun, "--target", "analysts/analyst").code == 0


def test_work_of_an_agent_that_was_removed_is_still_found(fake, qd):
    task = {"id": "01M8HXFD25B4EETYEXX2273T60", "target": "old/gone", "state": "done", "created_at": "2026-11-24T16:12:01Z"}
    fake.answers["GET", "/v1/tasks"] = {**EMPTY, "items": [task]}
    assert qd("get", "tasks", "--target", "old/gone", "-o", "name").out == "01M8HXFD25B4EETYEXX2273T60\n"


def test_a_read_that_is_not_answered_has_no_outcome_to_be_unknown():
    read, change = lost(Request("GET", "/v1/status"), "went away"), lost(Request("POST", "/v1/changes"), "went away")
    assert (read.exit_code, change.exit_code) == (5, 5)
    assert "unknown" not in read.message
    assert "qd doctor" in read.hint
    assert "the outcome is unknown" in change.message


def test_a_control_plane_that_says_nothing_is_told_as_that(fake, qd, monkeypatch):
    def slow(*_):
        time.sleep(1)
        return {}

    fake.answers["GET", "/v1/links"] = slow
    whole = Wire.call
    monkeypatch.setattr(Wire, "call", lambda wire, request, timeout: whole(wire, request, min(timeout, 0.2)))
    ran = qd("get", "links")
    assert ran.code == 5
    assert ran.err.startswith("error: the control plane gives no answer to GET /v1/links within 0.2 s [E1005]\nhint: qd doctor")


def test_no_input_asks_nothing_even_on_a_terminal(fake, terminal, home):
    code, written = terminal("down", "--no-input")
    assert code == 2
    assert "--no-input forbids it" in written
    assert "--yes" in written
    assert "Type " not in written
    assert not home.stop_order.exists()
    assert terminal("--no-input", "status")[0] == 0


def test_no_input_names_the_command_that_needs_no_question(fake, terminal):
    task = "01M8HXFD25B4EETYEXX2273T60"
    question = {"name": "q", "state": "open", "question": "?", "options": [], "arguments": None, "until": None, "default": None}
    fake.answers["GET", f"/v1/tasks/{task}"] = {"id": task, "target": "a/b", "questions": [question]}
    code, written = terminal("task", "answer", task, "--no-input")
    assert code == 2
    assert f"qd task answer {task} TEXT" in written


def test_the_version_of_this_command_asks_nobody(fake, qd):
    for arguments in (("--version",), ("version", "--client")):
        ran = qd(*arguments)
        assert (ran.code, ran.out, ran.err) == (0, "qd 0.1.0\n", ""), arguments
    assert qd("version", "--client", "-o", "json").json["server"] is None
    assert fake.requests == []


def test_a_production_context_lets_a_rehearsal_pass(fake, qd, documents, monkeypatch):
    assert qd("context", "add", "live", "--production").code == 0
    fake.answers["POST", "/v1/changes"] = documents.plan()
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        assert qd("scale", "analysts/analyst", "3", "--reason", "x", "--dry-run").code == 0
        assert qd("scale", "analysts/analyst", "3", "--reason", "x").code == 2
