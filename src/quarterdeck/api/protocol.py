"""HTTP/1.1 as uvicorn speaks it, with what a server needs that strangers can reach: who the peer is, and an end to everything slow.

A request has `WITHIN` seconds from its first byte to its last (slowloris), and as many again for each `PACE` bytes of it; a new connection
has as many to begin. TCP connections are counted; the unix socket is the owner's way in and is not. The parser is llhttp (httptools), a
tenth of the cost of one in Python; it bounds no header and asks for no Host, so both are done here.
"""

from __future__ import annotations

import asyncio
import socket
from http.client import TOO_MANY_REQUESTS
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from quarterdeck import linux
from quarterdeck.api.turnstile import HELD, REFUSAL, Turnstile, is_order

WITHIN: Final = 10.0
PACE: Final = 1 << 20
CONNECTIONS: Final = 256
HEADER_LIMIT: Final = 64 << 10
_FULL: Final = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
_LONG: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_SLOW: Final = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Protocol(HttpToolsProtocol):
    """One connection. uvicorn hides the peer of a unix socket; this keeps it as the scope's client: (`uid:<n>`, pid)."""

    within = WITHIN
    most = CONNECTIONS

    def __init__(self, *args: Any, turnstile: Turnstile | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._turnstile = turnstile or Turnstile()
        self._deadline: asyncio.TimerHandle | None = None
        self._by_tcp = False
        self._came = 0
        self._head: int | None = None
        self._arriving = self._held = False
        self._application, self.app = self.app, self._answer

    def connection_made(self, transport: Any) -> None:
        """Note who connected; turn away whoever is one too many."""
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family == socket.AF_UNIX:
            pid, uid = linux.peer(connection)
            self.client = (f"uid:{uid}", pid)
        else:
            self._by_tcp = True
            if sum(isinstance(one, Protocol) and one._by_tcp for one in self.connections) > self.most:  # noqa: SLF001 of our own kind
                transport.write(_FULL)
                transport.close()
                return
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._stop_waiting()
        self._turnstile.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A long body earns its time while it comes. An order for which there is no room is not read."""
        if self._held:  # more on top of an order, which nobody should send (RFC 9112, 9.3.2): its answer would come first
            self.transport.close()
            return
        at_rest = not self._arriving and not self.pipeline and (self.cycle is None or self.cycle.response_complete)
        order = at_rest and is_order(data)
        if order and self._turnstile.closed():
            self._refuse_unread()
            return
        self._came += len(data)
        if self._deadline is None or self._came >= PACE:
            self._expect()
        if self._head is not None:
            self._head += len(data)
        super().data_received(data)
        if self._head is not None and self._head > HEADER_LIMIT and not self.transport.is_closing():
            self._end(_LONG)
        if order and self.cycle is not None and not self.cycle.response_complete:
            self._turnstile.enter(self)

    def on_message_begin(self) -> None:
        """Its head is counted from the next piece on; one that comes in a single piece is counted when it is complete."""
        self._arriving, self._head = True, 0
        if self._deadline is None:
            self._expect()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Only now is there a request. Without exactly one Host nobody knows who is meant (RFC 9112, 3.2)."""
        self._head = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if self._head > HEADER_LIMIT:
            raise ValueError("more of a head than is read")
        self._head = None
        if self.parser.get_http_version() == "1.1" and sum(name == b"host" for name, _ in self.headers) != 1:
            raise ValueError("a request of HTTP/1.1 has one Host")
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """It came whole, however long its answer takes."""
        self._arriving = False
        self._stop_waiting()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """There is room for one more."""
        self._turnstile.leave(self, taken=True)
        super().on_response_complete()

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        """Let the application answer. Who cancels that after the connection is closed means to end it: it is no fault to be logged."""

        async def sent(message: Any) -> None:
            refused = message["type"] == "http.response.start" and message["status"] == TOO_MANY_REQUESTS
            if refused and self._turnstile.leave(self, taken=False):
                await asyncio.sleep(HELD)
            await send(message)

        try:
            await self._application(scope, receive, sent)
        except asyncio.CancelledError:
            if not self.transport.is_closing():
                raise

    def _refuse_unread(self) -> None:
        """Answer past HTTP, for which nothing has happened; the connection may then be idle as long as any."""
        self._turnstile.refused["door"] += 1
        self._stop_waiting()
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)
        self._held = True
        self.loop.call_later(HELD, self._tell_refusal)

    def _tell_refusal(self) -> None:
        self._held = False
        if not self.transport.is_closing():
            self.transport.write(REFUSAL)

    def send_400_response(self, msg: str) -> None:
        """What could not be parsed is at fault, or longer than is parsed."""
        if self._head is not None and self._head > HEADER_LIMIT:
            self._end(_LONG)
        else:
            super().send_400_response(msg)

    def _expect(self) -> None:
        self._stop_waiting()
        self._came = 0
        self._deadline = self.loop.call_later(self.within, self._too_slow)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        """Close, unless it is we who do not read."""
        self._deadline = None
        if self.flow.read_paused:
            self._expect()
        else:
            self._end(_SLOW)

    def _end(self, answer: bytes) -> None:
        """Say why, unless that would be taken for the answer to something else, and close."""
        cycle = self.cycle
        busy = cycle is not None and not cycle.response_complete
        if not busy or (self._head is None and not cycle.response_started and not self.pipeline):
            self.transport.write(answer)
        self.transport.close()
