"""`qd login` and `qd logout` before servers that mean harm, or are not there: nothing of theirs reaches terminal, browser or disk."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

CODE = "BCDF-GHJK"
EVIL = "\x1b]0;OWNED\x07\x1b[2J\u202e"
GOOD = {"code": CODE, "secret": "s", "interval": 0.0, "expires_in": 600}
ALLOWED = {"state": "allowed", "token": "qdr_00000000_x", "role": "viewer", "cluster": None, "user": "ada", "expires": "2026-12-01"}


@contextmanager
def answering(**says):
    """`says`: the answer to asking, to collecting, and to leaving: (status, document)."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def _do(self):
            self.rfile.read(int(self.headers.get("content-length", 0)))
            asked.append((self.command, self.path))
            kind = "leave" if self.command == "DELETE" else "collect" if self.path.endswith("device/token") else "ask"
            kind = "trade" if self.path == "/v1/login/token" else kind
            status, document = says.get(kind, (404, {}))
            text = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_DELETE = _do  # noqa: N815 as the library calls them

        def log_message(self, *_):
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield SimpleNamespace(url=f"http://127.0.0.1:{server.server_address[1]}", asked=asked)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def away(qd, tmp_path, monkeypatch):
    """As on another machine, with a browser that notes what it is given."""
    opened = tmp_path / "opened"
    program = tmp_path / "browser"
    program.write_text(f'#!/bin/sh\necho "$@" >> {opened}\n')
    program.chmod(0o755)
    for name, value in {"XDG_CONFIG_HOME": tmp_path, "XDG_CACHE_HOME": tmp_path / "cache", "BROWSER": program}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.delenv("QUARTERDECK_HOME", raising=False)
    monkeypatch.delenv("CI", raising=False)
    return SimpleNamespace(qd=qd, opened=opened, folder=tmp_path / "quarterdeck" / "tokens")


ODD = {
    "no code": {**GOOD, "code": ""},
    "a code that is a sequence": {**GOOD, "code": EVIL},
    "a code that is an address": {**GOOD, "code": "javascript:alert(1)"},
    "a code that is a switch": {**GOOD, "code": "--gpu-launcher=x"},
    "no secret": {"code": CODE},
    "a time in words": {**GOOD, "interval": "often"},
    "a list": [],
    "nothing": None,
}


@pytest.mark.parametrize("answer", ODD.values(), ids=ODD)
def test_an_answer_that_is_none_is_one_error(away, answer):
    with answering(ask=(200, answer)) as server:
        ran = away.qd("login", server.url)
    assert ran.code == 1, ran
    assert "gives no code" in ran.err
    assert "Traceback" not in ran.err
    assert not away.folder.exists()
    assert not away.opened.exists()


def test_what_is_opened_is_made_of_what_was_typed(away):
    said = {**GOOD, "url": "file:///etc/passwd", "interval": 1e9, "expires_in": 1e9}
    with answering(ask=(200, {**said, "interval": -1}), collect=(200, ALLOWED), trade=(403, {})) as server:
        ran = away.qd("login", server.url)
        assert ran.code == 0, ran
        assert f"open    {server.url}/login/device?code={CODE}" in ran.err
    assert "etc/passwd" not in ran.err + ran.out
    assert (away.folder / "127.0.0.1").stat().st_mode & 0o777 == 0o600


def test_nothing_of_theirs_rules_the_terminal(away):
    told = {**ALLOWED, "role": EVIL, "user": EVIL, "cluster": EVIL, "expires": EVIL}
    with answering(ask=(200, GOOD), collect=(200, told), trade=(403, {})) as server:
        ran = away.qd("login", server.url)
    assert ran.code == 0, ran
    for sign in "\x1b\x07\u202e":
        assert sign not in ran.out + ran.err


@pytest.mark.parametrize("answer", [{"state": "refused"}, {"state": "allowed"}, {}], ids=["no", "no token", "nothing"])
def test_no_is_an_answer_and_what_is_none_is_waited_out(away, answer):
    with answering(ask=(200, {**GOOD, "expires_in": 1}), collect=(200, answer)) as server:
        ran = away.qd("login", server.url)
    assert ran.code == 4, ran
    assert not away.folder.exists()


def logged_in(away, server):
    assert away.qd("login", server.url, "--name", "far").code == 0
    assert (away.folder / "far").exists()


UNKNOWN = {"error": {"kind": "Forbidden", "message": "the token is unknown, expired or revoked", "hint": "", "exit_code": 4}}
WRONG_HOST = {"error": {"kind": "Forbidden", "message": "unknown Host 'x'", "hint": "", "exit_code": 4}}


def test_logging_out_ends_it_there(away):
    with answering(ask=(200, GOOD), collect=(200, ALLOWED), trade=(200, {"token": "qd_1_x", "expires_in": 60}), leave=(200, {})) as server:
        logged_in(away, server)
        ran = away.qd("logout")
        assert ("DELETE", "/v1/login") in server.asked
    assert (ran.code, ran.out) == (0, "logged out of far\n")
    assert not (away.folder / "far").exists()


@pytest.mark.parametrize("trade", [(403, WRONG_HOST), (500, {}), None], ids=["another host", "a fault", "away"])
def test_what_could_not_be_ended_there_is_said(away, trade, tmp_path):
    with answering(ask=(200, GOOD), collect=(200, ALLOWED), **({"trade": trade} if trade else {})) as server:
        logged_in(away, server)
        if trade:
            ran = away.qd("logout")
    if not trade:
        ran = away.qd("logout")
    assert ran.code == 0
    assert "it may still work there" in ran.err
    assert "qd token revoke 00000000" in ran.err
    assert not (away.folder / "far").exists()
    assert not [file for file in (tmp_path / "cache").rglob("*") if file.is_file() and not file.suffix]


def test_what_has_ended_there_needs_no_word(away):
    with answering(ask=(200, GOOD), collect=(200, ALLOWED), trade=(403, UNKNOWN)) as server:
        logged_in(away, server)
        ran = away.qd("logout")
    assert (ran.code, "may still work" in ran.err) == (0, False)


def test_who_is_not_logged_in_is_told(away):
    assert away.qd("logout").code == 1
    assert away.qd("login").code == 2
