"""Proof that a request of a browser was meant: a word that only our own pages know, derived from the session's secret.

Needed with the cookie only, which a browser sends by itself; a bearer token and the unix socket are never sent by accident.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, MutableMapping
from typing import Annotated, Any, Final
from urllib.parse import parse_qsl

from fastapi import Depends, Request
from starlette.datastructures import Headers

from quarterdeck.errors import Forbidden, UserError

HEADER: Final = "x-csrf-token"
FIELD: Final = "csrf"
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing (RFC 9110, section 9.2.1)."""
_FIELDS: Final = 100


def token_of(secret: str) -> str:
    """The word of a session."""
    return hmac.new(secret.encode("utf-8", "replace"), b"csrf", hashlib.sha256).hexdigest()


def csrf_of(request: Request) -> str:
    """The word a page puts into its forms (field `csrf`) and scripts (header `X-CSRF-Token`); empty for a caller without a cookie."""
    secret = request.scope.get("session", "")
    return token_of(secret) if secret else ""


def check(scope: MutableMapping[str, Any], *, form: bool) -> None:
    """Raise Forbidden for a change that a browser's cookie alone asks for: it needs an Origin, ours by now, and the session's word.

    `form`: the word may come as a field, which `posted` checks once the form is read.
    """
    secret = scope.get("session", "")
    if not secret or scope["method"] in SAFE:
        return
    headers = Headers(scope=scope)
    if headers.get("origin") is None:
        raise Forbidden("a change by cookie needs an Origin", hint="use the dashboard, or a token: Authorization: Bearer TOKEN")
    shown = headers.get(HEADER)
    if shown is None and form:
        return
    require(secret, shown or "")
    scope["csrf_seen"] = True


def require(secret: str, shown: str) -> None:
    """Raise Forbidden unless the word shown is the session's."""
    if not hmac.compare_digest(token_of(secret).encode(), shown.encode("utf-8", "replace")):
        raise Forbidden("the CSRF token is missing or wrong", hint="load the page again and repeat what you did")


async def posted(request: Request) -> Mapping[str, str]:
    """The fields of a posted form (`application/x-www-form-urlencoded`), with the CSRF token checked where one is due."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise UserError("a form is expected", hint="send application/x-www-form-urlencoded, or use the API: qd api openapi")
    try:
        fields = dict(parse_qsl((await request.body()).decode(), keep_blank_values=True, max_num_fields=_FIELDS, strict_parsing=True))
    except ValueError as error:  # not UTF-8, not pairs, or too many of them
        raise UserError("the form cannot be read", hint="load the page again and repeat what you did") from error
    secret = request.scope.get("session", "")
    if secret and not request.scope.get("csrf_seen"):
        require(secret, fields.get(FIELD, ""))
    return fields


Form = Annotated[Mapping[str, str], Depends(posted)]
