"""Exit codes, and errors without a traceback."""

import pytest


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
