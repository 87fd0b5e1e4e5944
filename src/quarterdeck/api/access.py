"""Who comes in: decided in one place, before any body is read.

Unix socket: the kernel names the peer (SO_PEERCRED); our own uid may do everything, a process below the node (an agent) is refused.
TCP: a token always, even on loopback; Host and Origin must be ours, because a browser on this machine will send what any page asks it to.
What he may do is said by the route that will answer (roles.py); a route that says nothing answers nobody.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from quarterdeck.api.door import Door
from quarterdeck.api.errors import HeadersTooLarge, turned_away
from quarterdeck.api.exchange import Exchange, Streams, body_limit, too_large
from quarterdeck.api.limits import SUBMISSION, Backoff, Rates
from quarterdeck.api.protocol import HEADER_LIMIT
from quarterdeck.errors import Forbidden, QuarterdeckError
from quarterdeck.model.grant import EVERYTHING, Grant
from quarterdeck.model.records import Actor
from quarterdeck.store.tokens import Token

HARDENED: Final = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
_BRING: Final = frozenset({"/login", "/v1/login/token", "/v1/login/device/token"})
"""Where somebody brings a secret in another way: a right one is let in even from an address that asks for too much without any."""
Known = Callable[[str], Token | None]
"""A token's secret → its id and what it allows; None when it is not valid."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, what he may do (None: nothing), and by which of his secrets a browser spoke for him (empty: none, so no CSRF either).

    `until` is when what he showed ends, in epoch seconds.
    """

    actor: Actor
    grant: Grant | None
    session: str = ""
    until: float = math.inf


ANONYMOUS: Final = Caller(Actor("anonymous", "http"), None)


@dataclass(frozen=True, slots=True)
class Guard:
    """ASGI middleware: identity and limits first, everything else after. `is_agent` says whether a pid descends from the node."""

    app: ASGIApp
    own_uid: int
    door: Door
    known: Known
    is_agent: Callable[[int], bool]
    rates: Rates
    backoff: Backoff
    streams: Streams = field(default_factory=Streams)
    sign_in: Callable[[], str] = str
    """The provider that somebody who is not known yet may go to; none by itself."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through with its caller in the scope, or refuse it unread."""
        send = hardened(send)
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        try:
            caller = self._admit(scope)
        except QuarterdeckError as error:
            await turned_away(error, scope)(scope, receive, send)
            return
        scope.update(actor=caller.actor, grant=caller.grant, session=caller.session, until=caller.until, cookie=self.door.cookie)
        address = _address(scope)
        scope.update(failed=partial(self.backoff.failed, address), take=self.rates.take, address=partial(_counted, address))
        scope["sign_in"] = self.sign_in
        owner = None if caller.actor.via == "socket" else caller.actor.name
        await Exchange(scope, receive, send, self.streams, owner, caller.until).run(self.app)

    def _admit(self, scope: Scope) -> Caller:
        if scope["type"] != "http":
            raise Forbidden("only HTTP is spoken here", hint="streams are server-sent events: Accept: text/event-stream")
        headers = Headers(scope=scope)
        _within_limits(headers, body_limit(scope))
        by_socket = _address(scope).startswith("uid:")
        if not by_socket:
            self._same_site(scope, headers)
        caller = self._socket_peer(scope) if by_socket else self._bearer(scope, headers)
        if caller.grant is None and scope["path"] not in _BRING:
            self.rates.take(_counted(_address(scope)))
        elif caller.actor.via != "socket":
            self.rates.take(caller.actor.name, SUBMISSION if (scope["method"], scope["path"]) == ("POST", "/v1/tasks") else 1.0)
        return caller

    def _socket_peer(self, scope: Scope) -> Caller:
        uid, pid = int(_address(scope)[4:]), scope["client"][1]
        if uid != self.own_uid:
            raise Forbidden(f"uid {uid} is not the owner of this control plane", hint=f"run qd as uid {self.own_uid}, who started it")
        if self.is_agent(pid):
            raise Forbidden(
                "agents may not use the control plane's socket", hint="an agent reaches others with ctx.ask, ctx.tell and ctx.publish"
            )
        return Caller(Actor(f"uid:{uid}", "socket"), EVERYTHING)

    def _bearer(self, scope: Scope, headers: Headers) -> Caller:
        """Who a token names; nobody without one. A wrong one counts against its address, unless a browser shows it by itself.

        That is the cookie of a session that has ended, which each open page of it brings again and again.
        """
        secret, by_cookie = _secret(headers, self.door.cookie)
        if not secret:
            return ANONYMOUS
        found = self.known(secret)
        if found is None:
            if not by_cookie:
                self.backoff.failed(_address(scope))
            return ANONYMOUS
        return Caller(Actor(f"token:{found.id}", "http", found.user), found.grant, secret if by_cookie else "", found.expires)

    def _same_site(self, scope: Scope, headers: Headers) -> None:
        """Host and Origin must name us (DNS rebinding, cross-site requests)."""
        met = str((scope.get("server") or ("", 0))[0])
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self.door.host_is_ours(hosts[0], met):
            raise Forbidden(f"unknown Host {', '.join(hosts)!r}", hint=f"use {self.door.url}")
        origin = headers.get("origin")
        if origin is not None and not self.door.ours(origin, met):
            raise Forbidden(f"requests from {origin} are not accepted", hint=f"open the dashboard at {self.door.url}")


def hardened(send: Send) -> Send:
    """Every answer says that it is no page, is for its reader alone and is of the type it claims, unless it says otherwise itself."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            said = {name.lower() for name, _ in message.get("headers", ())}
            message = {**message, "headers": [*message.get("headers", ()), *(h for h in HARDENED if h[0] not in said)]}
        await send(message)

    return sent


def _address(scope: Scope) -> str:
    return str((scope.get("client") or ("", 0))[0])


def _counted(text: str) -> str:
    """An address as it is counted: of IPv6 the network, of which everybody has one (RFC 6177)."""
    try:
        found = ipaddress.ip_address(text.removeprefix("::ffff:"))
    except ValueError:  # the unix socket
        return f"address:{text}"
    return f"address:{ipaddress.ip_network((found, 64), strict=False).network_address if found.version == 6 else found}"  # noqa: PLR2004


def _secret(headers: Headers, cookie: str) -> tuple[str, bool]:
    """The token shown, and whether it is the cookie's."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip(), False
    return cookie_parser(headers.get("cookie", "")).get(cookie, ""), True


def _within_limits(headers: Headers, most: int) -> None:
    if sum(len(name) + len(value) for name, value in headers.raw) > HEADER_LIMIT:
        raise HeadersTooLarge(f"headers may have {HEADER_LIMIT} bytes", hint="forget old cookies of this site")
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > most:
        raise too_large(most)
