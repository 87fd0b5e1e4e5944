"""Budgets of the spec: what the work of clusters and of the system has cost today, and what is held back because it cost too much."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from quarterdeck.api.nouns import listed
from quarterdeck.api.roles import needs
from quarterdeck.api.services import Caller, Given
from quarterdeck.clock import iso
from quarterdeck.model.budgets import Account
from quarterdeck.model.budgets import day as day_of
from quarterdeck.model.desired import Allowance
from quarterdeck.model.records import Entry
from quarterdeck.store import budgets, standing, trips
from quarterdeck.store.trips import Trip
from quarterdeck.store.turn import Turn

router = APIRouter(prefix="/v1")
Json = dict[str, Any]
DAY = r"^\d{4}-\d{2}-\d{2}$"


class ResumeBody(BaseModel):
    """`scope` is a cluster, or empty for the whole system."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    system: str | None = None
    scope: str = Field(default="", max_length=63)
    reason: str = Field(default="", max_length=1000)


@router.get("/budgets", **needs("viewer", scope="cluster"))
async def list_(given: Given, system: str | None = None, day: Annotated[str | None, Query(pattern=DAY)] = None) -> Json:
    """Every budget of the spec: what it limits, and of a UTC day's (without `day` this one's) what is reserved and spent so far."""
    name, day = given.fleet.one(system), day or day_of(given.clock.now())
    with given.store.read() as conn:
        accounts = {shared.scope: account for shared, account in budgets.of_day(conn, day)}
        tripped = {trip.cluster: trip for trip in trips.of(conn, name) if trip.day == day}
    cluster = given.grant.cluster
    allowances = [one for one in given.work.allowances(name) if cluster is None or one.cluster == cluster]
    return listed([_budget(name, one, accounts.get(_scope(name, one, day)), tripped.get(one.cluster)) for one in allowances])


@router.post("/budgets/resume", **needs("operator", scope="cluster"))
async def resume(body: ResumeBody, given: Given, caller: Caller) -> Json:
    """Let tasks go on that are held back because money was spent too fast."""
    system = given.fleet.one(body.system)
    given.grant.require(system, body.scope)

    def work(turn: Turn) -> Trip:
        trip = trips.end(turn, system, body.scope)
        turn.journal(Entry(caller, "budget.resumed", body.scope, body.reason or trip.reason, system=system))
        turn.queued += [(to, at) for to, at in standing.due(turn.connection, turn.now) if to.system == system]
        return trip

    trip = await given.work.turn(work)
    return {"kind": "Budget", "name": trip.scope, "tripped": None, "was": trip.reason}


def _scope(system: str, one: Allowance, day: str) -> str:
    return f"{budgets.DAY}{day}:{system}/{one.cluster}" if one.cluster else f"{budgets.DAY}{day}:{system}"


def _budget(system: str, one: Allowance, account: Account | None, trip: Trip | None) -> Json:
    used = account.told if one.per == "day" and account is not None else {}
    kinds = {kind: used.get(kind, {"limit": limit, "reserved": 0.0, "spent": 0.0}) for kind, limit in one.limits}
    limits = kinds if one.per == "day" else {kind: {"limit": limit, "reserved": None, "spent": None} for kind, limit in one.limits}
    return {
        "kind": "Budget",
        "name": f"{one.cluster or system}:{one.per}",
        "system": system,
        "cluster": one.cluster or None,
        "per": one.per,
        "limits": limits,
        "used": ", ".join(f"{kind} {_told(numbers)}" for kind, numbers in limits.items()),
        "money_per_minute": one.money_per_minute,
        "tripped": None if trip is None or one.money_per_minute is None else {"reason": trip.reason, "since": iso(trip.at)},
    }


def _told(numbers: Json) -> str:
    if numbers["spent"] is None:
        return f"{numbers['limit']:g}"
    reserved = f" + {numbers['reserved']:g} reserved" if numbers["reserved"] else ""
    return f"{numbers['spent']:g}{reserved} of {numbers['limit']:g}"
