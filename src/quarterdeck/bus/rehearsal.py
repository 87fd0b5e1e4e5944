"""A session gone through before there is one, for a process that is going to fork.

The interpreter adapts code to its use the first times it runs, and its caches fill: done before the fork, that work and its memory are
shared by all children; done after it, each child pays for it again (docs/decisions/008-rehearsed-sessions.md has the figures).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
from typing import Final, NoReturn

from quarterdeck.bus.connection import Incoming, Login
from quarterdeck.bus.receiver import Intake
from quarterdeck.bus.session import Session
from quarterdeck.model.table import Credential

TIMES: Final = 2
"""Sessions: the first two save almost all there is to save, and cost some 10 ms."""
_WITHIN: Final = 2.0
_GREETING: Final = b'INFO {"server_id":"rehearsal","version":"2","proto":1,"headers":true,"max_payload":1048576,"nonce":"rehearsal"}\r\n'


def rehearse() -> None:
    """Connect, receive and close against a stand-in for nats-server on a loopback port of this process, which it closes again."""
    with contextlib.suppress(OSError, TimeoutError, ExceptionGroup):  # without it replicas only start more slowly
        asyncio.run(_rehearse())


async def _rehearse() -> None:
    async with asyncio.timeout(_WITHIN), await asyncio.start_server(_stand_in, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        for _ in range(TIMES):
            async with asyncio.TaskGroup() as tasks:
                login = Login(f"nats://127.0.0.1:{port}", "rehearsal", "_INBOX.rehearsal", _nobody())
                session = await Session.open(login, tasks)
                await session.receive(Intake("rehearsal", "rehearsal", 0, 1, _no_message, _no_message))
                await session.pause(_WITHIN)
                await session.close()


async def _stand_in(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Greet, and answer each PING: all that a session without messages needs."""
    writer.write(_GREETING)
    with contextlib.suppress(ConnectionError):  # a client may hang up
        while line := await reader.readline():
            if line == b"PING\r\n":
                writer.write(b"PONG\r\n")
    writer.close()


def _nobody() -> Credential:
    import nkeys  # noqa: PLC0415 pulls in libsodium

    seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER).decode()
    return Credential(0, "nobody", seed, math.inf)


async def _no_message(message: Incoming) -> NoReturn:
    raise AssertionError(message)
