"""A program that waits to be let in by `qd login`: who it is, and the question whether that was you. Works without JavaScript."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from quarterdeck.api.csrf import Form
from quarterdeck.api.roles import needs
from quarterdeck.model.grant import ROLES
from quarterdeck.web.inner import Json, Refused
from quarterdeck.web.pages import Copy, View

router = APIRouter(include_in_schema=False)


@router.get("/login/device", **needs("viewer", scope="cluster"))
async def device(request: Request, code: Annotated[str, Query(max_length=20)] = "") -> HTMLResponse:
    """Who waits with a code; without one, the field for it."""
    view = await View.of(request)
    return await _page(view, code.strip().upper())


@router.post("/login/device", **needs("viewer", scope="cluster", form=True))
async def answer(request: Request, fields: Form) -> HTMLResponse:
    """Let it in, or not."""
    view, code = await View.of(request), fields.get("code", "").strip().upper()
    try:
        done = await view.api.post(_path(code), system=None, allow=fields.get("answer") == "allow", role=fields.get("role") or None)
    except Refused as error:
        return await _page(view, code, error)
    return view.html("device.html", "Log a program in", _copy(code), every=0.0, code_=code, asked=None, done=done, error=None, roles=())


async def _page(view: View, code: str, error: Refused | None = None) -> HTMLResponse:
    asked: Json | None = None
    try:
        asked = await view.api.get(_path(code)) if code else None
    except Refused as refused:
        error = error or refused
    own = ROLES.index(asked["role"]) if asked else 0
    roles = ROLES[: own + 1][::-1]
    status = error.status if error else 200
    return view.html(
        "device.html", "Log a program in", _copy(code), code=status, every=0.0, code_=code, asked=asked, done=None, error=error, roles=roles
    )


def _copy(code: str) -> Copy:
    return Copy("qd login", _path(code or "CODE"), of_all=True)


def _path(code: str) -> str:
    return f"/v1/login/device/{quote(code, safe='')}"
