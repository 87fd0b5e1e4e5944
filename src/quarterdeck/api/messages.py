"""Durable messages that the database keeps: looked at one by one and by lane, and dead ones sent again."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query

from quarterdeck.api.nouns import listed
from quarterdeck.api.numbers import COUNTABLE
from quarterdeck.api.orders import ReasonBody
from quarterdeck.api.roles import needs
from quarterdeck.api.services import Caller, Given, visible
from quarterdeck.clock import iso
from quarterdeck.deploy import details
from quarterdeck.errors import UserError
from quarterdeck.model.messages import OPEN, Message
from quarterdeck.model.work import Target
from quarterdeck.model.world import StreamSeen
from quarterdeck.store import outbox, overview, tasks
from quarterdeck.store.overview import Lane
from quarterdeck.version import API_VERSION
from quarterdeck.work import documents

router = APIRouter(prefix="/v1")
Json = dict[str, Any]
PAGE = 500


@router.get("/messages", **needs("viewer", scope="cluster"))
async def list_(  # noqa: PLR0917 one parameter a filter
    given: Given,
    system: Annotated[str | None, Query(max_length=100)] = None,
    state: Annotated[list[Literal["behind", "waiting", "sent", "done", "dead", "open"]] | None, Query()] = None,
    target: Annotated[str | None, Query(max_length=200)] = None,
    key: Annotated[str, Query(max_length=tasks.KEY_LIMIT)] = "",
    before: Annotated[int | None, Query(ge=1, le=COUNTABLE)] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE)] = 100,
) -> Json:
    """Messages, the newest first. `state` may come several times, `open` is any that has not ended; `next` is the next page's `before`."""
    wanted = [s for one in state or () for s in (OPEN if one == "open" else (one,))]
    asked, cluster = given.grant.system_asked(system), given.grant.cluster
    with given.store.read() as conn:
        found = outbox.list_(conn, asked, cluster=cluster, target=target, states_=wanted, key=key, before=before, limit=limit)
    return {**listed([_short(message) for message in found]), "next": found[-1].number if len(found) == limit else None}


@router.get("/messages/lanes", **needs("viewer", scope="cluster"))
async def lanes(given: Given, system: str | None = None) -> Json:
    """What each agent has not handled: its stream, kept messages without an order, then those of an order, the fullest orders first."""
    name = given.fleet.one(system)
    look = await given.fleet.look(name)
    with given.store.read() as conn:
        found = overview.lanes(conn, overview.Scope(name, given.grant.cluster), PAGE)
    streams = {f"{s.account}/{s.name}": s for s in look.world.bus.streams}
    plain = {lane.target.name: lane for lane in found if lane.order is None}
    agents = [plain.pop(w.name, Lane(Target(name, w.cluster, w.agent), None)) for w in look.desired.workloads]
    gone = plain.values()  # an agent that is no longer in the spec may have left dead ones
    ordered = [lane for lane in found if lane.order is not None]
    return listed([*(_lane(lane, streams.get(lane.target.name)) for lane in (*agents, *gone)), *(_lane(lane, None) for lane in ordered)])


@router.get("/messages/{message}", **needs("viewer", scope="cluster"))
async def get(message: str, given: Given) -> Json:
    """One message with its headers and, until it was handled, its body."""
    found = visible(given, lambda conn: outbox.get(conn, message))
    return {"apiVersion": API_VERSION, **_short(found), "headers": dict(found.headers), "body": _body(found.body)}


@router.post("/messages/{message}/retry", **needs("operator", scope="cluster"))
async def retry(message: str, body: ReasonBody, given: Given, caller: Caller) -> Json:
    """Send a dead message again."""
    found = visible(given, lambda conn: outbox.get(conn, message))
    again = await given.work.turn(lambda turn: outbox.retry(turn, found.id, caller, body.reason))
    return {"apiVersion": API_VERSION, **_short(again)}


def _short(message: Message) -> Json:
    return {
        "kind": "Message",
        "id": message.id,
        "system": message.system,
        "from": message.source,
        "target": message.target.name,
        "verb": message.verb,
        "key": message.key,
        "order": message.lane,
        "state": message.state,
        "reason": message.reason,
        "attempt": message.attempt,
        "deliveries": message.deliveries,
        "seq": message.seq or None,
        "created_at": iso(message.created),
        "sent_at": None if message.sent is None else iso(message.sent),
        "ended_at": None if message.ended is None else iso(message.ended),
    }


def _lane(lane: Lane, stream: StreamSeen | None) -> Json:
    return {
        "kind": "Lane",
        "name": lane.target.name if lane.order is None else f"{lane.target.name} {lane.order}",
        "system": lane.target.system,
        "target": lane.target.name,
        "order": lane.order,
        "states": {state: getattr(lane, state) for state in (*OPEN, "dead")},
        "sent_again": lane.again,
        "oldest_at": None if lane.oldest is None else iso(lane.oldest),
        "stream": None if stream is None else details.stream(stream),
    }


def _body(text: str | None) -> object:
    """A dead message may be dead because its body is not JSON: then it is shown as text."""
    try:
        return documents.value(text)
    except (ValueError, UserError):
        return text
