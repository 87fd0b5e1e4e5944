"""One request and its answer as they pass the guard: a body over the limit is refused while it comes in, an event stream can be ended.

For the application an ended stream looks like a client that went away, which it has to be ready for anyhow.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from quarterdeck.api.errors import TooLarge, refuse
from quarterdeck.errors import QuarterdeckError, Transient
from quarterdeck.model.blobs import MOST_BLOB

BODY_LIMIT: Final = 4 << 20
STREAMS_EACH: Final = 8
STREAMS: Final = 64
GONE: Final[Message] = {"type": "http.disconnect"}


@dataclass(slots=True)
class Streams:
    """The event streams that are open, by the identity that opened each. Those of the unix socket are not counted."""

    running: dict[Exchange, str] = field(default_factory=dict)

    def begin(self, exchange: Exchange, owner: str) -> None:
        """Count one in; raises Transient when there are too many."""
        mine = sum(one == owner for one in self.running.values())
        if mine >= STREAMS_EACH or len(self.running) >= STREAMS:
            most = f"{STREAMS_EACH} event streams of one token" if mine >= STREAMS_EACH else f"{STREAMS} event streams"
            raise Transient(f"{most} are open already", hint="close a page of the dashboard or a command with -f, then try again")
        self.running[exchange] = owner

    def owners(self) -> frozenset[str]:
        """Who has some."""
        return frozenset(self.running.values())

    def end(self, owners: Iterable[str]) -> None:
        """End all streams of these."""
        gone = frozenset(owners)
        for exchange, owner in list(self.running.items()):
            if owner in gone:
                exchange.over.set()

    def end_late(self, now: float) -> None:
        """End the streams whose token has had its time (epoch seconds)."""
        for exchange in list(self.running):
            if now >= exchange.until:
                exchange.over.set()


@dataclass(slots=True, eq=False)
class Exchange:
    """`owner` None: its event streams are not counted. `until`: when what let it in ends, epoch seconds."""

    scope: Scope
    receiving: Receive
    sending: Send
    streams: Streams
    owner: str | None
    until: float = math.inf
    over: asyncio.Event = field(default_factory=asyncio.Event)
    _got: int = 0
    _whole: bool = False
    _started: bool = False
    _refused: bool = False

    async def run(self, app: ASGIApp) -> None:
        """Let the application answer."""
        try:
            await app(self.scope, self.receive, self.send)
        finally:
            counted = self.streams.running.pop(self, None) is not None
        if counted and self.over.is_set():
            await self.sending({"type": "http.response.body", "body": b"", "more_body": False})

    async def receive(self) -> Message:
        """The next part of the body, or that the client is gone."""
        if self.over.is_set():
            return GONE
        message = await (self._next() if self._whole else self.receiving())
        self._whole = self._whole or not message.get("more_body", False)
        self._got += len(message.get("body", b""))
        if self._got > (most := body_limit(self.scope)):
            await self._refuse(too_large(most))
            return GONE
        return message

    async def _next(self) -> Message:
        """After the body nothing comes but the client's end, or ours."""
        waits = [asyncio.ensure_future(self.receiving()), asyncio.ensure_future(self.over.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            return GONE if self.over.is_set() else waits[0].result()  # type: ignore[return-value]
        finally:
            for one in waits:
                one.cancel()

    async def send(self, message: Message) -> None:
        """Pass the answer on, unless it was refused or has been ended."""
        if self._refused or self.over.is_set():
            return
        if message["type"] == "http.response.start":
            self._started = True
            if self.scope["method"] == "HEAD":  # the head of the answer to GET, whose body may go on for ever; what follows is not sent
                await self.sending(message)
                await self.sending({"type": "http.response.body", "body": b"", "more_body": False})
                self.over.set()
                return
            if self.owner is not None and _is_stream(message):
                try:
                    self.streams.begin(self, self.owner)
                except Transient as error:
                    self._started = False
                    await self._refuse(error)
                    return
        await self.sending(message)

    async def _refuse(self, error: QuarterdeckError) -> None:
        """Answer in place of the application, of which nothing is heard from now on."""
        self._refused = True
        self.over.set()
        if not self._started:
            await refuse(error)(self.scope, self.receiving, self.sending)


def body_limit(scope: Scope) -> int:
    """Bytes that a request may bring: what is read piece by piece may be larger."""
    return MOST_BLOB if (scope["method"], scope["path"]) == ("POST", "/v1/blobs") else BODY_LIMIT


def too_large(most: int) -> TooLarge:
    """The refusal of a body over the limit."""
    return TooLarge(f"a body may have {most} bytes", hint="put a large payload to /v1/blobs first, or send a reference to the data")


def _is_stream(message: Message) -> bool:
    return any(name.lower() == b"content-type" and value.startswith(b"text/event-stream") for name, value in message.get("headers", ()))
