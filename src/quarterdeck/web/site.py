"""The docs site under /docs, as `make docs` built it: only files that its manifest names, so no request can ask for another one.

Its pages carry a few small scripts of their own; the manifest has their digests, and the content security policy allows these, no others.
Styles within a page are not allowed, and nothing may be loaded from another host.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from quarterdeck.api.roles import needs

router = APIRouter(include_in_schema=False)
SITE: Final = Path(__file__).parents[1] / "site"
HASHED: Final = re.compile(r"\.[0-9a-f]{8}\.min\.(js|css)$")
"""Names that change with their content: they may be kept for ever."""
KINDS: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; connect-src 'self'; worker-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; script-src 'self'"
)


@dataclass(frozen=True, slots=True)
class Site:
    """A site that was built. `files`: digest by path within `folder`; `policy`: what its pages may load."""

    folder: Path
    files: Mapping[str, str]
    policy: str

    def find(self, path: str) -> str | None:
        """The file that answers for a path below /docs/, or None."""
        name = path + "index.html" if path == "" or path.endswith("/") else path
        return name if name in self.files else None


@router.get("/docs", **needs("viewer", scope="cluster"))
async def front() -> RedirectResponse:
    """The links of the site are relative: its front page has a slash."""
    return RedirectResponse("/docs/", status_code=308)


@router.get("/docs/{path:path}", **needs("viewer", scope="cluster"))
async def page(path: str, request: Request) -> Response:
    """One file of the site."""
    site = await asyncio.to_thread(built, SITE)
    if site is None:
        return _words("The docs site is not built", "In a checkout, build it with", "make docs", "Until then: qd --help, qd explain spec.")
    name = site.find(path)
    if name is not None:
        return await _answer(site, name, request.headers.get("if-none-match", ""))
    if f"{path}/index.html" in site.files:
        return RedirectResponse(f"/docs/{path}/", status_code=308)
    return _words("There is no such page", "The docs begin at", "/docs/", "Its search knows every page.")


def built(folder: Path) -> Site | None:
    """The site in a folder; None while there is none. A new build is seen at once."""
    try:
        changed = (folder / "manifest.json").stat().st_mtime_ns
        return _read(folder, changed)
    except FileNotFoundError:
        return None


@lru_cache(maxsize=1)
def _read(folder: Path, changed: int) -> Site:
    told = json.loads((folder / "manifest.json").read_text())
    return Site(folder, told["files"], " ".join([POLICY, *(f"'{digest}'" for digest in told["scripts"])]))


async def _answer(site: Site, name: str, known: str) -> Response:
    tag = f'"{site.files[name]}"'
    headers = {
        "Content-Security-Policy": site.policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "private, max-age=31536000, immutable" if HASHED.search(name) else "private, no-cache",
        "ETag": tag,
    }
    if tag in known:
        return Response(status_code=304, headers=headers)
    try:
        content = await asyncio.to_thread((site.folder / name).read_bytes)
    except FileNotFoundError:  # a new site took its place just now, or somebody tidied up
        return _words("This file is gone", "Build the site again with", "make docs", "Then load the page again.")
    return Response(content, media_type=KINDS.get(Path(name).suffix, "application/octet-stream"), headers=headers)


def _words(title: str, before: str, command: str, after: str) -> HTMLResponse:
    shown = f"<a href='{command}'>{escape(command)}</a>" if command.startswith("/") else f"<code>{escape(command)}</code>"
    text = (
        "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='color-scheme' content='light dark'>"
        f"<title>{escape(title)}</title><h1>{escape(title)}</h1><p>{escape(before)} {shown}. {escape(after)}</p>"
        "<p><a href='/'>To the dashboard</a></p></html>"
    )
    headers = {"Content-Security-Policy": "default-src 'none'", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return HTMLResponse(text, status_code=404, headers=headers)
