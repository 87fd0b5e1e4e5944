"""The node's end of a replica's channel: JSON lines, bounded both ways, because the other end runs foreign code."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from typing import Any, Final

_LONGEST_LINE: Final = 1 << 20
_LONGEST_BACKLOG: Final = 4 << 20
_READ_AT_ONCE: Final = 1 << 16


class Lines:
    """Calls `heard` for each object; what is not one is counted in `garbled` and dropped. A replica that does not read loses messages."""

    def __init__(self, sock: socket.socket, heard: Callable[[dict[str, Any]], None]) -> None:
        self._sock = sock
        self._heard = heard
        self._loop = asyncio.get_running_loop()
        self._in = b""
        self._out = bytearray()
        self._open = True
        self.garbled = 0
        sock.setblocking(False)

    def listen(self) -> None:
        """From now on hear what it says; what it has said before waits in the socket."""
        self._loop.add_reader(self._sock, self.read_now)

    def send(self, message: dict[str, Any]) -> bool:
        """Queue a message; False when it was dropped: the replica is gone or its backlog is full."""
        if not self._open or len(self._out) > _LONGEST_BACKLOG:
            return False
        self._out += json.dumps(message, separators=(",", ":")).encode() + b"\n"
        self._write()
        return True

    def _write(self) -> None:
        try:
            while self._out:
                del self._out[: self._sock.send(self._out)]
        except BlockingIOError:
            self._loop.add_writer(self._sock, self._write)
            return
        except OSError:  # the replica ended; its pidfd tells so
            self._out.clear()
        self._loop.remove_writer(self._sock)

    def read_now(self) -> None:
        """Take one bounded piece of what has arrived."""
        try:
            data = self._sock.recv(_READ_AT_ONCE)
        except BlockingIOError:  # nothing there
            return
        except OSError:  # reset by its end
            data = b""
        if not data:
            self._loop.remove_reader(self._sock)
            return
        *lines, self._in = (self._in + data).split(b"\n")
        if len(self._in) > _LONGEST_LINE:
            self._in = b""
            self.garbled += 1
        for line in lines:
            self._hear(line)

    def _hear(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if isinstance(message, dict):
            self._heard(message)
        else:
            self.garbled += 1

    def close(self) -> None:
        """Stop; what was not sent is lost."""
        self._open = False
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._sock.close()
