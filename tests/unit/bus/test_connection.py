"""What nats-py leaves behind when it is cancelled while it connects is not told as a fault; whatever else is forgotten is."""

import asyncio
import gc
import logging
import socket

from quarterdeck.bus import connection


def _forgotten(work, caplog):
    async def main():
        asyncio.get_running_loop().set_exception_handler(connection._unheard)
        task = asyncio.create_task(work())
        await asyncio.wait({task})

    with caplog.at_level(logging.ERROR, "asyncio"):
        asyncio.run(main())
        gc.collect()
    return [record.getMessage() for record in caplog.records]


def test_a_refused_connection_that_nobody_waits_for_is_not_told(caplog):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert _forgotten(lambda: asyncio.open_connection("127.0.0.1", port), caplog) == []


def test_other_errors_that_nobody_waits_for_are_told(caplog):
    async def fails():
        raise ConnectionRefusedError("the user's own")

    (told,) = _forgotten(fails, caplog)
    assert "never retrieved" in told
