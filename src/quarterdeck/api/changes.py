"""Changes: the only way desired state moves besides a new revision."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from quarterdeck.api.services import Caller, Given
from quarterdeck.deploy import nouns, status
from quarterdeck.errors import UserError
from quarterdeck.model.records import Change, Patch

router = APIRouter(prefix="/v1/changes")


class ChangeBody(BaseModel):
    """What a human asks for. `until` is epoch seconds; `value` null with restart_before means now."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    system: str | None = None
    target: str = Field(max_length=300)
    field: Literal["replicas", "restart_before", "quarantined", "hold"]
    value: int | float | bool | None = None
    reason: str = Field(min_length=1, max_length=1000)
    until: float | None = None


@router.post("")
async def propose(body: ChangeBody, given: Given, caller: Caller) -> dict[str, Any]:
    """Make a Change."""
    name, _, target = body.target.rpartition(":")
    now = given.clock.now()
    if body.until is not None and body.until <= now:
        raise UserError("until lies in the past", hint="give a time to come, in seconds since 1970, or leave it out")
    value = now if body.field == "restart_before" and body.value is None else body.value
    system = given.fleet.one(name or body.system)
    change = Change(0, system, "human", caller.name, target, Patch(body.field, value), body.reason, now, body.until)
    return _document(await given.fleet.change(change, caller))


@router.delete("/{number}")
async def revert(number: int, given: Given, caller: Caller, reason: str = "") -> dict[str, Any]:
    """End a Change before its time."""
    return _document(await given.fleet.revert(number, caller, reason))


def _document(change: Change) -> dict[str, Any]:
    return {"apiVersion": status.API, "kind": "Change", **nouns.change(change)}
