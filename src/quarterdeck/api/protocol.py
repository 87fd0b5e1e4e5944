"""HTTP/1.1 as uvicorn speaks it, with what a server needs that strangers can reach: who the peer is, and an end to everything slow.

A request has `WITHIN` seconds from its first byte to its last (slowloris), and as many again for each `PACE` bytes of it; a new connection
has as many to begin. TCP connections are counted; the unix socket is the owner's way in and is not.
"""

from __future__ import annotations

import asyncio
import socket
from http.client import TOO_MANY_REQUESTS
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from quarterdeck import linux
from quarterdeck.api.turnstile import HELD, REFUSAL, Turnstile, is_order

WITHIN: Final = 10.0
PACE: Final = 1 << 20
CONNECTIONS: Final = 256
HEADER_LIMIT: Final = 64 << 10
_FULL: Final = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
_SLOW: Final = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Protocol(H11Protocol):
    """One connection. uvicorn hides the peer of a unix socket; this keeps it as the scope's client: (`uid:<n>`, pid)."""

    within = WITHIN
    most = CONNECTIONS

    def __init__(self, *args: Any, turnstile: Turnstile | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._turnstile = turnstile or Turnstile()
        self._deadline: asyncio.TimerHandle | None = None
        self._by_tcp = False
        self._came = 0
        self._held = False
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
        order = self._at_rest() and is_order(data)
        if order and self._turnstile.full:
            self._refuse_unread()
            return
        self._came += len(data)
        if self._came >= PACE and self._deadline is not None:
            self._expect()
        super().data_received(data)
        if order and not self.cycle.response_complete:
            self._turnstile.enter(self)

    def on_response_complete(self) -> None:
        """There is room for one more."""
        self._turnstile.leave(self)
        super().on_response_complete()

    def handle_events(self) -> None:
        """Take in what came, and set or lift the deadline."""
        super().handle_events()
        arriving = self.conn.their_state is h11.SEND_BODY or (self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0]))
        if not arriving:
            self._stop_waiting()
        elif self._deadline is None:
            self._expect()

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        """Let the application answer. Who cancels that after the connection is closed means to end it: it is no fault to be logged."""

        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start" and message["status"] == TOO_MANY_REQUESTS and self._turnstile.leave(self):
                await asyncio.sleep(HELD)
            await send(message)

        try:
            await self._application(scope, receive, sent)
        except asyncio.CancelledError:
            if not self.transport.is_closing():
                raise

    def _at_rest(self) -> bool:
        """Whether the next byte begins a request."""
        return self.conn.our_state is self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]

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

    def _expect(self) -> None:
        self._stop_waiting()
        self._came = 0
        self._deadline = self.loop.call_later(self.within, self._too_slow)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        """Say so if nothing was answered yet, and close."""
        self._deadline = None
        if self.conn.our_state is h11.IDLE:
            self.transport.write(_SLOW)
        self.transport.close()
