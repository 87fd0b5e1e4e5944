"""Where a home's sockets are."""

import os
import socket
from pathlib import Path

import pytest

from quarterdeck.model.home import Home


def test_whoever_asks_finds_the_sockets_in_the_home(monkeypatch):
    home = Home(Path("/srv/fleet"))
    found = {home.node_socket}
    for session in ("/run/user/1000", ""):
        monkeypatch.setenv("XDG_RUNTIME_DIR", session)
        found.add(home.node_socket)
    assert found == {Path("/srv/fleet/run/node.sock")}


@pytest.mark.parametrize(("length", "inside"), [(20, True), (93, True), (94, False), (300, False)])
def test_a_home_whose_path_is_too_long_for_sockets_has_them_elsewhere(length, inside):
    home = Home(Path("/" + "h" * (length - 1)))
    assert (home.run == home.root / "run") is inside
    assert home.api_socket.parent == home.node_socket.parent == home.run
    assert len(str(home.node_socket)) <= 107
    if not inside:
        assert home.run == Path(f"/tmp/qd-{os.getuid()}/{home.mark}")


def test_the_length_is_counted_in_bytes():
    home = Home(Path("/" + "ö" * 50))
    assert home.run.is_relative_to("/tmp")


def test_the_longest_path_is_one_that_the_kernel_takes(tmp_path):
    folder = tmp_path / "x"
    folder.mkdir()
    name = "s" * (107 - len(os.fsencode(folder)) - 1)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(folder / name))
    with socket.socket(socket.AF_UNIX) as door, pytest.raises(OSError, match="too long"):
        door.bind(str(folder / f"{name}s"))


def test_two_homes_have_two_marks():
    assert Home(Path("/a")).mark != Home(Path("/b")).mark
