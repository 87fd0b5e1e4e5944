"""Stops: everything, a cluster, an agent or a task ended now, with the proof; and the way back."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from quarterdeck.api.deployment import plan_document
from quarterdeck.api.nouns import listed
from quarterdeck.api.roles import needs
from quarterdeck.api.services import Caller, Given, Services, visible
from quarterdeck.deploy import nouns
from quarterdeck.deploy.stops import MOST_DRAIN
from quarterdeck.errors import Forbidden, UserError
from quarterdeck.model.records import Actor
from quarterdeck.spec.targets import whole
from quarterdeck.store import changes, tasks
from quarterdeck.store.stops import Order

router = APIRouter(prefix="/v1")
Json = dict[str, Any]


class Why(BaseModel):
    """`system` may be left out where there is only one."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    system: str | None = None
    reason: str = Field(min_length=1, max_length=1000)


class FleetStopBody(Why):
    """Everything; without a system, of every system. `drain`: seconds for what runs to finish. `dry_run`: only plan it."""

    drain: float = Field(default=0.0, ge=0, le=MOST_DRAIN)
    dry_run: bool = False


class StopBody(FleetStopBody):
    """`target` is a cluster or `cluster/agent`."""

    target: str = Field(min_length=1, max_length=300)


class TaskStopBody(BaseModel):
    """`drain`: seconds for whoever works on it to give it up."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    reason: str = Field(min_length=1, max_length=1000)
    drain: float = Field(default=0.0, ge=0, le=MOST_DRAIN)


class FleetStartBody(BaseModel):
    """Without a system, of every system where everything is stopped. `dry_run`: only plan it. Ending a stop needs no reason."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    system: str | None = None
    reason: str = Field(default="", max_length=1000)
    dry_run: bool = False


class StartBody(FleetStartBody):
    """`target` is what was stopped."""

    target: str = Field(min_length=1, max_length=300)


@router.post("/stops/fleet", **needs("admin"))
async def stop_fleet(body: FleetStopBody, given: Given, caller: Caller) -> Json:
    """Stop every replica of every system (or of one) and give the proof of each; with `dry_run` the plan, and nothing is changed."""
    found = [await _stopped(given, name, whole(name), body, caller) for name in _systems(given, body.system)]
    return found[0] if len(found) == 1 else listed(found)


@router.post("/stops", **needs("operator", scope="cluster"))
async def stop(body: StopBody, given: Given, caller: Caller) -> Json:
    """Stop a cluster or an agent and give the proof; with `dry_run` the plan, and nothing is changed."""
    system, target = _place(given, body.system, body.target)
    return await _stopped(given, system, target, body, caller)


@router.post("/stops/tasks/{task}", **needs("operator", scope="cluster"))
async def stop_task(task: str, body: TaskStopBody, given: Given, caller: Caller) -> Json:
    """Cancel a task and all below it, take it from whoever still has it after `drain`, and give the proof."""
    found = visible(given, lambda conn: tasks.get(conn, task))
    order = Order(found.target.system, found.target.name, caller, body.reason)
    return (await given.stops.stop_task(found.id, order, body.drain)).to_json()


@router.post("/starts/fleet", **needs("admin"))
async def start_fleet(body: FleetStartBody, given: Given, caller: Caller) -> Json:
    """End the stop of everything; what else is stopped stays so. The Changes that ended; with `dry_run` the plan."""
    orders = [_order(given, name, whole(name), caller, body) for name in _systems(given, body.system)]
    return await _started(given, [o for o in orders if given.stops.of(o)] or orders, dry=body.dry_run)


@router.post("/starts", **needs("operator", scope="cluster"))
async def start(body: StartBody, given: Given, caller: Caller) -> Json:
    """End the stop of a cluster or an agent. The Changes that ended; with `dry_run` the plan."""
    system, target = _place(given, body.system, body.target)
    return await _started(given, [_order(given, system, target, caller, body)], dry=body.dry_run)


async def _started(given: Services, orders: list[Order], *, dry: bool) -> Json:
    if not dry:
        return listed([nouns.change(change) for order in orders for change in await given.stops.start(order)])
    plans = [plan_document(await given.fleet.plan_revert(given.stops.of(order, needed=True)[0].id)) for order in orders]
    return plans[0] if len(plans) == 1 else listed(plans)


def admit_revert(given: Services, number: int) -> None:
    """A stop of everything was ordered by an admin, and is taken back by one. Raises Forbidden."""
    with given.store.read() as conn:
        change = changes.find(conn, number)
    if change and change.patch.field == changes.STOPPED and change.target.endswith(":") and not given.grant.at_least("admin"):
        raise Forbidden("this stops everything: taking it back needs the role admin", hint="qd token create --role admin")


def _place(given: Services, system: str | None, text: str) -> tuple[str, str]:
    """(system, target inside it), both meant by the caller's token."""
    named, _, target = text.rpartition(":")
    found = given.fleet.one(named or system)
    given.grant.require(found, target)
    if not target or (target == found and not any(n.cluster == target for n in _namespaces(given, found))):
        raise UserError(f"{text} is everything", hint="qd stop fleet stops it; that takes the role admin")
    return found, target


def _namespaces(given: Services, system: str) -> tuple[Any, ...]:
    desired = given.fleet.desired(system)
    return desired.namespaces if desired else ()


def _systems(given: Services, system: str | None) -> tuple[str, ...]:
    return (given.fleet.one(system),) if system or not given.fleet.names() else given.fleet.names()


def _order(given: Services, system: str, target: str, caller: Actor, body: Why | FleetStartBody) -> Order:
    return given.stops.order(system, target, caller, body.reason)


async def _stopped(given: Services, system: str, target: str, body: FleetStopBody, caller: Actor) -> Json:
    order = _order(given, system, target, caller, body)
    if body.dry_run:
        return plan_document(await given.fleet.plan_change(given.stops.change(order)))
    return (await given.stops.stop(order, body.drain)).to_json()
