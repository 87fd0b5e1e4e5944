"""Tokens: made, listed and revoked by an administrator. The secret is in the answer to making one, and nowhere else ever."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from quarterdeck.api.nouns import listed
from quarterdeck.api.roles import needs
from quarterdeck.api.services import Caller, Given, Services
from quarterdeck.clock import iso
from quarterdeck.model.grant import PLACE, Grant
from quarterdeck.store import tokens as rows
from quarterdeck.version import API_VERSION

router = APIRouter(prefix="/v1/tokens")
YEAR: Final = 365 * 86_400.0
MONTH: Final = 30 * 86_400.0
USER: Final = r"^[^\x00-\x1f\x7f]*$"
"""A person or program, by a name of your own: what somebody signs with."""
LONG: Final = "whoever finds it may use it until then: a refresh token is not sent around, and an access token ends within an hour"
KINDS: Final[Mapping[bool, rows.Kind]] = {True: "refresh", False: "token"}
Role = Literal["viewer", "operator", "deployer", "admin"]
Json = dict[str, Any]


class TokenBody(BaseModel):
    """`cluster` binds it to a cluster (`cluster` or `system/cluster`); `ttl` is seconds; `user` is whom it is for.

    `refresh`: one that is traded for access tokens of an hour. Without `ttl` it works for 30 days, any other for an hour.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    role: Role
    cluster: str | None = Field(default=None, pattern=PLACE, max_length=130)
    ttl: float | None = Field(default=None, ge=1, le=YEAR)
    refresh: bool = False
    note: str = Field(default="", max_length=200)
    user: str = Field(default="", pattern=USER, max_length=100)

    def grant(self) -> Grant:
        """What it will allow."""
        return Grant.at(self.role, self.cluster or "")


@router.post("", **needs("admin"))
async def create(body: TokenBody, given: Given, caller: Caller) -> Json:
    """Make a token; its secret is shown here and never again."""
    grant, kind = body.grant(), KINDS[body.refresh]
    ttl = body.ttl or (MONTH if body.refresh else rows.ACCESS_LIVES)
    id_, secret = await given.store.write(lambda tx: rows.create(tx, grant, ttl, body.note, body.user, kind, actor=caller))
    made = next(_document(t) for t in _alive(given) if t.id == id_)
    long = [LONG] if not body.refresh and ttl > rows.ACCESS_LIVES else []
    return {"apiVersion": API_VERSION, "kind": "Token", **made, "token": secret, "warnings": [*doubts(given, grant), *long]}


@router.get("", **needs("admin"))
async def list_(given: Given) -> Json:
    """Tokens that work, newest first; login links and sessions among them. `used` is the minute of the last use."""
    return listed([_document(t) for t in _alive(given)])


@router.delete("/{token}", **needs("admin"))
async def revoke(
    token: Annotated[str, Path(pattern=r"^[0-9a-f]{1,64}$")],
    given: Given,
    caller: Caller,
    reason: str = "",
) -> Json:
    """From now on it is refused, and the event streams it has open end. The id of an access token ends the refresh token it came from."""
    ended = await given.store.write(lambda tx: rows.revoke(tx, token, caller, reason))
    return {"apiVersion": API_VERSION, "kind": "Token", "id": ended, "state": "revoked"}


def _alive(given: Services) -> list[rows.Token]:
    with given.store.read() as conn:
        return rows.list_(conn, given.clock.now())


def _document(token: rows.Token) -> Json:
    return {
        "name": token.id,
        "id": token.id,
        "role": token.grant.role,
        "cluster": token.grant.place or None,
        "user": token.user,
        "note": token.note,
        "once": token.once,
        "type": "code" if token.once else "refresh" if token.refresh else "access",
        "created": iso(token.created),
        "expires": iso(token.expires),
        "used": iso(token.used) if token.used is not None else None,
    }


def doubts(given: Services, grant: Grant) -> list[str]:
    """A token or a link for a cluster that nobody has is legal, and most often a typing mistake."""
    systems = [name for name in given.fleet.names() if grant.knows(name)]
    here = [d for d in map(given.fleet.desired, systems) if d and any(n.cluster == grant.cluster for n in d.namespaces)]
    return [f"no system has a cluster {grant.place} now"] if grant.bound and not here else []
