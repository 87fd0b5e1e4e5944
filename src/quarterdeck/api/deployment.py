"""Plan, apply, roll back, prove, stop: the verbs that move a system."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from quarterdeck import stop_order
from quarterdeck.api.numbers import COUNTABLE
from quarterdeck.api.roles import needs
from quarterdeck.api.services import Caller, Given, Services
from quarterdeck.bus.accounts import STREAM_BYTES
from quarterdeck.deploy import nouns, status
from quarterdeck.deploy.drafts import Applied, Expected, Planned, Source
from quarterdeck.deploy.narrowed import points_of
from quarterdeck.deploy.reconcile import Look
from quarterdeck.errors import Conflict
from quarterdeck.model.records import Entry
from quarterdeck.store import journal, revisions, systems
from quarterdeck.version import API_VERSION

router = APIRouter(prefix="/v1")
Json = dict[str, Any]


class SpecBody(BaseModel):
    """A spec as text, with the folder its paths are relative to and the variables its `env:` references name."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    text: str = Field(max_length=1 << 20)
    filename: str = Field(default="quarterdeck.yaml", max_length=4096)
    base: Path
    environ: dict[str, str] = Field(default_factory=dict)

    def source(self) -> Source:
        """As the fleet wants it."""
        return Source(self.text, self.filename, self.base, self.environ)


class ApplyBody(SpecBody):
    """`index`: refuse when the system was edited since. `digest` of a Plan: refuse when this is not the spec, code and secrets of it."""

    index: int | None = Field(default=None, ge=0, le=COUNTABLE)
    digest: str | None = Field(default=None, max_length=128)
    reason: str = Field(default="", max_length=1000)


class RollbackBody(BaseModel):
    """`to` is a revision number; the one before the current without it. `dry_run`: only plan it, change nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    system: str | None = None
    to: int | None = Field(default=None, ge=1, le=COUNTABLE)
    reason: str = Field(default="", max_length=1000)
    dry_run: bool = False


class ValidateBody(BaseModel):
    """`deep` also runs the proofs that cost more."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    system: str | None = None
    deep: bool = False


class DownBody(BaseModel):
    """Without `system` everything stops; `purge` forgets the home's data too. `within` is seconds for draining."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    system: str | None = None
    purge: bool = False
    within: float = Field(default=10.0, ge=0, le=600)


@router.post("/plan", **needs("deployer", local=True))
async def plan(body: SpecBody, given: Given) -> Json:
    """What applying the spec would do, and the index it was planned at. A spec names folders of this machine, so only its owner may."""
    return plan_document(await given.fleet.plan(body.source()))


@router.post("/apply", **needs("deployer", local=True))
async def apply(body: ApplyBody, given: Given, caller: Caller) -> Json:
    """Make the spec the current revision; the loop does the rest. `plan` is what it will do, null when the engine could not be asked."""
    return _applied(given, await given.fleet.apply(body.source(), caller, expected=Expected(body.index, body.digest), reason=body.reason))


@router.post("/rollback", **needs("deployer"))
async def rollback(body: RollbackBody, given: Given, caller: Caller) -> Json:
    """Bring an earlier revision back, code included; with `dry_run` give the Plan that would be carried out, and change nothing."""
    system = given.fleet.one(body.system)
    if body.dry_run:
        number, planned = await given.fleet.plan_rollback(system, body.to)
        return {**plan_document(planned), "to": number}
    return _applied(given, await given.fleet.rollback(system, body.to, caller, body.reason))


@router.post("/validate", **needs("operator"))
async def validate(body: ValidateBody, given: Given) -> Json:
    """Run every proof now."""
    system = given.fleet.one(body.system)
    found = await given.fleet.validate(system, deep=body.deep)
    look = await given.fleet.look(system)
    now = given.clock.now()
    document = _status(given, look, now)
    ok = all(c.status == "true" for c in found)
    items = status.validation(look, now)
    return {"apiVersion": API_VERSION, "kind": "Validation", "system": system, "ok": ok, "items": items, "readiness": document["readiness"]}


@router.get("/status", **needs("viewer", scope="cluster"))
async def show(given: Given, system: str | None = None) -> Json:
    """One system on one screen."""
    look = await given.fleet.look(given.fleet.one(system))
    return _status(given, look, given.clock.now())


@router.post("/down", **needs("admin"))
async def down(body: DownBody, given: Given, caller: Caller) -> Json:
    """Stop one system, or everything and then the control plane."""
    if body.system is not None:
        left = await given.fleet.remove(given.fleet.one(body.system), caller, "down")
        return {"stopped": [body.system], "left": list(left)}
    names = given.fleet.names()
    if given.store.writable:
        entry = Entry(caller, "down", "everything", after={"purge": body.purge})
        await given.store.write(lambda tx: journal.append(tx, entry))
    stop_order.write(given.home, stay_down=True)
    found = await given.stop_node(body.within)
    if body.purge:
        for system in names:
            await given.store.write(partial(systems.remove, system=system, actor=caller, reason="down --purge"))
        shutil.rmtree(given.home.revisions, ignore_errors=True)
    given.stopping.set()
    return {"stopped": list(names), "left": [str(item) for kind in found["left"].values() for item in kind]}


def plan_document(planned: Planned) -> Json:
    """The stable shape of `qd plan -o json`."""
    steps = [{"phase": s.phase, "action": s.action, "target": s.target, "reason": s.reason} for s in planned.steps]
    return {
        "apiVersion": API_VERSION,
        "kind": "Plan",
        "system": planned.system,
        "index": planned.index,
        "digest": planned.digest,
        "steps": steps,
        "summary": {action: sum(s.action == action for s in planned.steps) for action in ("add", "change", "remove")},
        "warnings": list(planned.warnings),
    }


def _applied(given: Services, applied: Applied) -> Json:
    desired = given.fleet.desired(applied.revision.system)
    if desired is None:
        raise Conflict(f"{applied.revision.system} was removed meanwhile", hint="apply it again if it should run")
    return {
        **nouns.revision(applied.revision, current=True),
        "apiVersion": API_VERSION,
        "kind": "Revision",
        "created": applied.created,
        "index": desired.index,
        "generation": desired.generation,
        "warnings": list(applied.warnings),
        "plan": plan_document(applied.plan) if applied.plan else None,
    }


def _status(given: Services, look: Look, now: float) -> Json:
    weak = () if given.store.writable else ("read-only store",)
    stops = given.fleet.stops(look.desired.system)
    document = status.status(look, now, engine=given.fleet.engine.name, weakenings=weak, stops=stops)
    if given.grant.bound:
        document["readiness"] = points_of(document["readiness"], look.desired)
    return {**document, "url": given.url, "read_only": not given.store.writable, "limits": limits(given, look)}


def limits(given: Services, look: Look) -> Json:
    """What is kept, and how much of it there may be."""
    sizes = given.store.sizes()
    kept = sum(f.stat().st_size for f in given.home.logs.rglob("*.log*") if f.is_file())
    held = sum(s.bytes for s in look.world.bus.streams)
    bus = {"bytes": held, "per_agent_limit": STREAM_BYTES}
    with given.store.read() as connection:
        back = {"kept": len(revisions.history(connection, look.desired.system)), "limit": revisions.KEEP}
    return {"store": sizes, "bus": bus, "logs": {"bytes": kept, "per_replica_limit": 10 << 20}, "revisions": back}
