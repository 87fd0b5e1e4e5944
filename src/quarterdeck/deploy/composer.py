"""From what is kept to what is desired: reads the current revision and the live Changes, and composes them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from quarterdeck.clock import Clock
from quarterdeck.deploy import revise
from quarterdeck.model.desired import Desired
from quarterdeck.model.records import Revision
from quarterdeck.spec.compose import compose
from quarterdeck.spec.load import reread
from quarterdeck.spec.system import SystemSpec
from quarterdeck.store import changes, revisions, systems
from quarterdeck.store.store import Store


@dataclass(frozen=True, slots=True)
class Composer:
    """Callable with a system's name; one snapshot of the store each time."""

    store: Store
    clock: Clock

    def __call__(self, system: str) -> Desired | None:
        """The desired whole as of now; None when the system is gone."""
        with self.store.read() as conn:
            revision = revisions.current(conn, system)
            if revision is None:
                return None
            row = systems.get(conn, system)
            since = _introduced(revision, revisions.history(conn, system))
            live = changes.live(conn, system, self.clock.now())
        return compose(
            kept_spec(revision.spec),
            revision=revision.number,
            generation=row.generation,
            index=row.index,
            templates=revise.templates_of(revision.templates),
            revisions=since,
            changes=live,
            now=self.clock.now(),
        )


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
