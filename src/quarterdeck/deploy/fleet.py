"""What may be asked of the whole: apply, plan, change, roll back, prove, remove. Every edit goes through the store; the loop does the rest.

The doors (API, pages) call this and nothing below it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

from sqlalchemy import Connection

from quarterdeck.clock import Clock
from quarterdeck.deploy import revise
from quarterdeck.deploy.composer import kept_spec
from quarterdeck.deploy.drafts import ANYTHING, Applied, Compared, Draft, Expected, Planned, Source, adopting
from quarterdeck.deploy.evidence import DEEP, PROOFS
from quarterdeck.deploy.plan import structural
from quarterdeck.deploy.reconcile import Look, Reconciler
from quarterdeck.engines.base import Engine
from quarterdeck.errors import Conflict, InvalidTransition, NotFound, Transient, UserError
from quarterdeck.model.desired import Desired
from quarterdeck.model.home import Home
from quarterdeck.model.records import PLATFORM, Actor, Change, Condition, Revision
from quarterdeck.model.steps import Probe
from quarterdeck.model.world import WorkloadSeen, World
from quarterdeck.spec.compose import compose
from quarterdeck.spec.diff import diff
from quarterdeck.spec.load import Loaded, load
from quarterdeck.spec.overrides import kept_by
from quarterdeck.spec.targets import check_patch
from quarterdeck.store import changes, code, revisions, systems
from quarterdeck.store import stops as stop_rows
from quarterdeck.store.store import Store
from quarterdeck.store.writing import Writing

Edit = Callable[[list[Change]], list[Change]]
"""The live Changes → those to plan with."""
ENGINE_WITHIN = 10.0
"""Seconds to wait for an engine that is just starting."""


@dataclass(slots=True)
class Fleet:
    """The noun behind the API. `looks` of the reconciler are the newest observations."""

    home: Home
    store: Store
    engine: Engine
    reconciler: Reconciler
    clock: Clock
    _known: tuple[int, tuple[str, ...]] = (-1, ())
    _keeping: asyncio.Lock = field(default_factory=asyncio.Lock)  # while code is kept that no revision names yet, or dropped

    def names(self) -> tuple[str, ...]:
        """Every system that should exist. Read again when the journal has grown: every request asks for them."""
        grown = self.store.grown
        if self._known[0] != grown:
            with self.store.read() as conn:
                self._known = grown, tuple(s.name for s in systems.systems(conn))
        return self._known[1]

    def one(self, name: str | None) -> str:
        """The named system, or the only one; raises NotFound."""
        known = self.names()
        if name is None and len(known) == 1:
            return known[0]
        if name is None and known:
            raise UserError(f"which system? {', '.join(known)}", hint=f"name one, e.g. -s {known[0]}")
        if name is None:
            raise NotFound("no system is deployed", hint="qd up deploys ./quarterdeck.yaml")
        if name not in known:
            raise _unknown(name, known)
        return name

    def desired(self, system: str) -> Desired | None:
        """Compose spec and live Changes as of now; None when the system is gone."""
        return self.reconciler.compose(system)

    async def look(self, system: str) -> Look:
        """The newest tick of a system, or a first look; raises NotFound."""
        found = self.reconciler.looks.get(system)
        desired = self.desired(system)
        if desired is None:
            raise _unknown(system, self.names())
        if found is None:
            world = await self.engine.observe(system)
            conditions = self.reconciler.conditions(desired)
            return Look.of(desired, world, conditions, self.clock.now())
        look = Look.of(desired, found.world, self.reconciler.conditions(desired), self.clock.now())
        return replace(look, observed_generation=found.desired.generation)

    def stops(self, system: str) -> list[Change]:
        """Its stops in force, oldest first."""
        with self.store.read() as conn:
            return stop_rows.live(conn, system, self.clock.now())

    async def workloads(self, system: str) -> tuple[WorkloadSeen, ...]:
        """Its workloads and replicas, observed now. Raises Transient without an engine."""
        return await self.engine.workloads(system)

    async def plan(self, source: Source) -> Planned:
        """What applying the source would do; changes nothing that runs. Raises SpecError, Transient without an engine."""
        loaded = await _loaded(source)
        async with self._keeping:
            return self._foreseen(await self._draft(loaded, source))

    async def apply(self, source: Source, actor: Actor, *, expected: Expected = ANYTHING, reason: str = "") -> Applied:
        """Make the source the current revision. Raises SpecError, Conflict when it is not what is expected."""
        loaded = await _loaded(source)
        async with self._keeping:
            return await self._adopt(await self._draft(loaded, source), actor, expected, reason)

    async def plan_rollback(self, system: str, to: int | None) -> tuple[int, Planned]:
        """To which revision one would go back, and what that would do; changes nothing that runs. Raises Transient without an engine."""
        number, draft = await self._earlier(system, to)
        return number, self._foreseen(draft)

    def compared(self, system: str, number: int) -> Compared:
        """What a kept revision changed against the one kept before it, without the Changes of either time. Raises NotFound."""
        with self.store.read() as conn:
            revision = revisions.get(conn, system, number)
            earlier = [r for r in revisions.history(conn, system) if r.number < number]
        before = max(earlier, key=lambda r: r.number, default=None)
        return Compared(revision, before, diff(self._bare(before) if before else None, self._bare(revision)))

    def _bare(self, revision: Revision) -> Desired:
        """What a revision alone asks for."""
        templates = revise.templates_of(revision.templates)
        return compose(
            kept_spec(revision.spec),
            revision=revision.number,
            generation=0,
            index=0,
            templates=templates,
            revisions=dict.fromkeys(templates, revision.number),
            changes=[],
            now=self.clock.now(),
        )

    async def rollback(self, system: str, to: int | None, actor: Actor, reason: str) -> Applied:
        """Bring an earlier revision back, code included, as a new revision; the one before the current when `to` is None."""
        async with self._keeping:
            number, draft = await self._earlier(system, to)
            return await self._adopt(draft, actor, ANYTHING, reason or f"rollback to revision {number}")

    async def plan_change(self, change: Change) -> Planned:
        """What a Change would do now; changes nothing. Raises what `change` raises, and Transient without an engine."""
        self._check(change)
        newest = replace(change, id=sys.maxsize, at=self.clock.now())  # the last one wins, as it would once it is made
        return await self._replanned(change.system, lambda live: [*live, newest])

    async def plan_revert(self, number: int) -> Planned:
        """What ending a Change would do now; changes nothing. Raises NotFound, Conflict when it has ended."""
        with self.store.read() as conn:
            change = changes.get(conn, number)
        if change.state != "live":
            raise _ended(number)
        return await self._replanned(change.system, lambda live: [c for c in live if c.id != number])

    async def change(self, change: Change, actor: Actor) -> Change:
        """Propose a Change; refused when its target or value makes no sense."""
        self._check(change)
        kept = await self.store.write(lambda tx: changes.add(tx, change, actor=actor))
        self.reconciler.wake(change.system)
        return kept

    async def revert(self, number: int, actor: Actor, reason: str) -> Change:
        """End a Change before its time. Raises NotFound, Conflict when it has ended."""
        try:
            ended = await self.store.write(lambda tx: changes.end(tx, number, "reverted", actor, reason))
        except InvalidTransition as error:
            raise _ended(number) from error
        self.reconciler.wake(ended.system)
        return ended

    async def plan_release(self, system: str, target: str) -> Planned:
        """What ending its holds and quarantines would do now; changes nothing. Raises what `release` raises, and Transient."""
        with self.store.read() as conn:
            gone = {change.id for change in self._kept_by(conn, system, target)}
        return await self._replanned(system, lambda live: [c for c in live if c.id not in gone])

    async def release(self, system: str, target: str, actor: Actor, reason: str) -> tuple[Change, ...]:
        """End every live hold and quarantine of exactly this target, all or none. Raises NotFound, Conflict when there is none."""

        def work(tx: Writing) -> tuple[Change, ...]:
            found = self._kept_by(tx.connection, system, target)
            return tuple(changes.end(tx, change.id, "reverted", actor, reason) for change in found)

        ended = await self.store.write(work)
        self.reconciler.wake(system)
        return ended

    def _kept_by(self, conn: Connection, system: str, target: str) -> tuple[Change, ...]:
        revision = revisions.current(conn, system)
        if revision is None:
            raise _unknown(system, self.names())
        now = self.clock.now()
        return kept_by(kept_spec(revision.spec), changes.live(conn, system, now), target, now)

    def _check(self, change: Change) -> None:
        with self.store.read() as conn:
            revision = revisions.current(conn, change.system)
        if revision is None:
            raise _unknown(change.system, self.names())
        check_patch(kept_spec(revision.spec), change.target, change.patch)

    async def expire(self) -> None:
        """End every Change whose time has come, so that its system is looked at."""
        now = self.clock.now()
        with self.store.read() as conn:
            over = changes.overdue(conn, now)
        for change in over:
            with suppress(InvalidTransition):  # reverted since it was read
                await self.store.write(partial(changes.end, id=change.id, state="expired", actor=PLATFORM))
            self.reconciler.wake(change.system)

    async def validate(self, system: str, *, deep: bool) -> list[Condition]:
        """Run every proof now, in phase order, and the deep ones where asked."""
        desired = self.desired(system)
        if desired is None:
            raise _unknown(system, self.names())
        proofs = (*PROOFS, *DEEP) if deep else PROOFS
        probes = [Probe(p.kind, target, p.phase, "asked for") for p in proofs for target, _ in p.targets(desired)]
        return [await self.reconciler.prove(desired, probe) for probe in probes]

    async def remove(self, system: str, actor: Actor, reason: str) -> tuple[str, ...]:
        """Take a system away; returns what could not be removed."""
        await self.store.write(lambda tx: systems.remove(tx, system, actor, reason))
        self.reconciler.wake(system)
        return await self.engine.remove(system)

    async def _draft(self, loaded: Loaded, source: Source) -> Draft:
        """Under `_keeping` until it is adopted: retention must not take its code for left over."""
        content = await asyncio.to_thread(revise.content, loaded, self.home, source.environ)
        world = await self._observe(loaded.system.name)
        return Draft(loaded.system, content, world, tuple(str(w) for w in loaded.warnings))

    async def _earlier(self, system: str, to: int | None) -> tuple[int, Draft]:
        """The kept revision of that number, else the newest that differs from the current one. Raises UserError, NotFound."""
        with self.store.read() as conn:
            now = revisions.current(conn, system)
            if to is None:
                history = revisions.history(conn, system)
                earlier = [r for r in history if now and r.number < now.number and r.digest != now.digest]
                if not earlier:
                    raise UserError(f"{system} has no earlier revision", hint="qd history lists what is kept; qd up makes a new one")
                wanted = max(earlier, key=lambda r: r.number)
            else:
                wanted = revisions.get(conn, system, to)
        return wanted.number, Draft(kept_spec(wanted.spec), revise.kept(wanted), await self._observe(system))

    async def _observe(self, system: str) -> World:
        """Look, giving an engine that is just starting some seconds; it may still not be reachable."""
        deadline = self.clock.monotonic() + ENGINE_WITHIN
        while True:
            world = await self.engine.observe(system)
            if world.reachable or self.clock.monotonic() > deadline:
                return world
            await asyncio.sleep(0.02)

    async def _replanned(self, system: str, edit: Edit) -> Planned:
        """The plan of the current revision with other live Changes."""
        with self.store.read() as conn:
            now = revisions.current(conn, system)
        if now is None:
            raise _unknown(system, self.names())
        return self._foreseen(Draft(kept_spec(now.spec), revise.kept(now), await self._observe(system)), edit)

    def _foreseen(self, draft: Draft, edit: Edit = list) -> Planned:
        """The plan of a draft that is not adopted; raises Transient without an engine."""
        if not draft.world.reachable:
            raise Transient(f"the engine cannot be asked: {draft.world.reason}", hint="qd status tells when it is back")
        with self.store.read() as conn:
            return self._planned(conn, draft, edit)

    def _planned(self, conn: Connection, draft: Draft, edit: Edit = list) -> Planned:
        """The steps from the world to the draft with the live Changes, as edited, in one snapshot of the store."""
        system, content, now = draft.spec.name, draft.content, self.clock.now()
        row = systems.find(conn, system)
        old = revisions.current(conn, system)
        number = 1 if old is None else old.number + (old.digest != content.digest)
        desired = compose(
            draft.spec,
            revision=number,
            generation=row.generation + 1 if row else 1,
            index=row.index if row else 0,
            templates=content.templates,
            revisions=dict.fromkeys(content.templates, number),
            changes=edit(changes.live(conn, system, now)) if row else [],
            now=now,
        )
        steps = structural(desired, draft.world)
        return Planned(system, desired.index, (*adopting(old, draft, steps), *steps), draft.warnings, content.digest)

    async def _adopt(self, draft: Draft, actor: Actor, expected: Expected, reason: str) -> Applied:
        """The plan is made in the transaction that adopts: nothing can come between what is told and what is carried out."""
        content = draft.content

        def work(tx: Writing) -> Applied:
            planned = self._planned(tx.connection, draft)
            expected.met(planned)
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
            created = before is None or before.number != kept.number
            return Applied(kept, created, planned if draft.world.reachable else None, draft.warnings)

        applied = await self.store.write(work)
        self.reconciler.wake(content.system)
        return applied

    def in_use(self) -> frozenset[str]:
        """Code digests that are wanted now; retention must not touch them."""
        return frozenset(w.template.code for look in self.reconciler.looks.values() for w in look.desired.workloads)

    async def retain(self) -> None:
        """Drop old revisions and their code; raises Transient while the engine cannot tell what runs."""
        async with self._keeping:
            used = self.in_use() | await self.engine.code_in_use()
            keep = await self.store.write(lambda tx: revisions.retain(tx, used))
            await asyncio.to_thread(code.retain, self.home, keep)


async def _loaded(source: Source) -> Loaded:
    """Beside the loop: the code is imported to be checked, which may take seconds."""
    return await asyncio.to_thread(load, source.text, filename=source.filename, base=source.base, environ=source.environ)


def _ended(number: int) -> Conflict:
    return Conflict(f"change {number} has ended already", hint="qd get changes -o wide tells how and when")


def _unknown(name: str, known: tuple[str, ...]) -> NotFound:
    hint = f"deployed: {', '.join(known)}" if known else "none is deployed; qd up deploys ./quarterdeck.yaml"
    return NotFound(f"no system {name}", hint=hint)
