"""The end of the doors: what is being answered ends whole or is cut off; soon, and without a word in the log."""

import asyncio
import contextlib
import socket

import pytest
import uvicorn

from quarterdeck.api import serving
from quarterdeck.api.protocol import HEADER_LIMIT, PACE, Protocol
from quarterdeck.api.serving import Doors

PLENTY = b"x" * 65_536
SOON = 10.0


class Application:
    """Answers by path; `began` and `ended` hold the paths of requests that are being answered and of those that are over."""

    def __init__(self):
        self.began, self.ended, self.stopping, self.more = [], [], asyncio.Event(), asyncio.Semaphore(0)

    async def __call__(self, scope, receive, send):
        self.began.append(scope["path"])
        self.more.release()
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await getattr(self, scope["path"].removeprefix("/"))(receive, send)
            await send({"type": "http.response.body", "body": b"whole"})
        finally:
            self.ended.append(scope["path"])

    async def stream(self, receive, send):
        """Ends when it is told to."""
        await self.stopping.wait()

    async def slow(self, receive, send):
        """Is nearly done."""
        await self.stopping.wait()
        await asyncio.sleep(0.1)

    async def listening(self, receive, send):
        """Ends when its client does."""
        while (await receive())["type"] != "http.disconnect":
            pass

    async def flood(self, receive, send):
        """Sends more than anybody reads."""
        while True:
            await send({"type": "http.response.body", "body": PLENTY, "more_body": True})
            await asyncio.sleep(0)

    async def deaf(self, receive, send):
        """Looks for nothing, as a question that an agent takes its time to answer."""
        await asyncio.sleep(3600)

    async def fault(self, receive, send):
        """Is cancelled by itself, its client still there."""
        raise asyncio.CancelledError


@contextlib.asynccontextmanager
async def doors(application, folder):
    """Both doors, open; at the end they are told to close, and have to be closed soon."""
    config = uvicorn.Config(application, http=Protocol, ws="none", log_level="warning", access_log=False, lifespan="off")
    server = Doors(config)
    with socket.socket(socket.AF_UNIX) as unix, socket.create_server(("127.0.0.1", 0)) as tcp:
        unix.bind(str(folder / "api.sock"))
        serving = asyncio.create_task(server.serve([unix, tcp]))
        while not server.started:  # noqa: ASYNC110 uvicorn tells no event
            await asyncio.sleep(0.01)
        yield tcp.getsockname()[1]
        application.stopping.set()
        server.should_exit = True
        async with asyncio.timeout(SOON):
            await serving
        assert not server.server_state.tasks
        assert not server.server_state.connections


async def request(port, path):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return reader, writer


async def all_begun(application, paths):
    async with asyncio.timeout(SOON):
        for _ in paths:
            await application.more.acquire()


def ending(tmp_path, *paths):
    """Ask for each path, go down meanwhile; gives what each client had read in the end (of a flood, nothing is read), and what ended."""

    async def run():
        application = Application()
        async with doors(application, tmp_path) as port:
            clients = [await request(port, path) for path in paths]
            await all_begun(application, paths)
        read = {}
        for path, (reader, writer) in zip(paths, clients, strict=True):
            if path != "flood":
                with contextlib.suppress(ConnectionResetError):
                    read[path] = (await asyncio.wait_for(reader.read(), SOON)).partition(b"\r\n\r\n")[2]
            writer.transport.abort()
        return read, application.ended

    return asyncio.run(run())


@pytest.mark.parametrize(("piece", "cut_off"), [(PACE, False), (PACE // 8, True)])
def test_a_long_body_earns_its_time_while_it_comes_and_a_slow_one_does_not(tmp_path, monkeypatch, piece, cut_off):
    """Four pieces, each after most of the time that a request has."""
    monkeypatch.setattr(Protocol, "within", 0.5)

    async def run():
        application = Application()
        async with doors(application, tmp_path) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"POST /listening HTTP/1.1\r\nHost: x\r\nContent-Length: {4 * piece + 1}\r\n\r\n".encode())
            with contextlib.suppress(ConnectionError):
                for _ in range(4):
                    await asyncio.sleep(0.3)
                    writer.write(bytes(piece))
                    await writer.drain()
            closed = reader.at_eof() or writer.is_closing()
            writer.close()
        return closed

    assert asyncio.run(run()) == cut_off


def told(tmp_path, *pieces):
    """What a connection is told that sends these pieces and then nothing: the status lines, and whether it was closed."""

    async def run():
        application = Application()
        application.stopping.set()
        async with doors(application, tmp_path) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.05)
            closed = True
            try:
                text = await asyncio.wait_for(reader.read(), 2)
            except TimeoutError:
                closed, text = False, b""
            writer.transport.abort()
        return [line.split()[1] for line in text.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")], closed

    return asyncio.run(run())


WHOLE = b"GET /stream HTTP/1.1\r\nHost: x\r\n"
LONG = b"x" * (HEADER_LIMIT + 1)


@pytest.mark.parametrize(
    ("pieces", "status"),
    [
        ([b"GET /stream HTTP/1.1\r\n\r\n"], b"400"),
        ([WHOLE + b"Host: y\r\n\r\n"], b"400"),
        ([WHOLE + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"], b"400"),
        ([WHOLE + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"], b"400"),
        ([WHOLE + b"a b: c\r\n\r\n"], b"400"),
        ([b"\x16\x03\x01\x02\x00\x01"], b"400"),
        ([WHOLE + b"a: " + LONG + b"\r\n\r\n"], b"431"),
        ([WHOLE, b"a: ", LONG[:40_000], LONG[:40_000]], b"431"),
        ([b"GET /", LONG[:40_000], LONG[:40_000]], b"431"),
        ([WHOLE, *[b"a: " + LONG[:9_000] + b"\r\n"] * 9], b"431"),
    ],
)
def test_a_head_that_is_wrong_or_too_long_is_refused_and_the_connection_closed(tmp_path, pieces, status):
    assert told(tmp_path, *pieces) == ([status], True)


@pytest.mark.parametrize(
    ("pieces", "statuses"),
    [([WHOLE], [b"408"]), ([WHOLE + b"\r\n" + WHOLE], [b"200", b"408"]), ([WHOLE + b"\r\n", b"\r\n"], [b"200", b"408"])],
)
def test_a_head_that_stops_is_waited_for_only_so_long_also_behind_a_whole_request(tmp_path, monkeypatch, pieces, statuses):
    monkeypatch.setattr(Protocol, "within", 0.5)
    assert told(tmp_path, *pieces) == (statuses, True)


def test_requests_in_one_piece_are_answered_in_order(tmp_path):
    assert told(tmp_path, (WHOLE + b"\r\n") * 3 + WHOLE + b"Connection: close\r\n\r\n") == ([b"200"] * 4, True)


def test_what_can_end_ends_whole(tmp_path, capsys):
    read, ended = ending(tmp_path, "stream", "slow")
    assert sorted(ended) == ["/slow", "/stream"]
    assert all(b"whole" in body for body in read.values())
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("path", ["listening", "flood", "deaf"])
def test_what_does_not_end_is_cut_off_and_is_no_fault(tmp_path, capsys, monkeypatch, path):
    monkeypatch.setattr(serving, "FINISH_WITHIN", 0.1)
    monkeypatch.setattr(serving, "NOTICE_WITHIN", 0.2)
    read, ended = ending(tmp_path, path)
    assert ended == [f"/{path}"], "it was over before the doors said that they were"
    assert b"whole" not in read.get(path, b"")
    assert capsys.readouterr().err == ""


def test_one_that_hangs_does_not_take_the_others_with_it(tmp_path, capsys):
    read, ended = ending(tmp_path, "deaf", "stream", "flood", "slow", "listening")
    assert len(ended) == 5
    assert b"whole" in read["stream"]
    assert b"whole" in read["slow"]
    assert capsys.readouterr().err == ""


def test_who_is_cancelled_while_its_client_waits_is_still_a_fault(tmp_path, capsys):
    async def run():
        application = Application()
        async with doors(application, tmp_path) as port:
            reader, writer = await request(port, "fault")
            assert b"whole" not in await asyncio.wait_for(reader.read(), SOON)
            writer.close()

    asyncio.run(run())
    assert "Exception in ASGI application" in capsys.readouterr().err


def test_nobody_comes_in_once_the_end_has_begun(tmp_path):
    async def run():
        application = Application()
        async with doors(application, tmp_path) as port:
            idle = await request(port, "fault")  # a connection that is kept
            await all_begun(application, ["fault"])
        with pytest.raises(ConnectionError):
            await request(port, "stream")
        assert application.began == ["/fault"]
        idle[1].close()

    asyncio.run(run())
