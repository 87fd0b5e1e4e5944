"""How often, how much, how many at once."""

import asyncio
import json
import os

import pytest

from quarterdeck.api.errors import TooMany
from quarterdeck.api.exchange import BODY_LIMIT, STREAMS, STREAMS_EACH, Streams
from quarterdeck.api.limits import SUBMISSION, Backoff, Rates
from quarterdeck.clock import VirtualClock
from quarterdeck.errors import QuarterdeckError, Transient
from quarterdeck.model.grant import Grant
from quarterdeck.model.records import Actor
from quarterdeck.store import tokens


def waits(act):
    """Seconds to wait, 0 when it went through."""
    try:
        act()
    except TooMany as error:
        return error.retry_after
    return 0


def token(control, role="viewer"):
    _, secret = control.store.write_sync(lambda tx: tokens.create(tx, Grant(role), 86_400.0, "test"))
    return {"authorization": f"Bearer {secret}"}


def test_a_token_has_200_requests_at_once_and_50_a_second_for_ever():
    clock = VirtualClock()
    rates = Rates(clock)
    assert sum(waits(lambda: rates.take("a")) == 0 for _ in range(300)) == 200
    assert waits(lambda: rates.take("a")) == 1
    assert waits(lambda: rates.take("b")) == 0
    through = 0
    for _ in range(1000):
        clock.advance(0.01)
        through += waits(lambda: rates.take("a")) == 0
    assert through == pytest.approx(500, abs=1)


def test_a_client_that_waits_as_it_is_told_gets_through():
    clock = VirtualClock()
    rates = Rates(clock)
    for _ in range(200):
        rates.take("a")
    clock.advance(waits(lambda: rates.take("a")))
    assert waits(lambda: rates.take("a")) == 0


def test_the_sixth_failure_waits_and_each_one_after_it_twice_as_long():
    clock = VirtualClock()
    backoff = Backoff(clock)
    told = []
    for _ in range(14):
        told.append(waits(lambda: backoff.failed("1.2.3.4")))
        clock.advance(told[-1])
    assert told == [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert waits(lambda: backoff.failed("5.6.7.8")) == 0


def test_failing_while_one_has_to_wait_does_not_make_the_wait_longer():
    clock = VirtualClock()
    backoff = Backoff(clock)
    for _ in range(8):
        clock.advance(waits(lambda: backoff.failed("a")))
    assert [waits(lambda: backoff.failed("a")) for _ in range(3)] == [8, 8, 8]
    clock.advance(7.5)
    assert waits(lambda: backoff.failed("a")) == 1


def test_all_is_forgotten_two_minutes_after_the_last_wait():
    clock = VirtualClock()
    backoff = Backoff(clock)
    for _ in range(9):
        clock.advance(waits(lambda: backoff.failed("a")))
    clock.advance(121)
    assert [waits(lambda: backoff.failed("a")) for _ in range(6)] == [0, 0, 0, 0, 0, 1]


def test_what_is_remembered_is_bounded():
    clock = VirtualClock()
    rates, backoff = Rates(clock), Backoff(clock)
    for number in range(5000):
        rates.take(str(number))
        backoff.failed(str(number))
    assert (len(rates._left), len(backoff._failed)) == (4096, 4096)
    assert "4999" in rates._left


def test_too_many_requests_of_a_token_are_answered_429_with_the_time_to_wait(control):
    own, other = token(control), token(control)
    answers = [control.stranger("GET", "/v1/systems", headers=own) for _ in range(205)]
    assert [a.status for a in answers] == [200] * 200 + [429] * 5
    assert answers[-1].headers["retry-after"] == "1"
    assert answers[-1].json["error"]["hint"]
    assert control.stranger("GET", "/v1/systems", headers=other).status == 200
    assert all(control.get("/v1/systems").status == 200 for _ in range(205))  # the owner at the socket


@pytest.mark.parametrize("how", ["bearer", "login"])
def test_secrets_that_nobody_knows_are_answered_later_and_later_but_a_good_one_at_once(control, how):
    good = token(control)

    def guess():
        if how == "login":
            return control.stranger("GET", "/login?code=qd_00000000_guess")
        return control.stranger("GET", "/v1/systems", headers={"authorization": "Bearer qd_0_guess"})

    answers = [guess() for _ in range(7)]
    assert [a.status for a in answers] == [403] * 5 + [429] * 2
    assert answers[-1].headers["retry-after"] == "1"
    assert control.stranger("GET", "/v1/systems", headers=good).status == 200
    control.engine.clock.advance(1)
    assert (guess().status, guess().headers["retry-after"]) == (429, "2")


def test_the_cookie_of_an_ended_session_is_not_counted(control):
    """Every page that is still open brings it again and again; its user must not be locked out by that."""
    ended = {"cookie": "quarterdeck-7410=qd_0_guess"}
    assert {control.stranger("GET", "/v1/systems", headers=ended).status for _ in range(20)} == {403}


def test_callers_without_any_secret_are_not_counted(control):
    assert {control.stranger("GET", "/v1/systems").status for _ in range(20)} == {403}


def streamed(control, size, **headers):
    """POST a body in pieces, without saying how long it is."""

    async def body():
        for _ in range(size // 65_536):
            yield b" " * 65_536

    return control.stranger("POST", "/v1/changes", content=body(), headers={**token(control, "admin"), **headers})


def test_a_body_over_the_limit_is_refused_also_when_it_does_not_say_so(control):
    assert streamed(control, BODY_LIMIT).status == 422
    assert streamed(control, BODY_LIMIT + 65_536).status == 413
    said = control.stranger("POST", "/v1/changes", content=b"", headers={**token(control, "admin"), "content-length": str(BODY_LIMIT + 1)})
    assert said.status == 413
    lied = control.stranger("POST", "/v1/changes", content=b"", headers={**token(control, "admin"), "content-length": "-1"})
    assert lied.status == 413


def test_headers_over_the_limit_are_refused(control):
    assert control.stranger("GET", "/healthz", headers={"x": "y" * 70_000}).status == 431
    assert control.stranger("GET", "/healthz", headers={"x": "y" * 60_000}).status == 200


def test_a_token_has_eight_streams_and_all_together_have_sixty_four():
    streams = Streams()
    for number in range(STREAMS):
        streams.begin(object(), f"token:{number // STREAMS_EACH}")
    with pytest.raises(Transient, match="8 event streams of one token"):
        streams.begin(object(), "token:0")
    with pytest.raises(Transient, match="64 event streams"):
        streams.begin(object(), "token:new")


class Reader:
    """A browser that follows `/v1/journal` inside this process, until it or the server ends it."""

    def __init__(self, control, headers, client=("127.0.0.1", 40_000)):
        self.control, self.headers, self.client = control, headers, client
        self.status, self.over, self.text = asyncio.get_event_loop().create_future(), asyncio.Event(), b""
        self._leave = asyncio.Event()

    async def run(self):
        scope = {
            "type": "http", "asgi": {"spec_version": "2.3"}, "http_version": "1.1", "method": "GET", "path": "/v1/journal",
            "raw_path": b"/v1/journal", "query_string": b"", "root_path": "", "scheme": "http", "server": ("127.0.0.1", 7410),
            "client": self.client,
            "headers": [(b"host", b"127.0.0.1:7410"), (b"accept", b"text/event-stream")]
            + [(k.encode(), v.encode()) for k, v in self.headers.items()],
        }  # fmt: skip
        first = True

        async def receive():
            nonlocal first
            if first:
                first = False
                return {"type": "http.request", "body": b"", "more_body": False}
            await self._leave.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            if message["type"] == "http.response.start":
                self.status.set_result(message["status"])
            else:
                self.text += message["body"]
                if not message.get("more_body"):
                    self.over.set()

        await self.control.guard(scope, receive, send)

    def leave(self):
        self._leave.set()


def followed(control, scenario):
    """Run a scenario with `open(headers)`, which gives a reader once its answer has begun."""

    async def go():
        async with asyncio.timeout(8), asyncio.TaskGroup() as group:
            readers = []

            async def open_(headers, **more):
                reader = Reader(control, headers, **more)
                readers.append(reader)
                reader.task = group.create_task(reader.run())
                await reader.status
                return reader

            await scenario(open_)
            for reader in readers:
                reader.leave()

    asyncio.run(go())


def test_the_ninth_stream_of_a_token_is_refused_until_one_ends(control):
    own, other = token(control), token(control)

    async def scenario(open_):
        readers = [await open_(own) for _ in range(8)]
        refused = await open_(own)
        await refused.task
        assert await refused.status == 503
        assert json.loads(refused.text)["error"]["hint"]
        assert await (await open_(other)).status == 200
        readers[0].leave()
        await readers[0].task
        assert await (await open_(own)).status == 200
        assert len(control.sessions.streams.running) == 9

    followed(control, scenario)
    assert control.sessions.streams.running == {}


def test_streams_of_the_socket_are_not_counted(control):
    async def scenario(open_):
        for _ in range(10):
            assert await (await open_({}, client=(f"uid:{os.getuid()}", 1))).status == 200
        assert control.sessions.streams.running == {}

    followed(control, scenario)


@pytest.mark.parametrize("how", ["revoked", "expired"])
def test_the_streams_of_a_token_end_with_it_and_no_others(control, how):
    id_, secret = control.store.write_sync(lambda tx: tokens.create(tx, Grant("viewer"), 60.0, "test"))
    own, other = {"authorization": f"Bearer {secret}"}, token(control)

    async def scenario(open_):
        mine, theirs = await open_(own), await open_(other)
        control.sessions.end_streams()
        assert not mine.over.is_set()
        if how == "expired":
            control.engine.clock.advance(60)
        else:
            await control.store.write(lambda tx: tokens.revoke(tx, id_, Actor("uid:0", "socket"), ""))
        control.sessions.end_streams()
        await mine.task
        assert mine.over.is_set()
        assert not theirs.over.is_set()

    followed(control, scenario)


def test_streams_stay_when_the_store_cannot_tell(control, monkeypatch):
    own = token(control)

    async def scenario(open_):
        mine = await open_(own)

        def fails(*_):
            raise QuarterdeckError("no")

        monkeypatch.setattr(tokens, "living", fails)
        control.sessions.end_streams()
        assert not mine.over.is_set()
        monkeypatch.undo()

    followed(control, scenario)


def test_only_http_is_spoken(control):
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(control.guard({"type": "websocket", "path": "/live", "headers": []}, None, send))
    assert sent[0]["status"] == 403


def test_a_task_that_is_given_costs_a_part_of_a_request():
    clock = VirtualClock()
    rates = Rates(clock)
    assert sum(waits(lambda: rates.take("a", SUBMISSION)) == 0 for _ in range(7000)) == 6400
    assert waits(lambda: rates.take("a")) == 1
    clock.advance(1.0)
    assert sum(waits(lambda: rates.take("a", SUBMISSION)) == 0 for _ in range(3000)) == 1600
