"""What the engine saw happen by itself, written into the journal; and the proof that a crash was healed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from quarterdeck.model.records import Actor, Condition, Entry
from quarterdeck.model.world import Happening
from quarterdeck.store import conditions, journal, meta
from quarterdeck.store.store import Store
from quarterdeck.store.writing import Writing

NODE = Actor("node", "engine")
UNTOLD = frozenset({"table.accepted", "replica.credentials", "control.attached"})
"""Our own doings and renewals: they do not belong in a journal."""
Witness = Callable[[Iterable[Happening]], Awaitable[None]]


@dataclass(slots=True)
class EventWitness:
    """Journals happenings; remembers who fell until they are ready again (in memory: it is evidence, not state).

    `others` hear of each before it is journalled.
    """

    store: Store
    others: list[Callable[[Happening], None]] = field(default_factory=list)
    _fallen: dict[tuple[str, str], Happening] = field(default_factory=dict)

    async def __call__(self, happened: Iterable[Happening]) -> None:
        """One transaction for all of them."""
        told = [h for h in happened if h.kind not in UNTOLD]
        if not told:
            return
        for h in told:
            for other in self.others:
                other(h)
        healed = [condition for h in told if (condition := self._healed(h))]

        def work(tx: Writing) -> None:
            for h in told:
                journal.append(tx, Entry(NODE, h.kind, h.target, _cause(h), evidence=h.detail, system=h.system))
            for system, condition in healed:
                conditions.put(tx, system, condition)
            meta.move_node_cursor(tx, told[-1].boot, told[-1].seq)

        await self.store.write(work)

    def _healed(self, h: Happening) -> tuple[str, Condition] | None:
        key = (h.system, h.target)
        if h.kind == "replica.exited" and not h.detail.get("asked"):
            self._fallen[key] = h
        if h.kind != "replica.ready" or key not in self._fallen:
            return None
        fell = self._fallen.pop(key)
        text = f"{h.target} {_cause(fell) or 'ended'} → answering again in {(h.at - fell.at) * 1000:.0f} ms"
        return h.system, Condition("RecoveredFromCrash", h.system, "true", "Recovered", text, h.at, h.at, text)


def _cause(h: Happening) -> str:
    return str(h.detail.get("cause") or h.detail.get("reason") or "")
