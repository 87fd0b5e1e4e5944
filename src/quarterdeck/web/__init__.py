"""The dashboard: server-rendered pages over the API, live where JavaScript is on, whole where it is not."""

from __future__ import annotations

from typing import Final

from fastapi import Request
from fastapi.responses import HTMLResponse

from quarterdeck.api.server import Api
from quarterdeck.errors import QuarterdeckError
from quarterdeck.web import act, budgets, device, fleet, fork, live, messages, operate, send, settings, work
from quarterdeck.web.inner import Refused
from quarterdeck.web.pages import HEADERS, PAGES, Copy, View

UNLIKE: Final = 422
"""The status of a request that does not look as it must."""


def install(app: Api) -> None:
    """Add the pages to an application that has the API."""
    for part in (live, act, fleet, send, fork, work, messages, budgets, operate, settings, device):
        app.include_router(part.router)
    app.draw = at_the_door

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> HTMLResponse:
        return await shown(request, error)


async def at_the_door(request: Request, error: QuarterdeckError) -> HTMLResponse:
    """The page for somebody who is known and asked for what is not there, or not his."""
    hint = "it stands in the address, which this dashboard does not make so" if error.http_status == UNLIKE else error.hint
    return await shown(request, Refused(error.http_status, error.message, hint))


async def shown(request: Request, error: Refused) -> HTMLResponse:
    """The page of a refusal. What is not there may come (back): it is looked for again."""
    try:
        view = await View.of(request)
    except Refused:  # not even the frame can be drawn
        text = PAGES.get_template("bare.html").render(error=error)
        return HTMLResponse(text, status_code=error.status, headers=HEADERS)
    again = request.method == "GET" and error.status == 404  # noqa: PLR2004 not found
    copy = Copy("qd status", "/v1/systems")
    return view.html("refused.html", "Refused", copy, code=error.status, every=10.0 if again else 0.0, error=error)
