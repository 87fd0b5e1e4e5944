"""What the engine saw happen by itself, written into the journal; and the proof that a crash was healed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from sqlalchemy import Connection

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

        def work(tx: Writing) -> None:
            for h in told:
                journal.append(tx, Entry(NODE, h.kind, h.target, _cause(h), evidence=h.detail, system=h.system))
                if recovered := self._recovered(tx.connection, h):
                    conditions.put(tx, h.system, recovered)
            meta.move_node_cursor(tx, told[-1].boot, told[-1].seq)

        await self.store.write(work)

    def _recovered(self, conn: Connection, h: Happening) -> Condition | None:
        """The proof, when a replica is ready that fell before: it had been ready, nobody asked it to end, and it was not given up since."""
        key = (h.system, h.target)
        fell = self._fallen.get(key)
        match h.kind:
            case "replica.exited" if h.detail.get("asked"):
                self._fallen.pop(key, None)
            case "replica.exited" if _had_been_ready(conn, h):
                self._fallen[key] = h
            case "replica.failed":
                self._fallen.pop(key, None)
            case "replica.ready" if fell is not None:
                del self._fallen[key]
                text = f"{h.target} {_cause(fell) or 'ended'} → answering again in {(h.at - fell.at) * 1000:.0f} ms"
                return Condition("RecoveredFromCrash", h.system, "true", "Recovered", text, h.at, h.at, text)
        return None


def _had_been_ready(conn: Connection, end: Happening) -> bool:
    """By the journal, which also knows it of before this control plane began: the last one that was ready is the one that ended."""
    told = journal.read(conn, system=end.system, target=end.target, verb="replica.ready", newest_first=True, limit=1)
    return any(isinstance(r.evidence, dict) and r.evidence.get("incarnation") == end.detail.get("incarnation") for r in told)


def _cause(h: Happening) -> str:
    return str(h.detail.get("cause") or h.detail.get("reason") or "")
