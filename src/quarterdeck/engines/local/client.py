"""The control plane's end of the node protocol: one connection, requests by number, and a node that is always there.

A node that is gone or hung is started again by us, as it starts us again; bounded, so that a node that cannot live does not burn the
machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from quarterdeck import stop_order
from quarterdeck.clock import Clock
from quarterdeck.errors import Conflict, NotFound, QuarterdeckError, Terminal, Transient, UserError
from quarterdeck.model.home import Home

Json = dict[str, Any]
FRAME_LIMIT: Final = 16 << 20
NOT_ATTACHED: Final = "the control plane starts one again by itself; qd status tells how it stands, qd doctor what is wrong"
"""What to do while there is no node."""
START_WITHIN: Final = 10.0
PING_EVERY: Final = 1.0
SILENT_FOR: Final = 5.0
"""Seconds without an answer to a ping after which the node is taken for hung and killed."""
ERRORS: Final[dict[str, type[QuarterdeckError]]] = {"stale": Conflict, "bad": UserError, "not_found": NotFound, "internal": Transient}


@dataclass(slots=True)
class NodeClient:
    """`argv` starts a node. Every request raises Transient while the node is away; `boot` names the node's present life."""

    home: Home
    argv: Sequence[str]
    clock: Clock
    boot: str = ""
    hello: Json = field(default_factory=dict)
    pid: int = 0
    _reader: asyncio.StreamReader | None = None
    _writer: asyncio.StreamWriter | None = None
    _waiting: dict[int, asyncio.Future[Any]] = field(default_factory=dict)
    _number: int = 0
    _ending: bool = False
    """Set by `stop`: a node that ends with a request of ours unread would take its answer with it (the kernel resets the connection)."""
    attached: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Until cancelled: keep a node running and a connection to it."""
        pause = 0.05
        while True:
            try:
                await self._attach()
            except Transient:
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5.0)
                continue
            pause = 0.05
            await self._follow()

    async def _follow(self) -> None:
        """Until the connection ends. No TaskGroup: Python 3.11's loses a cancellation of ours that meets an error of a child."""
        parts = [asyncio.create_task(self._read()), asyncio.create_task(self._watch())]
        try:
            await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for part in parts:
                part.cancel()
            ends = await asyncio.gather(*parts, return_exceptions=True)
            self._detach()
        for end in ends:
            if isinstance(end, Exception) and not isinstance(end, ConnectionError):
                raise end

    async def request(self, verb: str, *, limit: float = 5.0, **fields: Any) -> Any:
        """One question to the node; `limit` is seconds. Raises what the node answered, Transient when it did not."""
        if self._writer is None or self._ending:
            raise Transient("the node is not attached" if self._writer is None else "the node is stopping", hint=NOT_ATTACHED)
        self._number += 1
        number = self._number
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            self._writer.write(json.dumps({"id": number, "verb": verb, **fields}).encode() + b"\n")
            async with asyncio.timeout(limit):  # wait_for would lose a cancellation that comes together with the answer
                return await answer
        except TimeoutError as error:
            raise Transient(f"the node did not answer {verb} within {limit:g} s") from error
        finally:
            self._waiting.pop(number, None)

    async def stop(self, within: float) -> Json:
        """Stop everything below the node, and then the node; answers what is left by kind. `within` is seconds for draining."""
        if self._writer is None:
            return {"left": {}}
        stopping = asyncio.create_task(self.request("stop", within=within, limit=within + 30))
        await asyncio.sleep(0)  # it is on its way; from now on nothing else is asked
        self._ending = True
        found: Json = await stopping
        return found

    async def _attach(self) -> None:
        try:
            await self._connect()
        except OSError:
            self._start()
            await self._connect_within(START_WITHIN)
        reader = asyncio.create_task(self._read())
        try:
            self.hello = await self.request("hello", pid=os.getpid(), version=1, control=True)
        except QuarterdeckError as error:
            self._detach()
            raise Transient(f"the node refused us: {error.message}") from error
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)  # it has done its one job
        self.boot, self.pid = self.hello["boot"], self.hello["pid"]
        self.attached.set()

    async def _connect(self) -> None:
        self._reader, self._writer = await asyncio.open_unix_connection(str(self.home.node_socket), limit=FRAME_LIMIT)

    async def _connect_within(self, seconds: float) -> None:
        deadline = self.clock.monotonic() + seconds
        while True:
            try:
                await self._connect()
            except OSError as error:
                if self.clock.monotonic() > deadline:
                    raise Transient(f"the node did not open its socket within {seconds:g} s; see {self.home.logs / 'node.log'}") from error
                await asyncio.sleep(0.005)
            else:
                return

    def _start(self) -> None:
        if stop_order.stands(self.home):
            raise Transient("stopped by order (qd down); qd up starts again")
        start_detached(self.argv, self.home.logs / "node.log")

    async def _read(self) -> None:
        reader = self._reader
        if reader is None:
            raise ConnectionError
        while line := await reader.readline():
            message = json.loads(line)
            waiting = self._waiting.get(message.get("id"))
            if waiting is None or waiting.done():
                continue
            if "error" in message:
                error = message["error"]
                waiting.set_exception(ERRORS.get(error["kind"], Terminal)(error["message"]))
            else:
                waiting.set_result(message.get("ok"))
        raise ConnectionError

    async def _watch(self) -> None:
        """A node that does not answer is killed by the pid that the kernel gave for its socket, and started again."""
        while True:
            await asyncio.sleep(PING_EVERY)
            if self._ending:
                continue
            try:
                await self.request("ping", limit=SILENT_FOR)
            except Transient:
                self.end_hung()
                raise ConnectionError from None

    def end_hung(self) -> None:
        """Kill a node that is attached and does not answer; what it runs dies with it, and it is started again."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):  # it ended by itself in the meantime
                os.kill(self.pid, signal.SIGKILL)

    def _detach(self) -> None:
        self.attached.clear()
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(Transient("the node went away; the outcome is unknown"))


def start_detached(argv: Sequence[str], log: Path) -> None:
    """Start a process of its own session that outlives us, with nothing of ours but its log. Returns at once."""
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with log.open("ab") as out:
        process = subprocess.Popen(  # noqa: S603 our own argv
            argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, close_fds=True, cwd="/"
        )
    # Not waited for here: it is reaped when it ends before us (see Popen.__del__), by init when it ends after us.
    process.returncode = 0
