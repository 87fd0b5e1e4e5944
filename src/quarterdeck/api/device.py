"""`qd login`: a program without a browser is let in by somebody who has one (the idea of RFC 8628, device authorization).

The program shows a short code; whoever is logged in opens the page of that code and lets it in with at most what that one may do. What the
program gets is a refresh token that ends with the session it was let in from. Nothing is kept on disk until then.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from quarterdeck.api.devices import LIVES, SIGNS
from quarterdeck.api.roles import needs, open_to_anyone
from quarterdeck.api.services import Caller, Given
from quarterdeck.api.tokens import MONTH
from quarterdeck.clock import iso
from quarterdeck.errors import Forbidden, UserError
from quarterdeck.model.grant import Grant, Role
from quarterdeck.store import tokens
from quarterdeck.version import API_VERSION

router = APIRouter(prefix="/v1/login/device")
INTERVAL: Final = 1.0
"""Seconds between two looks of the program."""
COST: Final = 50.0
"""What asking, and letting in, cost of the requests that an address or an identity may make: one a second goes on for ever."""
_LEAST: Final = 60.0
Code = Annotated[str, Path(pattern=rf"^[{SIGNS}]{{4}}-[{SIGNS}]{{4}}$")]
Json = dict[str, Any]


class AskBody(BaseModel):
    """`host` is the machine that asks, by its own word."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    host: str = Field(default="", pattern=r"^[A-Za-z0-9._-]*$", max_length=64)


class SecretBody(BaseModel):
    """What the program was given when it asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    secret: str = Field(min_length=1, max_length=100)


class AnswerBody(BaseModel):
    """`role` is at most one's own, and that by itself; `allow` False says no."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    allow: bool = True
    role: Role | None = None


@router.post("", **open_to_anyone())
async def ask(body: AskBody, given: Given, request: Request) -> Json:
    """Wait to be let in: `code` is shown to people, `secret` is asked with at `/v1/login/device/token`."""
    request.scope["take"](request.scope["address"](), COST)
    address = str((request.scope.get("client") or ("", 0))[0])
    code, secret = given.devices.begin(body.host, address, given.clock.now())
    told = {"secret": secret, "code": code, "url": f"{given.url}/login/device?code={code}"}
    return {"apiVersion": API_VERSION, "kind": "DeviceLogin", **told, "expires_in": int(LIVES), "interval": INTERVAL}


@router.post("/token", **open_to_anyone())
async def collect(body: SecretBody, given: Given, request: Request) -> Json:
    """`state` is `waiting`, `refused`, or `allowed` with the refresh token, which is told this once."""
    try:
        found = given.devices.collect(body.secret, given.clock.now())
    except Forbidden:
        request.scope["failed"]()
        raise
    head = {"apiVersion": API_VERSION, "kind": "DeviceLogin"}
    if found.granted is None:
        if found.refused:
            given.devices.forget(found)
        return {**head, "state": "refused" if found.refused else "waiting"}
    grant, actor, until = found.granted
    user, lives = actor.on_behalf_of, until - given.clock.now()
    if lives < 1 or not given.devices.forget(found):
        raise Forbidden("what was given has ended already", hint="run qd login again")
    note, parent = f"qd login{f' on {found.host}' if found.host else ''}", actor.name.removeprefix("token:") if actor.via == "http" else ""
    id_, secret = await given.store.write(lambda tx: tokens.create(tx, grant, lives, note, user, "refresh", actor=actor, parent=parent))
    allowed = {"role": grant.role, "cluster": grant.place or None, "user": user, "expires": iso(until)}
    return {**head, "state": "allowed", "id": id_, "token": secret, **allowed}


@router.get("/{code}", **needs("viewer", scope="cluster"))
async def waiting(code: Code, given: Given) -> Json:
    """Who waits with a code."""
    found = given.devices.find(code, given.clock.now())
    state = "allowed" if found.granted else "refused" if found.refused else "waiting"
    told = {"code": code, "state": state, "host": found.host, "address": found.address}
    return {"apiVersion": API_VERSION, "kind": "DeviceLogin", **told, "expires": iso(found.until), "role": given.grant.role}


@router.post("/{code}", **needs("viewer", scope="cluster"))
async def answer(code: Code, body: AnswerBody, given: Given, caller: Caller, request: Request) -> Json:
    """Let a program in with at most one's own rights, until one's own session ends; or say no."""
    now, own = given.clock.now(), given.grant
    request.scope["take"](caller.name, COST)
    role = body.role or own.role
    if not own.at_least(role):
        raise Forbidden(f"nobody gives away the role {role} who is {own.role}", hint=f"choose {own.role} or less")
    until = min(request.scope["until"], now + MONTH)
    if body.allow and until - now < _LEAST:
        raise UserError("your own session ends within a minute", hint="log in again, then let the program in")
    granted = (Grant(role, own.cluster, own.system), caller, until) if body.allow else None
    found = given.devices.answer(code, now, granted)
    told = {"code": code, "state": "allowed" if body.allow else "refused", "host": found.host, "role": role}
    return {"apiVersion": API_VERSION, "kind": "DeviceLogin", **told, "expires": iso(until)}
