"""Whatever fits or does not fit the OpenAPI document is answered: never with a failure, and in the shape that the document states."""

import os

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from quarterdeck.app import application
from quarterdeck.model.grant import EVERYTHING, Grant
from quarterdeck.model.records import Actor
from quarterdeck.store import tokens

FUZZ = int(os.environ.get("QUARTERDECK_FUZZ", "0"))
"""Requests for each operation, other ones each time (`make fuzz`); 0: the same few."""
CHECKS = [not_a_server_error, response_schema_conformance, content_type_conformance, status_code_conformance]


class Door:
    """The application behind its guard, entered as somebody."""

    control = None
    client = (f"uid:{os.getuid()}", 1)
    headers = ()

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http" and self.control is not None:
            self.control.engine.clock.advance(1.0)
            named = [(b"host", b"127.0.0.1:7410"), *self.headers]
            kept = [(k, v) for k, v in scope["headers"] if k.lower() not in (b"host", b"authorization", b"cookie")]
            scope = {**scope, "client": self.client, "headers": [*kept, *named]}
            await self.control.guard(scope, receive, send)
        elif scope["type"] == "http":
            scope.update(grant=EVERYTHING, actor=Actor("uid:0", "socket"), session="")
            await application(None)(scope, receive, send)


DOOR = Door()
SCHEMA = schemathesis.openapi.from_asgi("/openapi.json", DOOR)
OPERATIONS = [result.ok() for result in SCHEMA.get_all_operations()]


@pytest.fixture(scope="module")
def door(make_control):
    with make_control() as control:
        control.up()
        control.stopping.set()  # what follows forever ends at once
        DOOR.control = control
        yield DOOR
        DOOR.control = None


def test_the_document_has_every_operation_of_the_api():
    assert len(OPERATIONS) > 20


def test_an_event_stream_does_not_claim_to_be_one_string():
    answers = [a for path in application(None).openapi()["paths"].values() for o in path.values() for a in o["responses"].values()]
    streams = [a["content"]["text/event-stream"] for a in answers if "text/event-stream" in a.get("content", {})]
    assert len(streams) >= 2
    assert all("schema" not in stream for stream in streams)


@pytest.mark.parametrize("who", ["owner", "viewer of one cluster"])
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: f"{o.method.upper()} {o.path}")
def test_nothing_that_is_sent_makes_it_fail(door, monkeypatch, operation, who):
    if who != "owner":
        _, secret = door.control.store.write_sync(lambda tx: tokens.create(tx, Grant("viewer", "one"), 30_000_000.0, "test"))
        monkeypatch.setattr(door, "client", ("127.0.0.1", 1))
        monkeypatch.setattr(door, "headers", ((b"authorization", f"Bearer {secret}".encode()),))

    @settings(max_examples=FUZZ or 10, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=not FUZZ)
    @given(case=operation.as_strategy())
    def send(case):
        case.call_and_validate(checks=CHECKS)

    send()


NUMBERED = (
    ("GET", "journal?after={}"),
    ("GET", "journal?before={}"),
    ("GET", "tasks?before={}"),
    ("GET", "messages?before={}"),
    ("GET", "tasks/events?after={}"),
    ("GET", "revisions/{}"),
    ("GET", "revisions/{}/diff"),
    ("DELETE", "changes/{}"),
)


@pytest.mark.parametrize(("method", "path"), NUMBERED)
def test_a_number_that_no_database_can_count_to_is_refused(door, method, path):
    ask = {"GET": door.control.get, "DELETE": door.control.delete}[method]
    for number in (2**63, 10**40):
        assert ask("/v1/" + path.format(number)).status == 422
    if "{}/" not in path and "events" not in path:
        assert ask("/v1/" + path.format(2**63 - 1)).status in (200, 404)


def test_a_rollback_to_such_a_number_is_refused(door):
    assert door.control.post("/v1/rollback", {"to": 2**63}).status == 422
