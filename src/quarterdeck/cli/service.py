"""`qd service`: a fleet that starts with the machine, by systemd."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from quarterdeck.cli.render import show
from quarterdeck.cli.screen import clean
from quarterdeck.cli.session import Session
from quarterdeck.cli.start import ensure
from quarterdeck.cli.unit import Unit
from quarterdeck.client.wire import listens, ordered_down
from quarterdeck.durable import write_synced
from quarterdeck.errors import Forbidden, NotFound, Transient, UserError
from quarterdeck.version import API_VERSION

SystemOption = Annotated[bool, typer.Option("--system-wide", help="A unit of the machine, not of this user; needs root.")]
SYSTEM_UNITS: Final = Path("/etc/systemd/system")
BOOTED: Final = Path("/run/systemd/system")
"""Is there when systemd runs the machine, sd_booted(3)."""
_ANSWERS_WITHIN: Final = 60.0
_EVERY: Final = 1.0
_ABSENT: Final = 15.0
"""Seconds without control plane and without node after which the keeper gives up, so that systemd starts all of it again."""


def service(session: Session) -> None:
    """Start the fleet with the machine, and again when it fails: a systemd unit for the home of this command.

    $ qd service install
    $ qd service status
    """


def install(session: Session, *, system_wide: SystemOption = False) -> None:
    """Write the unit and start it. What runs already is taken over. Without systemd the unit is printed, and where it belongs.

    $ qd service install
    $ sudo qd --home /srv/fleet service install --system-wide
    """
    unit = _unit(session, system_wide=system_wide)
    path = _path(unit, system_wide=system_wide)
    if not _systemd():
        show(session, _described(unit, path, "printed"), lambda screen: print(unit.text, end="", file=screen.out), name=unit.name)
        session.say(f"systemd does not run here. On a machine where it does this belongs into {path}; then:")
        session.say(f"next: {' '.join(_systemctl(system_wide, 'enable', '--now', unit.name))}")
        return
    _write(path, unit.text)
    session.warn(_doubts(unit, path, system_wide=system_wide))
    for words in (("daemon-reload",), ("enable", "--now", unit.name)):
        _told(_systemctl(system_wide, *words))
    show(session, _described(unit, path, "installed"), lambda screen: screen.line(f"{unit.name} runs: {path}"), name=unit.name)
    if not system_wide:
        session.say(f"it runs while you are logged in; for ever with: loginctl enable-linger {pwd.getpwuid(os.getuid()).pw_name}")
    session.say("next: qd service status · qd status")


def uninstall(session: Session, *, system_wide: SystemOption = False) -> None:
    """Stop the fleet and remove the unit; the home stays.

    $ qd service uninstall
    """
    unit = _unit(session, system_wide=system_wide)
    path = _path(unit, system_wide=system_wide)
    if not path.exists():
        raise NotFound(f"there is no {path}", hint="qd service status; a unit of the machine is removed with --system-wide")
    if _systemd():
        _told(_systemctl(system_wide, "disable", "--now", unit.name))
    if listens(session.home.api_socket) or listens(session.home.node_socket):  # of a unit that has failed systemd ends nothing
        subprocess.run(unit.stop, check=False, stdout=subprocess.DEVNULL)  # noqa: S603 our own words
    path.unlink()
    if _systemd():
        _told(_systemctl(system_wide, "daemon-reload"))
    show(session, _described(unit, path, "removed"), lambda screen: screen.line(f"{unit.name} is removed"), name=unit.name)
    session.say("next: qd up")


def status(session: Session, *, system_wide: SystemOption = False) -> int:
    """Whether the unit is installed and runs. Exit 3 when it is not installed, 5 when it does not run.

    $ qd service status
    """
    unit = _unit(session, system_wide=system_wide)
    path = _path(unit, system_wide=system_wide)
    state = "not installed" if not path.exists() else _active(unit, system_wide=system_wide) if _systemd() else "systemd does not run here"
    show(session, _described(unit, path, state), lambda screen: screen.line(f"{unit.name}: {clean(state)} ({path})"), name=unit.name)
    session.say("next: qd service install" if not path.exists() else f"next: journalctl {'' if system_wide else '--user '}-u {unit.name}")
    return 0 if state == "active" else 3 if not path.exists() else 5


def run(session: Session) -> int:
    """What the unit runs: start the control plane unless one answers, and stay while it or its node is there. Exit 0 after qd down.

    $ qd service run
    """
    home, clock = session.home, session.client.clock
    ensure(session, None)
    session.say(f"keeping {home.root} up")
    seen = clock.monotonic()
    while not ordered_down(home):
        if listens(home.api_socket) or listens(home.node_socket):
            seen = clock.monotonic()
        elif clock.monotonic() - seen > _ABSENT:
            raise Transient(f"neither control plane nor node is there for {_ABSENT:.0f} s", hint=f"read {home.logs / 'serve.log'}")
        time.sleep(_EVERY)
    return 0


def _unit(session: Session, *, system_wide: bool) -> Unit:
    owner = pwd.getpwuid(session.home.root.stat().st_uid if session.home.root.exists() else os.getuid()).pw_name
    home = session.home
    return Unit(home.root, Path(sys.executable), home.mark, owner if system_wide else "", dict(os.environ))


def _path(unit: Unit, *, system_wide: bool) -> Path:
    own = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config", "systemd", "user")
    return (SYSTEM_UNITS if system_wide else own) / unit.name


def _systemd() -> bool:
    return BOOTED.exists() and shutil.which("systemctl") is not None


def _systemctl(system_wide: bool, *words: str) -> list[str]:
    return ["systemctl", *([] if system_wide else ["--user"]), *words]


def _told(argv: list[str]) -> str:
    """Run systemctl; raises UserError with what it says."""
    try:
        ran = subprocess.run(argv, capture_output=True, text=True, timeout=_ANSWERS_WITHIN, check=False)  # noqa: S603 our own words
    except subprocess.TimeoutExpired as error:
        raise Transient(f"no answer to {' '.join(argv)} within {_ANSWERS_WITHIN:.0f} s", hint="qd service status") from error
    if ran.returncode:
        hint = "a unit of the machine needs root: --system-wide; a unit of yours needs a login session"
        raise UserError(f"{' '.join(argv)}: {ran.stderr.strip() or f'exit {ran.returncode}'}", hint=hint)
    return ran.stdout.strip()


def _doubts(unit: Unit, path: Path, *, system_wide: bool) -> list[str]:
    """What systemd itself finds wrong with the unit that was written: it ignores settings that it does not know, and says so here alone."""
    if shutil.which("systemd-analyze") is None:
        return []
    argv = ["systemd-analyze", "--system" if system_wide else "--user", "verify", "--man=no", str(path)]
    try:
        ran = subprocess.run(argv, capture_output=True, text=True, timeout=_ANSWERS_WITHIN, check=False)  # noqa: S603 our own words
    except subprocess.TimeoutExpired:
        return [f"{' '.join(argv)} gave no answer within {_ANSWERS_WITHIN:.0f} s"]
    return [line for line in ran.stderr.splitlines() if unit.name in line]  # it tells of other units too


def _active(unit: Unit, *, system_wide: bool) -> str:
    argv = _systemctl(system_wide, "show", "--property=ActiveState", "--value", unit.name)
    return _told(argv) or "unknown"


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_synced(path, text.encode(), mode=0o644)
    except PermissionError as error:
        raise Forbidden(f"{path} may not be written by you", hint="sudo, or without --system-wide for a unit of your own") from error
    except OSError as error:
        hint = "qd service install prints the unit where systemd does not run"
        raise UserError(f"{path} cannot be written: {error.strerror}", hint=hint) from error


def _described(unit: Unit, path: Path, state: str) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "Service",
        "name": unit.name,
        "path": str(path),
        "state": state,
        "unit": unit.text,
    }
