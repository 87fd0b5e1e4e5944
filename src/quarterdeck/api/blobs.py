"""Large payloads and results: put before a task refers to one, and got by their names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.requests import ClientDisconnect

from quarterdeck.api.roles import needs
from quarterdeck.api.services import Given, services_of
from quarterdeck.errors import UserError
from quarterdeck.model.blobs import Ref
from quarterdeck.store.blobs import Blobs, Draft
from quarterdeck.version import API_VERSION

router = APIRouter(prefix="/v1")
Json = dict[str, Any]
System = Annotated[str | None, Query(max_length=100)]
CHUNK: Final = 1 << 18
"""Bytes that are written or read at once."""
_BYTES: Final = {"required": True, "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
_PUT: Final = needs("operator", scope="cluster")


@router.post("/blobs", status_code=201, response_model=Json, openapi_extra={**_PUT["openapi_extra"], "requestBody": _BYTES})
async def put(request: Request, system: System = None) -> JSONResponse:
    """Keep a large payload, the JSON text as it is, and tell what it is called; it goes after a day in which no task refers to it."""
    given = await services_of(request)
    draft = await asyncio.to_thread(given.blobs.draft, given.fleet.one(system))
    try:
        ref = await _written(draft, request.stream())
    except ClientDisconnect as error:
        raise UserError("the body broke off", hint="send it again from its beginning") from error
    finally:
        await asyncio.to_thread(draft.drop)
    return JSONResponse({"apiVersion": API_VERSION, "kind": "Blob", "ref": str(ref), "bytes": ref.size}, 201)


async def _written(draft: Draft, parts: AsyncIterator[bytes]) -> Ref:
    waiting = bytearray()
    async for part in parts:
        waiting += part
        if len(waiting) >= CHUNK:
            await asyncio.to_thread(draft.write, bytes(waiting))
            waiting.clear()
    await asyncio.to_thread(draft.write, bytes(waiting))
    if not draft.size:
        raise UserError("an empty body is no payload", hint="send JSON text")
    return await asyncio.to_thread(draft.keep)


@router.get("/blobs/{ref}", response_class=StreamingResponse, **needs("viewer", scope="cluster"))
async def get(ref: str, given: Given, system: System = None) -> StreamingResponse:
    """A large payload or result, as JSON text. Who knows what it is called may have it: the name says what it contains."""
    wanted, place = Ref.read(ref), given.fleet.one(system)
    await asyncio.to_thread(given.blobs.check, place, wanted)
    headers = {"Content-Length": str(wanted.size)}
    return StreamingResponse(_read(given.blobs, place, wanted), headers=headers, media_type="application/json")


async def _read(blobs: Blobs, system: str, ref: Ref) -> AsyncIterator[bytes]:
    for at in range(0, ref.size, CHUNK):
        yield await asyncio.to_thread(blobs.read, system, ref, at, CHUNK)
