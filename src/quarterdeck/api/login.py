"""A link that logs a browser in once, and the cookie it gets for it."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final
from urllib.parse import quote, unquote

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field

from quarterdeck.api.errors import STYLE, missing, turned_away, wants_page
from quarterdeck.api.roles import need_of, needs, open_to_anyone
from quarterdeck.api.services import Caller, Given, Services
from quarterdeck.api.tokens import USER, Role, doubts
from quarterdeck.errors import Forbidden, UserError
from quarterdeck.model.grant import PLACE, Grant
from quarterdeck.store import tokens
from quarterdeck.version import API_VERSION

router = APIRouter()
LINK_LIVES: Final = 900.0
SESSION_LIVES: Final = 12 * 3600.0
FRONT: Final = "/"
LONGEST: Final = 1_000
"""Characters of the path of a page."""
_SIGN: Final = r"[A-Za-z0-9\-._~!$&'()*+,;=:@%/"
_PATH: Final = re.compile(rf"/(?!/){_SIGN}]*(\?{_SIGN}?]*)?(#{_SIGN}?]*)?")
"""An absolute path with its query and fragment by RFC 3986: no scheme, no host, no `\\` that browsers read as `/`, no control character."""
_DOTS: Final = re.compile(r"/(\.|%2e){1,2}(/|$)", re.IGNORECASE)


class LinkBody(BaseModel):
    """What the browser may do then, `cluster` and `user` as for a token; `next` is the page it lands on, a path of the dashboard."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    role: Role = "admin"
    cluster: str | None = Field(default=None, pattern=PLACE, max_length=130)
    user: str = Field(default="", pattern=USER, max_length=100)
    next: str = Field(default=FRONT, max_length=LONGEST)


@router.post("/v1/login", **needs("admin", local=True))
async def link(request: Request, given: Given, caller: Caller, body: LinkBody | None = None) -> dict[str, Any]:
    """A one-time link; it ends after 15 minutes, the session it begins after 12 hours."""
    wanted = body or LinkBody()
    if not is_page(request, wanted.next):
        raise UserError(f"{wanted.next!r} is no page of this dashboard", hint="next is a path on it, for example /clusters/NAME")
    grant = Grant.at(wanted.role, wanted.cluster or "")
    _, code = await given.store.write(lambda tx: tokens.create(tx, grant, LINK_LIVES, "login link", wanted.user, "code", actor=caller))
    landing = "" if wanted.next == FRONT else f"&next={quote(wanted.next, safe='')}"
    return {"url": f"{given.url}/login?code={code}{landing}", "warnings": doubts(given, grant)}


@router.get("/login/page.css", include_in_schema=False, **open_to_anyone())
async def style() -> Response:
    """How the pages look that somebody sees who is not known."""
    return Response(STYLE, media_type="text/css", headers={"Cache-Control": "max-age=3600"})


@router.delete("/v1/login", **needs("viewer", scope="cluster"))
async def leave(given: Given, caller: Caller) -> dict[str, Any]:
    """End the token that asks, and what it was traded for."""
    if not caller.name.startswith("token:"):
        raise UserError("you came without a token", hint="through the unix socket nobody is logged in or out")
    ended = await given.store.write(lambda tx: tokens.revoke(tx, caller.name.removeprefix("token:"), caller, "logged out"))
    return {"apiVersion": API_VERSION, "kind": "Token", "id": ended, "state": "revoked"}


@router.post("/logout", status_code=303, response_class=RedirectResponse, **needs("viewer", scope="cluster", form=True))
async def logout(given: Given, request: Request, caller: Caller) -> RedirectResponse:
    """End the session of the cookie, and its event streams; what is no session of a browser is left alone."""
    if request.scope["session"]:
        await given.store.write(lambda tx: tokens.revoke(tx, caller.name.removeprefix("token:"), caller, "logged out"))
    response = RedirectResponse("/login", status_code=303)
    response.delete_cookie(request.scope["cookie"], path="/", secure=given.url.startswith("https:"), httponly=True, samesite="strict")
    return response


@router.get("/login", status_code=303, response_class=RedirectResponse, response_model=None, **open_to_anyone(once=True))
async def login(
    given: Given,
    request: Request,
    code: Annotated[str, Query(max_length=200)] = "",
    next: Annotated[str, Query(max_length=LONGEST)] = FRONT,  # noqa: A002 what such a parameter is called everywhere
) -> Response:
    """Trade a one-time code for a session cookie, and go on to the page `next`; to the front page, where that is none of ours.

    Without a code it is where one lands after logging out.
    """
    landing = next if is_page(request, next) else FRONT
    if not code:
        return _without(request, landing)
    try:
        with given.store.read() as conn:
            tokens.check_code(conn, code, given.clock.now())
    except Forbidden:
        request.scope["failed"]()
        if not wants_page(request.scope):
            raise
        if request.scope["session"]:  # it did its work here before
            return RedirectResponse(landing, status_code=303)
        hint = "a link logs in once, within 15 minutes: qd open makes another"
        return turned_away(Forbidden("this login link was used already, or has expired", hint=hint), request.scope)
    _, secret = await given.store.write(lambda tx: tokens.redeem(tx, code, SESSION_LIVES))
    return welcomed(request, given, secret, landing, SESSION_LIVES)


def welcomed(request: Request, given: Services, secret: str, landing: str, lives: float) -> Response:
    """On to a page, with the cookie of a session; `lives` is seconds."""
    response = RedirectResponse(landing, status_code=303)
    secure = given.url.startswith("https:")
    response.set_cookie(request.scope["cookie"], secret, max_age=int(lives), httponly=True, secure=secure, samesite="strict", path="/")
    return response


def _without(request: Request, landing: str) -> Response:
    """Where a browser comes to that has logged out, or opened the address by itself."""
    if request.scope["session"]:
        return RedirectResponse(landing, status_code=303)
    if not wants_page(request.scope):
        raise missing("code")
    response = turned_away(Forbidden("You are logged out", hint="qd open prints a link that logs a browser in"), request.scope)
    response.status_code = 200
    return response


def is_page(request: Request, path: str) -> bool:
    """Whether a path, as a link may carry it, leads to a page of this dashboard: to no other host, and to no route of the API."""
    if len(path) > LONGEST or not _PATH.fullmatch(path):
        return False
    bare = path.partition("#")[0].partition("?")[0]
    if _DOTS.search(bare):
        return False
    found = request.app.table.find({"type": "http", "method": "GET", "path": unquote(bare), "root_path": "", "headers": []})
    route = found[0] if found else None
    shown = isinstance(route, APIRoute) and not route.include_in_schema and "GET" in (route.methods or ())
    need = need_of(route) if route is not None else None
    return shown and need is not None and need.role is not None
