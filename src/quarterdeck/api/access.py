"""Who may come in: one place, deny by default, decided before any body is read.

Unix socket: the kernel names the peer (SO_PEERCRED); our own uid is an administrator, a process below the node (an agent) is refused.
TCP: a token always, even on loopback; Host and Origin must be ours, because a browser on this machine will send what any page asks it to.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from uvicorn.protocols.http.h11_impl import H11Protocol

from quarterdeck import linux
from quarterdeck.api.errors import refuse
from quarterdeck.errors import Forbidden, QuarterdeckError
from quarterdeck.model.records import Actor

OPEN_ROUTES = frozenset({"/healthz", "/readyz", "/login"})
"""The only paths that answer without an identity."""
COOKIE = "quarterdeck"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]", "::1"})
BODY_LIMIT = 4 << 20
Scope = dict[str, Any]
Asgi = Callable[[Scope, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]


class PeerAwareProtocol(H11Protocol):
    """uvicorn hides the peer of a unix socket; this keeps it as the scope's client: (`uid:<n>`, pid)."""

    def connection_made(self, transport: Any) -> None:
        """Note who connected."""
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family == socket.AF_UNIX:
            pid, uid = linux.peer(connection)
            self.client = (f"uid:{uid}", pid)


@dataclass(frozen=True, slots=True)
class Guard:
    """ASGI middleware: identity or refusal first, everything else after.

    `token_role` answers the role of a token or None; `is_agent` says whether a pid descends from the node; `port` is our TCP port.
    """

    app: Asgi
    own_uid: int
    port: int
    token_role: Callable[[str], tuple[str, str] | None]
    is_agent: Callable[[int], bool]

    async def __call__(self, scope: Scope, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
        """Let a request through with `scope["actor"]` set, or refuse it unread."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            scope["actor"] = self._identify(scope)
            _length_within(Headers(scope=scope))
        except QuarterdeckError as error:
            await refuse(error)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _identify(self, scope: Scope) -> Actor:
        client = scope.get("client") or ("", 0)
        if str(client[0]).startswith("uid:"):
            return self._socket_peer(int(client[0][4:]), client[1])
        headers = Headers(scope=scope)
        self._same_site(headers)
        if scope["path"] in OPEN_ROUTES:
            return Actor("anonymous", "http")
        found = self.token_role(_token(headers))
        if found is None:
            raise Forbidden("no valid token", hint="qd open prints a link that logs a browser in")
        identity, _role = found
        return Actor(f"token:{identity}", "http")

    def _socket_peer(self, uid: int, pid: int) -> Actor:
        if uid != self.own_uid:
            raise Forbidden(f"uid {uid} is not the owner of this control plane", hint=f"run qd as uid {self.own_uid}, who started it")
        if self.is_agent(pid):
            raise Forbidden(
                "agents may not use the control plane's socket", hint="an agent reaches others with ctx.ask, ctx.tell and ctx.publish"
            )
        return Actor(f"uid:{uid}", "socket")

    def _same_site(self, headers: Headers) -> None:
        """Host and Origin must name us (DNS rebinding, cross-site requests)."""
        if not self._ours(headers.get("host", "")):
            raise Forbidden(f"unknown Host {headers.get('host', '')!r}", hint=f"use http://127.0.0.1:{self.port}")
        origin = headers.get("origin")
        if origin is not None and not self._ours(urlsplit(origin).netloc):
            raise Forbidden(f"requests from {origin} are not accepted", hint=f"open the dashboard at http://127.0.0.1:{self.port}")

    def _ours(self, netloc: str) -> bool:
        host, _, port = netloc.rpartition(":")
        return host in LOOPBACK and port == str(self.port)


def _token(headers: Headers) -> str:
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    return cookie_parser(headers.get("cookie", "")).get(COOKIE, "")


def _length_within(headers: Headers) -> None:
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > BODY_LIMIT:
        raise TooLarge(f"a body may have {BODY_LIMIT} bytes", hint="send a reference to the data (a path, a key), or split it")


class TooLarge(Forbidden):
    """A request body over the limit."""

    http_status = 413
    exit_code = 1
