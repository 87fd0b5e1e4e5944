"""The two doors to a control plane: the unix socket of a home on this machine, or a URL with a bearer token. Standard library only."""

from __future__ import annotations

import http.client
import socket
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from quarterdeck.errors import Forbidden, NotFound, UserError
from quarterdeck.model.home import Home

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_OTHERS: Final = 0o077


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        """Connect; raises OSError when nobody listens."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


@dataclass(frozen=True, slots=True)
class Remote:
    """A control plane at a URL. The token is read from its file for each request, so that a renewed one counts at once.

    A program that has the token itself gives it as `token`. `nobody`: asks as one who has none.
    """

    url: str
    token_file: Path
    ca: Path | None = None
    token: str = field(default="", repr=False)
    nobody: bool = False

    def __str__(self) -> str:
        return self.url

    @property
    def prefix(self) -> str:
        """The path that a reverse proxy may have put in front."""
        return urlsplit(self.url).path.rstrip("/")

    @property
    def secret(self) -> str:
        """The token. Raises NotFound or Forbidden for a file that cannot be used."""
        return self.token or read_token(self.token_file)

    def connection(self, timeout: float) -> http.client.HTTPConnection:
        """A connection that is not open yet."""
        split = urlsplit(self.url)
        host, port = split.hostname or "", split.port
        if split.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=timeout)
        return http.client.HTTPSConnection(host, port, timeout=timeout, context=self.tls())

    def tls(self) -> ssl.SSLContext:
        """What its certificate is judged by. Raises UserError for an authority that cannot be read."""
        return _trusting(self.ca)


Place = Home | Remote


def checked(url: str) -> str:
    """The URL without its last slash. A token never travels in the clear: http is for loopback, e.g. an ssh tunnel. Raises UserError."""
    split = urlsplit(url)
    if split.scheme not in ("http", "https") or not split.hostname or split.query or split.fragment or split.username:
        raise UserError(f"{url!r} is not the URL of a control plane", hint="write https://HOST:PORT")
    if split.scheme == "http" and split.hostname not in LOOPBACK:
        hint = f"use https, or a tunnel: ssh -L 7410:127.0.0.1:7410 {split.hostname}, then http://127.0.0.1:7410"
        raise UserError(f"{url} would carry the token in the clear", hint=hint)
    return url.rstrip("/")


def read_token(path: Path) -> str:
    """The token in a file that nobody else may read. Raises NotFound or Forbidden."""
    try:
        if path.stat().st_mode & _OTHERS:
            raise Forbidden(f"{path} can be read by other users", hint=f"chmod 600 {path}")
        return path.read_text().strip()
    except OSError as error:
        hint = "qd login gets one; or make one where the control plane runs with qd token create, and keep it there with mode 600"
        raise NotFound(f"the token file {path} cannot be read: {error.strerror}", hint=hint) from error


def _trusting(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(ca) if ca else None)
    except (OSError, ssl.SSLError) as error:
        hint = "name the PEM file of the authority that signed the server's certificate"
        raise UserError(f"{ca} holds no certificate", hint=hint) from error
