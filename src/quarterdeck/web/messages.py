"""Messages: what waits for each agent and in each order, what nobody could handle and why, and how it is sent again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from quarterdeck.api.csrf import Form
from quarterdeck.api.roles import needs
from quarterdeck.web.inner import Query, Refused, address
from quarterdeck.web.pages import Copy, View

router = APIRouter(include_in_schema=False)
PAGE: Final = 100
STATES: Final = ("behind", "waiting", "sent", "done", "dead")
SOON: Final = 3.0
"""Seconds the page may grow old: most messages move without a word in the journal."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which messages the list shows."""

    state: str
    target: str
    key: str

    @property
    def filters(self) -> dict[str, Query]:
        """As the API takes them."""
        return {name: getattr(self, name) or None for name in ("state", "target", "key")}

    @property
    def command(self) -> str:
        """The same in a shell; what came with the address is quoted."""
        return " ".join(["qd get messages", *(f"--{name} {shlex.quote(str(value))}" for name, value in self.filters.items() if value)])


@router.get("/messages", **needs("viewer", scope="cluster"))
async def messages(request: Request, state: str = "", target: str = "", key: str = "", before: int | None = None) -> HTMLResponse:
    """What each agent has not handled yet, and the messages that are kept, the newest first, a page at a time."""
    view = await View.of(request)
    asked = Asked(state, target, key)
    copy = Copy(asked.command, address("/v1/messages", **asked.filters))
    if view.api.system is None:
        return view.html("nothing.html", "Messages", copy)
    lanes = await view.api.items("/v1/messages/lanes")
    page = await view.api.get("/v1/messages", **asked.filters, before=before, limit=PAGE)
    return view.html(
        "messages.html",
        "Messages",
        copy,
        every=SOON if before is None else 0.0,
        agents=[lane for lane in lanes if lane["order"] is None],
        orders=[lane for lane in lanes if lane["order"] is not None],
        dead=sum(lane["states"]["dead"] for lane in lanes),
        page=page,
        states=STATES,
        asked=asked,
    )


@router.get("/messages/{message}", **needs("viewer", scope="cluster"))
async def message(request: Request, message: str) -> HTMLResponse:
    """One message with its headers and body; a dead one with a form to send it again."""
    return await _page(await View.of(request), message)


@router.get("/messages/{message}/retry", **needs("viewer", scope="cluster"))
async def form_of(request: Request, message: str) -> RedirectResponse:
    """The address that the form was sent to, loaded again or opened."""
    view = await View.of(request)
    return RedirectResponse(view.link(f"/messages/{quote(message, safe='')}"), status_code=303)


@router.post("/messages/{message}/retry", response_model=None, **needs("operator", scope="cluster", form=True))
async def retry(request: Request, message: str, fields: Form) -> Response:
    """Send a dead message again; then back to it."""
    view = await View.of(request)
    try:
        reason = fields.get("reason", "").strip()
        if not reason:
            raise Refused(400, "say why", "the reason is kept in the journal")  # noqa: TRY301 shown like any other refusal
        await view.api.post(f"/v1/messages/{quote(message, safe='')}/retry", system=None, reason=reason)
    except Refused as error:
        return await _page(view, message, error=error, typed=fields)
    return RedirectResponse(view.link(f"/messages/{quote(message, safe='')}"), status_code=303)


async def _page(view: View, message: str, *, error: Refused | None = None, typed: Mapping[str, str] | None = None) -> HTMLResponse:
    found = await view.api.get(f"/v1/messages/{quote(message, safe='')}")
    copy = Copy(f"qd message get {found['id']}", f"/v1/messages/{found['id']}")
    title = f"Message {found['key'] or found['id']}"
    code, every = (error.status, 0.0) if error else (200, SOON)
    return view.html("message.html", title, copy, code=code, every=every, message=found, error=error, typed=typed or {})
