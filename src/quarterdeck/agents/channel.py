"""The replica's line to the node that runs it: JSON objects, one a line, over an inherited socket.

Sending never waits: what the socket does not take at once is kept, up to a bound, and goes out when it can. Receiving waits.
"""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Final

_KEPT: Final = 1 << 20
_CHUNK: Final = 1 << 16


class Channel:
    """One end of the socketpair. `receive` must be called from the loop that runs the agent; `send` may also be called before it runs."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._sock.setblocking(False)
        self._out = bytearray()
        self._in = bytearray()
        self._waiting = False

    def send(self, message: dict[str, object]) -> None:
        """Hand a message over. Raises BrokenPipeError when the node is gone, BufferError when it has not read for long."""
        if len(self._out) > _KEPT:
            raise BufferError("the node does not read: channel is full")
        self._out += json.dumps(message, separators=(",", ":")).encode() + b"\n"
        self._flush()

    def _flush(self) -> None:
        try:
            while self._out:
                sent = self._sock.send(self._out)
                del self._out[:sent]
        except BlockingIOError:
            self._flush_later()

    def _flush_later(self) -> None:
        if self._waiting:
            return
        loop = asyncio.get_running_loop()
        self._waiting = True
        loop.add_writer(self._sock, self._writable, loop)

    def _writable(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.remove_writer(self._sock)
        self._waiting = False
        self._flush()

    def send_last(self, message: dict[str, object], *, within: float = 1.0) -> None:
        """Send before the process ends, waiting up to `within` seconds for the node to read it; outside of any loop."""
        self._sock.settimeout(within)
        self._sock.sendall(bytes(self._out) + json.dumps(message, separators=(",", ":")).encode() + b"\n")
        self._out.clear()

    async def receive(self) -> dict[str, object] | None:
        """The next message from the node; None when the node is gone."""
        loop = asyncio.get_running_loop()
        while b"\n" not in self._in:
            try:
                chunk = await loop.sock_recv(self._sock, _CHUNK)
            except ConnectionResetError:  # the node was killed with something unread; the same as an end
                return None
            if not chunk:
                return None
            self._in += chunk
        line, _, rest = bytes(self._in).partition(b"\n")
        self._in[:] = rest
        message: dict[str, object] = json.loads(line)
        return message
