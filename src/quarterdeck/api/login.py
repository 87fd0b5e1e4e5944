"""A link that logs a browser in once, and the cookie it gets for it."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import RedirectResponse

from quarterdeck.api.access import COOKIE
from quarterdeck.api.services import Caller, Given
from quarterdeck.errors import Forbidden
from quarterdeck.store import tokens

router = APIRouter()
LINK_LIVES = 900.0
SESSION_LIVES = 12 * 3600.0


@router.post("/v1/login")
async def link(given: Given, caller: Caller) -> dict[str, str]:
    """A one-time link; it ends after 15 minutes."""
    if caller.via != "socket":
        raise Forbidden("login links are made through the unix socket", hint="run qd open on the machine of the control plane")
    _, code = await given.store.write(lambda tx: tokens.create(tx, "admin", LINK_LIVES, "login link", once=True, actor=caller))
    return {"url": f"{given.url}/login?code={code}"}


@router.get("/login")
async def login(given: Given, code: str) -> RedirectResponse:
    """Trade a one-time code for a session cookie."""
    _, secret = await given.store.write(lambda tx: tokens.redeem(tx, code, SESSION_LIVES))
    response = RedirectResponse("/", status_code=303)
    response.set_cookie(COOKIE, secret, max_age=int(SESSION_LIVES), httponly=True, samesite="strict", path="/")
    return response
