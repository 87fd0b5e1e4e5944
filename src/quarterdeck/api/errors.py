"""One shape for every refusal: status and exit code follow from the branch of the error tree."""

from __future__ import annotations

import math
from html import escape
from typing import Any, Final
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import Scope

from quarterdeck.errors import Forbidden, NotFound, QuarterdeckError, SpecError, Transient, UserError
from quarterdeck.model.wording import wrong
from quarterdeck.model.work import Overloaded


class TooLarge(Forbidden):
    """A request over a limit of size."""

    code = "E1011"
    http_status = 413
    exit_code = 1


class HeadersTooLarge(TooLarge):
    """Headers over their limit."""

    http_status = 431


class TooMany(Transient):
    """Requests over a limit of rate; `retry_after` is whole seconds."""

    code = "E1012"
    http_status = 429

    def __init__(self, message: str, *, hint: str, retry_after: int) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class MethodNotAllowed(UserError):
    """Something is there, and is not for this method; `allowed` are those that it is for (RFC 9110, section 15.5.6)."""

    code = "E1014"
    http_status = 405
    exit_code = 2

    def __init__(self, message: str, *, hint: str, allowed: tuple[str, ...]) -> None:
        super().__init__(message, hint=hint)
        self.allowed = allowed


REFUSAL: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["kind", "code", "message", "hint", "where", "problems", "exit_code"],
            "properties": {
                "kind": {"type": "string", "description": "The class of the error."},
                "code": {"type": "string", "description": "Its kind, e.g. E1003; qd explain E1003 and docs/reference/errors tell of it."},
                "message": {"type": "string"},
                "hint": {"type": "string", "description": "What to do."},
                "where": {"type": "string", "description": "A file and line, or a field."},
                "problems": {"type": "array", "items": {"type": "string"}, "description": "Every problem of a spec, rendered."},
                "exit_code": {"type": "integer", "description": "What qd exits with."},
            },
        }
    },
}
"""The shape of every refusal, as JSON Schema."""


_PATH_SIGNS: Final = "/-._~!$&'()*+,;=:@"
"""What may stand in a path as it is (RFC 3986); a backslash, which browsers read as a slash, may not."""
_LOGINS: Final = frozenset({"/login", "/login/start", "/login/callback"})
"""Ways in, which nobody goes back to."""
_MISUSED: Final = 2
"""What `qd` exits with for a value that makes no sense, whoever found that out."""
_HEAD: Final = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    '<meta name="color-scheme" content="light dark"><link rel="stylesheet" href="/login/page.css">'
)
STYLED: Final = "default-src 'none'; style-src 'self'; frame-ancestors 'none'"
NO_TOKEN: Final = "no valid token"  # noqa: S105 a sentence
"""What somebody is told whom nothing names."""
STYLE: Final = """\
:root {
  color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif;
  background: light-dark(#f6f7f8, #0f1419); color: light-dark(#17212b, #e3e8ed);
}
body { min-height: 90vh; margin: 0; display: grid; place-items: center; }
main {
  box-sizing: border-box; width: min(30rem, 100% - 2rem); padding: 2rem; border-radius: 8px; overflow-wrap: anywhere;
  background: light-dark(#fff, #161d24); border: 1px solid light-dark(#dfe3e7, #2a343e);
}
main::before { content: "Quarterdeck"; font-weight: 650; color: light-dark(#55616e, #9aa7b4); }
h1 { margin: 1rem 0 .5rem; font-size: 1.375rem; line-height: 1.3; }
p { margin: .5rem 0; color: light-dark(#55616e, #9aa7b4); }
a { color: light-dark(#1d5f8f, #7ab8e6); }
.button {
  display: inline-block; margin-top: 1rem; padding: .55rem 1.1rem; border-radius: 6px; text-decoration: none; font-weight: 600;
  color: light-dark(#fff, #0f1419); background: light-dark(#1d5f8f, #7ab8e6);
}
a:focus-visible { outline: 2px solid; outline-offset: 3px; }
"""
"""Of the pages that strangers see: these have no other file."""


def refuse(error: QuarterdeckError) -> JSONResponse:
    """The response to an error of ours."""
    body = {
        "kind": type(error).__name__,
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "where": error.where,
        "problems": list(error.problems) if isinstance(error, SpecError) else [],
        "exit_code": error.exit_code,
    }
    return JSONResponse({"error": body}, status_code=error.http_status, headers=headers_of(error))


def malformed(error: RequestValidationError) -> UserError:
    """The refusal of a request that does not look as it must: which part, and what it may be."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:] or first["loc"])
    return _unlike(where, wrong(first))


def missing(where: str) -> UserError:
    """The refusal of a request that lacks a part."""
    return _unlike(where, wrong({"type": "missing"}))


def _unlike(where: str, told: str) -> UserError:
    refusal = UserError(f"{where}: {told}", where=where, hint="qd api openapi describes every field")
    refusal.http_status, refusal.exit_code = 422, _MISUSED
    return refusal


async def answered(request: Request, error: QuarterdeckError) -> Response:
    """The response to a refusal from within a route: to a browser always a page, in the frame of the pages for who is known."""
    if not wants_page(request.scope) or request.scope["path"].startswith("/v1/"):
        return refuse(error)
    draw = getattr(request.app, "draw", None)
    if draw is None or request.scope.get("grant") is None:
        return turned_away(error, request.scope)
    page: Response = await draw(request, error)
    return page


def turned_away(error: QuarterdeckError, scope: Scope) -> Response:
    """The response to a request that is refused outside the pages: a sentence for somebody who opened one, else our shape."""
    if not wants_page(scope):
        return refuse(error)
    said = "You are not logged in" if error.message == NO_TOKEN else error.message
    words = f"<h1>{escape(said)}</h1><p>{escape(error.hint)}</p>{_onwards(error, scope)}"
    page = f"{_HEAD}{_again(scope)}<title>Quarterdeck</title><main>{words}</main></html>"
    return HTMLResponse(page, status_code=error.http_status, headers={**headers_of(error), "Content-Security-Policy": STYLED})


def _onwards(error: QuarterdeckError, scope: Scope) -> str:
    """Where to from a refusal: back, for somebody who is known, else to the sign-in provider, where there is one."""
    if scope.get("grant"):
        return '<p><a href="/">To the dashboard</a></p>'
    provider = scope["sign_in"]() if isinstance(error, Forbidden) and "sign_in" in scope else ""
    if not provider:
        return ""
    page = "" if scope["method"] != "GET" or scope["path"] in _LOGINS else _address(scope)
    landing = f"?next={quote(page, safe='')}" if page else ""
    return f'<p><a class="button" href="/login/start{landing}">Sign in with {escape(provider)}</a></p>'


def _address(scope: Scope) -> str:
    """Path and query that were asked for, as they may stand in a link."""
    return f"{quote(scope['path'], safe=_PATH_SIGNS)}?{scope['query_string'].decode('latin-1')}".removesuffix("?")


def _again(scope: Scope) -> str:
    """What makes a browser that came by a link on another site ask once more, from this page of ours.

    Only from there does it bring a SameSite=Strict cookie: so a link in a mail or a ticket leads to its page, and one that logs in works.
    """
    headers = Headers(scope=scope)
    came = (scope["method"], headers.get("sec-fetch-site"), headers.get("sec-fetch-dest"))  # Fetch Metadata, W3C
    path = _address(scope)
    if came != ("GET", "cross-site", "document") or scope.get("grant") is not None or path.startswith("//"):  # `//` begins a host
        return ""
    return f'<meta http-equiv="refresh" content="0; url={escape(path)}">'


def wants_page(scope: Scope) -> bool:
    """Whether a browser opens it, as opposed to a script or a program."""
    return "text/html" in Headers(scope=scope).get("accept", "")


def not_so(scope: Scope, allowed: tuple[str, ...]) -> MethodNotAllowed:
    """The refusal of a method at a path that is for others; a browser came there by going back to where a form was sent."""
    path = scope["path"]
    if wants_page(scope):
        return MethodNotAllowed(
            f"nothing is shown at {path}", hint="a form was sent there: go on from the page that it stands on", allowed=allowed
        )
    hint = f"use {' or '.join(allowed) or 'another path'}; qd api openapi describes them"
    return MethodNotAllowed(f"{scope['method']} is not for {path}", hint=hint, allowed=allowed)


def headers_of(error: QuarterdeckError) -> dict[str, str]:
    """What an error adds to the head of its answer."""
    if isinstance(error, MethodNotAllowed):
        return {"Allow": ", ".join(error.allowed)}
    if isinstance(error, Overloaded):
        return {"Retry-After": str(max(1, math.ceil(error.after)))}
    return {"Retry-After": str(error.retry_after)} if isinstance(error, TooMany) else {}


def install(app: FastAPI) -> None:
    """Give every error our shape."""

    @app.exception_handler(QuarterdeckError)
    async def ours(request: Request, error: QuarterdeckError) -> Response:
        return await answered(request, error)

    @app.exception_handler(RequestValidationError)
    async def not_as_described(request: Request, error: RequestValidationError) -> Response:
        return await answered(request, malformed(error))

    @app.exception_handler(HTTPException)
    async def routing(request: Request, error: HTTPException) -> Response:
        response = await answered(request, NotFound(str(error.detail), hint="qd api openapi lists every path"))
        response.status_code = error.status_code
        return response
