"""The tokens that are in use: which secret is valid, when each was used, and the end of what a revoked one had open."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from quarterdeck.api.exchange import Streams
from quarterdeck.clock import Clock
from quarterdeck.errors import QuarterdeckError, Transient
from quarterdeck.store import tokens
from quarterdeck.store.store import Store
from quarterdeck.store.tokens import Token

MARK: Final = "token:"
"""Before a token's id, in the name of the actor it makes."""


@dataclass(slots=True)
class Sessions:
    """`write_uses` and `end_streams` are called about once a second, `forget` now and then."""

    store: Store
    clock: Clock
    streams: Streams
    _uses: dict[str, float] = field(default_factory=dict)
    _written: dict[str, float] = field(default_factory=dict)

    def known(self, secret: str) -> Token | None:
        """The valid token of a secret; None for any other, and when the store cannot tell."""
        now = self.clock.now()
        try:
            with self.store.read() as conn:
                found = tokens.check(conn, secret, now)
        except QuarterdeckError:
            return None
        self._uses[found.id] = now // 60 * 60
        return found

    async def write_uses(self) -> None:
        """Keep the minutes in which tokens were used, where they are new."""
        new = {id_: at for id_, at in self._uses.items() if self._written.get(id_) != at}
        self._uses.clear()
        if not new:
            return
        try:
            await self.store.write(lambda tx: tokens.touch(tx, new))
        except Transient:  # the store is read-only: the next use will tell
            return
        self._written = {id_: at for id_, at in {**self._written, **new}.items() if at > self.clock.now() - 3600}

    async def forget(self) -> None:
        """Delete tokens that ended more than a day ago. Raises Transient when the store cannot write."""
        await self.store.write(tokens.prune)

    def end_streams(self) -> None:
        """End the event streams of tokens that were revoked or have expired."""
        self.streams.end_late(self.clock.now())
        owners = self.streams.owners()
        if not owners:
            return
        try:
            with self.store.read() as conn:
                alive = tokens.living(conn, frozenset(name.removeprefix(MARK) for name in owners), self.clock.now())
        except QuarterdeckError:  # the store cannot tell: nobody gets in meanwhile, and what is open is asked about again in a second
            return
        self.streams.end(name for name in owners if name.removeprefix(MARK) not in alive)
