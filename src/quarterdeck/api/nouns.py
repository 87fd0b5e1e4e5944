"""Lists: systems, clusters, agents, replicas, links, changes, conditions, revisions; and why a thing is as it is."""

from __future__ import annotations

import difflib
import os
from typing import Any

from fastapi import APIRouter

from quarterdeck.api.services import Given
from quarterdeck.clock import iso
from quarterdeck.deploy import nouns, status
from quarterdeck.deploy.reconcile import Look
from quarterdeck.errors import NotFound
from quarterdeck.store import changes as change_rows
from quarterdeck.store import journal as journal_rows
from quarterdeck.store import revisions as revision_rows
from quarterdeck.version import VERSION

router = APIRouter(prefix="/v1")
Json = dict[str, Any]


def listed(items: list[Json]) -> Json:
    """The List form."""
    return {"apiVersion": status.API, "kind": "List", "items": items}


def absent(look: Look, target: str) -> NotFound:
    """The refusal of a target that a system does not have, with the nearest name."""
    names = [n.cluster for n in look.desired.namespaces] + [w.name for w in look.desired.workloads]
    near = difflib.get_close_matches(target, names, n=1)
    return NotFound(
        f'{look.desired.system} has no "{target}"', hint=f'did you mean "{near[0]}"?' if near else "qd get agents lists what there is"
    )


@router.get("/version")
async def version(given: Given) -> Json:
    """Who answers."""
    return {
        "version": VERSION,
        "api": status.API,
        "pid": os.getpid(),
        "home": str(given.home.root),
        "engine": given.fleet.engine.name,
        "url": given.url,
        "read_only": not given.store.writable,
        "since": iso(given.started),
    }


@router.get("/systems")
async def systems(given: Given) -> Json:
    """Every system, with its state in a sentence."""
    items = []
    for name in given.fleet.names():
        look = await given.fleet.look(name)
        full = status.status(look, given.clock.now(), engine=given.fleet.engine.name, weakenings=())
        items.append({"name": name, **{k: full[k] for k in ("ready", "sentence", "revision", "agents", "capacity")}})
    return listed(items)


@router.get("/clusters")
async def clusters(given: Given, system: str | None = None) -> Json:
    """Clusters with quota, endpoints, health and capacity."""
    return listed(nouns.clusters(await given.fleet.look(given.fleet.one(system)), given.url))


@router.get("/agents")
async def agents(given: Given, system: str | None = None) -> Json:
    """Agent roles."""
    return listed(nouns.agents(await given.fleet.look(given.fleet.one(system))))


@router.get("/replicas")
async def replicas(given: Given, system: str | None = None) -> Json:
    """Running copies, observed now; not a last known state: without the engine the answer is 503."""
    return listed(status.replicas(await given.fleet.engine.workloads(given.fleet.one(system))))


@router.get("/links")
async def links(given: Given, system: str | None = None) -> Json:
    """Permitted paths."""
    return listed(nouns.links(await given.fleet.look(given.fleet.one(system))))


@router.get("/changes")
async def changes(given: Given, system: str | None = None) -> Json:
    """Changes, live and ended, newest first."""
    with given.store.read() as conn:
        return listed([nouns.change(c) for c in change_rows.list_(conn, system)])


@router.get("/conditions")
async def conditions(given: Given, system: str | None = None) -> Json:
    """What was looked at, with evidence and age."""
    look = await given.fleet.look(given.fleet.one(system))
    now = given.clock.now()
    return listed([nouns.condition(c, now) for c in look.conditions.values()])


@router.get("/revisions")
async def revisions(given: Given, system: str | None = None) -> Json:
    """Revisions that are kept, newest first."""
    name = given.fleet.one(system)
    with given.store.read() as conn:
        now = revision_rows.current(conn, name)
        kept = revision_rows.history(conn, name)
    return listed([nouns.revision(r, current=now is not None and r.number == now.number) for r in kept])


@router.get("/explain")
async def explain(given: Given, target: str, system: str | None = None) -> Json:
    """Why a thing is as it is."""
    name, _, rest = target.rpartition(":")
    look = await given.fleet.look(given.fleet.one(name or system))
    found = nouns.explain(look, rest)
    if found is None:
        raise absent(look, rest)
    with given.store.read() as conn:
        live = change_rows.live(conn, look.desired.system, given.clock.now())
        told = [
            r
            for r in journal_rows.read(conn, system=look.desired.system, limit=500, newest_first=True)
            if r.target == rest or r.target.startswith((f"{rest}-", f"{rest}/"))
        ]
    mine = [nouns.change(c) for c in live if c.target.rpartition(":")[2].startswith(rest) or rest.startswith(c.target.rpartition(":")[2])]
    return {**found, "changes": mine, "journal": [nouns.record(r) for r in told[:10]]}
