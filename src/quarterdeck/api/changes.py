"""Changes: the only way desired state moves besides a new revision."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from quarterdeck.api.deployment import plan_document
from quarterdeck.api.numbers import Number
from quarterdeck.api.roles import needs
from quarterdeck.api.services import Caller, Given
from quarterdeck.api.stops import admit_revert
from quarterdeck.deploy import nouns
from quarterdeck.errors import UserError
from quarterdeck.model.records import Change, Patch
from quarterdeck.version import API_VERSION

router = APIRouter(prefix="/v1/changes")


class ChangeBody(BaseModel):
    """What a human asks for. `until` is epoch seconds; `value` null with restart_before means now. `dry_run`: only plan it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    system: str | None = None
    target: str = Field(max_length=300)
    field: Literal["replicas", "restart_before", "quarantined", "hold"]
    value: int | float | bool | None = None
    reason: str = Field(min_length=1, max_length=1000)
    until: float | None = None
    dry_run: bool = False


class ReleaseBody(BaseModel):
    """Whose holds and quarantines shall end. `dry_run`: only plan it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    system: str | None = None
    target: str = Field(max_length=300)
    reason: str = Field(min_length=1, max_length=1000)
    dry_run: bool = False


@router.post("", **needs("operator", scope="cluster"))
async def propose(body: ChangeBody, given: Given, caller: Caller) -> dict[str, Any]:
    """Make a Change; with `dry_run` give the Plan that would be carried out, and change nothing."""
    name, _, target = body.target.rpartition(":")
    now = given.clock.now()
    if body.until is not None and body.until <= now:
        raise UserError("until lies in the past", hint="give a time that is still to come, or leave it out")
    value = now if body.field == "restart_before" and body.value is None else body.value
    system = given.fleet.one(name or body.system)
    given.grant.require(system, target)
    change = Change(0, system, "human", caller.told, target, Patch(body.field, value), body.reason, now, body.until)
    if body.dry_run:
        return plan_document(await given.fleet.plan_change(change))
    return _document(await given.fleet.change(change, caller))


@router.post("/release", **needs("operator", scope="cluster"))
async def release(body: ReleaseBody, given: Given, caller: Caller) -> dict[str, Any]:
    """End all live holds and quarantines of a target and list them; with `dry_run` give the Plan, and change nothing."""
    name, _, target = body.target.rpartition(":")
    system = given.fleet.one(name or body.system)
    given.grant.require(system, target)
    if body.dry_run:
        return plan_document(await given.fleet.plan_release(system, target))
    ended = await given.fleet.release(system, target, caller, body.reason)
    return {"apiVersion": API_VERSION, "kind": "List", "items": [nouns.change(change) for change in ended]}


@router.delete("/{number}", **needs("operator", scope="cluster"))
async def revert(
    number: Number,
    given: Given,
    caller: Caller,
    reason: str = "",
    dry_run: bool = False,  # noqa: FBT001, FBT002 a query flag
) -> dict[str, Any]:
    """End a Change before its time; with `dry_run` give the Plan that would be carried out, and change nothing."""
    admit_revert(given, number)
    if dry_run:
        return plan_document(await given.fleet.plan_revert(number))
    return _document(await given.fleet.revert(number, caller, reason))


def _document(change: Change) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": "Change", **nouns.change(change)}
