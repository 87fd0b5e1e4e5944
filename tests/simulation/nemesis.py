"""What goes wrong in a simulated fleet while it may."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.simulation.ground import TROUBLE

if TYPE_CHECKING:
    from tests.simulation.world import World


class Nemesis:
    """Kills, stops, cuts off, drains, crashes the control plane, and sets the wall clock."""

    def __init__(self, world: World) -> None:
        self.world, self.chance = world, world.chance

    async def run(self) -> None:
        troubles = [self._kill, self._kill, self._stop, self._cut, self._crash, self._crash, self._drain, self._wall]
        async with asyncio.TaskGroup() as group:
            while self.world.loop.time() < TROUBLE:
                await asyncio.sleep(self.chance.random() * 8)
                group.create_task(self.chance.choice(troubles)())

    async def _kill(self) -> None:
        replica = self.chance.choice(self.world.replicas)
        if replica.process.alive:
            self._count("kills")
            replica.die()
            await asyncio.sleep(self.chance.random() * 3)
            replica.start()

    async def _stop(self) -> None:
        process = self.chance.choice(self.world.replicas).process
        self._count("stops")
        process.stop()
        await asyncio.sleep(self.chance.random() * 40)
        process.go_on()

    async def _cut(self) -> None:
        replica = self.chance.choice(self.world.replicas)
        replica.cut_off = True
        await asyncio.sleep(self.chance.random() * 30)
        replica.cut_off = False

    async def _crash(self) -> None:
        if self.world.control.up:
            self._count("crashes")
            self.world.control.die()
            await asyncio.sleep(self.chance.random() * 5)
            self.world.control.start()

    async def _drain(self) -> None:
        replica = self.chance.choice(self.world.replicas)
        if replica.process.alive and not replica.process.stopped and hasattr(replica, "taskwork"):
            old = replica.process
            await replica.drain()
            if old.alive and replica.process is old:
                replica.die()
                replica.start()

    async def _wall(self) -> None:
        self.world.clock.skew = self.chance.choice([0.0, -5.0, 5.0])

    def _count(self, what: str) -> None:
        self.world.told[what] = self.world.told.get(what, 0) + 1
