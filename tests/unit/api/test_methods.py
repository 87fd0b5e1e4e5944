"""A method that a path is not for is told what it is for, and does nothing; HEAD is answered as GET is, without the body (RFC 9110)."""

import asyncio
import os
import socket

import httpx
import pytest
import uvicorn

from quarterdeck.api.protocol import Protocol
from quarterdeck.api.roles import need_of
from quarterdeck.api.serving import Doors
from quarterdeck.api.sse import EventStream
from quarterdeck.app import application
from quarterdeck.model.grant import EVERYTHING, ROLES, Grant
from quarterdeck.store import tokens

PAGE = {"accept": "text/html"}
GETS = [route for route in application(None).routes if "GET" in (route.methods or ())]
SOON = 10.0


@pytest.fixture
def ask(fleet):
    """Ask through the socket; whatever takes too long has failed."""

    def asking(method, path, *, client=None, **options):
        async def run():
            door = httpx.ASGITransport(fleet.guard, client=client or (f"uid:{os.getuid()}", 1))
            async with httpx.AsyncClient(transport=door, base_url="http://quarterdeck") as session, asyncio.timeout(SOON):
                return await session.request(method, path, **options)

        return asyncio.run(run())

    return asking


def token(fleet, role="admin", place=""):
    grant = Grant.at(role, place) if place or role != "admin" else EVERYTHING
    return fleet.store.write_sync(lambda tx: tokens.create(tx, grant, 3600.0, "test"))[1]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("OPTIONS", "/v1/status", "GET, HEAD"),
        ("DELETE", "/v1/status", "GET, HEAD"),
        ("GET", "/v1/apply", "POST"),
        ("HEAD", "/v1/apply", "POST"),
        ("PUT", "/v1/tasks", "GET, HEAD, POST"),
        ("OPTIONS", "/v1/tasks", "GET, HEAD, POST"),
        ("PATCH", "/v1/changes/7", "DELETE"),
        ("POST", "/healthz", "GET, HEAD"),
    ],
)
def test_a_method_that_a_path_is_not_for_is_told_those_that_it_is_for(ask, method, path, allowed):
    answer = ask(method, path, json={"target": "one/reader", "verb": "x"} if method != "HEAD" else None)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    if method != "HEAD":
        told = answer.json()["error"]
        assert (told["kind"], told["code"], told["exit_code"]) == ("MethodNotAllowed", "E1014", 2)
        assert told["message"] == f"{method} is not for {path}"
        assert allowed.replace(", ", " or ") in told["hint"]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE"])
def test_only_post_gives_a_task(ask, method):
    """What gives one is answered past the router, which would have looked at the method."""
    ask(method, "/v1/tasks", content=b'{"target": "one/reader", "verb": "x"}', headers={"content-type": "application/json"})
    assert ask("GET", "/v1/tasks").json()["items"] == []


def test_a_browser_is_told_so_by_a_page(ask):
    answer = ask("GET", "/logout", headers=PAGE)
    assert (answer.status_code, answer.headers["allow"], "nothing is shown at /logout" in answer.text) == (405, "POST", True)
    stranger = ask("POST", "/healthz", headers={**PAGE, "host": "127.0.0.1:7410"}, client=("127.0.0.1", 40_000))
    assert (stranger.status_code, stranger.headers["allow"]) == (405, "GET, HEAD")


def test_who_has_no_identity_does_not_learn_what_a_path_is_for(ask):
    for method in ("OPTIONS", "HEAD", "DELETE"):
        for path in ("/v1/status", "/v1/nothing"):
            answer = ask(method, path, headers={"host": "127.0.0.1:7410"}, client=("127.0.0.1", 40_000))
            assert (answer.status_code, "allow" in answer.headers) == (403, False)


@pytest.mark.parametrize("path", ["/healthz", "/v1/status", "/v1/agents", "/v1/nothing", "/v1/explain?target=nobody", "/", "/replicas"])
def test_head_has_the_head_of_get_and_no_body(ask, path):
    whole, head = (ask(method, path, headers=PAGE if path in ("/", "/replicas") else {}) for method in ("GET", "HEAD"))
    assert (head.status_code, head.content) == (whole.status_code, b"")
    assert head.headers.keys() == whole.headers.keys()
    assert head.headers["content-type"] == whole.headers["content-type"]
    assert int(head.headers["content-length"]) > 0


@pytest.mark.parametrize("route", [route for route in GETS if route.response_class is EventStream], ids=lambda route: route.path)
def test_the_head_of_a_stream_that_never_ends_ends(fleet, ask, route):
    task = fleet.post("/v1/tasks", {"target": "one/reader", "verb": "x"}).json["id"]
    path = route.path_format.format_map({**dict.fromkeys(route.param_convertors, task), "cluster": "one", "agent": "reader"})
    answer = ask("HEAD", f"{path}?follow=true&target=one", headers={"accept": "text/event-stream"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert not fleet.guard.streams.running


@pytest.mark.parametrize("route", GETS, ids=lambda route: route.path)
def test_the_head_asks_for_what_the_whole_asks_for(fleet, ask, route):
    need = need_of(route)
    fleet.stopping.set()  # one event loop after the other cannot wait for the same event
    path = route.path_format.format_map(dict.fromkeys(route.param_convertors, "x"))
    for role in ROLES:
        for place in ("", "one", "other"):
            fleet.engine.clock.advance(60.0)
            bearer = {"authorization": f"Bearer {token(fleet, role, place)}", "host": "127.0.0.1:7410"}
            answer = ask("HEAD", path, headers=bearer, client=("127.0.0.1", 40_000))
            refused = need.role and (ROLES.index(role) < ROLES.index(need.role) or (need.scope == "system" and place) or need.local)
            assert answer.status_code < 500
            assert (answer.status_code == 405) == need.once
            assert not refused or answer.status_code == 403


def test_the_head_of_a_link_that_logs_in_once_does_not_use_it_up(fleet, ask):
    """Mail programs and chats ask for it when they see a link."""
    link = fleet.post("/v1/login").json["url"].partition("7410")[2]
    for path in (link, "/login/start", "/login/callback"):
        answer = ask("HEAD", path, headers={"host": "127.0.0.1:7410"}, client=("127.0.0.1", 40_000))
        assert answer.status_code == 405
        assert "set-cookie" not in answer.headers
    assert fleet.stranger("GET", link).headers["set-cookie"]


def test_on_the_wire_the_next_answer_follows_the_head(fleet, tmp_path):
    """Over a real connection that is kept: no byte of a body comes between the two, though its length is told."""
    secret = token(fleet)

    async def run():
        config = uvicorn.Config(fleet.guard, http=Protocol, ws="none", log_level="warning", access_log=False, lifespan="off")
        server = Doors(config)
        with socket.socket(socket.AF_UNIX) as unix, socket.create_server(("127.0.0.1", 0)) as door:
            unix.bind(str(tmp_path / "api.sock"))
            serving = asyncio.create_task(server.serve([unix, door]))
            reader, writer = await asyncio.open_connection(*door.getsockname())
            heads = []
            for method in ("HEAD", "HEAD", "GET"):
                lines = (f"{method} /v1/status HTTP/1.1", "Host: 127.0.0.1:7410", f"Authorization: Bearer {secret}", "", "")
                writer.write("\r\n".join(lines).encode())
                heads.append(await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SOON))
            length = int(heads[-1].lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            body = await asyncio.wait_for(reader.readexactly(length), SOON)
            writer.close()
            server.should_exit = True
            await asyncio.wait_for(serving, SOON)
        return heads, body

    heads, body = asyncio.run(run())
    assert {head.split(b"\r\n")[0] for head in heads} == {b"HTTP/1.1 200 OK"}
    assert {b"content-length: " in head.lower() for head in heads} == {True}
    assert body.startswith(b"{")
