"""What makes pages live: one stream of news for a browser, the list behind the palette, YAML of any document, and the static files."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import parse_qsl

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import FileResponse, PlainTextResponse, StreamingResponse
from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from quarterdeck.api import sse
from quarterdeck.api.numbers import COUNTABLE
from quarterdeck.api.roles import needs
from quarterdeck.api.services import Given, Services
from quarterdeck.store import journal, overview
from quarterdeck.web.inner import Api, Json, Refused
from quarterdeck.web.pages import HEADERS, HERE, PLACES, View
from quarterdeck.web.text import harmless

router = APIRouter(include_in_schema=False)
APART: Final = 0.25
"""Seconds between two events: what happens meanwhile is one."""
OFFERED: Final = (
    ("scale", ("agent",)),
    ("restart", ("agent",)),
    ("quarantine", ("replica",)),
    ("hold", ("cluster", "agent")),
    ("stop", ("cluster", "agent")),
)
"""Actions that the palette offers of everything of a kind; those that end a Change, and those on the whole, come besides."""
ENDED_BY: Final = {"hold": "release", "quarantined": "release", "stopped": "start"}
"""The field of a live Change → what ends it, besides its revert."""
KINDS: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FILES: Final = {str(p.relative_to(HERE / "static")): p for p in sorted((HERE / "static").rglob("*")) if p.suffix in KINDS}
FOR_A_DAY: Final = {**HEADERS, "Cache-Control": "private, max-age=86400"}


@router.get("/live", **needs("viewer", scope="cluster"))
async def live(
    given: Given,
    after: Annotated[int | None, Query(ge=0, le=COUNTABLE)] = None,
    last_event_id: Annotated[int | None, Header(ge=0, le=COUNTABLE)] = None,
) -> StreamingResponse:
    """That the journal grew, and how far (the event's id), from `Last-Event-ID` on; and to which root tasks something happened.

    No task named: to too many, or to nobody knows which. Pages ask what it was, under their rules. `after` is the same as the header,
    which no browser sends where a page opens its stream anew; of both the later one counts.
    """
    heard = [seen for seen in (after, last_event_id) if seen is not None]
    return sse.stream(_news(given, max(heard, default=None)))


async def _news(given: Services, seen: int | None) -> AsyncIterator[str]:
    """From a journal that was `seen` so far on; what happened to tasks meanwhile nobody noted, so it may have been anything."""
    scope, missed = overview.Scope(given.grant.system_asked(None), given.grant.cluster), seen is not None
    with given.store.subscribe() as growth, given.work.follow() as followed:
        while not given.stopping.is_set():
            touched = followed.take()
            with given.store.read() as conn:
                now = journal.head(conn).seq
                roots = overview.roots(conn, scope, touched) if touched else []
            if now != seen:
                seen = now
                yield sse.event("news", "{}", id_=seen)
            if roots or missed or touched is None:
                yield sse.event("work", json.dumps([] if missed else roots))
                missed = False
            if not await sse.first(sse.KEEP_ALIVE, growth.wait(2 * sse.KEEP_ALIVE), followed.news.wait()):
                yield sse.COMMENT
            await sse.pause(APART, given.stopping)


@router.get("/palette", **needs("viewer", scope="cluster"))
async def palette(request: Request) -> list[dict[str, str]]:
    """Everything that has a page, and every action that its reader may take: `{name, kind, path}`."""
    view = await View.of(request)
    found = [{"name": p.name, "kind": "page", "path": view.link(p.path)} for p in PLACES if view.may("GET", p.path)]
    if view.api.system is None:
        return found
    for kind, path in (("cluster", "clusters"), ("agent", "agents"), ("replica", "replicas")):
        items = await view.api.items(f"/v1/{path}")
        found += [{"name": item["name"], "kind": kind, "path": view.link(f"/{path}/{item['name']}")} for item in items]
    names = {kind: [item["name"] for item in found if item["kind"] == kind] for kind in ("cluster", "agent", "replica")}
    found += [one for verb, kinds in OFFERED for kind in kinds for one in _actions(view, verb, names[kind])]
    return [*found, *await _changed(view), *await _whole(view)]


def _actions(view: View, verb: str, targets: list[str]) -> list[dict[str, str]]:
    """The same action on many targets. What one asks for all of a kind ask for."""
    if not targets or not view.can(verb, targets[0]):
        return []
    return [_action(view, f"{verb} {name}".strip(), verb, name) for name in targets]


async def _changed(view: View) -> list[dict[str, str]]:
    """Actions that end what is live."""
    live = [c for c in await view.api.items("/v1/changes") if c["state"] == "live"]
    ends = dict.fromkeys((ENDED_BY[c["patch"]["field"]], c["target"]) for c in live if c["patch"]["field"] in ENDED_BY)
    found = [_action(view, f"{verb} {target}", verb, target) for verb, target in ends if view.can(verb, target)]
    reverts = [(f"revert {c['id']}: {c['patch']['field']} {c['target']}", c["id"]) for c in live if _revertible(view, c)]
    return [*found, *(_action(view, name, "revert", number) for name, number in reverts)]


def _revertible(view: View, change: Json) -> bool:
    """Whether its revert would do something, and its reader may: a restart was done once, a stop of everything is an admin's."""
    field, target = change["patch"]["field"], change["target"]
    if field == "restart_before" or (field == "stopped" and target.endswith(":") and not view.can("stop", target)):
        return False
    return view.can("revert", change["id"])


async def _whole(view: View) -> list[dict[str, str]]:
    """Actions on a whole system."""
    found, whole = _actions(view, "validate", [""]), f"{view.api.system}:"
    if view.can("stop", whole):
        found.append(_action(view, "stop everything", "stop", whole))
    if view.can("rollback", "1"):
        kept: list[Json] = await view.api.items("/v1/revisions")
        found += [_action(view, f"rollback to revision {r['number']}", "rollback", r["number"]) for r in kept if not r["current"]]
    return found


def _action(view: View, name: str, verb: str, target: str | int) -> dict[str, str]:
    return {"name": name, "kind": "action", "path": view.link(f"/act/{verb}", target=target or None)}


@router.get("/yaml", **needs("viewer", scope="cluster"))
async def as_yaml(request: Request, source: str) -> PlainTextResponse:
    """A document of the API as YAML."""
    if not source.startswith("/v1/"):
        raise Refused(400, "only documents of the API", "source begins with /v1/")
    path, _, query = source.partition("?")
    given: dict[str, Any] = dict(parse_qsl(query))
    system = given.pop("system", request.query_params.get("system"))
    document = await Api(request, system).get(path, **given)
    return PlainTextResponse(yaml_of(document), headers=HEADERS)


def yaml_of(document: Json) -> str:
    """A document as a browser may show it: a sign that nobody sees is written as its escape, so it is read back as it was."""
    out = StringIO()
    YAML(typ="rt").dump(_quoted(document), out)
    return "".join(c if harmless(c) == c else f"\\u{ord(c):04X}" if c < "\U00010000" else f"\\U{ord(c):08X}" for c in out.getvalue())


def _quoted(value: Any) -> Any:
    """Text with such signs in double quotes, where YAML knows escapes (YAML 1.2.2, section 5.7)."""
    match value:
        case dict():
            return {_quoted(key): _quoted(item) for key, item in value.items()}
        case list():
            return [_quoted(item) for item in value]
        case str() if harmless(value) != value:
            return DoubleQuotedScalarString(value)
        case _:
            return value


@router.get("/favicon.ico", **needs("viewer", scope="cluster"))
async def favicon() -> FileResponse:
    """For what is no page of ours and so names no icon: plain text, a picture."""
    return await static("icon.svg")


@router.get("/static/{name:path}", **needs("viewer", scope="cluster"))
async def static(name: str) -> FileResponse:
    """A file of the pages, by the names there are."""
    if name not in FILES:
        raise Refused(404, f"no file {name}", "load the page again")
    path: Path = FILES[name]
    return FileResponse(path, media_type=KINDS[path.suffix], headers=FOR_A_DAY)
