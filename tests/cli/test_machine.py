"""`qd doctor`, `qd open` and `qd service` against the fake."""

import re
import shutil
import subprocess
import sys

import pytest

from quarterdeck import stop_order
from quarterdeck.cli import checks, service
from quarterdeck.cli.checks import Finding
from quarterdeck.cli.unit import Unit


def test_the_doctor_says_each_thing_with_its_mend_and_ends_with_the_next_command(fake, qd, monkeypatch):
    monkeypatch.setattr(checks, "disk", lambda _home: Finding("disk", "failed", "full", "make room"))
    monkeypatch.setattr(checks, "clock", lambda *_: Finding("clock", "warning", "nobody keeps it", "timedatectl set-ntp true"))
    ran = qd("doctor")
    assert ran.code == 1
    assert " ✘ disk           full\n                  mend: make room\n" in ran.out
    assert " ! clock          nobody keeps it\n" in ran.out
    assert " ✔ control plane  pid " in ran.out
    assert "1 warning, 1 failed" in ran.out
    assert "qd support-bundle" in ran.err


def test_a_warning_is_no_failure_and_json_is_a_document(fake, qd, monkeypatch):
    monkeypatch.setattr(checks, "clock", lambda *_: Finding("clock", "warning", "nobody keeps it", "timedatectl set-ntp true"))
    ran = qd("doctor", "-o", "json")
    assert (ran.code, ran.json["kind"], ran.json["ok"]) == (0, "Doctor", True)
    assert {"name": "clock", "status": "warning", "found": "nobody keeps it", "mend": "timedatectl set-ntp true"} in ran.json["items"]


def test_what_the_control_plane_calls_weakened_has_a_row_and_a_mend(fake, qd):
    fake.statuses = [
        {**fake.statuses[0], "weakenings": ["unsandboxed", "some replicas are spawned, not forked: their imports start threads"]}
    ]
    (row,) = [item for item in qd("doctor", "-o", "json").json["items"] if item["name"] == "weakened"]
    assert (row["status"], "unsandboxed" in row["found"]) == ("warning", False)
    assert "begin threads in handlers" in row["mend"]
    fake.statuses = [{**fake.statuses[0], "weakenings": ["cgroup v1", "unsandboxed"]}]
    (row,) = [item for item in qd("doctor", "-o", "json").json["items"] if item["name"] == "weakened"]
    assert row["status"] == "ok"


def test_marks_differ_in_shape_without_colour_and_in_ascii(fake, terminal, monkeypatch):
    _, written = terminal("doctor", NO_COLOR="1", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert " ok control plane" in written
    assert "\x1b" not in written


def test_a_store_that_cannot_write_has_failed(fake, qd):
    fake.answers["GET", "/v1/version"] = {**fake.answers["GET", "/v1/version"], "read_only": True}
    ran = qd("doctor")
    assert ran.code == 1
    assert "✘ control plane  its store cannot write" in ran.out


def test_leftovers_without_a_control_plane_are_a_warning(fake, home, qd):
    fake.stop()
    (home.root / "x").touch()
    script = "import time; print(1, flush=True); time.sleep(60)"
    left = subprocess.Popen([sys.executable, "-c", script], env={"QD_NODE": f"{home.mark}:ab12"}, stdout=subprocess.PIPE)
    try:
        left.stdout.readline()
        ran = qd("doctor", "-o", "json")
        (found,) = [item for item in ran.json["items"] if item["name"] == "leftovers"]
        assert found["status"] == "warning"
        assert f"process {left.pid}" in found["found"]
        assert "qd down --yes" in found["mend"]
    finally:
        left.kill()
        left.communicate()


@pytest.fixture
def browser(tmp_path):
    """A browser that notes what it was given."""
    file = tmp_path / "browser"
    file.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    file.chmod(0o755)
    return f"{file} %s"


def test_open_starts_the_browser_on_a_terminal(fake, terminal, browser, tmp_path):
    code, written = terminal("open", BROWSER=browser, CI="")
    assert code == 0
    assert (tmp_path / "opened").read_text().startswith("http://127.0.0.1:7410/login")
    assert "opened in your browser" in written


@pytest.mark.parametrize(
    ("arguments", "environ"),
    [
        (("--print",), {}),
        ((), {"CI": "true"}),
        (("-o", "name"), {}),
        ((), {"BROWSER": "", "DISPLAY": "", "WAYLAND_DISPLAY": "", "SSH_CONNECTION": "x"}),
    ],
)
def test_open_only_prints_where_nobody_would_see_a_browser(fake, terminal, browser, tmp_path, arguments, environ):  # noqa: PLR0917 fixtures
    code, written = terminal("open", *arguments, **{"BROWSER": browser, "CI": "", **environ})
    assert code == 0
    assert "http://127.0.0.1:7410/login" in written
    assert not (tmp_path / "opened").exists()


def test_a_pipe_gets_the_link_alone(fake, qd, monkeypatch):
    monkeypatch.setenv("DISPLAY", ":0")
    ran = qd("open")
    assert (ran.out, ran.err) == ("http://127.0.0.1:7410/login?once=x\n", "")


def test_what_the_browser_may_do_is_asked_for(fake, qd):
    qd("open", "--role", "viewer", "--cluster", "analysts")
    assert fake.asked("POST", "/v1/login")[0][1] == {"role": "viewer", "cluster": "analysts"}


def test_without_systemd_the_unit_is_printed_with_its_place(home, qd, monkeypatch, tmp_path):
    monkeypatch.setattr(service, "BOOTED", tmp_path / "none")
    ran = qd("service", "install")
    assert ran.code == 0
    assert ran.out.startswith("[Unit]\n")
    assert f"{tmp_path}/config/systemd/user/quarterdeck-" in ran.err
    assert "next: systemctl --user enable --now quarterdeck-" in ran.err
    assert not (tmp_path / "config" / "systemd").exists()
    assert qd("service", "status").code == 3
    assert qd("service", "uninstall").code == 3


@pytest.fixture
def systemctl(tmp_path, monkeypatch):
    """A fake systemctl that notes its words and says that everything is active."""
    monkeypatch.setattr(service, "BOOTED", tmp_path)
    place = tmp_path / "bin"
    place.mkdir()
    (place / "systemctl").write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\ntest -e {tmp_path}/broken && echo "no bus" >&2 && exit 1\necho active\n'
    )
    (place / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", str(place), prepend=":")
    return lambda: (tmp_path / "asked").read_text().splitlines()


def test_with_systemd_it_is_written_enabled_and_taken_away(home, qd, systemctl, tmp_path):
    ran = qd("service", "install", "-o", "json")
    name, path = ran.json["name"], tmp_path / "config" / "systemd" / "user" / ran.json["name"]
    assert path.read_text() == ran.json["unit"]
    assert systemctl() == ["--user daemon-reload", f"--user enable --now {name}"]
    assert qd("service", "status").code == 0
    assert qd("service", "uninstall").code == 0
    assert not path.exists()
    assert systemctl()[-2:] == [f"--user disable --now {name}", "--user daemon-reload"]


@pytest.fixture
def manager(home, systemctl, tmp_path, monkeypatch):
    """What a real systemd needs in order to judge a user's unit."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "session"))
    (tmp_path / "session").mkdir(mode=0o700)


VERIFIABLE = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")


@VERIFIABLE
@pytest.mark.parametrize("options", [(), ("--system-wide",)])
def test_a_real_systemd_has_no_doubts_about_the_unit_that_is_written(qd, manager, monkeypatch, tmp_path, options):
    monkeypatch.setattr(service, "SYSTEM_UNITS", tmp_path / "system")
    ran = qd("service", "install", *options)
    assert ran.code == 0, ran
    assert "warning" not in ran.err
    (path,) = tmp_path.glob("*/**/quarterdeck-*.service")
    argv = ["systemd-analyze", "--system" if options else "--user", "verify", "--man=no", path]
    judged = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert (judged.returncode, judged.stderr) == (0, "")


@VERIFIABLE
def test_what_a_real_systemd_would_ignore_is_said(home, qd, manager, monkeypatch):
    text = Unit.text.fget
    monkeypatch.setattr(Unit, "text", property(lambda unit: text(unit).replace("RestartSec=2", "RestartSeconds=2")))
    ran = qd("service", "install")
    assert ran.code == 0
    assert re.search(r"^warning: .*quarterdeck-\w+\.service:\d+: Unknown key.*RestartSeconds", ran.err, re.MULTILINE)


def test_what_systemd_refuses_is_said(home, qd, systemctl, tmp_path):
    (tmp_path / "broken").touch()
    ran = qd("service", "install")
    assert ran.code == 1
    assert "no bus" in ran.err


def test_the_keeper_ends_well_when_the_fleet_is_ordered_down(fake, home, until):
    keeper = subprocess.Popen([sys.executable, "-m", "quarterdeck.cli.main", "service", "run"], stderr=subprocess.PIPE, text=True)
    try:
        assert keeper.stderr.readline().startswith("keeping ")
        stop_order.write(home, stay_down=True)
        assert keeper.wait(10) == 0
    finally:
        keeper.kill()
        keeper.communicate()


def test_the_keeper_fails_when_nobody_is_left_so_that_systemd_starts_all_again(fake, home, qd, monkeypatch):
    monkeypatch.setattr(service, "_ABSENT", 0.2)
    monkeypatch.setattr(service, "_EVERY", 0.05)
    monkeypatch.setattr(service, "ensure", lambda *_: fake.stop())
    ran = qd("service", "run")
    assert ran.code == 5
    assert "serve.log" in ran.err
