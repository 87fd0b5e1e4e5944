"""Contexts: a home or a URL by name, and production asks first."""

import json
import os
from pathlib import Path

import pytest


@pytest.fixture
def token(tmp_path):
    file = tmp_path / "token"
    file.write_text("qd_1_secret\n")
    file.chmod(0o600)
    return file


@pytest.fixture
def far(fake, qd, token, monkeypatch):
    """A context with the URL of the fake, which is used."""
    url = fake.open_door("qd_1_secret")
    assert qd("context", "add", "far", "--url", url, "--token-file", token).code == 0
    monkeypatch.delenv("QUARTERDECK_HOME")
    assert qd("context", "use", "far").code == 0
    return url


@pytest.fixture
def production(fake, qd):
    assert qd("context", "add", "live", "--production").code == 0


def test_every_answer_names_the_next_command(fake, qd):
    assert "next: qd context add NAME" in qd("context").err
    assert "next: qd context use spare" in qd("context", "add", "spare", "--home", "spare").err
    assert "next: qd context use NAME" in qd("context", "list").err
    assert "next: qd context list" in qd("context", "remove", "spare").err


def test_the_one_in_use_is_shown(fake, qd, monkeypatch):
    qd("context", "add", "here")
    qd("context", "add", "spare", "--home", "spare")
    assert qd("context", "show", "-o", "name").out == "here\n"  # by its home
    assert qd("--context", "spare", "context", "show", "-o", "name").out == "spare\n"
    assert [(item["name"], item["current"]) for item in qd("context", "list", "-o", "json").json["items"]] == [
        ("here", True),
        ("spare", False),
    ]
    assert qd("status").out.startswith(" context here (")
    assert "context" not in qd("status", "-o", "json").json


def test_what_the_environment_says_comes_before_use_and_is_told(fake, qd):
    qd("context", "add", "spare", "--home", "spare")
    assert "QUARTERDECK_HOME is set and comes first" in qd("context", "use", "spare").err
    assert qd("status").code == 0


def test_a_name_is_given_once(fake, qd):
    qd("context", "add", "here")
    ran = qd("context", "add", "here", "--home", "spare")
    assert ran.code == 1
    assert "qd context remove here" in ran.err


def test_a_url_speaks_with_its_token(fake, qd, far):
    assert qd("status").out.startswith(f" context far ({far})")
    assert qd("get", "replicas", "-o", "name").out == "analysts/analyst-0\nanalysts/analyst-1\n"
    assert qd("context", "show").out == f"far: {far}\n"


def test_a_wrong_token_is_denied(fake, qd, far, token):
    token.write_text("qd_1_other\n")
    assert qd("status").code == 4


def test_a_token_file_that_others_can_read_is_not_used(fake, qd, far, token):
    token.chmod(0o644)
    ran = qd("status")
    assert ran.code == 4
    assert "chmod 600" in ran.err
    assert not fake.requests


def test_nobody_at_the_url_is_not_ready_and_says_where(fake, qd, far):
    fake.stop()
    ran = qd("status")
    assert ran.code == 5
    assert f"no control plane answers at {far}" in ran.err


@pytest.mark.parametrize("arguments", [("up",), ("down", "--yes"), ("journal", "verify")])
def test_what_needs_the_home_says_where_it_is(fake, qd, far, arguments):
    ran = qd(*arguments)
    assert ran.code == 1
    assert "is not on this machine" in ran.err


def test_following_works_through_a_url(fake, qd, far):
    lines = [{"replica": "a/b-0", "text": "hello", "at": "2026-11-24T16:12:01Z"}]
    fake.answers["GET", "/v1/logs"] = (200, tuple(f"data: {json.dumps(line)}\n\n" for line in lines))
    assert qd("logs").out == "a/b-0 | hello\n"


CHANGING = ("scale", "analysts/analyst", "3", "--reason", "x")


@pytest.fixture
def changes(fake):
    fake.answers["POST", "/v1/changes"] = {"id": 7}
    return lambda: len(fake.asked("POST", "/v1/changes"))


def test_production_is_asked_about_on_a_terminal(production, terminal, changes):
    code, written = terminal(*CHANGING, typed=b"triage\n")
    assert (code, changes()) == (1, 0)
    assert "\x1b[1;31mPRODUCTION\x1b[0m context live" in written
    assert "Type live to go on:" in written
    code, written = terminal(*CHANGING, typed=b"live\n")
    assert (code, changes()) == (0, 1)


def test_production_without_a_terminal_wants_yes(production, qd, changes, monkeypatch):
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        ran = qd(*CHANGING)
        assert (ran.code, changes()) == (2, 0)
        assert "--yes" in ran.err
        ran = qd(*CHANGING, "--yes")
    assert (ran.code, changes()) == (0, 1)
    assert ran.err.startswith("PRODUCTION context live")


def test_reading_and_rehearsing_production_asks_nothing(production, fake, qd, documents):
    fake.answers["POST", "/v1/rollback"] = documents.plan()
    for arguments in (("status",), ("plan",), ("rollback", "--dry-run")):
        ran = qd(*arguments)
        assert (ran.code, "PRODUCTION" in ran.err) == (0, False), arguments


def test_production_is_marked_in_status_by_a_word(production, qd, terminal):
    assert " context live PRODUCTION (" in qd("status").out
    assert "\x1b[1;31mPRODUCTION\x1b[0m" in terminal("status")[1]
    assert " context live PRODUCTION (" in terminal("status", NO_COLOR="1")[1]


def test_down_in_production_asks_once_for_the_name_of_the_context(production, terminal, home):
    code, written = terminal("down", typed=b"triage\n")
    assert code == 1
    assert written.count("Type live to go on:") == 1
    assert not home.stop_order.exists()


def test_the_longer_way_of_reading_a_command_line_asks_too(production, qd, changes, monkeypatch):
    """Typer takes over where the quick reading gives up, e.g. for `-ojson`."""
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        assert qd(*CHANGING, "-ojson").code == 2
    assert changes() == 0
