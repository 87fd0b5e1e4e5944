"""The ways in besides a link of `qd open`: the page of a sign-in provider, and the trade of a refresh token or of a provider's token."""

from __future__ import annotations

from typing import Annotated, Any, Final
from urllib.parse import quote, urlsplit

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from quarterdeck.api.login import FRONT, LONGEST, is_page, welcomed
from quarterdeck.api.roles import open_to_anyone
from quarterdeck.api.services import Given, Services
from quarterdeck.errors import Forbidden, NotFound
from quarterdeck.model.grant import Grant
from quarterdeck.model.records import Actor
from quarterdeck.signin.flow import LIVES, Answer, Flow
from quarterdeck.signin.jwt import LONGEST as LONGEST_JWT
from quarterdeck.store import tokens
from quarterdeck.version import API_VERSION

router = APIRouter()
START: Final = "/login/start"
COST: Final = 10.0
"""What a trade costs of the requests that an identity may make: five a second go on for ever."""
Text = Annotated[str, Query(max_length=4_000)]


class TradeBody(BaseModel):
    """`secret` is a refresh token, or a JSON Web Token of the provider."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    secret: str = Field(min_length=1, max_length=LONGEST_JWT)


@router.post("/v1/login/token", **open_to_anyone())
async def trade(body: TradeBody, given: Given, request: Request) -> dict[str, Any]:
    """An access token, of an hour at most, for a refresh token or a token of the sign-in provider."""
    try:
        if body.secret.startswith(tokens.REFRESHES):
            return await _refreshed(body.secret, given, request)
        return await _exchanged(body.secret, _flow(given), given, request)
    except Forbidden:
        request.scope["failed"]()
        raise


@router.get("/login/start", status_code=303, response_class=RedirectResponse, response_model=None, **open_to_anyone(once=True))
async def start(
    given: Given,
    request: Request,
    next: Annotated[str, Query(max_length=LONGEST)] = FRONT,  # noqa: A002 what such a parameter is called everywhere
) -> Response:
    """On to the provider's page; from there back here, and to the page `next`."""
    flow, landing = _flow(given), next if is_page(request, next) else FRONT
    if request.headers.get("host") != urlsplit(given.url).netloc:  # it comes back to that name, and so has the cookie to be for it
        return RedirectResponse(f"{given.url}{START}?next={quote(landing, safe='')}", status_code=303)
    address, kept = await flow.begin(landing)
    response = RedirectResponse(address, status_code=303)
    # not Strict: the provider's page is another site, and it is from there that the browser comes back
    response.set_cookie(_cookie(request), kept, max_age=int(LIVES), httponly=True, secure=_secure(given), samesite="lax", path="/")
    return response


@router.get("/login/callback", status_code=303, response_class=RedirectResponse, response_model=None, **open_to_anyone(once=True))
async def callback(  # noqa: PLR0917 what a provider says (OpenID Connect Core, section 3.1.2.5; RFC 9207)
    given: Given,
    request: Request,
    code: Text = "",
    state: Text = "",
    iss: Text | None = None,
    error: Text = "",
    error_description: Text = "",
) -> Response:
    """Where the provider sends a browser back to, with a code that is traded for who it is: a session begins."""
    flow = _flow(given)
    request.scope["take"](request.scope["address"](), COST)
    try:
        answer = Answer(state, code, iss, error_description or error)
        person, landing = await flow.finish(request.cookies.get(_cookie(request), ""), answer)
    except Forbidden:
        request.scope["failed"]()
        raise
    request.scope["take"](f"subject:{person.subject}", COST)
    lives, actor = float(flow.sign_in.session), Actor(f"oidc:{person.subject}", "login", person.user)
    note = f"signed in: {person.subject}"[:200]
    _, secret = await given.store.write(lambda tx: tokens.create(tx, person.grant, lives, note, person.user, actor=actor))
    response = welcomed(request, given, secret, landing, lives)
    response.delete_cookie(_cookie(request), path="/", secure=_secure(given), httponly=True, samesite="lax")
    return response


async def _refreshed(secret: str, given: Services, request: Request) -> dict[str, Any]:
    with given.store.read() as conn:
        known = tokens.check_refresh(conn, secret, given.clock.now())
    request.scope["take"](f"token:{known.id}", COST)
    found, access = await given.store.write(lambda tx: tokens.trade(tx, secret))
    return _access(access, found.expires - given.clock.now(), found.grant, found.user)


async def _exchanged(secret: str, flow: Flow, given: Services, request: Request) -> dict[str, Any]:
    person = await flow.recognised(secret)
    request.scope["take"](f"subject:{person.subject}", COST)
    left = person.until - given.clock.now()
    if left < 1:  # within the leeway of two clocks
        raise Forbidden("the provider's token has expired", hint="get a fresh one there")
    subject, actor = f"{person.issuer} {person.subject}", Actor(f"oidc:{person.subject}", "login", person.user)
    access, lives = await given.store.write(lambda tx: tokens.vouched(tx, subject, person.since, person.grant, left, person.user, actor))
    return _access(access, lives, person.grant, person.user)


def _access(secret: str, lives: float, grant: Grant, user: str) -> dict[str, Any]:
    """`expires_in` is whole seconds (RFC 6749, section 5.1), so that no two clocks have to agree."""
    allowed = {"role": grant.role, "cluster": grant.place or None, "user": user}
    return {"apiVersion": API_VERSION, "kind": "AccessToken", "token": secret, "expires_in": round(lives), **allowed}


def _flow(given: Services) -> Flow:
    if given.sign_in is None:
        raise NotFound("this control plane knows no sign-in provider", hint="qd up --sign-in FILE names one; qd open prints a login link")
    return given.sign_in


def _secure(given: Services) -> bool:
    return given.url.startswith("https:")


def _cookie(request: Request) -> str:
    return f"{request.scope['cookie']}-sign-in"
