"""The bus made whole again from the database, without a human, after it lost files: and the loss named, never papered over.

Tasks are untouched by it. A stream that is gone, was replaced or has gone back is written down as lost *before* it is made anew under a
higher epoch; what the outbox had sent to it and is not known to be handled goes out again; of the rest it is told how many at most are
lost, and since when. Streams keep what survived in them.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final

from quarterdeck.bus import streams
from quarterdeck.bus.admin import Admin
from quarterdeck.model.records import PLATFORM, Condition, Entry
from quarterdeck.model.work import Target
from quarterdeck.model.world import StreamSeen
from quarterdeck.store import conditions, inventory, journal, outbox
from quarterdeck.store.store import Store
from quarterdeck.store.writing import Writing

log = logging.getLogger(__name__)

KIND: Final = "BusIntact"
"""The Condition that says what was lost; false for `SHOWN` seconds after it."""
SHOWN: Final = 3600.0
LOST: Final = "bus.lost"
LATE: Final = 10.0
"""Seconds after which a message that the stream has confirmed is compared with what the stream still has."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A stream before and after. `lost_at_most` counts plain messages that nobody has any more; `since` is when it was last seen whole."""

    stream: str
    cause: str
    epoch: int
    had_last: int
    had_messages: int
    survived: int
    sent_again: int
    lost_at_most: int
    since: float

    @property
    def told(self) -> str:
        """For people."""
        plain = f"at most {self.lost_at_most} plain messages are lost, and those after it was last seen whole"
        return f"{self.cause}; {plain}; {self.survived} survived, {self.sent_again} of the outbox are sent again"


def stream_of(thing: inventory.Thing) -> StreamSeen:
    """A stream as the inventory has it."""
    account, _, name = thing.name.partition("/")
    return StreamSeen(account, name, thing.first, thing.last, thing.messages, 0, thing.epoch)


def target_of(thing: inventory.Thing) -> Target:
    """Whose stream it is."""
    account, _, name = thing.name.partition("/")
    return Target(thing.system, account.removeprefix(f"{thing.system}."), name.removeprefix("IN_"))


def things(store: Store, system: str | None) -> list[inventory.Thing]:
    """The streams that should be there, of one system or of all."""
    with store.read() as conn:
        return [thing for thing in inventory.list_(conn, system, outbox.STREAM) if thing.gone is None]


async def note(store: Store, known: list[inventory.Thing], seen: tuple[StreamSeen, ...]) -> None:
    """Raise the watermarks to what was seen."""
    there = {f"{stream.account}/{stream.name}": stream for stream in seen}
    pairs = [(thing, there[thing.name]) for thing in known if thing.name in there]
    moved = [(t, s) for t, s in pairs if s.last >= t.last and (s.last, s.messages) != (t.last, t.messages)]

    def work(tx: Writing) -> None:
        for thing, stream in moved:
            inventory.watermark(tx, thing.system, thing.kind, thing.name, first=stream.first, last=stream.last, messages=stream.messages)

    if moved:
        await store.write(work)


def suspects(made: list[inventory.Thing], seen: tuple[StreamSeen, ...]) -> list[inventory.Thing]:
    """Those whose stream does not look as it should."""
    there = {(stream.account, stream.name): stream for stream in seen}
    return [thing for thing in made if streams.lost(one := stream_of(thing), there.get((one.account, one.name)))]


async def follow(store: Store, bus: Admin, apply: Callable[[str], Awaitable[None]]) -> None:
    """Look at all streams: raise their watermarks, or make those anew that lost something. `apply` pushes the accounts of a system."""
    seen = await bus.streams()
    known = things(store, None)
    lost = suspects(known, seen)
    for system in {thing.system for thing in lost}:  # an account that is not there hides its streams
        await apply(system)
    for thing in lost:
        await mend(store, bus, thing)
    if not lost:
        await note(store, known, seen)
        await rescue(store, known, seen)
        await _calm(store)


async def mend(store: Store, bus: Admin, thing: inventory.Thing) -> Loss | None:
    """Look at one suspect again, by its own account; write the loss down, and make the stream anew. None when nothing is lost."""
    target, made = target_of(thing), stream_of(thing)
    seen = await bus.look_at_stream(target.system, target.cluster, target.agent)
    cause = streams.lost(made, seen)
    if not cause:
        return None
    loss = await store.write(lambda tx: _write_down(tx, thing, seen, cause))
    log.error("%s: %s", target.name, loss.told)
    name = (target.system, target.cluster, target.agent)
    fresh = await bus.ensure_stream(*name, inventory=(), epoch=thing.epoch + 1, after=thing.last)
    reason = f"made anew after a loss: {fresh.messages} left"
    await store.write(lambda tx: inventory.made(tx, thing.system, thing.kind, thing.name, reason=reason))
    return loss


def _write_down(tx: Writing, thing: inventory.Thing, seen: StreamSeen | None, cause: str) -> Loss:
    """The incident and what follows from it, in one transaction: it is the proof that the stream may be made anew."""
    target = target_of(thing)
    survived = 0 if seen is None else seen.messages
    again = outbox.lost(tx, target)
    plain = max(0, thing.messages - again)
    lost = min(plain, max(0, thing.messages - survived))
    loss = Loss(thing.name, cause, thing.epoch, thing.last, thing.messages, survived, again, lost, thing.seen)
    inventory.gone(tx, thing.system, thing.kind, thing.name, reason=cause)
    record = journal.append(
        tx,
        Entry(
            PLATFORM,
            LOST,
            target.name,
            loss.told,
            before={"epoch": thing.epoch, "last": thing.last, "messages": thing.messages},
            after=asdict(loss),
            outcome="failed",
            system=thing.system,
        ),
    )
    told = Condition(KIND, target.name, "false", "Lost", loss.told, tx.now, tx.now, f"journal record {record.seq}")
    conditions.put(tx, thing.system, told)
    return loss


async def rescue(store: Store, known: list[inventory.Thing], seen: tuple[StreamSeen, ...]) -> None:
    """Send again what a stream says was acknowledged though its receiver never said that it is done: that was somebody else's word.

    A receiver tells the ledger first. So a hole in the middle of a stream is found too, and an acknowledgement of a message of an earlier
    epoch that hit the one which has its number now.
    """
    with store.read() as conn:
        under_way = outbox.under_way(conn)
    there = {f"{stream.account}/{stream.name}": stream for stream in seen}
    for thing in known:
        stream = there.get(thing.name)
        if stream is not None and target_of(thing) in under_way and stream.epoch == thing.epoch:
            count = await store.write(
                partial(outbox.swallowed, target=target_of(thing), epoch=stream.epoch, until=stream.acked, after=LATE)
            )
            if count:
                log.warning("%d messages for %s are sent again: the stream let go of them unhandled", count, thing.name)


async def _calm(store: Store) -> None:
    """Incidents that were shown for long enough are history: the journal keeps them."""
    with store.read() as conn:
        shown = conditions.of_kind(conn, KIND, "false")

    def work(tx: Writing) -> None:
        for system, found in shown:
            if tx.now - found.since > SHOWN:
                text = f"whole since; {found.evidence} has the last incident"
                conditions.put(tx, system, Condition(KIND, found.target, "true", "Whole", text, tx.now, tx.now, found.evidence))

    if shown:
        await store.write(work)


def set_aside(tx: Writing, folder: Path) -> None:
    """Put a folder that nats-server does not start with under another name, for whoever wants to look, and write that down."""
    aside = folder.with_name(f"{folder.name}.damaged-{tx.now:.0f}")
    reason = f"nats-server does not start with it; it is kept as {aside.name}"
    journal.append(tx, Entry(PLATFORM, "bus.quarantine", folder.name, reason, outcome="failed"))
    if folder.exists():
        folder.rename(aside)
