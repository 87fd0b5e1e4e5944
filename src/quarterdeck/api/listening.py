"""The two doors before anything serves: the unix socket, and the port, which a restart keeps."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Mapping
from typing import Final

from quarterdeck.api.door import Place
from quarterdeck.errors import UserError
from quarterdeck.model.home import Home

DEFAULT_PORT: Final = 7410


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


def tcp(home: Home, place: Place, port: int | None, environ: Mapping[str, str]) -> socket.socket:
    """The port asked for; else the one of the last start, so that a restart keeps the URL; else 7410, or any when that is taken."""
    kept = home.root / "port"
    asked = port if port is not None else _number(environ.get("QUARTERDECK_PORT"))
    tries = [asked] if asked else [_number(kept.read_text())] if kept.exists() else [0] if asked == 0 else [DEFAULT_PORT]
    door = _bound(place, tries[0] or 0)
    kept.write_text(str(door.getsockname()[1]))
    return door


def _bound(place: Place, port: int) -> socket.socket:
    door = socket.socket(place.family, socket.SOCK_STREAM)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        door.bind((place.bind, port))
        door.listen(128)
    except OSError as error:
        door.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise UserError(f"{place.bind} is no address of this machine", hint="ip -brief address lists those there are") from error
        raise UserError(f"port {port} is taken", hint="qd up --port 0 takes any free one; QUARTERDECK_PORT sets it for good") from error
    return door


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.strip().isdecimal() or int(text) >= 1 << 16:
        raise UserError(f"{text!r} is no port", hint="QUARTERDECK_PORT is a number up to 65535, 0 for any")
    return int(text)
