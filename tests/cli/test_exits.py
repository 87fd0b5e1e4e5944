"""Exit codes, and errors without a traceback."""

import re
import subprocess
from pathlib import Path

import pytest
from tests.cli.typist import QD

from quarterdeck.cli.verbs import VERBS, find


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
        (("ask", "analysts/analyst", "x", "--timeout", "0s"), 2),
        (("task", "submit", "--timeout", "0s"), 2),
        (("scale", "analysts/analyst", "-5", "--reason", "x"), 2),
        (("rollback", "-1"), 2),
        (("task", "submit", "--priority", "500"), 2),
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
        "error: invalid value for 'REVISION': 'x' is no whole number [E1002]\n"
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


@pytest.mark.parametrize("arguments", [("status",), ("get", "replicas"), ("status", "-o", "json"), ("--help",)])
def test_a_full_disk_behind_stdout_is_said_without_a_traceback(fake, arguments):
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run([*QD, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    assert ran.returncode == 1
    assert ran.stderr.startswith("error: cannot write the output: No space left on device [E1001]\nhint: ")
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("group", [verb.name for verb in VERBS if not verb.alone])
def test_a_verb_that_needs_a_part_lists_its_parts(home, qd, group):
    ran = qd(group)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"error: qd {group} needs one of these behind it [E1002]\n  ")
    for part in find(group).parts:
        assert re.search(rf"^  {part.name} +{re.escape(part.summary)}$", ran.err, re.MULTILINE)
    assert ran.err.endswith(f"hint: more: qd {group} PART --help\n")


@pytest.mark.parametrize("group", ["message", "budget", "token", "task"])
def test_the_help_of_a_group_shows_no_option_that_only_a_part_takes(home, qd, group):
    out = qd(group, "--help").out
    assert not {"--state", "--limit", "--reason TEXT", "[SCOPE]"} & set(re.findall(r"^  (--[a-z]+)", out, re.MULTILINE))
    assert "  --reason" not in out


def test_a_wrong_value_is_told_in_our_words(fake, qd):
    assert "'500' is too large: at most 100 [" in qd("task", "submit", "--priority", "500").err
    assert "'0' is too small: at least 1 [" in qd("get", "tasks", "--limit", "0").err
    assert "error: -5 is below zero" in qd("scale", "analysts/analyst", "-5", "--reason", "x").err
    assert "error: -1 is below zero" in qd("rollback", "-1").err
    assert "no such option: -x [" in qd("rollback", "-x").err
