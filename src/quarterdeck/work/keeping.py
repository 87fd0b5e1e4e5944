"""What is done to the records of work in the background: sealing what happened, forgetting what is long over, with its files."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from quarterdeck.clock import Clock
from quarterdeck.model.blobs import Ref
from quarterdeck.store import blobs, retention, seals
from quarterdeck.store.blobs import Blobs
from quarterdeck.store.seals import Seal
from quarterdeck.store.store import Store

SEAL_EVERY: Final = 10
FORGET_EVERY: Final = 60
SWEEP_EVERY: Final = 3600
"""Seconds."""
RESTS: Final = 3.0
"""How many times as long as it read it rests, before it reads on."""


@dataclass(slots=True)
class Keeping:
    """`keep`: seconds that a task is kept after its end."""

    store: Store
    clock: Clock
    blobs: Blobs
    keep: float = retention.KEEP

    async def seal(self, *, hurry: bool = False) -> bool:
        """Seal the events since the last time, if there are any. They are read beside the writer, which only writes the sum down.

        In pieces with rests between, or after a busy time all work would stand still for most of a second; without them in a `hurry`.
        """
        found, newest = await asyncio.to_thread(self._begun)
        while found.last < newest:
            began = self.clock.monotonic()
            found = await asyncio.to_thread(self._further, found, newest)
            if not hurry:
                await asyncio.sleep(RESTS * (self.clock.monotonic() - began))
        return found.sum.count > 0 and await self.store.write(lambda tx: seals.make(tx, found))

    async def forget(self) -> int:
        """Drop what is over since long ago, in pieces, so that other writes come in between; gives how many tasks that were."""
        before, gone = self.clock.now() - self.keep, 0
        while some := await self.store.write(lambda tx: retention.forget(tx, before)):
            gone += some
        return gone

    async def sweep(self) -> int:
        """Drop large bodies that nothing refers to any more; gives how many those were."""

        def referred(refs: list[Ref]) -> set[str]:
            with self.store.read() as connection:
                return blobs.referred(connection, refs)

        return await asyncio.to_thread(self.blobs.sweep, referred, self.clock.now() - blobs.UNUSED)

    def _begun(self) -> tuple[Seal, int]:
        with self.store.read() as connection:
            return seals.begin(connection)

    def _further(self, seal: Seal, newest: int) -> Seal:
        with self.store.read() as connection:
            return seals.further(connection, seal, newest)
