"""Deployments, changes, journal, and an honest page for every noun that this version does not have yet."""

from __future__ import annotations

import math
import operator
import shlex
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from quarterdeck.api.numbers import Number
from quarterdeck.api.roles import needs
from quarterdeck.deploy.readiness import RULES
from quarterdeck.web.diffs import files_of, spec_of
from quarterdeck.web.inner import Api, Json, Refused, address
from quarterdeck.web.pages import Copy, View
from quarterdeck.web.text import limited
from quarterdeck.web.times import moment, spelt

router = APIRouter(include_in_schema=False)
STEP: Final = "Step:"
"""What the kind of a Condition begins with that tells of a step; of the others each is a proof."""
MOST: Final = 500
"""Records of Changes among which it is looked for how each ended."""
PAGE: Final = 100
"""Records of the journal on one page."""
ALL: Final = "all"


@dataclass(frozen=True, slots=True)
class Today:
    """What one can do meanwhile. `changes`: it does not only read; such a command is an example in the text and never the page's copy."""

    command: str
    words: str
    changes: bool = False
    of_all: bool = False
    """It is of no system."""


@dataclass(frozen=True, slots=True)
class Coming:
    """A noun of later versions: what its page will show, what the nearest thing is to read today, and what else does something like it."""

    name: str
    shows: str
    reads: Today
    source: str
    """The same from the API."""
    more: tuple[Today, ...] = ()


COMING: Final = {
    "traces": Coming(
        "Traces",
        "One task through all agents: every ask, call of a model and effect on one time line, with tokens and cost.",
        Today("qd get tasks -o wide", "all tasks; the page of each shows what it delegated on one line of time"),
        "/v1/tasks",
        (Today("qd logs --since 10m", "lines of all replicas carry the trace of the message they belong to"),),
    ),
    "silences": Coming(
        "Silences",
        "Alerts that somebody keeps quiet: which, why, and until when. None can be, for nothing alerts yet.",
        Today("qd get changes -o wide", "holds are among them: who keeps all automation off what, why, and until when"),
        "/v1/changes",
        (Today('qd hold {agent} --reason "being repaired" --until 18:00', "keeps all automation off a target until then", changes=True),),
    ),
    "objectives": Coming(
        "Objectives",
        "Service levels that were promised, and how much of each error budget is left. No spec can name one yet.",
        Today("qd status", "the readiness score: what has been proven, and how long ago"),
        "/v1/status",
    ),
    "drills": Coming(
        "Drills",
        "Failures caused on purpose, when, and what each proved. None was run by this version.",
        Today("qd get conditions", "what has been proven, by which evidence"),
        "/v1/conditions",
        (
            Today("qd validate --deep", "runs every proof again; it changes no agent"),
            Today('qd restart {agent} --reason "drill"', "replaces each replica without losing a message", changes=True),
        ),
    ),
    "calendar": Coming(
        "Calendar",
        "When changes are allowed, frozen and due. Today they are allowed at any time, and end when they say.",
        Today("qd get changes -o wide", "who changed what, why, and until when"),
        "/v1/changes",
    ),
    "contacts": Coming(
        "Contacts",
        "Whom to reach about what, how, and when they are on duty. Today a system names its owner in its spec, and nobody is called.",
        Today("qd get changes -o wide", "who changed what, and so knows about it"),
        "/v1/changes",
        (Today("qd explain spec.owner", "the line of a spec that says whom a system belongs to", of_all=True),),
    ),
    "evals": Coming(
        "Evals",
        "How good the answers of agents are, by tests of their own, and whether a revision made them better or worse.",
        Today("qd get tasks --state failed", "work that went wrong"),
        "/v1/tasks?state=failed",
        (Today("qd validate --deep", "runs every proof that the fleet works; of what agents say none judges"),),
    ),
    "schedules": Coming(
        "Schedules",
        "Work that is given again and again, when each is due next, and what became of the last.",
        Today("qd get tasks --state queued", "work whose turn or time has not come"),
        "/v1/tasks?state=queued",
        (Today("qd task submit {agent} --delay 1h", "gives one task for later; cron or a timer can give it again", changes=True),),
    ),
    "alerts": Coming(
        "Alerts",
        "What asks for a human, compressed to its causes, and who is on duty.",
        Today("qd status", "whether the fleet is well, and what is not"),
        "/v1/status",
        (Today("qd wait --for ready --timeout 60", "fails when the fleet is not well: for a script that tells somebody"),),
    ),
    "incidents": Coming(
        "Incidents",
        "What went wrong, when, the ranked causes and what was done about it.",
        Today("qd journal --target {agent}", "everything that happened to one agent"),
        "/v1/journal?newest=true&target={agent}",
    ),
    "scaling": Coming(
        "Scaling",
        "Forecast and actual load, replicas that were and would have been needed, cost.",
        Today("qd get agents", "how many replicas each agent has, within which bounds, and why so many"),
        "/v1/agents",
        (Today('qd scale {agent} {number} --reason "load test"', "sets the number of replicas by hand", changes=True),),
    ),
    "recovery": Coming(
        "Recovery",
        "The time every kind of failure takes to heal, and the steps that were taken.",
        Today("qd get replicas -o wide", "restarts and the cause of each last exit"),
        "/v1/replicas",
        (Today("qd validate --deep", "runs every proof again; it changes no agent"),),
    ),
    "compliance": Coming(
        "Compliance",
        "Who may do what, who approved what, and the evidence for an audit in one document.",
        Today("qd journal verify", "proof that nothing was changed", of_all=True),
        "/v1/journal/verify",
        (Today("qd journal export", "every act, chained and signed", of_all=True),),
    ),
}


@router.get("/deployments", **needs("viewer"))
async def deployments(request: Request, rule: str = "") -> HTMLResponse:
    """The seven phases of the current revision with their steps, the evidence (of one rule of the readiness score), and the revisions."""
    view = await View.of(request)
    if view.api.system is None:
        return view.html("nothing.html", "Deployments", Copy("qd status", "/v1/systems"))
    status, revisions = await view.api.get("/v1/status"), await view.api.items("/v1/revisions")
    conditions = await view.api.items("/v1/conditions")
    kinds = {kind for one in RULES if one.name == rule for kind in (*one.kinds, *one.broken_by)}
    proofs = [c for c in conditions if (c["kind"] in kinds if rule else c["kind"] != "Phase" and not c["kind"].startswith(STEP))]
    applied = next((r["at"] for r in revisions if r["current"]), None)
    return view.html(
        "deployments.html",
        "Deployments",
        Copy("qd get conditions", "/v1/conditions", whole=True) if rule else Copy("qd status", "/v1/status"),
        every=3.0,
        status=status,
        revisions=revisions,
        proofs=proofs,
        rule=rule,
        steps=steps_of(conditions, applied, status["failure"], view.now),
    )


def steps_of(conditions: list[Json], applied: str | None, failure: Json | None, now: float) -> dict[str, list[Json]]:
    """The steps and proofs of each phase, what failed first, then in the order in which they came out.

    `after`: seconds after `applied`, None for before it. A step may have been done and its outcome be wanting: `failure` tells.
    """
    begin = _epoch(applied) if applied else math.inf
    found: dict[str, list[Json]] = {}
    if failure:
        told = {"kind": failure["step"], "target": failure["target"], "status": "false", "evidence": "", "message": failure["cause"]}
        found[failure["phase"]] = [{**told, "after": None}]
    for at, one in sorted(((_came_out(c, now), c) for c in conditions if c["kind"] != "Phase" and c["phase"]), key=operator.itemgetter(0)):
        kind = one["kind"].removeprefix(STEP)
        if failure is None or (kind, one["target"]) != (failure["step"], failure["target"]):
            after = at - begin if at >= begin else None
            found.setdefault(one["phase"], []).append({**one, "kind": kind, "after": after})
    return found


def _came_out(condition: Json, now: float) -> float:
    """When a step was done last, or since when a proof has held."""
    return now - float(condition["age_seconds"]) if condition["kind"].startswith(STEP) else _epoch(condition["since"])


def _epoch(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


@router.get("/deployments/{number}", **needs("viewer"))
async def revision(request: Request, number: Number) -> HTMLResponse:
    """One revision: what it changed, line by line too, its spec, and what going back to it would do now."""
    view = await View.of(request)
    found = await view.api.get(f"/v1/revisions/{number}")
    differs = await view.api.get(f"/v1/revisions/{number}/diff")
    back: Json | None = None
    trouble = ""
    if not found["current"]:
        try:
            back = await view.api.post("/v1/rollback", to=number, dry_run=True)
        except Refused as error:
            trouble = error.message
    copy = Copy(f"qd get revisions {number} -o yaml", f"/v1/revisions/{number}")
    drawn = {"spec": spec_of(differs), "trees": differs["code"], "drawn_files": files_of(differs)}
    return view.html("revision.html", f"Revision {number}", copy, revision=found, back=back, trouble=trouble, **drawn)


@router.get("/changes", **needs("viewer", scope="cluster"))
async def changes(request: Request) -> HTMLResponse:
    """Who changed what, why, and until when; of what has ended when, by whom and why."""
    view = await View.of(request)
    found = await view.api.items("/v1/changes")
    told = await view.api.items("/v1/journal", verb="change.", newest=True, limit=MOST)
    return view.html("changes.html", "Changes", Copy("qd get changes -o wide", "/v1/changes"), changes=limited(found), ends=ends_of(told))


def ends_of(told: list[Json]) -> dict[int, Json]:
    """The records of how Changes ended, by their numbers."""
    ended = (r for r in told if r["verb"] in ("change.revert", "change.expire") and isinstance(r["before"], dict))
    return {r["before"]["change"]: r for r in ended if "change" in r["before"]}


@router.get("/journal", **needs("viewer", scope="cluster"))
async def journal(  # noqa: PLR0917 one parameter a filter
    request: Request,
    before: int | None = None,
    target: str = "",
    verb: str = "",
    of: str = "",
    begin: Annotated[str, Query(alias="from")] = "",
    until: str = "",
) -> HTMLResponse:
    """What happened, newest first, filtered, a page at a time: of the system, or `of=all` of all, and of the platform itself.

    `from` and `until`: how long ago, as `10m`, or an ISO time.
    """
    view = await View.of(request)
    api = _whole(view) if of == ALL or len(view.systems) <= 1 else view.api
    filters = {"target": target or None, "verb": verb or None}
    times = {"since": moment(begin.strip(), view.now), "until": moment(until.strip(), view.now)}
    found = await api.items("/v1/journal", newest=True, before=before, limit=PAGE, **filters, **times)
    head = await view.api.unless_refused("/v1/journal/head")
    said = {**filters, "since": spelt(begin.strip()), "until": spelt(until.strip())}
    command = "qd journal" if until.strip() else "qd journal -f"  # what is to come has no end before now
    told = " ".join([command, *(f"--{key} {shlex.quote(value)}" for key, value in said.items() if value)])
    return view.html(
        "journal.html",
        "Journal",
        Copy(told, address("/v1/journal", newest=True, **filters, **times), of_all=of == ALL),
        every=10.0 if before is None else 0.0,
        records=found,
        head=head,
        older=found[-1]["seq"] if len(found) == PAGE else None,
        asked={"target": target, "verb": verb, "of": of, "from": begin, "until": until},
        kept={**filters, "of": of or None, "from": begin or None, "until": until or None},
        first=before is None,
    )


def _whole(view: View) -> Api:
    """The way to records of all systems that the reader may see, and of none."""
    return replace(view.api, system=None)


@router.get("/journal/verified", **needs("viewer"))
async def verified(request: Request) -> HTMLResponse:
    """The verdict over every record that is kept, made now."""
    view = await View.of(request)
    verdict = await view.api.get("/v1/journal/verify")
    return view.html(
        "verified.html", "Journal verified", Copy("qd journal verify", "/v1/journal/verify", of_all=True), every=0.0, verdict=verdict
    )


@router.get("/journal/{seq}", **needs("viewer", scope="cluster"))
async def record(request: Request, seq: int) -> HTMLResponse:
    """One record, whole."""
    view = await View.of(request)
    api = _whole(view)
    found = [r for r in await api.items("/v1/journal", after=max(seq - 1, 0), limit=1) if r["seq"] == seq]
    if not found:
        raise Refused(404, f"there is no record {seq}", "the journal begins later, or you may not see it")
    copy = Copy(f"qd journal --after {seq - 1} --limit 1 -o json", f"/v1/journal?after={seq - 1}&limit=1", of_all=True)
    earlier = await api.items("/v1/journal", before=seq, newest=True, limit=1) if seq > 1 else []
    later = await api.items("/v1/journal", after=seq, limit=1)
    beside = [r["seq"] for r in (*earlier, *later)]
    return view.html("record.html", f"Record {seq}", copy, every=0.0, record=found[0], beside=beside)


def _coming(noun: str) -> Callable[[Request], Awaitable[HTMLResponse]]:
    async def show(request: Request) -> HTMLResponse:
        """A noun of later versions."""
        view = await View.of(request)
        found = COMING[noun]
        agents = await view.api.items("/v1/agents") if view.api.system else []
        filled = {"agent": "CLUSTER/AGENT", "number": "N"}
        if agents:
            filled = {"agent": agents[0]["name"], "number": agents[0]["replicas"]["desired"]}
        today = [replace(one, command=one.command.format(**filled)) for one in (found.reads, *found.more)]
        copy = Copy(today[0].command, found.source.format(**filled) if view.api.system else "/v1/systems", of_all=today[0].of_all)
        today = [one if one.of_all else replace(one, command=view.qd(one.command.removeprefix("qd "))) for one in today]
        return view.html("coming.html", found.name, copy, every=0.0, coming=found, today=today)

    return show


for _noun in COMING:
    router.add_api_route(f"/{_noun}", _coming(_noun), name=_noun, **needs("viewer", scope="cluster"))
