"""Where there is no ground for cgroups of version 2; where there is, tests/scenarios/machine shows on a kernel that has them."""

import os

import pytest

from quarterdeck.engines.local.node import ground, rooms


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A tree of version 2 that belongs to somebody else, with a systemd; gives what it is asked."""
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    (tmp_path / "booted").mkdir()
    (tmp_path / "linger").mkdir()
    asked = []
    monkeypatch.setattr(ground, "_ROOT", tmp_path)
    monkeypatch.setattr(ground, "_BOOTED", tmp_path / "booted")
    monkeypatch.setattr(ground, "_LINGERS", tmp_path / "linger")
    monkeypatch.setattr("subprocess.run", lambda argv, **_: asked.append(argv))
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(ground, "_MOVED_WITHIN", 0.0)
    return asked


@pytest.mark.parametrize("path", ["/system.slice/gone.scope", "/../outside", "/user.slice/session-1.scope"])
def test_a_group_that_is_not_ours_or_cannot_be_seen_is_none(tree, tmp_path, monkeypatch, path):
    session = tmp_path / "user.slice/session-1.scope"
    (session / "cgroup.subtree_control").mkdir(parents=True)  # whoever writes it fails
    (session / "cgroup.controllers").write_text("cpu memory pids\n")
    monkeypatch.setattr(ground, "_own_groups", lambda: [("", path)])
    assert ground.find("qd-0123456789") is rooms.NONE


@pytest.mark.parametrize(
    ("uid", "path", "asks"),
    [
        (0, "/user.slice/session-1.scope", True),
        (2**31 - 7, "/user.slice/session-1.scope", False),
        (2**31 - 7, f"/user.slice/user@{2**31 - 7}.service/app.slice/quarterdeck-0123456789.service", True),
        (0, "/system.slice/qd-0123456789-aa.scope/platform", False),
    ],
)
def test_a_scope_is_asked_for_where_it_outlives_the_session_and_there_is_none_yet(tree, monkeypatch, uid, path, asks):
    monkeypatch.setattr(os, "getuid", lambda: uid)
    monkeypatch.setattr(ground, "_own_groups", lambda: [("", path)])
    ground.find("qd-0123456789")
    assert bool(tree) is asks
    assert all(("--user" in argv) is (uid != 0) for argv in tree)
