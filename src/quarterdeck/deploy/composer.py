"""From what is kept to what is desired: reads the current revision and the live Changes, and composes them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache

from sqlalchemy import Connection

from quarterdeck.clock import Clock
from quarterdeck.deploy import revise
from quarterdeck.model.desired import Desired
from quarterdeck.model.records import Revision
from quarterdeck.spec.compose import compose
from quarterdeck.spec.load import reread
from quarterdeck.spec.system import SystemSpec
from quarterdeck.store import changes, revisions, systems
from quarterdeck.store.store import Store
from quarterdeck.store.systems import System


@dataclass(frozen=True, slots=True)
class Kept:
    """A composed whole; it holds until the system's index moves or a Change expires (epoch seconds)."""

    desired: Desired
    until: float


@dataclass(frozen=True, slots=True)
class Composer:
    """Callable with a system's name; one snapshot of the store each time."""

    store: Store
    clock: Clock
    _kept: dict[str, Kept] = field(default_factory=dict)

    def __call__(self, system: str) -> Desired | None:
        """The desired whole as of now; None when the system is gone."""
        now = self.clock.now()
        with self.store.read() as conn:
            row = systems.find(conn, system)
            if row is None:
                self._kept.pop(system, None)
                return None
            kept = self._kept.get(system)
            if kept is None or kept.desired.index != row.index or now >= kept.until:
                kept = self._kept[system] = self._composed(conn, row, now)
        return kept.desired

    def _composed(self, conn: Connection, row: System, now: float) -> Kept:
        revision = revisions.get(conn, row.name, row.revision)
        since = _introduced(revision, revisions.history(conn, row.name))
        live = changes.live(conn, row.name, now)
        desired = compose(
            kept_spec(revision.spec),
            revision=revision.number,
            generation=row.generation,
            index=row.index,
            templates=revise.templates_of(revision.templates),
            revisions=since,
            changes=live,
            now=now,
        )
        return Kept(desired, min((c.until for c in live if c.until is not None), default=math.inf))


@lru_cache(maxsize=64)
def kept_spec(text: str) -> SystemSpec:
    """A kept spec was checked when it came in; only its text is read again."""
    return reread(text)


def _introduced(current: Revision, history: list[Revision]) -> dict[str, int]:
    """For each agent, the lowest revision number since which its template is the same."""
    wanted = revise.templates_of(current.templates)
    since = dict.fromkeys(wanted, current.number)
    for revision in sorted(history, key=lambda r: -r.number):
        if revision.number >= current.number:
            continue
        old = revise.templates_of(revision.templates)
        for name, template in wanted.items():
            if since[name] == revision.number + 1 and name in old and old[name].digest == template.digest:
                since[name] = revision.number
    return since
