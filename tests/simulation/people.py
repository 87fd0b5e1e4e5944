"""Those who give a simulated fleet its work, answer it, and look before they say what happened."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING

from sqlalchemy import select
from tests.simulation.ground import AGENTS, HUMAN, TROUBLE

from quarterdeck.errors import QuarterdeckError, Transient
from quarterdeck.model.work import Order, Target
from quarterdeck.store import effects, questions, tables
from quarterdeck.work.history import Violation

if TYPE_CHECKING:
    from tests.simulation.world import World


class People:
    """Users who order and sometimes cancel, and one human who is asked."""

    def __init__(self, world: World) -> None:
        self.world, self.chance = world, world.chance

    def order(self, n: int) -> Order:
        chance = self.chance
        payload = self._payload(f"{n}", 2)
        return Order(
            Target("s", "c", AGENTS[0]),
            json.dumps(payload),
            key=f"k{n}",
            tenant=chance.choice(["x", "y"]),
            priority=chance.choice([0, 0, 5]),
            lane=chance.choice([None, None, "l"]),
            after=self.world.clock.now() + 3 if chance.random() < 0.1 else 0.0,
            deadline=self.world.clock.now() + chance.random() * 60 if chance.random() < 0.15 else None,
            attempts=chance.choice([1, 3, 5]),
        )

    def _payload(self, name: str, depth: int) -> dict:
        chance = self.chance
        found = {
            "n": name,
            "steps": chance.choice([0, 1, 3]),
            "sleep": chance.random() * chance.choice([0.1, 5]),
            "fails": chance.choice([0, 0.3]),
        }
        if chance.random() < 0.7:
            found |= {"effect": chance.choice(["idempotent", "dedupes", "unsafe"]), "key": f"e{name}", "value": f"v{name}"}
        if depth and chance.random() < 0.3:
            found["children"] = [self._payload(f"{name}.{n}", depth - 1) for n in range(chance.choice([1, 2, 4]))]
        if chance.random() < 0.15:
            found["ask"] = 10.0 + chance.random() * 30
        return found

    async def user(self, n: int) -> None:
        await asyncio.sleep(self.chance.random() * TROUBLE / 2)
        order, known = self.order(n), self.world.acknowledged
        for again in range(2 if self.chance.random() < 0.3 else 1):
            made = await self._until_answered(lambda work: work.submit([order], HUMAN))
            task = made[0].task.id
            if again and known[order.key] != task:
                self.world.wrong.append(Violation("each key once", task, f"key {order.key} was task {known[order.key]} before"))
            known[order.key] = task
        if self.chance.random() < 0.1:
            await asyncio.sleep(self.chance.random() * 20)
            with suppress(QuarterdeckError):
                await self.world.control.do(lambda work: work.cancel(task, HUMAN, "not wanted"))

    async def _until_answered(self, ask):
        while True:
            try:
                return await self.world.control.do(ask)
            except Transient:
                await asyncio.sleep(1.0)

    async def human(self) -> None:
        """Answers, looks what really happened before saying so, and sends some dead letters back."""
        while True:
            await asyncio.sleep(4.0 + self.chance.random())
            with self.world.disk.read() as connection:
                asked = questions.open_(connection)
                lost = effects.with_outcome(connection, "unknown")
                t = tables.tasks
                dead = [row.id for row in connection.execute(select(t.c.id).where(t.c.state.in_(("dead", "failed")), t.c.parent.is_(None)))]
            for q in asked:
                if self.chance.random() < 0.4:
                    await self._try(lambda work, q=q: work.answer(q.task, q.name, "yes", HUMAN))
            for effect in lost:
                happened = sum((call.root, call.key) == (effect.root, effect.key) for call in self.world.calls)
                said = effects.Said("done" if happened else self.chance.choice(["again", "failed"]), '"so I see"', HUMAN, "I looked")
                await self._try(lambda work, e=effect, said=said: work.resolve(e.task, e.key, said))
            for task in dead:
                if self.world.rough and self.chance.random() < 0.2:
                    await self._try(lambda work, task=task: work.retry(task, HUMAN, "once more"))

    async def _try(self, ask) -> None:
        with suppress(QuarterdeckError):
            await self.world.control.do(ask)
