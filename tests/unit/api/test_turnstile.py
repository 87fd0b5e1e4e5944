"""The turnstile: which orders are not read, what they are told and when, and who never meets it."""

import asyncio
import contextlib
import json
import socket
import time
from functools import partial

import pytest
import uvicorn

from quarterdeck.api.protocol import Protocol
from quarterdeck.api.serving import Doors
from quarterdeck.api.turnstile import ABOVE, BUSY, HELD, SOME, Turnstile, is_order
from quarterdeck.clock import VirtualClock

BODY = b'{"payload": 1}'
ORDER = b"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
LOOK = b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n"
SOON = 10.0


@pytest.mark.parametrize(
    "data",
    [
        ORDER.replace(b"/v1/tasks", b"/v1/tasks/batch"),
        ORDER.replace(b"POST", b"GET"),
        ORDER.replace(b"1.1", b"1.0"),
        ORDER[:-1],
        ORDER + b"P",
        ORDER + ORDER,
        ORDER.replace(b"Host", b"Content-Length: 14\r\nHost"),
        ORDER.replace(b"Host", b"Transfer-Encoding: chunked\r\nHost"),
        ORDER.replace(b"Host", b"Expect: 100-continue\r\nHost"),
        ORDER.replace(b"Host", b"Connection: close\r\nHost"),
        ORDER.replace(b"Content-Length", b"X-Content-Length"),
        ORDER.replace(b": 14", b": +14"),
        b"",
    ],
)
def test_whatever_is_not_one_plain_order_is_read_as_http(data):
    assert is_order(ORDER)
    assert not is_order(data)


class Application:
    """Answers orders with what is next in `statuses` once `free` is set, and anything else at once."""

    def __init__(self):
        self.free, self.statuses, self.began = asyncio.Event(), [], asyncio.Semaphore(0)

    async def __call__(self, scope, receive, send):
        status = 200
        if scope["path"] == "/v1/tasks":
            self.began.release()
            await self.free.wait()
            status = self.statuses.pop(0)
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


class Client:
    """One connection."""

    def __init__(self, streams):
        self.reader, self.writer = streams

    def send(self, request):
        self.writer.write(request)

    async def answer(self):
        """Status and body of the next answer, and how many seconds it took to come."""
        began = time.monotonic()
        async with asyncio.timeout(SOON):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            return int(head.split()[1]), head, await self.reader.readexactly(length), time.monotonic() - began


@pytest.fixture
def play(tmp_path):
    """Runs a body with an application, a turnstile that lets one in, and a way to connect."""

    async def run(body):
        application, turnstile = Application(), Turnstile(most=1)
        protocol = partial(Protocol, turnstile=turnstile)
        config = uvicorn.Config(application, http=protocol, ws="none", log_level="warning", access_log=False, lifespan="off")
        server = Doors(config)
        with socket.socket(socket.AF_UNIX) as unix, socket.create_server(("127.0.0.1", 0)) as tcp, contextlib.ExitStack() as closing:
            unix.bind(str(tmp_path / "api.sock"))
            serving = asyncio.create_task(server.serve([unix, tcp]))
            while not server.started:  # noqa: ASYNC110 uvicorn tells no event
                await asyncio.sleep(0.01)

            async def connect():
                client = Client(await asyncio.open_connection(*tcp.getsockname()))
                closing.callback(client.writer.close)
                return client

            await body(application, turnstile, connect)
            application.free.set()
            server.should_exit = True
            async with asyncio.timeout(SOON):
                await serving

    return lambda body: asyncio.run(run(body))


def test_one_too_many_is_told_to_come_again_after_a_while_and_may_then_enter(play):
    async def body(app, turnstile, connect):
        app.statuses = [201, 201]
        first, second = await connect(), await connect()
        first.send(ORDER)
        await app.began.acquire()
        second.send(ORDER)
        status, head, text, seconds = await second.answer()
        assert (status, turnstile.refused) == (429, {"door": 1})
        assert b"retry-after: 1\r\n" in head
        assert json.loads(text)["error"]["kind"] == "Overloaded"
        assert seconds >= HELD * 0.9
        app.free.set()
        assert (await first.answer())[0] == 201
        second.send(ORDER)
        assert (await second.answer())[0] == 201

    play(body)


def test_whoever_only_looks_is_never_refused(play):
    async def body(app, turnstile, connect):
        app.statuses = [201]
        first, second = await connect(), await connect()
        first.send(ORDER)
        await app.began.acquire()
        second.send(LOOK)
        assert (await second.answer())[0] == 200
        assert not turnstile.refused

    play(body)


def test_one_whose_client_is_gone_makes_room(play):
    async def body(app, turnstile, connect):
        app.statuses = [201, 201]
        first, second = await connect(), await connect()
        first.send(ORDER)
        await app.began.acquire()
        first.writer.transport.abort()
        async with asyncio.timeout(SOON):
            while turnstile.closed():  # noqa: ASYNC110 a closed connection tells no event
                await asyncio.sleep(0.01)
        second.send(ORDER)
        await app.began.acquire()
        app.free.set()
        assert (await second.answer())[0] == 201

    play(body)


def test_one_that_is_refused_inside_makes_room_at_once_and_is_told_after_a_while(play):
    async def body(app, turnstile, connect):
        app.statuses = [429, 201]
        app.free.set()
        first, second = await connect(), await connect()
        first.send(ORDER)
        await app.began.acquire()
        second.send(ORDER)
        (refused, *_, late), (taken, *_, soon) = await asyncio.gather(first.answer(), second.answer())
        assert (refused, taken) == (429, 201)
        assert soon < HELD * 0.9 <= late
        assert not turnstile.refused

    play(body)


def test_a_request_on_top_of_one_that_was_refused_closes_the_connection(play):
    async def body(app, turnstile, connect):
        app.statuses = [201]
        first, second = await connect(), await connect()
        first.send(ORDER)
        await app.began.acquire()
        second.send(ORDER)
        while not turnstile.refused:  # noqa: ASYNC110 it tells no event
            await asyncio.sleep(0.01)
        second.send(LOOK)
        assert await asyncio.wait_for(second.reader.read(), SOON) == b""

    play(body)


class Day:
    """A turnstile in virtual time, in a process that takes a part (`load`) of a core."""

    def __init__(self, load):
        self.clock, self.load, self.spent = VirtualClock(), load, 0.0
        self.turnstile = Turnstile(clock=self.clock, processor=lambda: self.spent)

    def offer(self, seconds, each_second, *, room):
        """So many orders a second, of which the fleet can take `room` a second. Gives how many were read and taken each second."""
        read = taken = 0
        places = 0.0
        for _ in range(seconds * each_second):
            self.clock.advance(1 / each_second)
            self.spent += self.load / each_second
            places = min(places + room / each_second, 10.0)
            if self.turnstile.closed():
                continue
            read += 1
            self.turnstile.enter(read)
            fits = places >= 1
            self.turnstile.leave(read, taken=fits)
            taken, places = taken + fits, places - fits
        return read / seconds, taken / seconds


def test_where_the_processor_is_scarce_little_more_is_read_than_is_taken():
    day = Day(load=1.0)
    assert day.offer(2, 1000, room=100)[1] >= 80, "nor does it take long to find how much that is"
    read, taken = day.offer(20, 1000, room=100)
    assert taken >= 95
    assert read <= 1.05 * (ABOVE * 100 + SOME)


def test_where_it_is_not_every_order_is_read_and_told_what_stands_in_its_way():
    assert Day(load=BUSY / 2).offer(20, 1000, room=100) == (1000, pytest.approx(100, rel=0.05))


def test_a_busy_process_turns_nobody_away_while_all_that_is_read_is_taken():
    assert Day(load=1.0).offer(20, 1000, room=2000) == (1000, 1000)


def test_when_there_is_room_again_it_is_found_within_seconds():
    day = Day(load=1.0)
    day.offer(2, 1000, room=0)
    assert day.offer(10, 1000, room=0)[0] <= 1.05 * SOME, "what is read finds out whether there is room"
    day.offer(8, 1000, room=100)
    assert day.offer(5, 1000, room=100)[1] >= 95


def test_orders_that_take_long_to_be_answered_or_whose_clients_go_away_close_no_door():
    day = Day(load=1.0)
    day.offer(2, 100, room=1000)
    for n in range(int(3 * SOME)):
        assert not day.turnstile.closed()
        day.turnstile.enter(n)
    for n in range(int(3 * SOME)):
        day.turnstile.leave(n)
    assert not day.turnstile.closed()


def test_what_is_told_to_come_again_inside_was_read_and_not_taken(play, monkeypatch):
    left, leave = [], Turnstile.leave

    def noted(turnstile, connection, *, taken=None):
        if inside := leave(turnstile, connection, taken=taken):
            left.append(taken)
        return inside

    async def body(app, turnstile, connect):
        monkeypatch.setattr(Turnstile, "leave", noted)
        app.statuses = [429, 201]
        app.free.set()
        client = await connect()
        for status in (429, 201):
            client.send(ORDER)
            assert (await client.answer())[0] == status
        assert left == [False, True]

    play(body)
