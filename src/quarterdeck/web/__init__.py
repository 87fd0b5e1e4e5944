"""The dashboard: server-rendered pages over the API, live where JavaScript is on, whole where it is not."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse

from quarterdeck.web import act, budgets, fleet, live, messages, operate, work
from quarterdeck.web.inner import Refused
from quarterdeck.web.pages import HEADERS, PAGES, Copy, View


def install(app: FastAPI) -> None:
    """Add the pages to an application that has the API."""
    for part in (live, act, fleet, work, messages, budgets, operate):
        app.include_router(part.router)

    @app.exception_handler(Refused)
    async def shown(request: Request, error: Refused) -> HTMLResponse:
        try:
            view = await View.of(request)
        except Refused:  # not even the frame can be drawn
            text = PAGES.get_template("bare.html").render(error=error)
            return HTMLResponse(text, status_code=error.status, headers=HEADERS)
        copy = Copy("qd status", "/v1/systems")
        return view.html("refused.html", "Refused", copy, code=error.status, every=0.0, error=error)
