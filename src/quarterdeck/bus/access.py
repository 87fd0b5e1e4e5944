"""The control plane's connections: two that are kept, and short visits inside a cluster's account.

The kept ones (as the server's own account and as the control plane's) outlive restarts of the server. A visitor is a user with a minute's
life and exact rights, minted for one operation; its seed is never written anywhere.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from quarterdeck.bus import claims, probes, subjects
from quarterdeck.bus.connection import Connection, Login, Unanswered
from quarterdeck.bus.keys import PLATFORM, SYSTEM, Key, Keys
from quarterdeck.clock import Clock
from quarterdeck.errors import NotFound, Terminal, Transient
from quarterdeck.model.table import Credential

Json = dict[str, Any]
INBOX: Final = "_INBOX.qd"
EVERYTHING: Final = (">",)
_PATIENCE: Final = 5.0
"""Seconds to wait for an answer of the server itself."""
_VISIT: Final = 60.0
"""Seconds a visitor's user lives."""


class Access:
    """Opens connections with the keys of this home. All methods raise Transient when the server does not answer."""

    def __init__(self, url: str, keys: Keys, clock: Clock) -> None:
        self._url = url
        self._keys = keys
        self._clock = clock
        self._kept: dict[str, Connection] = {}
        self._opening = asyncio.Lock()

    async def close(self) -> None:
        """Close what is kept."""
        for connection in self._kept.values():
            await connection.close()
        self._kept.clear()

    async def connection(self, name: str) -> Connection:
        """The kept connection as SYS or QD, opened when there is none and again when it was closed for good."""
        async with self._opening:
            kept = self._kept.get(name)
            if kept is None or not kept.alive:
                kept = self._kept[name] = await Connection.open(Login(self._url, "qd serve", INBOX, self._own_user(name)))
            return kept

    def _own_user(self, name: str) -> Credential:
        """Without an end: its seed never leaves this process, and a client whose user ends is cut off for good."""
        publish = ("$SYS.REQ.>",) if name == SYSTEM else ("to.>", probes.SUBJECT, *probes.STREAM_API)
        return own_user(self._keys.account(name), self._clock, "qd serve", publish)

    @asynccontextmanager
    async def visit(self, name: str, *, publish: tuple[str, ...], subscribe: tuple[str, ...] = ()) -> AsyncIterator[Connection]:
        """A connection inside the account of a cluster with these rights and an inbox; raises NotFound when there is no such account."""
        if not self._keys.has_account(name):
            raise NotFound(f"there is no account {name} on the bus", hint="qd get clusters lists them", where=name)
        now = self._clock.now()
        user = claims.user(
            self._keys.account(name),
            Key.fresh("user"),
            "qd visitor",
            publish=publish,
            subscribe=(f"{INBOX}.>", *subscribe),
            issued=now,
            expires=now + _VISIT,
        )
        connection = await Connection.open(Login(self._url, "qd visitor", INBOX, user))
        try:
            yield connection
        finally:
            await connection.close()

    async def request(self, name: str, subject: str, body: bytes = b"") -> bytes:
        """One request on the kept connection as SYS or QD."""
        return await request(await self.connection(name), subject, body)

    async def system(self, verb: str, body: bytes = b"") -> Json:
        """One request to the server itself; raises Terminal when it answers with an error."""
        answer: Json = json.loads(await self.request(SYSTEM, f"$SYS.REQ.{verb}", body))
        error = answer.get("error")
        if error is not None:
            raise Terminal(f"the bus refused {verb}: {error.get('description', 'no reason given')}", where=verb)
        return answer


def own_user(account: Key, clock: Clock, name: str, publish: tuple[str, ...], subscribe: tuple[str, ...] = ()) -> Credential:
    """A user of the control plane, with an inbox and exactly these rights, for as long as its process lives."""
    everything = (f"{INBOX}.>", *subscribe)
    return claims.user(account, Key.fresh("user"), name, publish=publish, subscribe=everything, issued=clock.now(), expires=None)


def ledger_login(url: str, keys: Keys, clock: Clock) -> Login:
    """The ledger's: it hears what replicas ask of it, answers them, says its one word to them, and sends what the outbox holds."""
    said = subjects.LEDGER_SENDER.prefix
    publish = ("_R_.>", f"to.*.*.ask.{said}.>", f"to.*.*.in.{said}.>")
    user = own_user(keys.account(PLATFORM), clock, "qd ledger", publish, (subjects.LEDGER,))
    return Login(url, "qd ledger", INBOX, user)


def blobs_login(url: str, keys: Keys, clock: Clock) -> Login:
    """Of whoever takes and gives large payloads: it hears what replicas ask of it, and answers them."""
    user = own_user(keys.account(PLATFORM), clock, "qd blobs", ("_R_.>",), (subjects.BLOBS,))
    return Login(url, "qd blobs", INBOX, user)


async def request(connection: Connection, subject: str, body: bytes) -> bytes:
    """One request to the server; raises Transient when there is no answer."""
    try:
        return bytes((await connection.request(subject, body, {}, _PATIENCE)).data)
    except Unanswered as error:
        raise Transient(f"the bus did not answer {subject}: {error.failure}") from error
