"""The node's door: JSON lines on a unix socket, for the same user only, and for nobody who descends from the node."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from quarterdeck import linux
from quarterdeck.engines.local.node.node import Node
from quarterdeck.engines.local.node.vitals import COLUMNS
from quarterdeck.errors import Conflict, NotFound
from quarterdeck.halts import TASK, Halt
from quarterdeck.model.table import Table

_LONGEST_FRAME: Final = 16 << 20
_WRITE_WITHIN: Final = 10.0
_CLOSE_WITHIN: Final = 1.0
_LONGEST_WAIT: Final = 60.0
_AT_ONCE: Final = 64

Verb = Callable[[Node, dict[str, Any]], Awaitable[object]]


async def _hello(node: Node, request: dict[str, Any]) -> object:
    del request
    return node.hello()


async def _table(node: Node, request: dict[str, Any]) -> object:
    node.accept(Table.from_json(request["table"]))
    return {"accepted": True, "version": list(node.tables.now.version)}


async def _table_get(node: Node, request: dict[str, Any]) -> object:
    del request
    return {"table": node.tables.now.to_json()}


async def _observe(node: Node, request: dict[str, Any]) -> object:
    del request
    return node.observe()


async def _events(node: Node, request: dict[str, Any]) -> object:
    return node.place.events.after(int(request["after"]))


async def _wait(node: Node, request: dict[str, Any]) -> object:
    return await node.place.events.wait(int(request["after"]), min(float(request["timeout"]), _LONGEST_WAIT))


async def _probe(node: Node, request: dict[str, Any]) -> object:
    within = min(float(request.get("timeout", 5.0)), _LONGEST_WAIT)
    answer = await node.fleet.probe(request["system"], request["replica"], dict(request["probe"]), within)
    if "error" in answer:
        raise RuntimeError(str(answer["error"]))
    return answer.get("ok")


async def _dump(node: Node, request: dict[str, Any]) -> object:
    return {"stack": await node.fleet.find(request["system"], request["replica"]).dump()}


async def _ring(node: Node, request: dict[str, Any]) -> object:
    return {"columns": COLUMNS, "samples": node.fleet.ring(request["system"], request["replica"])}


async def _stop(node: Node, request: dict[str, Any]) -> object:
    return {"stopped": True, "left": await node.stop(float(request["within"]))}


async def _halt(node: Node, request: dict[str, Any]) -> object:
    halt = Halt.from_json(request["halt"])
    if halt.change is None and not halt.target.startswith(TASK):  # past the control plane: nobody has looked whether there is such a thing
        node.require(halt.system, halt.target)
    within = request["within"]
    return node.halt(halt, None if within is None else float(within))


async def _lift(node: Node, request: dict[str, Any]) -> object:
    return node.lift(str(request["system"]), str(request["target"]))


async def _halts(node: Node, request: dict[str, Any]) -> object:
    del request
    return node.halts.to_json()


async def _halts_reset(node: Node, request: dict[str, Any]) -> object:
    return node.reset_halts(tuple(Halt.from_json(item) for item in request["halts"]))


async def _ping(node: Node, request: dict[str, Any]) -> object:
    del node, request
    return {}


async def _service_restart(node: Node, request: dict[str, Any]) -> object:
    node.services.restart(request["name"])
    return {}


VERBS: Final[dict[str, Verb]] = {
    "hello": _hello,
    "table": _table,
    "table_get": _table_get,
    "observe": _observe,
    "events": _events,
    "wait": _wait,
    "probe": _probe,
    "dump": _dump,
    "ring": _ring,
    "stop": _stop,
    "halt": _halt,
    "lift": _lift,
    "halts": _halts,
    "halts_reset": _halts_reset,
    "ping": _ping,
    "service_restart": _service_restart,
}


async def answer(node: Node, request: dict[str, Any]) -> dict[str, Any]:
    """Carry a request out; every failure becomes an answer with its kind."""
    number = request.get("id")
    try:
        return {"id": number, "ok": await VERBS[request["verb"]](node, request)}
    except Conflict as error:
        return _error(number, "stale", error.message)
    except NotFound as error:
        return _error(number, "not_found", error.message)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return _error(number, "bad", f"{type(error).__name__}: {error}")
    except Exception as error:  # noqa: BLE001 one request must not end the others; the asker is told
        return _error(number, "internal", f"{type(error).__name__}: {error}")


def _error(number: object, kind: str, message: str) -> dict[str, Any]:
    return {"id": number, "error": {"kind": kind, "message": message}}


class Connection:
    """One client. Requests are answered as they are done, so a long poll holds nothing up."""

    def __init__(self, node: Node, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pid: int) -> None:
        self._node = node
        self._reader = reader
        self._writer = writer
        self._pid = pid
        self._control = False
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def serve(self) -> None:
        """Until the client closes."""
        try:
            async with asyncio.TaskGroup() as tasks:
                running: set[asyncio.Task[None]] = set()
                while (request := await self._next()) is not None:
                    await self._room.acquire()
                    task = tasks.create_task(self._answer(request))
                    running.add(task)
                    task.add_done_callback(running.discard)
                for task in running:
                    task.cancel()
        finally:
            if self._control:
                self._node.control.closed(self._pid)

    async def _next(self) -> dict[str, Any] | None:
        """The next request; None at the end, or when what came is not one, which has been answered."""
        try:
            line = await self._reader.readline()
        except ConnectionError:  # the client was killed
            return None
        except ValueError:
            await self._send(_error(None, "bad", "frame is longer than 16 MiB"))
            return None
        if not line:
            return None
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            request = None
        if not isinstance(request, dict):
            await self._send(_error(None, "bad", "a frame is one JSON object on a line"))
            return None
        return request

    async def _answer(self, request: dict[str, Any]) -> None:
        try:
            if request.get("verb") == "hello" and request.get("control") is True:
                self._control = True
                self._node.control.attach(self._pid)
            if self._control:
                self._node.control.heard(self._pid, request.get("verb"))
            told = await answer(self._node, request)
            await self._send(told)
            if request.get("verb") == "stop" and "ok" in told:
                self._node.done.set()
        finally:
            self._room.release()

    async def _send(self, message: dict[str, Any]) -> None:
        self._writer.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")
        with contextlib.suppress(ConnectionError):  # the client did not wait for its answer
            async with asyncio.timeout(_WRITE_WITHIN):
                await self._writer.drain()


class Door:
    """The listening socket, 0600, made anew."""

    def __init__(self, node: Node, path: Path) -> None:
        self._node = node
        self._path = path
        self._clients: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def open(self) -> asyncio.Server:
        """Begin to listen."""
        self._path.unlink(missing_ok=True)
        sock = socket.socket(socket.AF_UNIX)
        before = os.umask(0o177)
        try:
            sock.bind(str(self._path))
        finally:
            os.umask(before)
        return await asyncio.start_unix_server(self._accept, sock=sock, limit=_LONGEST_FRAME)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pid, uid = linux.peer(writer.get_extra_info("socket"))
        serving = asyncio.current_task()
        assert serving is not None  # noqa: S101 a coroutine runs in a task
        self._clients[serving] = writer
        try:
            if uid == os.getuid() and not linux.descends(pid, os.getpid()):
                await Connection(self._node, reader, writer, pid).serve()
        except (TimeoutError, ConnectionError, ExceptionGroup) as error:
            self._node.place.events.add("door.error", "node", pid=pid, error=str(error))
        finally:
            del self._clients[serving]
            writer.close()

    async def close(self) -> None:
        """Take the socket away and see the clients off."""
        self._path.unlink(missing_ok=True)
        clients = dict(self._clients)
        for writer in clients.values():
            writer.close()
        if clients:
            await asyncio.wait(clients, timeout=_CLOSE_WITHIN)
