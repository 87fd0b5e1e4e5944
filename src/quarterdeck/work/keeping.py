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


@dataclass(slots=True)
class Keeping:
    """`keep`: seconds that a task is kept after its end."""

    store: Store
    clock: Clock
    blobs: Blobs
    keep: float = retention.KEEP

    async def seal(self) -> bool:
        """Seal the events since the last time, if there are any. They are read beside the writer, which only writes the sum down."""
        found = await asyncio.to_thread(self._due)
        return found is not None and await self.store.write(lambda tx: seals.make(tx, found))

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

    def _due(self) -> Seal | None:
        with self.store.read() as connection:
            return seals.due(connection)
