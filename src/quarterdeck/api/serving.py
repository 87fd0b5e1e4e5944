"""The server beneath the doors: uvicorn without its signal handlers, with TLS on the TCP socket alone, and with an end that is quiet.

uvicorn leaves what outlasts it to the end of the event loop and then logs each as a fault of the application. Here the end has three steps:
answers may be finished and streams end by themselves; then connections are closed, as if every client had gone away, which is what a client
that reads nothing needs; then tasks are cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from typing import Final

import uvicorn

from quarterdeck.api.protocol import WITHIN

FINISH_WITHIN: Final = 0.5
"""Seconds for what is being answered; streams need less, they are told."""
NOTICE_WITHIN: Final = 0.5
"""Seconds for what is left to notice that its client is gone, and as many again to be cancelled."""


class Doors(uvicorn.Server):
    """Serves a unix socket and a TCP socket, given to `serve` in this order, until `should_exit` is set."""

    tls: ssl.SSLContext | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: ours end the loops too."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve the unix socket in clear, then the other one."""
        unix, tcp = sockets or []
        await super().startup([unix])
        loop, within = asyncio.get_running_loop(), WITHIN if self.tls else None
        door = await loop.create_server(self._connection, sock=tcp, ssl=self.tls, ssl_handshake_timeout=within, ssl_shutdown_timeout=within)
        self.servers.append(door)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let nobody in any more, and end what is going on."""
        del sockets  # closed with their servers
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        if await self._over(FINISH_WITHIN):
            return
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        if not await self._over(NOTICE_WITHIN):
            for task in list(self.server_state.tasks):
                task.cancel()
            await self._over(NOTICE_WITHIN)

    async def _over(self, within: float) -> bool:
        """Whether no connection and no answer is left, at the latest after so many seconds."""
        try:
            async with asyncio.timeout(within):
                while self.server_state.connections or self.server_state.tasks:  # noqa: ASYNC110 uvicorn tells no event
                    await asyncio.sleep(0.02)
        except TimeoutError:
            return False
        return True

    def _connection(self) -> asyncio.Protocol:
        made = self.config.http_protocol_class
        return made(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)  # type: ignore[call-arg]
