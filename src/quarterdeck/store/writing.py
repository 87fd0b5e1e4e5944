"""What a request holds while it writes: the open transaction, the clock, and the journal's head as this transaction sees it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from quarterdeck.clock import Clock
from quarterdeck.store.chain import Head


@dataclass(slots=True)
class Writing:
    """Passed to the work of `Store.write`, valid until that work returns. `head` moves with every appended record."""

    connection: Connection
    clock: Clock
    head: Head

    @property
    def now(self) -> float:
        """Wall time in epoch seconds: for display and expiry; order is by journal sequence."""
        return self.clock.now()
