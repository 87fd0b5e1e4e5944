"""Budgets of the spec: what the work of clusters and of the system has cost today, and what is held back because it cost too much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from quarterdeck.api.nouns import listed
from quarterdeck.api.roles import needs
from quarterdeck.api.services import Caller, Given
from quarterdeck.clock import iso
from quarterdeck.model.budgets import Account
from quarterdeck.model.budgets import day as day_of
from quarterdeck.model.desired import EACH, Allowance, binding
from quarterdeck.model.records import Entry
from quarterdeck.store import budgets, standing, trips
from quarterdeck.store.trips import Trip
from quarterdeck.store.turn import Turn
from quarterdeck.work.spending import account_of

router = APIRouter(prefix="/v1")
Json = dict[str, Any]
MOST_OWNERS: Final = 100
"""Of one budget that are told, of those that have used most of theirs."""
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
    found, every = [], given.work.allowances(name)
    for one in every:
        if cluster is None or one.cluster == cluster:
            account = accounts.get(account_of(one, name, one.owner, day).scope)
            found.append(_budget(name, one, account, tripped.get(one.cluster)))
            if one.owner == EACH and one.per == "day":
                found += _each(name, one, day, every, accounts)
    return listed(found)


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


def _each(system: str, one: Allowance, day: str, every: Sequence[Allowance], accounts: Mapping[str, Account]) -> list[Json]:
    """The owners who are charged by a budget of each owner, those that have least left first."""
    own = account_of(one, system, "", day).scope
    named = {scope.removeprefix(own): account for scope, account in accounts.items() if scope.startswith(own)}
    owners = [(owner, account) for owner, account in named.items() if one in binding(every, one.cluster, owner)]
    found = [_budget(system, replace(one, owner=owner), account, None) for owner, account in owners]
    return sorted(found, key=_used, reverse=True)[:MOST_OWNERS]


def _used(budget: Json) -> float:
    """The largest part of a limit that is used."""
    limits = [numbers for numbers in budget["limits"].values() if numbers["limit"]]
    return max(((numbers["spent"] + numbers["reserved"]) / numbers["limit"] for numbers in limits), default=0.0)


def _budget(system: str, one: Allowance, account: Account | None, trip: Trip | None) -> Json:
    counted = one.per == "day" and one.owner != EACH
    used = account.told if counted and account is not None else {}
    none = 0.0 if counted else None
    limits = {kind: used.get(kind, {"limit": limit, "reserved": none, "spent": none}) for kind, limit in one.limits}
    return {
        "kind": "Budget",
        "name": f"{one.cluster or system}:{one.per}" + (f":{one.owner}" if one.owner else ""),
        "system": system,
        "cluster": one.cluster or None,
        "per": one.per,
        "owner": one.owner or None,
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
