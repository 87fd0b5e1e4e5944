"""The two doors before anything serves: the unix socket, and the port, which a restart keeps."""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from quarterdeck.api.door import Place
from quarterdeck.errors import Conflict, UserError
from quarterdeck.model.home import Home

DEFAULT_PORT: Final = 7410
ANOTHER: Final = "qd up --port 0 takes any free one; QUARTERDECK_PORT sets it for good"
_NUMBER: Final = re.compile(r"[0-9]{1,5}")


def unix(home: Home) -> socket.socket:
    """Bound by us with 0600 (a server that binds it itself makes it open to all); the store's lock says that an old file is stale."""
    home.api_socket.unlink(missing_ok=True)
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old = os.umask(0o177)
    try:
        door.bind(str(home.api_socket))
    finally:
        os.umask(old)
    door.listen(128)
    return door


@dataclass(frozen=True, slots=True)
class Choice:
    """Which port is tried first (0: any), whether any other one will do, and whether an earlier start had it."""

    port: int
    others: bool = False
    kept: bool = False


def choice(home: Home, port: int | None, environ: Mapping[str, str]) -> Choice:
    """The port that somebody asked for; else that of the last start, so that links, contexts and proxies stay right; else 7410.

    Where nobody named one, any other will do for 7410; for that of the last start only with `--port 0` or QUARTERDECK_PORT=0: whoever
    has it now would be met by those who look for us. Raises UserError for a QUARTERDECK_PORT that is no port.
    """
    asked = port if port is not None else _number(environ.get("QUARTERDECK_PORT", ""))
    if asked:
        return Choice(asked)
    kept = _kept(home)
    if kept:
        return Choice(kept, others=asked == 0, kept=True)
    return Choice(DEFAULT_PORT if asked is None else 0, others=True)


def tcp(home: Home, place: Place, port: int | None, environ: Mapping[str, str]) -> socket.socket:
    """The door at the port of choice(), which is kept for the next start. Raises as choice() and found() do."""
    door = found(place, choice(home, port, environ))
    (home.root / "port").write_text(str(door.getsockname()[1]))
    return door


def found(place: Place, wanted: Choice) -> socket.socket:
    """A socket that listens there; raises Conflict for a port that somebody has, else UserError."""
    try:
        return _bound(place, wanted)
    except Conflict:
        if not wanted.others or not wanted.port:
            raise
    return _bound(place, Choice(0))


def _bound(place: Place, wanted: Choice) -> socket.socket:
    door = socket.socket(place.family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio asks for it before it sends at once
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        door.bind((place.bind, wanted.port))
        door.listen(128)
    except OSError as error:
        door.close()
        raise _refused(place, wanted, error) from error
    return door


def _refused(place: Place, wanted: Choice, error: OSError) -> UserError:
    if error.errno == errno.EADDRNOTAVAIL:
        return UserError(f"{place.bind} is no address of this machine", hint="ip -brief address lists those there are")
    if error.errno != errno.EADDRINUSE:
        return UserError(f"port {wanted.port} cannot be used: {error.strerror}", hint=ANOTHER)
    if wanted.kept:
        hint = f"ss -ltnp shows who has it; {ANOTHER}; links and contexts that name the old one lead to whoever has it"
        return Conflict(f"port {wanted.port}, which this home had before, is taken", hint=hint)
    return Conflict(f"port {wanted.port} is taken", hint=f"ss -ltnp shows who has it; {ANOTHER}")


def _kept(home: Home) -> int | None:
    """That of the last start; None when there was none, or its file was cut off by a crash."""
    file = home.root / "port"
    text = file.read_text(errors="replace").strip() if file.exists() else ""
    return _port(text) or None


def _number(text: str) -> int | None:
    """None for a variable that is not set, or empty."""
    port = _port(text.strip())
    if port is None and text.strip():
        raise UserError(f"{text!r} is no port", hint="QUARTERDECK_PORT is a number up to 65535, 0 for any")
    return port


def _port(text: str) -> int | None:
    return int(text) if _NUMBER.fullmatch(text) and int(text) < 1 << 16 else None
