"""The journal: listed, followed, exported."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse

from quarterdeck.api import sse
from quarterdeck.api.nouns import listed
from quarterdeck.api.numbers import COUNTABLE
from quarterdeck.api.roles import needs
from quarterdeck.api.services import Given, Services
from quarterdeck.deploy import nouns
from quarterdeck.store import export as exporting
from quarterdeck.store import journal as rows
from quarterdeck.store import keys
from quarterdeck.store.verify import verify_home
from quarterdeck.version import API_VERSION

router = APIRouter(prefix="/v1/journal")
PAGE = 500


@dataclass(frozen=True, slots=True)
class Filters:
    """Which records are meant; None = all."""

    system: str | None
    target: str | None
    verb: str | None
    cluster: str | None
    since: float | None = None
    until: float | None = None


class Lines(StreamingResponse):
    """A response of JSON documents, one a line."""

    media_type = "application/x-ndjson"


@router.get("", response_model=None, responses={200: {"content": {"text/event-stream": {}}}}, **needs("viewer", scope="cluster"))
async def read(  # noqa: PLR0917 one parameter a filter
    request: Request,
    given: Given,
    system: str | None = None,
    after: Annotated[int, Query(ge=0, le=COUNTABLE)] = 0,
    before: Annotated[int | None, Query(ge=1, le=COUNTABLE)] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE)] = 200,
    target: str | None = None,
    verb: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    newest: bool = False,  # noqa: FBT001, FBT002 a query flag
    last_event_id: Annotated[int | None, Header(ge=0, le=COUNTABLE)] = None,
) -> dict[str, Any] | StreamingResponse:
    """Records in order; with `Accept: text/event-stream` those to come as well, from `Last-Event-ID` on.

    `since` and `until`, which is not included: ISO 8601 times, UTC where they name no zone, or epoch seconds.
    """
    filters = Filters(given.grant.system_asked(system), target, verb, given.grant.cluster, _epoch(since), _epoch(until))
    if "text/event-stream" in request.headers.get("accept", ""):
        start = last_event_id if last_event_id is not None else after
        return sse.stream(_follow(given, start, filters))
    with given.store.read() as conn:
        found = rows.read(conn, after=after, before=before, limit=limit, newest_first=newest, **asdict(filters))
    return listed([nouns.record(r) for r in found])


def _epoch(at: datetime | None) -> float | None:
    return None if at is None else (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


@router.get("/head", **needs("viewer", scope="cluster"))
async def head(given: Given) -> dict[str, Any]:
    """The end of the chain and the key that signs it, to be kept elsewhere."""
    with given.store.read() as conn:
        return {"apiVersion": API_VERSION, "kind": "JournalHead", **exporting.proof(conn, given.home.keys)}


@router.get("/verify", **needs("viewer"))
async def verify(given: Given) -> dict[str, Any]:
    """Check every record, checkpoint and head that is kept; takes a second for each 20,000 records or so."""
    return (await asyncio.to_thread(verify_home, given.home)).document()


@router.get("/export", response_class=Lines, **needs("admin"))
async def export(given: Given) -> StreamingResponse:
    """Every record and signed checkpoint as JSON lines, the last one signed."""
    with given.store.read() as conn:
        text = "".join(exporting.export(conn, keys.held(given.home.keys)))
    return Lines(iter([text]))


async def _follow(given: Services, after: int, filters: Filters) -> AsyncIterator[str]:
    news = given.store.subscribe()
    try:
        while not given.stopping.is_set():
            with given.store.read() as conn:
                found = rows.read(conn, after=after, limit=PAGE, **asdict(filters))
            for record in found:
                after = record.seq
                yield sse.event("record", json.dumps(nouns.record(record)), id_=record.seq)
            if len(found) < PAGE and not await news.wait(sse.KEEP_ALIVE):
                yield sse.COMMENT
    finally:
        news.close()
