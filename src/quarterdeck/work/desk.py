"""The noun behind the doors: what people and programs do with tasks. Everything is read from the rows, and written as one turn."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Final, TypeVar

from sqlalchemy import Connection

from quarterdeck.clock import Clock
from quarterdeck.errors import NotFound, QuarterdeckError, UserError
from quarterdeck.model.blobs import Ref, Use, nowhere
from quarterdeck.model.desired import binding
from quarterdeck.model.measures import Histogram
from quarterdeck.model.records import Actor
from quarterdeck.model.work import BUDGETS, ENDED, MOST_BODY, Fork, Order, Question, Reach, Submitted, Task, TooLarge, checked_attempts
from quarterdeck.store import effects, forks, orders, questions, tasks
from quarterdeck.store.fairness import Fairness
from quarterdeck.store.store import Store
from quarterdeck.store.turn import Turn, turning
from quarterdeck.work.gate import Gate
from quarterdeck.work.gathering import Gathering
from quarterdeck.work.output import Output
from quarterdeck.work.spending import Allowances, by_default, nothing
from quarterdeck.work.watch import Asking

Heard = Callable[[Turn], None]
T = TypeVar("T")
AT_ONCE: Final = 1000
"""Orders of one submission."""
Made = Submitted | QuarterdeckError
"""What became of an order: a task, or why it was refused."""
_Asked = tuple[Order | QuarterdeckError, Actor]
ANY: Final = ""
"""In place of a task's id: something happened to any."""
MOST_FOLLOWED: Final = 200
"""Tasks at once of which a follower is told which they are."""


@dataclass(slots=True)
class Followed:
    """The tasks that something happened to, or that said something, since they were last taken; `news` is set while there are any."""

    news: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: set[str] = field(default_factory=set)

    def add(self, tasks: frozenset[str]) -> None:
        """On the doors' loop. Of very many it is only kept that they are too many."""
        if len(self._tasks) <= MOST_FOLLOWED:
            self._tasks |= tasks
        self.news.set()

    def take(self) -> frozenset[str] | None:
        """None: too many to tell which."""
        taken, self._tasks = self._tasks, set()
        self.news.clear()
        return frozenset(taken) if len(taken) <= MOST_FOLLOWED else None


@dataclass(slots=True)
class Work:
    """`reach` judges targets, `heard` tells the ledger what a turn wrote, `output` has what tasks say while they work.

    `gate` may let nobody in for a while, `allowances` are the budgets that the spec gives.
    """

    store: Store
    clock: Clock
    fairness: Fairness
    reach: Reach
    heard: Heard
    output: Output = field(default_factory=Output)
    gate: Gate | None = None
    allowances: Allowances = nothing
    tallied: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """What turns have noted since we began, by system, cluster and kind."""
    took: Callable[[], Histogram] = Histogram
    """How long requests of replicas took the ledger."""
    use: Use = nowhere
    """Of large payloads."""
    asks: Callable[[str], Sequence[Asking]] = lambda _: ()
    """What a task asked and waits for, as far as its replica has said so."""
    _watched: dict[str, set[asyncio.Event]] = field(default_factory=dict)
    _followers: list[Followed] = field(default_factory=list)
    _gathered: Gathering[_Asked, Made] = field(init=False)

    def __post_init__(self) -> None:
        self._gathered = Gathering(self._keep, AT_ONCE)

    async def submit(self, wanted: list[Order], actor: Actor, *, retry: bool = False) -> Sequence[Made]:
        """Keep orders as tasks, on disk when this returns; one that is refused does not stop the others.

        What several callers submit at the same time is one write. `retry`: they were tried before, and not taken.
        """
        if len(wanted) > AT_ONCE:
            raise UserError(f"{len(wanted)} orders at once", hint=f"at most {AT_ONCE} in one request")
        checked = [self._checked(order, order.tenant or actor.name) for order in wanted]
        if self.gate is None:
            return await self._gathered.ask([(order, actor) for order in checked])
        return await self._through(self.gate, checked, actor, retry=retry)

    async def _through(self, gate: Gate, checked: Sequence[Order | QuarterdeckError], actor: Actor, *, retry: bool) -> Sequence[Made]:
        admitted: list[Order | QuarterdeckError] = []
        made: Sequence[Made] = ()
        try:
            for order in checked:
                passed = await gate.admit(order, order.tenant or actor.name, retry=retry) if isinstance(order, Order) else order
                admitted.append(passed)
            made = await self._gathered.ask([(order, actor) for order in admitted])
        finally:
            for entered, one in zip_longest(admitted, made):
                if isinstance(entered, Order):
                    gate.written(entered, one)
        return made

    async def _keep(self, asked: Sequence[_Asked]) -> Sequence[Made]:
        asked = [(self._in_time(order) if isinstance(order, Order) else order, actor) for order, actor in asked]

        def work(turn: Turn) -> list[Made]:
            made = iter(orders.submit_all(turn, [(order, actor.name) for order, actor in asked if isinstance(order, Order)]))
            return [next(made) if isinstance(order, Order) else order for order, _ in asked]

        return await self.turn(work)

    def _in_time(self, order: Order) -> Order | QuarterdeckError:
        """It may have waited for others' writes."""
        late = self.gate.late(order) if self.gate is not None else None
        return order if late is None else late[1]

    def _checked(self, order: Order, owner: str) -> Order | QuarterdeckError:
        problem = self.reach(order.target.system, "", order.target)
        if problem:
            return NotFound(problem, hint="qd get agents lists them")
        if len(order.payload) > MOST_BODY:
            return TooLarge(f"the payload is {len(order.payload):,} bytes", hint=f"more than {MOST_BODY:,} go to /v1/blobs first")
        if set(order.budget) - set(BUDGETS) or any(limit < 0 for limit in order.budget.values()):
            return UserError(f"no budget: {dict(order.budget)}", hint=f"amounts of {', '.join(BUDGETS)}, none below 0")
        try:
            if (ref := Ref.in_body(order.payload)) is not None:
                self.use(order.target.system, ref)
            checked_attempts(order.attempts)
            order.key is None or tasks.own_key(order.key)
        except UserError as error:
            return error
        limits = by_default(binding(self.allowances(order.target.system), order.target.cluster, owner), order.budget)
        return order if limits == order.budget else replace(order, budget=limits)

    async def cancel(self, task: str, actor: Actor, reason: str) -> Task:
        """Have a task and all below it given up. Raises NotFound; one that has ended stays as it is."""

        def work(turn: Turn) -> str:
            row = tasks.require(turn.connection, task)
            tasks.cancel(turn, row, reason or "cancelled", actor.name)
            tasks.told(turn, row, "task.cancel", actor, reason)
            return str(row["id"])

        await self.turn(work)
        return self.get(task)

    async def retry(self, task: str, actor: Actor, reason: str) -> Task:
        """Send a dead letter or a failed task back into the queue. Raises NotFound, Conflict."""
        await self.turn(lambda turn: tasks.retry(turn, tasks.require(turn.connection, task), actor, reason))
        return self.get(task)

    async def fork(self, wanted: Fork, key: str | None) -> Submitted:
        """Run a task that has ended again, as a new one. Raises NotFound, Conflict, and whatever a submission does."""
        with self.store.read() as conn:
            order = forks.order(conn, wanted, key, self.clock.now())
        (made,) = await self.submit([order], wanted.actor)
        if isinstance(made, QuarterdeckError):
            raise made
        return made

    async def resolve(self, task: str, key: str, said: effects.Said) -> Task:
        """Say what became of an unknown effect. Raises NotFound, Conflict."""
        await self.turn(lambda turn: effects.resolve(turn, task, key, said))
        return self.get(task)

    async def answer(self, task: str, name: str | None, text: str, actor: Actor, reason: str = "") -> Question:
        """Answer a question of a task; without a name the only open one. Raises NotFound, UserError, Conflict."""

        def work(turn: Turn) -> Question:
            return questions.answer(turn, task, name or _only(turn.connection, task), text, actor=actor, reason=reason)

        return await self.turn(work)

    def get(self, task: str) -> Task:
        """One by id; raises NotFound."""
        with self.store.read() as conn:
            return tasks.get(conn, task)

    @contextmanager
    def watch(self, task: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever something happened to a task (`ANY`: to any); clear it before looking. On the doors' loop."""
        event = asyncio.Event()
        self._watched.setdefault(task, set()).add(event)
        try:
            yield event
        finally:
            watchers = self._watched[task]
            watchers.discard(event)
            if not watchers:
                del self._watched[task]

    @contextmanager
    def follow(self) -> Iterator[Followed]:
        """What happens to which tasks from now on. On the doors' loop."""
        followed = Followed()
        self._followers.append(followed)
        try:
            yield followed
        finally:
            self._followers.remove(followed)

    async def ended(self, task: str, within: float) -> Task:
        """Wait until a task has come to an end, or stopped for a human, or `within` seconds are over; as it is then. Raises NotFound."""
        with self.watch(task) as event:
            deadline = self.clock.monotonic() + within
            while (found := self.get(task)).state not in (*ENDED, "unknown") and (left := deadline - self.clock.monotonic()) > 0:
                event.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(left, 1.0)):  # a word may be lost with the process that had it
                        await event.wait()
            return found

    def stir(self, touched: frozenset[str]) -> None:
        """Something happened to these tasks. On the doors' loop."""
        for followed in self._followers:
            followed.add(touched)
        for task in (touched | {ANY}) & self._watched.keys():
            for event in self._watched[task]:
                event.set()

    async def turn(self, work: Callable[[Turn], T]) -> T:
        """Do something to work in one write; the ledger hears of it once it is on disk."""

        async def heard() -> T:
            turn, found = await self.store.write(turning(self.fairness, work))
            self.heard(turn)
            return found

        return await asyncio.shield(heard())  # what is written is heard of, whether or not the caller still waits


def _only(connection: Connection, task: str) -> str:
    waiting = [q.name for q in questions.of(connection, task) if q.state == "open"]
    if len(waiting) != 1:
        hint = f"name one: {', '.join(waiting)}" if waiting else f"qd task get {task} shows what it does"
        raise (UserError if waiting else NotFound)(f"task {task} has {len(waiting) or 'no'} open questions", hint=hint)
    return waiting[0]
