"""Lists: systems, clusters, agents, replicas, links, changes, conditions, revisions; and why a thing is as it is."""

from __future__ import annotations

import os
from dataclasses import asdict
from functools import partial
from typing import Any

from fastapi import APIRouter
from sqlalchemy import Connection

from quarterdeck.api.numbers import Number
from quarterdeck.api.roles import needs
from quarterdeck.api.services import Given, Services
from quarterdeck.clock import iso
from quarterdeck.deploy import carried, details, nouns, status
from quarterdeck.deploy.reconcile import Look
from quarterdeck.deploy.stopped import in_words, stop_of
from quarterdeck.errors import NotFound, Transient
from quarterdeck.model.desired import Workload
from quarterdeck.model.grant import Grant
from quarterdeck.model.records import Change
from quarterdeck.model.soundness import state_of
from quarterdeck.model.wording import nearest
from quarterdeck.model.world import Verb, WorkloadSeen
from quarterdeck.store import changes as change_rows
from quarterdeck.store import journal as journal_rows
from quarterdeck.store import overview
from quarterdeck.store import revisions as revision_rows
from quarterdeck.version import API_VERSION, VERSION
from quarterdeck.work import backlog

router = APIRouter(prefix="/v1")
Json = dict[str, Any]


def listed(items: list[Json]) -> Json:
    """The List form."""
    return {"apiVersion": API_VERSION, "kind": "List", "items": items}


def absent(look: Look, target: str) -> NotFound:
    """The refusal of a target that a system does not have, with the nearest name."""
    names = [n.cluster for n in look.desired.namespaces] + [w.name for w in look.desired.workloads]
    near = nearest(target, names)
    return NotFound(
        f'{look.desired.system} has no "{target}"', hint=f'did you mean "{near}"?' if near else "qd get agents lists what there is"
    )


@router.get("/version", **needs("viewer", scope="cluster"))
async def version(given: Given) -> Json:
    """Who answers."""
    return {
        "version": VERSION,
        "api": API_VERSION,
        "pid": os.getpid(),
        "home": str(given.home.root),
        "engine": given.fleet.engine.name,
        "url": given.url,
        "read_only": not given.store.writable,
        "since": iso(given.started),
        "sign_in": _sign_in(given),
    }


def _sign_in(given: Services) -> Json | None:
    """Who is believed about whom. What is wrong with the file may show lines of it, so only an administrator is told."""
    flow = given.sign_in
    if flow is None:
        return None
    fault = flow.fault if given.grant.at_least("admin") else flow.fault and "it has faults"
    return {"file": str(flow.file), "issuer": None if flow.fault else flow.sign_in.issuer, "fault": fault}


@router.get("/systems", **needs("viewer", scope="cluster"))
async def systems(given: Given) -> Json:
    """Every system, with its state in a sentence."""
    items = []
    for name in given.fleet.names():
        look = await given.fleet.look(name)
        stops = given.fleet.stops(name)
        full = status.status(look, given.clock.now(), engine=given.fleet.engine.name, weakenings=(), stops=stops)
        known = {k: full[k] for k in ("ready", "stopped", "sentence", "revision", "agents", "capacity")}
        items.append({"name": name, "state": state_of(full), **known})
    return listed(items)


@router.get("/clusters", **needs("viewer", scope="cluster"))
async def clusters(given: Given, system: str | None = None) -> Json:
    """Clusters with quota, endpoints, health and capacity."""
    return listed(nouns.clusters(await given.fleet.look(given.fleet.one(system)), given.url))


@router.get("/agents", **needs("viewer", scope="cluster"))
async def agents(given: Given, system: str | None = None) -> Json:
    """Agent roles."""
    return listed(nouns.agents(await given.fleet.look(given.fleet.one(system))))


@router.get("/replicas", **needs("viewer", scope="cluster"))
async def replicas(given: Given, system: str | None = None) -> Json:
    """Running copies, observed now; not a last known state: without the engine the answer is 503."""
    return listed(status.replicas(await given.fleet.workloads(given.fleet.one(system))))


@router.get("/links", **needs("viewer", scope="cluster"))
async def links(given: Given, system: str | None = None) -> Json:
    """Permitted paths, and what goes over them now; null where that cannot be seen."""
    name = given.fleet.one(system)
    look = await given.fleet.look(name)
    try:
        seen: tuple[WorkloadSeen, ...] | None = await given.fleet.workloads(name)
    except Transient:  # without the engine the paths are known all the same
        seen = None
    return listed(nouns.links(look, seen))


@router.get("/replicas/{cluster}/{replica}", **needs("viewer", scope="cluster"))
async def replica(cluster: str, replica: str, given: Given, system: str | None = None) -> Json:
    """One replica: what it uses and does, a sample for each of the last ten minutes' seconds, and its states by the journal."""
    system, name = given.fleet.one(system), f"{cluster}/{replica}"
    given.grant.require(system, name)
    found = details.youngest(await given.fleet.workloads(system), name)
    if found is None:
        raise absent(await given.fleet.look(system), name)
    samples = await given.fleet.engine.samples(system, name)
    with given.store.read() as conn:
        told = journal_rows.read(conn, system=system, target=name, verb=details.HISTORY, limit=100, newest_first=True)
    return details.replica(found, samples, told)


@router.get("/agents/{cluster}/{agent}", **needs("viewer", scope="cluster"))
async def agent(cluster: str, agent: str, given: Given, system: str | None = None) -> Json:
    """One agent: what set its numbers, its verbs with the JSON Schema of what each takes, what waits in its stream, its replicas."""
    system, name = given.fleet.one(system), f"{cluster}/{agent}"
    given.grant.require(system, name)
    look = await given.fleet.look(system)
    world, verbs = await given.fleet.engine.observe(system), await _verbs(given, system, name)
    found = details.agent(look, name, world, verbs)
    if found is None:
        raise absent(look, name)
    return found


async def _verbs(given: Given, system: str, name: str) -> tuple[Verb, ...] | str:
    """Why they are not known, when no replica tells them: the rest of an agent can be shown without."""
    try:
        return await given.fleet.engine.verbs(system, name)
    except (NotFound, Transient) as error:
        return error.message


@router.get("/changes", **needs("viewer", scope="cluster"))
async def changes(given: Given, system: str | None = None) -> Json:
    """Changes, live and ended, newest first."""
    name = given.grant.system_asked(system)
    with given.store.read() as conn:
        found = change_rows.list_(conn, name, cluster=given.grant.cluster)
    desired = {one: given.fleet.desired(one) for one in {c.system for c in found if c.state == "live" and c.patch.field == "replicas"}}
    return listed([nouns.change(c, desired.get(c.system)) for c in found])


@router.get("/conditions", **needs("viewer", scope="cluster"))
async def conditions(given: Given, system: str | None = None) -> Json:
    """What was looked at, with evidence and age."""
    look = await given.fleet.look(given.fleet.one(system))
    now = given.clock.now()
    return listed([nouns.condition(c, now) for c in look.conditions.values()])


@router.get("/revisions", **needs("viewer"))
async def revisions(given: Given, system: str | None = None) -> Json:
    """Revisions that are kept, newest first."""
    name = given.fleet.one(system)
    with given.store.read() as conn:
        now = revision_rows.current(conn, name)
        kept = revision_rows.history(conn, name)
    return listed([nouns.revision(r, current=now is not None and r.number == now.number) for r in kept])


@router.get("/revisions/{number}", **needs("viewer"))
async def revision(number: Number, given: Given, system: str | None = None) -> Json:
    """One revision: its spec as it was handed in, and what it changed against the kept one before it."""
    name = given.fleet.one(system)
    found = given.fleet.compared(name, number)
    with given.store.read() as conn:
        now = revision_rows.current(conn, name)
    return {
        "apiVersion": API_VERSION,
        "kind": "Revision",
        **nouns.revision(found.revision, current=now is not None and number == now.number),
        "spec": found.revision.spec,
        "before": found.before.number if found.before else None,
        "differences": [asdict(d) for d in found.differences],
    }


@router.get("/explain", **needs("viewer", scope="cluster"))
async def explain(given: Given, target: str, system: str | None = None) -> Json:
    """Why a thing is as it is."""
    name, _, rest = target.rpartition(":")
    look = await given.fleet.look(given.fleet.one(name or system))
    given.grant.require(look.desired.system, rest)
    found = nouns.explain(look, rest) or (nouns.explain_all(look) if rest in ("", look.desired.system) else None)
    if found is None:
        raise absent(look, rest)
    rest = "" if found["target"] == f"{look.desired.system}:" else rest
    stop = _stop_of(look, rest, given.fleet.stops(look.desired.system))
    with given.store.read() as conn:
        work = backlog.backlog(conn, _scope(look, rest, given.grant.cluster))
        live = change_rows.live(conn, look.desired.system, given.clock.now())
        newest = journal_rows.read(conn, system=look.desired.system, cluster=given.grant.cluster, limit=500, newest_first=True)
        done = _carried_out(conn, look, rest, given.grant)
    told = [r for r in newest if _inside(r.target, rest)]
    changed = [(c, c.target.rpartition(":")[2]) for c in live]
    mine = [nouns.change(c, look.desired) for c, target in changed if _inside(target, rest) or _inside(rest, target)]
    return {
        **found,
        "sentence": in_words(stop) if stop else found["sentence"],
        "stopped": stop,
        "work": work,
        "changes": mine,
        "carried_out": done,
        "journal": [nouns.record(r) for r in told[:10]],
        "next": [*([stop["command"]] if stop else []), *backlog.commands(work, rest)],
    }


def _carried_out(conn: Connection, look: Look, place: str, grant: Grant) -> Json | None:
    """The last plan that was carried out for a place; a replica's is its agent's. Who is bound to a cluster is not told of edits beyond."""
    workload, system = _workload(look, place), look.desired.system
    mine = workload.name if workload else place
    read = partial(journal_rows.read, conn, system=system, newest_first=True)
    if workload is not None:
        steps = [r for verb in carried.OF_AGENTS for r in read(verb=verb, target=mine, limit=carried.MOST)]
    else:
        found = (r for verb in carried.STEPS for r in read(verb=verb, cluster=grant.cluster, limit=2 * carried.MOST))
        steps = [r for r in found if _inside(r.target, mine)]
    newest = max((r.seq for r in steps), default=0)
    before = [r for verb in carried.EDITS for r in read(verb=verb, before=newest, limit=1)]
    edit = max(before, key=lambda r: r.seq, default=None)
    shown = edit is not None and (grant.cluster is None or _inside(edit.target, grant.cluster))
    return carried.carried_out(steps, edit, shown=shown)


def _stop_of(look: Look, place: str, stops: list[Change]) -> Json | None:
    """The stop of a place, when nothing of it may run."""
    workload = _workload(look, place)
    return stop_of([workload] if workload else [w for w in look.desired.workloads if place in ("", w.cluster)], stops)


def _workload(look: Look, place: str) -> Workload | None:
    """Of an agent, or of a replica its agent's."""
    return look.desired.workload(place) or look.desired.workload(place.rpartition("-")[0])


def _scope(look: Look, place: str, cluster: str | None) -> overview.Scope:
    """The work of a place; a replica's is its agent's."""
    workload = _workload(look, place)
    return overview.Scope(look.desired.system, place.partition("/")[0] or cluster, workload.agent if workload else None)


def _inside(target: str, place: str) -> bool:
    """Whether a target is a cluster, agent or replica, or something in it: by whole names, `one` is not the beginning of `one-more`.

    An empty place is all of a system.
    """
    if not place or target == place or target.startswith(f"{place}->"):
        return True
    if "/" not in place:
        return target.startswith(f"{place}/")
    agent, _, n = target.rpartition("-")
    return agent == place and n.isdecimal()
