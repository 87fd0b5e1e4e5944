"""What a route may use, and how it gets it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request

from quarterdeck.clock import Clock
from quarterdeck.deploy.fleet import Fleet
from quarterdeck.model.home import Home
from quarterdeck.model.records import Actor
from quarterdeck.store.store import Store

Ask = Callable[[str, str, str, object, float], Awaitable[Any]]
"""(system, target, verb, payload, seconds) → a reply with value, replica and ms."""


@dataclass(frozen=True, slots=True)
class Services:
    """Handed to every route. `url` is the TCP door; `stopping` ends the control plane; `stop_node` stops everything below it."""

    home: Home
    store: Store
    fleet: Fleet
    clock: Clock
    url: str
    started: float
    stopping: asyncio.Event
    ask: Ask
    stop_node: Callable[[float], Awaitable[dict[str, Any]]]


def _services(request: Request) -> Services:
    found: Services = request.app.state.services
    return found


def _actor(request: Request) -> Actor:
    actor: Actor = request.scope["actor"]
    return actor


Given = Annotated[Services, Depends(_services)]
Caller = Annotated[Actor, Depends(_actor)]
