"""What a route may use, and how it gets it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Protocol, TypeVar

from fastapi import Depends, Request
from sqlalchemy import Connection

from quarterdeck.api.devices import Devices
from quarterdeck.clock import Clock
from quarterdeck.deploy.fleet import Fleet
from quarterdeck.deploy.narrowed import Narrowed
from quarterdeck.deploy.stops import Stops
from quarterdeck.errors import NotFound
from quarterdeck.model.grant import EVERYTHING, NOTHING, Grant
from quarterdeck.model.home import Home
from quarterdeck.model.records import Actor
from quarterdeck.model.work import Target
from quarterdeck.signin.flow import Flow
from quarterdeck.store.blobs import Blobs
from quarterdeck.store.store import Store
from quarterdeck.work.desk import Work

Ask = Callable[[str, str, str, object, float], Awaitable[Any]]
"""(system, target, verb, payload, seconds) → a reply with value, replica and ms."""


@dataclass(frozen=True, slots=True)
class Services:
    """Handed to every route. `url` is the TCP door; `stopping` ends the control plane; `stop_node` stops everything below it.

    `sign_in` is the way in by a provider, where there is one; `devices` are the programs that wait to be let in.
    A route gets them as its caller may use them: `fleet` is narrowed to the caller's cluster, and `grant` narrows what is read from the
    store, in the query.
    """

    home: Home
    store: Store
    fleet: Fleet
    clock: Clock
    url: str
    started: float
    stopping: asyncio.Event
    ask: Ask
    stop_node: Callable[[float], Awaitable[dict[str, Any]]]
    work: Work
    stops: Stops
    blobs: Blobs
    sign_in: Flow | None = None
    devices: Devices = field(default_factory=Devices)
    grant: Grant = EVERYTHING


class Aimed(Protocol):
    """Something that belongs to an agent."""

    @property
    def target(self) -> Target:
        """That agent."""
        ...


A = TypeVar("A", bound=Aimed)


def visible(given: Services, find: Callable[[Connection], A]) -> A:
    """What `find` finds. What lies outside the caller's cluster is refused in the same words whether or not it exists."""
    with given.store.read() as conn:
        try:
            found = find(conn)
        except NotFound:
            if given.grant.bound:
                raise given.grant.outside() from None
            raise
    given.grant.require(found.target.system, found.target.name)
    return found


async def services_of(request: Request) -> Services:
    """As the caller of a request may use them."""
    whole: Services = request.app.state.services
    grant: Grant = request.scope["grant"] or NOTHING
    fleet = Narrowed.of(whole.fleet, grant) if grant.bound else whole.fleet
    return replace(whole, fleet=fleet, grant=grant)


async def actor_of(request: Request) -> Actor:
    """Who asks."""
    actor: Actor = request.scope["actor"]
    return actor


# both are coroutines: FastAPI would run a plain function in a thread, for every request
Given = Annotated[Services, Depends(services_of)]
Caller = Annotated[Actor, Depends(actor_of)]
