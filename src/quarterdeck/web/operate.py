"""Deployments, changes, journal, settings, and an honest page for every noun that this version does not have yet."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from quarterdeck.api.roles import needs
from quarterdeck.web.inner import Json, Refused, address
from quarterdeck.web.pages import Copy, View

router = APIRouter(include_in_schema=False)
PAGE: Final = 100
"""Records of the journal on one page."""


@dataclass(frozen=True, slots=True)
class Coming:
    """A noun of later versions: what its page will show, and what does the nearest thing today."""

    name: str
    shows: str
    today: tuple[tuple[str, str], ...]


COMING: Final = {
    "traces": Coming(
        "Traces",
        "One task through all agents: every ask, call of a model and effect on one time line, with tokens and cost.",
        (("qd logs --since 10m", "lines of all replicas carry the trace of the message they belong to"),),
    ),
    "alerts": Coming(
        "Alerts",
        "What asks for a human, compressed to its causes, with silences and who is on duty.",
        (("qd wait --for ready --timeout 60", "a command that fails when the fleet is not well"),),
    ),
    "incidents": Coming(
        "Incidents",
        "What went wrong, when, the ranked causes and what was done about it.",
        (("qd journal --target analysts/analyst", "everything that happened to one agent"),),
    ),
    "scaling": Coming(
        "Scaling",
        "Forecast and actual load, replicas that were and would have been needed, cost.",
        (('qd scale analysts/analyst 5 --reason "load test"', "a human's change of the number of replicas"),),
    ),
    "recovery": Coming(
        "Recovery",
        "Drills, what each proved, and the time every kind of failure takes to heal.",
        (("qd get replicas -o wide", "restarts and the cause of each last exit"), ("qd validate --deep", "every proof again, now")),
    ),
    "compliance": Coming(
        "Compliance",
        "Who may do what, who approved what, and the evidence for an audit in one document.",
        (("qd journal export", "every act, chained and signed"), ("qd journal verify", "proof that nothing was changed")),
    ),
}


@router.get("/deployments", **needs("viewer"))
async def deployments(request: Request) -> HTMLResponse:
    """The seven phases of the current revision, and the revisions before it."""
    view = await View.of(request)
    if view.api.system is None:
        return view.html("nothing.html", "Deployments", Copy("qd history", "/v1/systems"))
    status, revisions = await view.api.get("/v1/status"), await view.api.items("/v1/revisions")
    conditions = await view.api.items("/v1/conditions")
    proofs = [c for c in conditions if c["kind"] != "Phase" and not c["kind"].startswith("Step:")]
    return view.html(
        "deployments.html",
        "Deployments",
        Copy("qd history", "/v1/revisions"),
        every=3.0,
        status=status,
        revisions=revisions,
        proofs=proofs,
    )


@router.get("/deployments/{number}", **needs("viewer"))
async def revision(request: Request, number: int) -> HTMLResponse:
    """One revision: what it changed, its spec, and what going back to it would do now."""
    view = await View.of(request)
    found = await view.api.get(f"/v1/revisions/{number}")
    back: Json | None = None
    trouble = ""
    if not found["current"]:
        try:
            back = await view.api.post("/v1/rollback", to=number, dry_run=True)
        except Refused as error:
            trouble = error.message
    copy = Copy(f"qd rollback {number} --dry-run" if back else "qd history", f"/v1/revisions/{number}")
    return view.html("revision.html", f"Revision {number}", copy, revision=found, back=back, trouble=trouble)


@router.get("/changes", **needs("viewer", scope="cluster"))
async def changes(request: Request) -> HTMLResponse:
    """Who changed what, why, and until when."""
    view = await View.of(request)
    found = await view.api.items("/v1/changes")
    return view.html("changes.html", "Changes", Copy("qd get changes -o wide", "/v1/changes"), changes=found)


@router.get("/journal", **needs("viewer", scope="cluster"))
async def journal(request: Request, before: int | None = None, target: str = "", verb: str = "") -> HTMLResponse:
    """What happened, newest first, filtered, a page at a time."""
    view = await View.of(request)
    filters = {"target": target or None, "verb": verb or None}
    found = await view.api.items("/v1/journal", newest=True, before=before, limit=PAGE, **filters)
    head = await view.api.unless_refused("/v1/journal/head")
    told = " ".join(["qd journal -f", *(f"--{key} {shlex.quote(value)}" for key, value in filters.items() if value)])
    return view.html(
        "journal.html",
        "Journal",
        Copy(told, address("/v1/journal", newest=True, **filters)),
        every=10.0 if before is None else 0.0,
        records=found,
        head=head,
        older=found[-1]["seq"] if len(found) == PAGE else None,
        target=target,
        verb=verb,
        first=before is None,
    )


@router.get("/journal/verified", **needs("viewer"))
async def verified(request: Request) -> HTMLResponse:
    """The verdict over every record that is kept, made now."""
    view = await View.of(request)
    verdict = await view.api.get("/v1/journal/verify")
    return view.html("verified.html", "Journal verified", Copy("qd journal verify", "/v1/journal/verify"), every=0.0, verdict=verdict)


@router.get("/journal/{seq}", **needs("viewer", scope="cluster"))
async def record(request: Request, seq: int) -> HTMLResponse:
    """One record, whole."""
    view = await View.of(request)
    found = [r for r in await view.api.items("/v1/journal", after=seq - 1, limit=1) if r["seq"] == seq]
    if not found:
        raise Refused(404, f"there is no record {seq}", "the journal begins later, or you may not see it")
    copy = Copy(f"qd journal --after {seq - 1} --limit 1 -o json", f"/v1/journal?after={seq - 1}&limit=1")
    return view.html("record.html", f"Record {seq}", copy, every=0.0, record=found[0])


@router.get("/settings", **needs("viewer", scope="cluster"))
async def settings(request: Request) -> HTMLResponse:
    """Versions, limits and how full they are, weakenings, tokens for who may see them."""
    view = await View.of(request)
    version = await view.api.get("/v1/version")
    status = await view.api.unless_refused("/v1/status") if view.api.system else None
    tokens = await view.api.unless_refused("/v1/tokens")
    return view.html(
        "settings.html",
        "Settings",
        Copy("qd version", "/v1/version"),
        version=version,
        status=status,
        tokens=tokens["items"] if tokens else None,
    )


def _coming(noun: str) -> Callable[[Request], Awaitable[HTMLResponse]]:
    async def show(request: Request) -> HTMLResponse:
        """A noun of later versions."""
        view = await View.of(request)
        found = COMING[noun]
        return view.html("coming.html", found.name, Copy(found.today[0][0], "/v1/systems"), every=0.0, coming=found)

    return show


for _noun in COMING:
    router.add_api_route(f"/{_noun}", _coming(_noun), name=_noun, **needs("viewer", scope="cluster"))
