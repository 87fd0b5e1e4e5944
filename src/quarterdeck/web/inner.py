"""The API as the caller of a page may use it, asked inside this process: a page shows what its reader gets by curl, and nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from fastapi import Request

Json = dict[str, Any]
Query = str | int | float | bool | None


class Refused(Exception):
    """The API said no: HTTP status, one sentence, and what to do. Pages show it; nothing else is done with it."""

    def __init__(self, status: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.hint = status, message, hint


@dataclass(frozen=True, slots=True)
class Api:
    """One request's way to the API. `system` goes along wherever a route takes one."""

    request: Request
    system: str | None = None

    async def get(self, path: str, **query: Query) -> Json:
        """A document; raises Refused."""
        return await self._call("GET", address(path, system=self.system, **query), None)

    async def unless_refused(self, path: str, **query: Query) -> Json | None:
        """A document that not every reader of a page may see: None for the others."""
        try:
            return await self.get(path, **query)
        except Refused as error:
            if error.status != 403:  # noqa: PLR2004 forbidden
                raise
            return None

    async def items(self, path: str, **query: Query) -> list[Json]:
        """The items of a list; raises Refused."""
        return list((await self.get(path, **query))["items"])

    async def post(self, path: str, **body: object) -> Json:
        """Ask for something; fields that are None are left out. Raises Refused."""
        sent = {"system": self.system, **body}
        return await self._call("POST", path, {key: value for key, value in sent.items() if value is not None})

    async def delete(self, path: str, **query: Query) -> Json:
        """End something; raises Refused."""
        return await self._call("DELETE", address(path, **query), None)

    async def _call(self, method: str, path: str, body: Json | None) -> Json:
        status, content = await self._ask(method, path, b"" if body is None else json.dumps(body).encode())
        try:
            document: Json = json.loads(content or b"null")
        except ValueError as stream:
            raise Refused(400, f"{path.partition('?')[0]} has no document: it is a stream", "follow it with qd, or with curl") from stream
        if status >= 400:  # noqa: PLR2004 where HTTP's refusals begin
            error = document["error"]
            raise Refused(status, error["message"], error["hint"] or "")
        return document

    async def lines(self, path: str, **query: Query) -> list[Json]:
        """The events of a stream that ends by itself; raises Refused."""
        status, content = await self._ask("GET", address(path, system=self.system, **query), b"")
        if status >= 400:  # noqa: PLR2004 the same
            raise Refused(status, **{key: json.loads(content)["error"][key] or "" for key in ("message", "hint")})
        events = [block.split("\n") for block in content.decode().split("\n\n")]
        return [json.loads(lines[-1].removeprefix("data: ")) for lines in events if lines[0] == "event: line"]

    async def _ask(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Through the application's own routes, as the same caller; the application itself applies the rule of each."""
        bare, _, query = path.partition("?")
        kept = ("type", "asgi", "http_version", "scheme", "server", "client", "actor", "grant", "until", "take", "address")
        scope = {
            **{key: self.request.scope[key] for key in kept},
            "method": method,
            "path": bare,
            "raw_path": bare.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())],
        }
        status, parts = 500, []

        unsent = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Mapping[str, object]:
            if not unsent:
                await asyncio.Event().wait()  # whoever asks is still there: a stream listens for the opposite
            return unsent.pop()

        async def send(message: Mapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                parts.append(message.get("body", b""))

        await self.request.app(scope, receive, send)
        return status, b"".join(parts)


def address(path: str, **more: Query) -> str:
    """A path with its query before its fragment; what is None is left out, true and false are spelt as JSON does.

    What the path names already stays.
    """
    given = {key: str(value).lower() if isinstance(value, bool) else value for key, value in more.items() if value is not None}
    path, mark, fragment = path.partition("#")
    _, begun, query = path.partition("?")
    named = dict(parse_qsl(query, keep_blank_values=True))
    added = urlencode({name: value for name, value in given.items() if name not in named}, quote_via=quote)
    return (f"{path}{'&' if begun else '?'}{added}" if added else path) + mark + fragment
