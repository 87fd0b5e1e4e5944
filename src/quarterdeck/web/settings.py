"""Settings: versions, limits, weakenings; and tokens, which an administrator makes and ends here.

The secret of a token is on the answer to making it and nowhere else: that page is not renewed, kept, or shown again.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from quarterdeck.api.csrf import Form
from quarterdeck.api.roles import needs
from quarterdeck.model.grant import ROLES
from quarterdeck.spec.quantities import Duration
from quarterdeck.web.inner import Json, Refused, address
from quarterdeck.web.pages import Copy, View

router = APIRouter(include_in_schema=False)
TOKENS: Final = "/v1/tokens"
ALLOWS: Final = {
    "viewer": "reads",
    "operator": "also changes, asks and validates",
    "deployer": "also deploys and rolls back",
    "admin": "may do everything",
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What the form of a new token says; `ttl` as people write it."""

    role: str = "viewer"
    cluster: str = ""
    ttl: str = "1h"
    user: str = ""
    note: str = ""
    refresh: str = ""

    @classmethod
    def of(cls, fields: Mapping[str, str]) -> Wish:
        """As it was posted."""
        return cls(*(fields.get(name, "").strip() for name in cls.__slots__))

    @property
    def says(self) -> Json:
        """As the API takes it. Raises Refused for what is no time."""
        try:
            seconds = float(Duration.parse(self.ttl))
        except ValueError as error:
            raise Refused(400, f"{self.ttl!r} is no duration", "write for example 12h or 30d, at most 365d") from error
        given = {"cluster": self.cluster, "note": self.note, "user": self.user}
        kind = {"refresh": True} if self.refresh else {}
        return {"role": self.role, "ttl": seconds, **kind, **{name: value for name, value in given.items() if value}}

    @property
    def command(self) -> str:
        """The same in a shell."""
        given = {name: getattr(self, name) for name in ("role", "cluster", "ttl", "user", "note")}
        words = [word for name, value in given.items() if value for word in (f"--{name}", value)]
        return shlex.join(["qd", "token", "create", *words, *(["--refresh"] if self.refresh else [])])


@router.get("/settings", **needs("viewer", scope="cluster"))
async def settings(request: Request) -> HTMLResponse:
    """Versions, limits and how full they are, weakenings, tokens for who may see them."""
    return await _page(await View.of(request), Wish())


@router.get("/settings/tokens", **needs("admin"))
async def none_yet(request: Request) -> RedirectResponse:
    """Where the answer stood that had a secret; it is not told again."""
    view = await View.of(request)
    return RedirectResponse(view.link("/settings#tokens"), status_code=303)


@router.post("/settings/tokens", response_model=None, **needs("admin", form=True))
async def create(request: Request, fields: Form) -> HTMLResponse:
    """Make a token; its secret is on this answer, which nobody keeps."""
    view, wish = await View.of(request), Wish.of(fields)
    try:
        made = await view.api.post(TOKENS, system=None, **wish.says)
    except Refused as error:
        return await _page(view, wish, error=error)
    copy = Copy(wish.command, TOKENS, "POST", wish.says, of_all=True)
    return view.html("token.html", f"Token {made['id']}", copy, every=0.0, token=made)


@router.get("/settings/tokens/{token}", **needs("admin"))
async def revoking(request: Request, token: str) -> HTMLResponse:
    """One token, and the question whether it shall end."""
    return await _asked(await View.of(request), token)


@router.post("/settings/tokens/{token}", response_model=None, **needs("admin", form=True))
async def revoke(request: Request, token: str, fields: Form) -> Response:
    """End a token, once that was confirmed; then back to the others."""
    view, reason = await View.of(request), fields.get("reason", "").strip()
    if fields.get("confirmed") != "yes":
        return await _asked(view, token, reason=reason)
    found = await _token(view, token)
    try:
        await view.api.delete(f"{TOKENS}/{found['id']}", reason=reason or None)
    except Refused as error:
        return await _asked(view, token, reason=reason, error=error)
    return RedirectResponse("/login" if _own(view, found) else view.link("/settings#tokens"), status_code=303)


async def _page(view: View, wish: Wish, *, error: Refused | None = None) -> HTMLResponse:
    version = await view.api.get("/v1/version")
    status = await view.api.unless_refused("/v1/status") if view.api.system else None
    tokens = await view.api.unless_refused(TOKENS)
    clusters = await view.api.items("/v1/clusters") if tokens and view.api.system else []
    return view.html(
        "settings.html",
        "Settings",
        Copy("qd version", "/v1/version"),
        code=error.status if error else 200,
        every=0.0 if error else 10.0,
        version=version,
        status=status,
        tokens=tokens["items"] if tokens else None,
        clusters=clusters,
        wish=wish,
        error=error,
        roles=[(role, ALLOWS[role]) for role in ROLES],
    )


async def _asked(view: View, token: str, *, reason: str = "", error: Refused | None = None) -> HTMLResponse:
    found = await _token(view, token)
    why = reason or "WHY"
    said = shlex.join(["qd", "token", "revoke", found["id"], "--reason", why])
    copy = Copy(said, address(f"{TOKENS}/{found['id']}", reason=why), "DELETE", of_all=True)
    code, own = error.status if error else 200, _own(view, found)
    title = f"Revoke {found['id']}"
    return view.html("revoke.html", title, copy, code=code, every=0.0, token=found, own=own, reason=reason, error=error)


async def _token(view: View, token: str) -> Json:
    """A token that works; raises Refused."""
    found = next((one for one in await view.api.items(TOKENS) if one["id"] == token), None)
    if found is None:
        raise Refused(404, f"there is no token {token[:64]!r} that works", "it was revoked, or its time is over")
    return found


def _own(view: View, token: Json) -> bool:
    """Whether it is what this very reader came with."""
    return bool(view.api.request.scope["actor"].name == f"token:{token['id']}")
