"""The Overview page: phases, clusters and replicas, readiness, newest records; live by server-sent events, whole without JavaScript."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse, StreamingResponse
from jinja2 import Environment, FileSystemLoader

from quarterdeck.api import sse
from quarterdeck.api.services import Given, Services
from quarterdeck.deploy import nouns, status
from quarterdeck.errors import NotFound
from quarterdeck.store import journal

router = APIRouter(include_in_schema=False)
HERE = Path(__file__).parent
PAGES = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
NONE, OWN = "base-uri form-action frame-ancestors default-src", "script-src style-src img-src connect-src"
CSP = "; ".join([*(f"{name} 'none'" for name in NONE.split()), *(f"{name} 'self'" for name in OWN.split())])
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
STATIC = {"overview.css": "text/css", "overview.js": "text/javascript"}


@router.get("/")
async def overview(given: Given, system: str | None = None) -> HTMLResponse:
    """The page."""
    text = PAGES.get_template("overview.html").render(await _facts(given, system))
    return HTMLResponse(text, headers=HEADERS)


@router.get("/live")
async def live(given: Given, system: str | None = None) -> StreamingResponse:
    """The page's body again whenever the journal grew, at most four times a second."""
    return sse.stream(_bodies(given, system))


@router.get("/static/{name}")
async def static(name: str) -> FileResponse:
    """The two files a page needs."""
    if name not in STATIC:
        raise NotFound(f"no file {name}", hint="the page names the ones there are; load it again")
    return FileResponse(HERE / "static" / name, media_type=STATIC[name], headers=HEADERS)


async def _bodies(given: Services, system: str | None) -> AsyncIterator[str]:
    news = given.store.subscribe()
    try:
        while not given.stopping.is_set():
            html = PAGES.get_template("body.html").render(await _facts(given, system))
            yield sse.event("body", html.replace("\n", " "))
            await news.wait(2.0)
    finally:
        news.close()


async def _facts(given: Services, system: str | None) -> dict[str, Any]:
    names = given.fleet.names()
    base = {"systems": names, "url": given.url, "home": str(given.home.root)}
    if not names:
        return {**base, "status": None}
    look = await given.fleet.look(given.fleet.one(system or names[0]))
    with given.store.read() as conn:
        records = journal.read(conn, system=look.desired.system, limit=12, newest_first=True)
    return {
        **base,
        "status": status.status(look, given.clock.now(), engine=given.fleet.engine.name, weakenings=()),
        "clusters": nouns.clusters(look, given.url),
        "agents": nouns.agents(look),
        "links": nouns.links(look),
        "replicas": status.replicas(look.world.workloads),
        "records": [nouns.record(r) for r in records],
    }
