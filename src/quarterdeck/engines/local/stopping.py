"""Stopping on this machine: the halt goes to the node, or into its list where no node lives; and what is left is read from the kernel."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from quarterdeck import halts, linux
from quarterdeck.clock import Clock
from quarterdeck.engines.local import proving
from quarterdeck.engines.local.client import NodeClient
from quarterdeck.engines.local.living import living, of
from quarterdeck.engines.local.node.lifecycle import MARK
from quarterdeck.errors import Conflict, Transient
from quarterdeck.halts import Halt
from quarterdeck.model.home import Home
from quarterdeck.model.stops import Source

ANSWER_WITHIN: Final = 0.8
"""Seconds for the node to answer a halt; then one that the kernel shows as stopped is ended, and for one that is busy we kill ourselves."""
PATIENCE: Final = 5.0
_AGAIN: Final = 0.02
_TRIES_WITHIN: Final = 1.5
_STOPPED: Final = frozenset({"T", "t"})


@dataclass(slots=True)
class LocalStopper:
    """See `engines.base.Stopper`."""

    home: Home
    clock: Clock
    node: NodeClient

    async def halt(self, halt: Halt, within: float | None) -> str:
        """Tell the node. One that hangs is ended; one that is not there finds it in its list; one that is busy gets to it, and we kill."""
        if within is None:
            return str((await self.node.request("halt", halt=halt.to_json(), within=None, limit=PATIENCE))["problem"])
        deadline = self.clock.monotonic() + _TRIES_WITHIN
        while True:
            try:
                return str((await self.node.request("halt", halt=halt.to_json(), within=within, limit=ANSWER_WITHIN))["problem"])
            except Transient as error:
                if self.node.attached.is_set() and linux.stat(self.node.pid)[0] not in _STOPPED:
                    await asyncio.to_thread(kill_all, self.home, halt)
                    return f"the node is busy and has not answered yet: {error.message}"
                if self.node.attached.is_set():
                    self.node.end_hung()
                if self._written(partial(halts.with_halt, new=halt)):
                    return ""
                if self.clock.monotonic() > deadline:
                    raise Transient(f"the halt could not be given to the node: {error.message}", hint="qd down stops everything") from error
            await asyncio.sleep(_AGAIN)

    async def lift(self, system: str, target: str) -> str:
        """Tell the node; when it is away it hears of it later, from whoever compares its list with the Changes."""
        return str((await self.node.request("lift", system=system, target=target, limit=PATIENCE))["problem"])

    def _written(self, edit: Callable[[Any], tuple[Halt, ...]]) -> bool:
        """Into the list on disk, where no node lives that keeps it."""
        try:
            halts.edit_alone(self.home, edit)
        except Conflict:  # one is just coming up, or not quite gone
            return False
        except OSError as error:
            raise Transient(f"{self.home.halts} cannot be written: {error}", hint="qd down stops everything") from error
        return True

    async def halted(self) -> tuple[Halt, ...] | None:
        """The node's list."""
        answer = await self.node.request("halts", limit=PATIENCE)
        return None if answer["damaged"] else tuple(Halt.from_json(item) for item in answer["halts"])

    async def reset(self, whole: tuple[Halt, ...]) -> None:
        """Tell the node the whole list."""
        await self.node.request("halts_reset", halts=[halt.to_json() for halt in whole])

    async def attached(self) -> str:
        """Wait for a node; gives which life of it this is."""
        await self.node.attached.wait()
        return self.node.boot

    async def alive(self, system: str, target: str) -> Source:
        """From /proc."""
        return await asyncio.to_thread(proving.processes, self.home, system, target)

    async def connected(self, system: str, target: str) -> Source:
        """From the bus."""
        return await proving.connections(self.home, self.clock, system, target)


def kill_all(home: Home, halt: Halt) -> None:
    """Kill what is alive of a target, whoever started it."""
    for one in of(living(home, MARK), halt.system, halt.target):
        linux.kill(one.pid)
