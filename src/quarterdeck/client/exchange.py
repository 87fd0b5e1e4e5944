"""HTTP/1.1 for the asynchronous client, over h11: connections are kept and used again; refusals come back as the errors of `errors.py`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

import h11

from quarterdeck.client.doors import Place, Remote
from quarterdeck.client.wire import Event, EventReader, Request, Unreached, identity, known_by, lost, refusal, unreachable
from quarterdeck.clock import SystemClock
from quarterdeck.errors import Forbidden, QuarterdeckError, Transient
from quarterdeck.model.home import Home

CHUNK: Final = 1 << 16
IDLE: Final = 20.0
"""Seconds that a connection is kept unused; the server closes it after 30."""
KEPT: Final = 64
"""Connections that are kept unused."""
SILENCE: Final = 60.0
"""Seconds without a byte after which a followed stream is taken for broken."""
CONNECT_WITHIN: Final = 10.0


@dataclass(slots=True, eq=False)
class _Connection:
    """One connection to the control plane, with what HTTP knows of it. `since`: unused from then on (loop time)."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    http: h11.Connection
    since: float = 0.0

    async def send(self, head: h11.Request, body: bytes) -> None:
        """Send a request."""
        parts = [self.http.send(head), self.http.send(h11.Data(data=body)), self.http.send(h11.EndOfMessage())]
        self.writer.write(b"".join(part for part in parts if part))
        await self.writer.drain()

    async def event(self) -> Any:
        """The next part of the answer; raises h11.RemoteProtocolError or OSError when it breaks off."""
        while True:
            found = self.http.next_event()
            if found is not h11.NEED_DATA:
                return found
            self.http.receive_data(await self.reader.read(CHUNK))

    def close(self) -> None:
        """Nothing more is said on it."""
        with suppress(RuntimeError):  # its loop has ended
            self.writer.close()


@dataclass(slots=True)
class Exchange:
    """The way to one place; of one event loop."""

    place: Place
    _unused: list[_Connection] = field(default_factory=list)

    async def call(self, request: Request, timeout: float) -> Any:  # noqa: ASYNC109 a silent server is an outcome: unknown
        """The answer as JSON. Raises Transient when nobody answers in time or the connection breaks, else the error the answer carries."""
        try:
            async with asyncio.timeout(timeout), self._answer(request) as (answer, connection):
                body = b"".join([part async for part in _body(connection)])
        except TimeoutError as error:
            raise lost(request, f"gives no answer to {request.name} within {timeout:g} s") from error
        if answer.status_code >= HTTPStatus.BAD_REQUEST:
            raise self._refused(answer, body)
        try:
            return json.loads(body)
        except ValueError as error:
            raise Transient(f"{request.name}: the answer is not JSON", hint="qd version tells what answers there") from error

    async def events(self, request: Request) -> AsyncIterator[Event]:
        """The events of a stream until the server ends it. Raises Transient when it breaks, or is silent for too long."""
        reader, rest = EventReader(), b""
        async with self._answer(request) as (answer, connection):
            if answer.status_code >= HTTPStatus.BAD_REQUEST:
                raise self._refused(answer, b"".join([part async for part in _body(connection)]))
            parts = _body(connection)
            while (part := await _in_time(anext(parts, None), request)) is not None:
                *lines, rest = (rest + part).split(b"\n")
                for line in lines:
                    event = reader.take(line.decode("utf-8", "replace"))
                    if event is not None:
                        yield event

    def close(self) -> None:
        """Close what is kept."""
        while self._unused:
            self._unused.pop().close()

    @asynccontextmanager
    async def _answer(self, request: Request) -> AsyncIterator[tuple[h11.Response, _Connection]]:
        """The head of an answer, and the connection whose next events are its body; kept when all of it was read."""
        who = await asyncio.to_thread(identity, self.place, SystemClock()) if isinstance(self.place, Remote) else {}
        connection = await self._connection()
        try:
            await connection.send(self._head(request, who), request.content or b"")
            answer = await connection.event()
            while isinstance(answer, h11.InformationalResponse):
                answer = await connection.event()
            if not isinstance(answer, h11.Response):
                raise h11.RemoteProtocolError("closed without an answer")
            yield answer, connection
        except (OSError, h11.ProtocolError) as error:
            if isinstance(error, TimeoutError):
                raise
            raise lost(request, f"went away during {request.name}") from error
        finally:
            self._keep(connection)

    def _keep(self, connection: _Connection) -> None:
        if connection.http.our_state is h11.DONE and connection.http.their_state is h11.DONE and len(self._unused) < KEPT:
            connection.http.start_next_cycle()
            connection.since = asyncio.get_running_loop().time()
            self._unused.append(connection)
        else:
            connection.close()

    async def _connection(self) -> _Connection:
        now = asyncio.get_running_loop().time()
        while self._unused:
            connection = self._unused.pop()
            if now - connection.since < IDLE and not connection.reader.at_eof():
                return connection
            connection.close()
        try:
            async with asyncio.timeout(CONNECT_WITHIN):
                reader, writer = await self._connect()
        except TimeoutError as error:
            raise Unreached(f"no control plane answers at {self.place}", hint="qd status") from error
        except OSError as error:
            raise self._absent(error) from error
        return _Connection(reader, writer, h11.Connection(h11.CLIENT))

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self.place, Home):
            return await asyncio.open_unix_connection(str(self.place.api_socket))
        split = urlsplit(self.place.url)
        tls = self.place.tls() if split.scheme == "https" else None
        return await asyncio.open_connection(split.hostname, split.port or (443 if tls else 80), ssl=tls)

    def _absent(self, error: OSError) -> Exception:
        if isinstance(self.place, Remote):
            return unreachable(self.place, error)
        if isinstance(error, PermissionError):
            return Forbidden(f"{self.place.api_socket} belongs to another user", hint="run as the user who ran qd up")
        return Unreached(f"no control plane answers for {self.place.root}", hint="start one with qd up", where=str(self.place.api_socket))

    def _refused(self, answer: h11.Response, body: bytes) -> QuarterdeckError:
        after = dict(answer.headers).get(b"retry-after")
        error = refusal(body, answer.status_code, None if after is None else after.decode("ascii", "replace"))
        return known_by(self.place if isinstance(self.place, Remote) else None, error)

    def _head(self, request: Request, who: Mapping[str, str]) -> h11.Request:
        remote = self.place if isinstance(self.place, Remote) else None
        host = urlsplit(remote.url).netloc if remote else "localhost"
        length = str(len(request.content or b""))
        own = {name: value for name, value in request.headers.items() if name != "Connection"}
        headers = {"Host": host, "Content-Length": length, **own, **who}
        return h11.Request(method=request.method, target=(remote.prefix if remote else "") + request.target, headers=list(headers.items()))


async def _body(connection: _Connection) -> AsyncIterator[bytes]:
    while isinstance(part := await connection.event(), h11.Data):
        yield bytes(part.data)
    if not isinstance(part, h11.EndOfMessage):
        raise h11.RemoteProtocolError("the answer broke off")


async def _in_time(part: Any, request: Request) -> bytes | None:
    try:
        async with asyncio.timeout(SILENCE):
            found: bytes | None = await part
            return found
    except TimeoutError as error:
        raise Transient(f"{request.name} is silent", hint="qd status") from error
