"""Starting the control plane, and saying why when it ends at once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from quarterdeck import stop_order
from quarterdeck.cli.session import Session
from quarterdeck.client.wire import Document
from quarterdeck.errors import Conflict, Terminal, Transient
from quarterdeck.model.home import Home

PATIENCE: Final = 30.0
"""Seconds for a control plane to answer: a cold disk and two slow cores included."""
_GRACE: Final = 3.0
"""Seconds in which somebody else's control plane may answer after ours has found the home taken."""
_TAIL: Final = 16_384
NO_DOOR: Final[Mapping[str, str | Path | None]] = {}
"""Variables of the TCP door that options set: none."""
_PRIVATE: Final = 0o700
_LAST_PORT: Final = 65535


def ensure(session: Session, port: int | None, door: Mapping[str, str | Path | None] = NO_DOOR, *, told: bool = False) -> Document:
    """The version document of the control plane that answers, started if need be. Raises Conflict, Terminal or Transient with the cause."""
    clear_stop_order(session.home)
    found = session.client.answers()
    if found is not None:
        return found
    if told:
        session.say(f"starting the control plane of {session.home.root}")
    log = session.home.logs / "serve.log"
    begin = log.stat().st_size if log.exists() else 0
    process = _spawn(session.home, log, port, door)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = session.client.answers()
        if found is not None:
            return found
        if process.poll() is not None:
            return _second_chance(session, process.returncode, log, begin)
        time.sleep(0.02)
    raise Transient(f"the control plane does not answer after {PATIENCE:.0f} s", hint=f"it may be slow: qd status; its log is {log}")


def port_ignored(version: Mapping[str, Any], port: int | None, environ: Mapping[str, str]) -> list[str]:
    """A warning when the port asked for, by option or QUARTERDECK_PORT, is not that of the control plane that answers; 0 asks for any."""
    named = environ.get("QUARTERDECK_PORT", "").strip()
    asked = port if port is not None else int(named) if named.isdecimal() else 0
    running = urlsplit(str(version.get("url") or "")).port
    if not asked or running in (None, asked):
        return []
    change = f"qd down, then qd up --port {asked} changes it" if asked <= _LAST_PORT else f"ports end at {_LAST_PORT}"
    return [f"port {asked} is not used: the control plane runs on port {running} already; {change}"]


def door_ignored(version: Mapping[str, Any], door: Mapping[str, str | Path | None]) -> list[str]:
    """A warning when options say where to listen and the control plane that answers listens elsewhere: it was there before."""
    running = urlsplit(str(version.get("url") or ""))
    public, bind = door.get("QUARTERDECK_PUBLIC_URL"), str(door.get("QUARTERDECK_BIND") or "").strip("[]")
    same = [
        not public or str(public).rstrip("/") == running.geturl(),
        bool(public) or not bind or bind in (running.hostname, "0.0.0.0", "::"),  # noqa: S104 compared, not bound
        not door.get("QUARTERDECK_TLS_CERT") or running.scheme == "https",
    ]
    if all(same) or not running.netloc:
        return []
    return [f"where to listen is not changed: the control plane runs at {running.geturl()} already; qd down, then qd up again changes it"]


def check_sign_in(file: Path | None, environ: Mapping[str, str]) -> None:
    """Raise SpecError or UserError for a sign-in file with faults: a control plane that has one lets nobody in by it, and goes on."""
    if file:
        from quarterdeck.signin.settings import read  # noqa: PLC0415 for those who have one

        read(file, environ)


def sign_in_ignored(version: Mapping[str, Any], file: Path | None) -> list[str]:
    """A warning when the control plane that answers was started with another sign-in file, or with none."""
    used = (version.get("sign_in") or {}).get("file")
    if file is None or used == str(file.absolute()):
        return []
    return [f"{file} is not used: the control plane runs already with {used or 'no sign-in file'}; qd down, then qd up again changes it"]


def clear_stop_order(home: Home) -> None:
    """Lift the order to stay down, or preallocate the file for the next one."""
    stop_order.write(home, stay_down=False)


def _spawn(home: Home, log: Path, port: int | None, door: Mapping[str, str | Path | None]) -> subprocess.Popen[bytes]:
    """In a session of its own, with no descriptor of ours; it outlives this command."""
    log.parent.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    argv = [sys.executable, "-m", "quarterdeck.cli.main", "--home", str(home.root), "serve"]
    environ = {**os.environ, "QUARTERDECK_HOME": str(home.root)}
    if port is not None:  # by the environment, so that the node, which inherits it, starts it again on the same one
        environ["QUARTERDECK_PORT"] = str(port)
    environ |= {name: str(value.absolute() if isinstance(value, Path) else value) for name, value in door.items() if value is not None}
    with log.open("ab") as out:
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, env=environ)  # noqa: S603 our own


def _second_chance(session: Session, code: int, log: Path, begin: int) -> Document:
    """Two `qd up` at once: the one that lost uses the other's control plane."""
    deadline = time.monotonic() + _GRACE
    said = _said(log, begin)
    while "another control plane" in said and time.monotonic() < deadline:
        found = session.client.answers()
        if found is not None:
            return found
        time.sleep(0.05)
    message, hint = _cause(said, log)
    kind = Conflict if any(word in said for word in ("another control plane", "in use", "is taken")) else Terminal
    raise kind(f"the control plane ended at once (exit {code}): {message}", hint=hint, where=str(log))


def _said(log: Path, begin: int) -> str:
    with log.open("rb") as file:
        file.seek(max(begin, log.stat().st_size - _TAIL))
        return file.read().decode("utf-8", "replace")


def _cause(said: str, log: Path) -> tuple[str, str]:
    """The last `error:` line and its hint, else the last two lines."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [number for number, line in enumerate(lines) if line.startswith("error:")]
    hint = next((line.removeprefix("hint:").strip() for line in reversed(lines) if line.startswith("hint:")), f"read {log}")
    if errors:
        return re.sub(r" \[E\d{4}\]$", "", lines[errors[-1]]).removeprefix("error:").strip(), hint
    return "; ".join(lines[-2:]) or "it said nothing", hint
