"""Access tokens that a client has traded: one trade for all who ask at once, and nothing that others wrote is believed."""

import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from quarterdeck.client import access

URL, SECRET = "https://fleet.example.org", "qdr_00000000_secret"


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(access, "_HELD", {})
    return tmp_path / "quarterdeck" / "access"


class Server:
    def __init__(self, lives=3_600):
        self.trades, self.lives = 0, lives

    def __call__(self, secret):
        self.trades += 1
        return {"token": f"qd_{self.trades}", "expires_in": self.lives}


def forgotten(monkeypatch):
    """As another program begins."""
    monkeypatch.setattr(access, "_HELD", {})


@pytest.mark.parametrize(
    ("secret", "traded"),
    [("qdr_x_y", True), ("eyJhbGciOiJub25lIn0.e30.", True), ("qd_x_y", False), ("eyJ", False), ("", False), ("a.b.c", False)],
)
def test_what_opens_nothing_itself_is_told_by_its_form(secret, traded):
    assert access.is_traded(secret) is traded


def test_of_many_at_once_one_trades():
    server = Server()
    with ThreadPoolExecutor(64) as pool:
        found = set(pool.map(lambda _: access.access(URL, SECRET, 0.0, server), range(64)))
    assert (found, server.trades) == ({"qd_1"}, 1)


def test_the_next_program_takes_it_until_shortly_before_its_end(kept, monkeypatch):
    server = Server()
    access.access(URL, SECRET, 0.0, server)
    forgotten(monkeypatch)
    assert access.access(URL, SECRET, 3_600 - access.MARGIN - 1, server) == "qd_1"
    assert access.access(URL, SECRET, 3_600 - access.MARGIN, server) == "qd_2"
    assert {file.stat().st_mode & 0o777 for file in kept.iterdir()} == {0o600}
    assert all(SECRET not in file.read_text() for file in kept.iterdir())


def test_of_one_that_lives_shortly_a_tenth_is_the_margin():
    server = Server(lives=20)
    access.access(URL, SECRET, 0.0, server)
    assert access.access(URL, SECRET, 17.9, server) == "qd_1"
    assert access.access(URL, SECRET, 18.0, server) == "qd_2"


def test_another_url_or_secret_is_another(monkeypatch):
    server = Server()
    assert access.access(URL, SECRET, 0.0, server) != access.access(f"{URL}/", SECRET, 0.0, server)
    assert access.access(URL, f"{SECRET}2", 0.0, server) == "qd_3"


def planted(kept, how):
    (file,) = (one for one in kept.iterdir() if not one.suffix)
    evil = json.dumps({"token": "qd_evil", "until": 9e9})
    match how:
        case "by others":
            file.write_text(evil)
            file.chmod(0o666)
        case "a link":
            (kept / "x").write_text(evil)
            (kept / "x").chmod(0o600)
            file.unlink()
            file.symlink_to(kept / "x")
        case "a pipe":
            file.unlink()
            os.mkfifo(file, 0o600)
        case "nonsense":
            file.write_text("[" * 2_000)
        case "a folder":
            file.unlink()
            file.mkdir()


@pytest.mark.parametrize("how", ["by others", "a link", "a pipe", "nonsense", "a folder"])
def test_what_somebody_put_there_is_not_believed(kept, monkeypatch, how):
    server = Server()
    access.access(URL, SECRET, 0.0, server)
    planted(kept, how)
    forgotten(monkeypatch)
    assert access.access(URL, SECRET, 0.0, server) == "qd_2"


def test_what_has_ended_long_ago_goes(kept):
    server = Server()
    access.access(URL, "qdr_0_old", 0.0, server)
    for file in kept.iterdir():
        os.utime(file, (0, 0))
    access.access(URL, SECRET, 2 * 86_400.0, server)
    assert len([file for file in kept.iterdir() if not file.suffix]) == 1


def test_a_trade_that_fails_is_told_to_all_and_tried_anew(kept):
    def away(_):
        raise ConnectionError

    with pytest.raises(ConnectionError):
        access.access(URL, SECRET, 0.0, away)
    assert access.access(URL, SECRET, 0.0, Server()) == "qd_1"


def test_what_was_refused_is_forgotten(kept):
    server = Server()
    access.access(URL, SECRET, 0.0, server)
    access.forget(URL, SECRET)
    assert access.access(URL, SECRET, 0.0, server) == "qd_2"
