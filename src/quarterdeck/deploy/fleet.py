"""What may be asked of the whole: apply, plan, change, roll back, prove, remove. Every edit goes through the store; the loop does the rest.

The doors (API, pages) call this and nothing below it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from quarterdeck.clock import Clock
from quarterdeck.deploy import revise
from quarterdeck.deploy.composer import kept_spec
from quarterdeck.deploy.evidence import DEEP, PROOFS
from quarterdeck.deploy.plan import structural
from quarterdeck.deploy.reconcile import Look, Reconciler
from quarterdeck.engines.base import Engine
from quarterdeck.errors import Conflict, NotFound, Transient, UserError
from quarterdeck.model.desired import Desired
from quarterdeck.model.home import Home
from quarterdeck.model.records import PLATFORM, Actor, Change, Condition, Revision
from quarterdeck.model.steps import Probe, Step
from quarterdeck.model.world import World
from quarterdeck.spec.compose import compose
from quarterdeck.spec.load import Loaded, load
from quarterdeck.spec.targets import check_patch
from quarterdeck.store import changes, code, revisions, systems
from quarterdeck.store.store import Store
from quarterdeck.store.writing import Writing

ENGINE_WITHIN = 10.0
"""Seconds a plan waits for the engine."""


@dataclass(frozen=True, slots=True)
class Source:
    """A spec as somebody hands it in. `environ` holds the variables its `env:` references name, of the caller's process."""

    text: str
    filename: str
    base: Path
    environ: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Planned:
    """What applying would do, and the index it was planned at."""

    system: str
    index: int
    steps: tuple[Step, ...]
    warnings: tuple[str, ...]


@dataclass(slots=True)
class Fleet:
    """The noun behind the API. `looks` of the reconciler are the newest observations."""

    home: Home
    store: Store
    engine: Engine
    reconciler: Reconciler
    clock: Clock

    def names(self) -> tuple[str, ...]:
        """Every system that should exist."""
        with self.store.read() as conn:
            return tuple(s.name for s in systems.systems(conn))

    def one(self, name: str | None) -> str:
        """The named system, or the only one; raises NotFound."""
        known = self.names()
        if name is None and len(known) == 1:
            return known[0]
        if name is None and known:
            raise UserError(f"which system? {', '.join(known)}", hint="qd -s NAME …")
        if name is None or name not in known:
            raise NotFound(f"no system {name}" if name else "no system is deployed", hint="qd up deploys ./quarterdeck.yaml")
        return name

    def desired(self, system: str) -> Desired | None:
        """Compose spec and live Changes as of now; None when the system is gone."""
        return self.reconciler.compose(system)

    async def look(self, system: str) -> Look:
        """The newest tick of a system, or a first look; raises NotFound."""
        found = self.reconciler.looks.get(system)
        desired = self.desired(system)
        if desired is None:
            raise NotFound(f"no system {system}")
        if found is None:
            world = await self.engine.observe(system)
            conditions = self.reconciler.conditions(system)
            return Look.of(desired, world, conditions, self.clock.now())
        look = Look.of(desired, found.world, self.reconciler.conditions(system), self.clock.now())
        return replace(look, observed_generation=found.desired.generation)

    async def plan(self, source: Source) -> Planned:
        """What applying the source would do; changes nothing that runs."""
        loaded = self._load(source)
        content = revise.content(loaded, self.home, source.environ)
        now = self.clock.now()
        with self.store.read() as conn:
            known = content.system in {s.name for s in systems.systems(conn)}
            row = systems.get(conn, content.system) if known else None
            live = changes.live(conn, content.system, now) if row else []
            old = revisions.current(conn, content.system) if row else None
        number = 1 if old is None else old.number + (old.digest != content.digest)
        desired = compose(
            loaded.system,
            revision=number,
            generation=row.generation + 1 if row else 1,
            index=row.index if row else 0,
            templates=content.templates,
            revisions=dict.fromkeys(content.templates, number),
            changes=live,
            now=now,
        )
        world = await self._observe(content.system)
        return Planned(content.system, row.index if row else 0, structural(desired, world), tuple(str(w) for w in loaded.warnings))

    async def apply(
        self, source: Source, actor: Actor, *, index: int | None = None, reason: str = ""
    ) -> tuple[Revision, bool, tuple[str, ...]]:
        """Make the source the current revision; True when it is a new one. Raises SpecError, Conflict when the world moved."""
        loaded = self._load(source)
        content = revise.content(loaded, self.home, source.environ)
        revision, created = await self._adopt(content, actor, index, reason)
        return revision, created, tuple(str(w) for w in loaded.warnings)

    async def rollback(self, system: str, to: int | None, actor: Actor, reason: str) -> Revision:
        """Bring an earlier revision back, code included, as a new revision; the one before the current when `to` is None."""
        with self.store.read() as conn:
            now = revisions.current(conn, system)
            history = revisions.history(conn, system)
        earlier = [r for r in history if now and r.number < now.number and r.digest != now.digest]
        if to is None and not earlier:
            raise UserError(f"{system} has no earlier revision", hint="qd history")
        number = to if to is not None else max(r.number for r in earlier)
        wanted = next((r for r in history if r.number == number), None)
        if wanted is None:
            raise NotFound(f"{system} has no revision {number}", hint="qd history")
        content = revise.Content(system, wanted.spec, wanted.digest, wanted.code, wanted.lock, revise.templates_of(wanted.templates))
        revision, _ = await self._adopt(content, actor, None, reason or f"rollback to revision {number}")
        return revision

    async def change(self, change: Change, actor: Actor) -> Change:
        """Propose a Change; refused when its target or value makes no sense."""
        with self.store.read() as conn:
            revision = revisions.current(conn, change.system)
        if revision is None:
            raise NotFound(f"no system {change.system}")
        check_patch(kept_spec(revision.spec), change.target, change.patch)
        kept = await self.store.write(lambda tx: changes.add(tx, change, via=actor.via))
        self.reconciler.wake(change.system)
        return kept

    async def revert(self, number: int, actor: Actor, reason: str) -> Change:
        """End a Change before its time."""
        ended = await self.store.write(lambda tx: changes.end(tx, number, "reverted", actor, reason))
        self.reconciler.wake(ended.system)
        return ended

    async def expire(self) -> None:
        """End every Change whose time has come, so that its system is looked at."""
        now = self.clock.now()
        with self.store.read() as conn:
            over = changes.overdue(conn, now)
        for change in over:
            await self.store.write(partial(changes.end, id=change.id, state="expired", actor=PLATFORM))
            self.reconciler.wake(change.system)

    async def validate(self, system: str, *, deep: bool) -> list[Condition]:
        """Run every proof now, in phase order, and the deep ones where asked."""
        desired = self.desired(system)
        if desired is None:
            raise NotFound(f"no system {system}")
        proofs = (*PROOFS, *DEEP) if deep else PROOFS
        probes = [Probe(p.kind, target, p.phase, "asked for") for p in proofs for target, _ in p.targets(desired)]
        return [await self.reconciler.prove(desired, probe) for probe in probes]

    async def remove(self, system: str, actor: Actor, reason: str) -> tuple[str, ...]:
        """Take a system away; returns what could not be removed."""
        await self.store.write(lambda tx: systems.remove(tx, system, actor, reason))
        self.reconciler.wake(system)
        return await self.engine.remove(system)

    async def _observe(self, system: str) -> World:
        """Look, giving an engine that is just starting some seconds; raises Transient."""
        deadline = self.clock.monotonic() + ENGINE_WITHIN
        while not (world := await self.engine.observe(system)).reachable:
            if self.clock.monotonic() > deadline:
                raise Transient(f"the engine cannot be asked: {world.reason}")
            await asyncio.sleep(0.02)
        return world

    def _load(self, source: Source) -> Loaded:
        return load(source.text, filename=source.filename, base=source.base, environ=source.environ)

    async def _adopt(self, content: revise.Content, actor: Actor, index: int | None, reason: str) -> tuple[Revision, bool]:
        def work(tx: Writing) -> tuple[Revision, bool]:
            known = {s.name: s for s in systems.systems(tx.connection)}
            at = known[content.system].index if content.system in known else 0
            if index is not None and index != at:
                raise Conflict(f"the world moved: planned at index {index}, now {at}", hint="qd plan again, then qd apply --index")
            before = revisions.current(tx.connection, content.system)
            kept = revisions.apply(
                tx,
                content.system,
                content.text,
                content.digest,
                content.code,
                content.lock,
                actor,
                reason,
                templates=content.templates_json,
            )
            return kept, before is None or before.number != kept.number

        revision, created = await self.store.write(work)
        self.reconciler.wake(content.system)
        return revision, created

    def in_use(self) -> frozenset[str]:
        """Code digests that are wanted now; retention must not touch them."""
        return frozenset(w.template.code for look in self.reconciler.looks.values() for w in look.desired.workloads)

    async def retain(self) -> None:
        """Drop old revisions and their code; raises Transient while the engine cannot tell what runs."""
        used = self.in_use() | await self.engine.code_in_use()
        keep = await self.store.write(lambda tx: revisions.retain(tx, used))
        code.retain(self.home, keep)
