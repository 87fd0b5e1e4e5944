"""Budgets: what work may cost, what is reserved and spent of a day, and what is held back because it cost too much too fast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from quarterdeck.api.csrf import Form
from quarterdeck.api.roles import needs
from quarterdeck.web.inner import Json, Refused, address
from quarterdeck.web.pages import Copy, View

router = APIRouter(include_in_schema=False)
KEPT: Final = timedelta(days=35)
"""How long the accounts of a day can be looked at."""
NARROW: Final = 0.9
"""The part of a limit from which on little of it is left."""


@dataclass(frozen=True, slots=True)
class Bar:
    """Parts of a limit, 0 to 1 together; `state` is one of those that have a mark."""

    spent: float
    reserved: float
    state: str

    @classmethod
    def of(cls, numbers: Json) -> Bar | None:
        """None where nothing is counted, or where there is no limit."""
        if numbers["spent"] is None or numbers["limit"] is None:
            return None
        limit = numbers["limit"]
        used = numbers["spent"] + numbers["reserved"]
        part = used / limit if limit else 1.0
        spent = min(numbers["spent"] / limit if limit else 1.0, 1.0)
        state = "failed" if part >= 1.0 else "draining" if part >= NARROW else "ready"
        return cls(spent, min(part, 1.0) - spent, state)


@router.get("/budgets", **needs("viewer", scope="cluster"))
async def budgets(request: Request, day: str = "") -> HTMLResponse:
    """Every account of a day as limit, reserved and spent, and what is held back."""
    return await _page(await View.of(request), day)


@router.get("/budgets/resume", **needs("viewer", scope="cluster"))
async def form_of(request: Request) -> RedirectResponse:
    """The address that the form was sent to, loaded again or opened."""
    view = await View.of(request)
    return RedirectResponse(view.link("/budgets"), status_code=303)


@router.post("/budgets/resume", response_model=None, **needs("operator", scope="cluster", form=True))
async def resume(request: Request, fields: Form) -> Response:
    """Let tasks go on that are held back; then back to the page."""
    view = await View.of(request)
    try:
        reason = fields.get("reason", "").strip()
        if not reason:
            raise Refused(400, "say why", "the reason is kept in the journal")  # noqa: TRY301 shown like any other refusal
        await view.api.post("/v1/budgets/resume", scope=fields.get("scope", ""), reason=reason)
    except Refused as error:
        return await _page(view, "", error=error, typed=fields)
    return RedirectResponse(view.link("/budgets"), status_code=303)


async def _page(view: View, asked: str, *, error: Refused | None = None, typed: Mapping[str, str] | None = None) -> HTMLResponse:
    today = datetime.fromtimestamp(view.now, UTC).date()
    day = _day(asked, today)
    source = address("/v1/budgets", day=None if day == today else day.isoformat())
    copy = Copy("qd get budgets", source, whole=day != today)
    if view.api.system is None:
        return view.html("nothing.html", "Budgets", copy)
    found = await view.api.items("/v1/budgets", day=day.isoformat())
    return view.html(
        "budgets.html",
        "Budgets",
        copy,
        code=error.status if error else 200,
        every=3.0 if day == today and error is None else 0.0,
        budgets=[{**one, "bars": {kind: Bar.of(numbers) for kind, numbers in one["limits"].items()}} for one in found],
        trips={one["cluster"] or "": one["tripped"] for one in found if one["tripped"]},
        records=await view.api.items("/v1/journal", verb="budget.", newest=True, limit=20),
        day=day,
        earlier=day - timedelta(days=1) if day > today - KEPT else None,
        later=day + timedelta(days=1) if day < today else None,
        error=error,
        typed=typed or {},
    )


def _day(asked: str, today: date) -> date:
    """Raise Refused for what is no day."""
    try:
        return date.fromisoformat(asked) if asked else today
    except ValueError:
        raise Refused(400, f"{asked!r} is no day", "a UTC day as 2026-11-28") from None
