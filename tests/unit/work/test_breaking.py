"""What the ledger does about deadlocks and loops, with a real store: said at once, written down, and what nobody waits for given up."""

import asyncio
import json
from contextlib import asynccontextmanager, suppress

import pytest

from quarterdeck.clock import VirtualClock
from quarterdeck.errors import Transient
from quarterdeck.model import ops
from quarterdeck.model.home import Home
from quarterdeck.model.records import Actor
from quarterdeck.model.work import Holder, Order, Target
from quarterdeck.store import journal, tasks
from quarterdeck.store.fairness import Fairness
from quarterdeck.store.store import Store
from quarterdeck.work.desk import Work
from quarterdeck.work.ledger import Ledger

HUMAN = Actor("anna", "cli")
A = Holder("s", "c", "a", 0, 1)


class Office:
    """A ledger, and one replica with one place, which speaks for itself."""

    def __init__(self, folder):
        self.clock = VirtualClock()
        self.store = Store.open(Home(folder), self.clock)
        self.written = True
        fairness = Fairness()
        self.ledger = Ledger(self._write, self.clock, lambda *_: "", lambda *_: None, fairness, lambda: 0.0)
        self.ledger.watch.staff = lambda _: frozenset({(0, 1)})
        self.work = Work(self.store, self.clock, fairness, lambda *_: "", self.ledger.heard)
        self.n, self.seen = 0, 0.0

    async def _write(self, work):
        if not self.written:
            raise Transient("read-only")
        return await self.store.write(work)

    async def ask(self, *asked, holder=A):
        answers = json.loads(await self.ledger.serve(holder, json.dumps({"ops": [ops.pack(op) for op in asked]}).encode()))["answers"]
        return [answer.get("ok", answer.get("error")) for answer in answers]

    async def report(self, *waits):
        self.n += 1
        (said,) = await self.ask(ops.Waits(self.n, self.seen, 1, 1, (), waits))
        self.seen = said["seen"]
        return said

    async def pass_time(self, *waits, seconds=2.0):
        """Until it is told to break a wait, or so long."""
        for _ in range(round(seconds / 0.25)):
            self.clock.advance(0.25)
            said = await self.report(*waits)
            try:
                await self.ledger.sweep()
            except Transient:
                assert not self.written
            if said["broken"]:
                return said
        return said

    def entries(self, verb):
        with self.store.read() as conn:
            return [record for record in journal.read(conn) if record.verb == verb]


def run(folder, body):
    @asynccontextmanager
    async def opened():
        made = Office(folder)
        try:
            await made.ledger.open()
            yield made
        finally:
            made.store.close()

    async def whole():
        async with opened() as made, asyncio.timeout(20):
            await body(made)

    asyncio.run(whole())


async def delegating(office):
    """A task that holds the only place and delegates to its own agent: (parent, child, the wait)."""
    (made,) = await office.work.submit([Order(Target("s", "c", "a"))], HUMAN)
    ((given,),) = await office.ask(ops.Claim(1, ()))
    ((child,),) = [[one["task"]] for one in await office.ask(ops.Delegate(made.task.id, given["fence"], "k#1", "c/a", "", "1"))]
    await office.ask(ops.Wait(made.task.id, given["fence"], (child,), ()))
    return made.task.id, child, (made.task.id, "task", "", child, "delegate", "c/a", office.clock.now())


def test_a_task_that_waits_for_its_own_place_is_told_and_written_down_and_its_child_given_up_once_it_has_let_go(tmp_path):
    async def body(office):
        parent, child, wait = await delegating(office)
        said = await office.pass_time(wait)
        ((waiter, on, told),) = said["broken"]
        assert (waiter, on) == (parent, child)
        (entry,) = office.entries("deadlock.broken")
        assert entry.reason in told
        assert [step["how"] for step in entry.after["cycle"]] == ["delegate", "place"]
        assert (entry.target, entry.system, entry.actor) == ("c/a", "s", "platform")
        assert office.work.get(child).state == "queued", "the delegate call has not failed yet"
        await office.pass_time()
        assert office.work.get(child).state == "cancelled"
        assert "deadlock" in office.work.get(child).reason
        assert office.work.get(parent).state in ("running", "waiting")
        assert len(office.entries("deadlock.broken")) == 1

    run(tmp_path, body)


def test_a_child_that_waits_for_its_time_is_no_deadlock(tmp_path):
    async def body(office):
        _, child, wait = await delegating(office)

        def later(tx):
            row = tasks.find_row(tx.connection, child)
            tasks.rows.update(tx, tasks.tables.tasks, row, after=office.clock.now() + 3600)

        await office.store.write(later)
        assert not (await office.pass_time(wait, seconds=10))["broken"]

    run(tmp_path, body)


def test_asks_alone_are_broken_while_the_store_cannot_write_and_written_down_later(tmp_path):
    async def body(office):
        office.written = False
        now, broken = office.clock.now(), []
        while not broken:
            office.n += 1
            office.clock.advance(0.25)
            assert office.clock.now() - now < 3
            asks, waits = (("1", "v", now, True), ("2", "v", now, False)), (("1", "ask", "v", "2", "ask", "c/a", now),)
            (said,) = await office.ask(ops.Waits(office.n, office.seen, 1, 0, asks, waits))
            office.seen, broken = said["seen"], said["broken"]
            with suppress(Transient):
                await office.ledger.sweep()
        office.written = True
        await office.ledger.sweep()
        assert len(office.entries("deadlock.broken")) == 1

    run(tmp_path, body)


def test_a_loop_is_written_down_once_in_the_name_of_who_refused_it(tmp_path):
    async def body(office):
        looped = ops.Looped(("c/a", "c/b"), 18, "c/b-0", "ping")
        assert await office.ask(looped, looped) == [None, None]
        assert await office.ask(looped) == [None]
        (entry,) = office.entries("loop.broken")
        assert entry.reason == "c/a → c/b → c/a: 18 messages, 9 rounds, without a change of state"
        assert (entry.target, entry.actor, entry.after["refused"]) == ("c/a", "c/a-0", "ping")

    run(tmp_path, body)


@pytest.mark.parametrize("looped", [ops.Looped((), 18, "x", "v"), ops.Looped(("a",), 18, "x", "v"), ops.Looped(("a",) * 14, 99, "x", "v")])
def test_a_loop_that_is_none_is_refused(tmp_path, looped):
    async def body(office):
        (said,) = await office.ask(looped)
        assert said["kind"] == "UserError"
        assert office.entries("loop.broken") == []

    run(tmp_path, body)


def test_a_delegated_task_carries_the_path_of_what_led_to_it(tmp_path):
    async def body(office):
        (made,) = await office.work.submit([Order(Target("s", "c", "a"))], HUMAN)
        ((given,),) = await office.ask(ops.Claim(1, ()))
        assert given["path"] == ""
        await office.ask(ops.Delegate(made.task.id, given["fence"], "k#1", "c/b", "", "1", path="c/a;task;00"))
        ((child,),) = await office.ask(ops.Claim(1, ()), holder=Holder("s", "c", "b", 0, 1))
        assert child["path"] == "c/a;task;00"

    run(tmp_path, body)
