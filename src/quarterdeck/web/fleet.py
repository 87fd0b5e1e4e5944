"""Overview, clusters, agents, replicas, links: what runs, as a living picture and in detail."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from quarterdeck.api.roles import needs
from quarterdeck.deploy.readiness import RULES
from quarterdeck.model.soundness import state_of
from quarterdeck.web.attention import Seen, for_humans, worries
from quarterdeck.web.inner import Json, Refused
from quarterdeck.web.lives import lives, planned
from quarterdeck.web.pages import Copy, View
from quarterdeck.web.topology import picture, stacked

router = APIRouter(include_in_schema=False)
SOON: Final = 3.0
"""Seconds a page with live numbers may grow old."""
SHOWN: Final = 200
"""Rows of a table of replicas; more are reached by its filter."""
ORDERS: Final = {
    "cpu": "cores",
    "memory_bytes": "memory",
    "handled_per_second": "handled",
    "failed_per_second": "failed",
    "lag_ms": "lag",
    "restarts": "restarts",
}
"""Fields that a table of replicas can be ordered by, the greatest first, and what they are of."""
STALE: Final = 2.5
"""Seconds after which a heartbeat that is due each second was missed."""
MINUTES: Final = (1, 3, 10)
"""Spans that the charts of a replica can be of; the engine keeps no more than the last."""
HELD: Final = 20
"""Tasks that a replica has at the moment, of which its page shows so many."""
LATEST: Final = 5
"""Tasks that it had, of which its page shows the newest."""
NOT_READY: Final = "not ready"
"""A filter of replicas: whatever is not in the state `ready`."""
PROVEN: Final = frozenset(rule.name for rule in RULES if rule.kinds)
"""Rules of the readiness score that this version has proofs for."""


@router.get("/", **needs("viewer", scope="cluster"))
async def overview(request: Request) -> HTMLResponse:
    """Is it well, what is wrong first, and the fleet as it is."""
    view = await View.of(request)
    if view.api.system is None:
        return view.html("nothing.html", "Overview", Copy("qd up", "/v1/systems"), worries=list(for_humans(view.for_humans, view.gone)))
    status = await view.api.get("/v1/status")
    clusters, agents = await view.api.items("/v1/clusters"), await view.api.items("/v1/agents")
    links, replicas = await view.api.items("/v1/links"), await view.api.items("/v1/replicas")
    records = await view.api.items("/v1/journal", newest=True, limit=8)
    exits = await view.api.items("/v1/journal", verb="replica.exited", newest=True, limit=500)
    changes = await view.api.items("/v1/changes")
    wide = picture(clusters, agents, links, replicas)
    seen = Seen(status, agents, replicas, links, changes, exits, view.for_humans, view.now, view.gone)
    return view.html(
        "overview.html",
        "Overview",
        Copy("qd status", "/v1/status"),
        every=SOON,
        status=status,
        condition=state_of(status),
        worries=worries(seen),
        stops=[c for c in changes if c["state"] == "live" and c["patch"]["field"] == "stopped"],
        possible=sum(point["possible"] for point in status["readiness"]["points"]),
        proven=PROVEN,
        pictures={"wide": wide, "tall": stacked(wide)},
        records=records,
    )


@router.get("/clusters", **needs("viewer", scope="cluster"))
async def clusters(request: Request) -> HTMLResponse:
    """All clusters with their agents."""
    view, copy = await View.of(request), Copy("qd get clusters", "/v1/clusters")
    if view.api.system is None:
        return view.html("nothing.html", "Clusters", replace(copy, source="/v1/systems"))
    found, agents = await view.api.items("/v1/clusters"), await view.api.items("/v1/agents")
    return view.html("clusters.html", "Clusters", copy, clusters=found, agents=agents)


@router.get("/clusters/{cluster}", **needs("viewer", scope="cluster"))
async def cluster(request: Request, cluster: str) -> HTMLResponse:
    """One cluster: quota, agents, links, replicas."""
    view = await View.of(request)
    found = await view.api.get("/v1/explain", target=cluster)
    item = next(c for c in await view.api.items("/v1/clusters") if c["name"] == cluster)
    agents = [a for a in await view.api.items("/v1/agents") if a["cluster"] == cluster]
    links = [k for k in await view.api.items("/v1/links") if cluster in (k["from"], k["to"])]
    replicas = [r for r in await view.api.items("/v1/replicas") if r["cluster"] == cluster]
    return view.html(
        "cluster.html",
        cluster,
        Copy(f"qd explain {cluster}", f"/v1/explain?target={cluster}", whole=narrowed(request)),
        every=SOON,
        cluster=item,
        agents=agents,
        links=links,
        why=found,
        **table_of(request, replicas),
    )


@router.get("/replicas", **needs("viewer", scope="cluster"))
async def replicas(request: Request) -> HTMLResponse:
    """All replicas, or those in a state: where a number of them leads."""
    view = await View.of(request)
    if view.api.system is None:
        return view.html("nothing.html", "Replicas", Copy("qd get replicas", "/v1/systems"))
    found = await view.api.items("/v1/replicas")
    copy = Copy("qd get replicas -o wide", "/v1/replicas", whole=narrowed(request))
    return view.html("every.html", "Replicas", copy, every=SOON, **table_of(request, found))


@router.get("/replicas/{cluster}/{replica}", **needs("viewer", scope="cluster"))
async def replica(request: Request, cluster: str, replica: str, minutes: int = MINUTES[-1]) -> HTMLResponse:
    """One replica: how it has been in the last minutes, what it wrote last, and why it is as it is."""
    if minutes not in MINUTES:
        raise Refused(400, f"no chart is of {minutes} minutes", f"there are {', '.join(map(str, MINUTES))}")
    view = await View.of(request)
    name = f"{cluster}/{replica}"
    found = await view.api.get(f"/v1/replicas/{name}")
    lines = await view.api.lines("/v1/logs", target=name, tail=60)
    why = await view.api.get("/v1/explain", target=name)
    work = await _work_of(view, name)
    copy = Copy(f"qd explain {name}", f"/v1/replicas/{name}", whole=minutes != MINUTES[-1])
    downs = await view.api.items("/v1/journal", verb="down", newest=True, limit=100)
    had, last = lives(found["history"], [one["at"] for one in downs]), found["last_exit"]
    found = {
        **found,
        "reason": "" if found["reason"] == found["state"] else found["reason"],
        "incarnation": found["incarnation"] or (had[0].incarnation if had else 0),  # the engine counts none without a process
        "last_exit": last and {**last, "planned": planned(last, had)},
    }
    span: Json = {"minutes": minutes, "spans": MINUTES, "charts": charts(found["samples"], minutes)}
    return view.html("replica.html", name, copy, every=SOON, replica=found, lines=lines, why=why, work=work, lives=had, **span)


async def _work_of(view: View, name: str) -> Json:
    """The tasks that a replica has and had last, the newest first; `more`: it has more than are shown."""
    held = await view.api.items("/v1/tasks", owner=name, state="open", limit=HELD + 1)
    newest = await view.api.items("/v1/tasks", owner=name, limit=LATEST)
    known = {task["id"] for task in held}
    return {"held": held[:HELD], "more": len(held) > HELD, "had": [task for task in newest if task["id"] not in known]}


@dataclass(frozen=True, slots=True)
class Chart:
    """A line of the last minutes, as it is drawn without scripts; charts.js draws the same larger."""

    name: str
    unit: str
    values: list[float | None]


def charts(samples: Json, minutes: int = MINUTES[-1]) -> list[Chart]:
    """The lines of a replica's page, up to its newest sample; a sample without a fresh heartbeat is a gap."""
    rows = [dict(zip(samples["columns"], row, strict=True)) for row in samples["rows"]]
    rows = [row for row in rows if row["at"] > rows[-1]["at"] - 60 * minutes]
    fresh = [row["beat_age"] is not None and row["beat_age"] < STALE for row in rows]

    def plain(column: str, by: float) -> list[float | None]:
        return [row[column] * by if good else None for row, good in zip(rows, fresh, strict=True)]

    def rate(column: str, by: float) -> list[float | None]:
        pairs = zip(rows, rows[1:], fresh[1:], strict=False)
        return [
            (b[column] - a[column]) / (b["at"] - a["at"]) * by if good and a["incarnation"] == b["incarnation"] else None
            for a, b, good in pairs
        ]

    return [
        Chart("Loop lag", "ms", plain("lag_ms", 1.0)),
        Chart("In flight", "", plain("inflight", 1.0)),
        Chart("Memory", "MiB", plain("memory_bytes", 1 / (1 << 20))),
        Chart("Cores", "", rate("cpu_seconds", 1.0)),
        Chart("Handled", "a second", rate("handled", 1.0)),
        Chart("Heartbeat age", "s", [row["beat_age"] for row in rows]),
    ]


@router.get("/links", **needs("viewer", scope="cluster"))
async def links(request: Request) -> HTMLResponse:
    """Permitted paths, their rates, policies, breakers and last proofs."""
    view, copy = await View.of(request), Copy("qd get links -o wide", "/v1/links")
    if view.api.system is None:
        return view.html("nothing.html", "Links", replace(copy, source="/v1/systems"))
    return view.html("links.html", "Links", copy, every=SOON, links=await view.api.items("/v1/links"))


def narrowed(request: Request) -> bool:
    """Whether a query asks for a table of some replicas, or in an order, which no command does."""
    return any(request.query_params.get(name) for name in ("q", "state", "by"))


def table_of(request: Request, replicas: list[Json]) -> Json:
    """The rows of a table of replicas that the query asks for, in its order, and how many there are."""
    asked = request.query_params
    text, state, by = asked.get("q", "").strip().lower(), asked.get("state", ""), asked.get("by", "")
    wanted = [r for r in replicas if state in ("", r["state"]) or (state == NOT_READY and r["state"] != "ready")]
    meant = [r for r in wanted if text in f"{r['name']} {r['state']} {r['reason']}".lower()]
    if by in ORDERS:
        meant.sort(key=lambda r: r[by] or 0, reverse=True)
    found = {"replicas": meant[:SHOWN], "meant": len(meant), "counts": Counter(r["state"] for r in replicas), "total": len(replicas)}
    return {**found, "q": text, "chosen_state": state, "orders": ORDERS, "by": by}
