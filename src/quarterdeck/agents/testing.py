"""Run agents in a test, in memory, without any server.

::

    from quarterdeck.agents import testing

    async def test_ranking():
        async with testing.fleet(analyst=analyst, reporter=reporter) as fleet:
            score = await fleet.ask("analyst", "window", {"start": 0, "lines": []})
            await fleet.publish("analyst", "window", Window(1.0, ["error"]), key="w-1")
            await fleet.settled()
            assert [m.verb for m in fleet.messages if m.to == "test/reporter"] == ["ranking"]

Messages pass through the same checks, JSON and envelopes as on the bus. What is told and published is handled one message at a time, in
the order of sending; a failed durable one comes again at once, up to three times. Background work runs only when `turn` is called. There
are no links, time limits or breakers here: those belong to the bus.

Tasks run through the same code as in a replica, against a ledger in memory::

            fleet.answer_with("approve")
            fleet.crash_at(effect="order-7")  # between the call and its record: the next attempt must bear that
            assert await fleet.run("payments/cashier", {"order": 7}) == "paid"
            assert [effect.outcome for effect in fleet.effects] == ["done"]

A failed attempt is tried again at once. A question that nobody answers is over at once.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from quarterdeck.agents.agent import Agent, as_agent, hook
from quarterdeck.agents.context import Context, Place
from quarterdeck.agents.desk import Desk, run
from quarterdeck.agents.fake_blobs import FakeBlobs
from quarterdeck.agents.fake_crew import Crew, Point
from quarterdeck.agents.fake_ledger import FakeLedger, FakeQuestion, FakeTask
from quarterdeck.agents.payload import decode
from quarterdeck.agents.tasks import EffectUnknown
from quarterdeck.bus import subjects
from quarterdeck.bus.client import Watch, unwatched
from quarterdeck.bus.connection import Incoming
from quarterdeck.bus.envelope import TRACE, Ack, Answer, Envelope, Limits, NoAnswer, Trace, check_key, check_size, full_name, new_id, result
from quarterdeck.clock import Clock, SystemClock
from quarterdeck.model import ops
from quarterdeck.model.work import ENDED, TaskFailed

CLUSTER: Final = "test"
DELIVERIES: Final = 3


_OVER: Final = (*ENDED, "unknown")
Kind = Literal["ask", "tell", "publish"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message that was sent: `sender` is `cluster/agent-0`, `to` is `cluster/agent`; `outcome` is ok, or the kind of error."""

    kind: Kind
    sender: str
    to: str
    verb: str
    payload: Any
    outcome: str


@dataclass(frozen=True, slots=True)
class Task:
    """A task as it is now: `to` is `cluster/agent`, `steps` names those that are kept, `said` is what it emitted."""

    id: str
    to: str
    verb: str
    payload: Any
    key: str
    state: str
    reason: str
    attempts: int
    parent: str | None
    result: Any
    steps: tuple[str, ...]
    said: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Effect:
    """What became of an effect: `outcome` is started, done, failed or unknown."""

    key: str
    task: str
    semantics: str
    outcome: str
    value: Any
    error: str


class _Post:
    """What all agents of a fleet share: the desks, what waits to be delivered, and what was."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.blobs = FakeBlobs()
        self.desks: dict[str, Desk] = {}
        self.messages: list[Message] = []
        self.waiting: asyncio.Queue[tuple[Kind, str, Incoming]] = asyncio.Queue()
        self._kept: dict[str, Ack] = {}

    async def answer(self, kind: Kind, to: str, incoming: Incoming) -> Answer:
        """Handle an ask or a tell."""
        answer = await self.desks[to].answer(incoming)
        self._record(kind, to, incoming, answer.kind or "ok")
        return answer

    def keep(self, unique: str, agent: str, to: str, incoming: Incoming) -> Ack:
        """Take a durable message, once."""
        known = self._kept.get(unique)
        if known:
            return Ack(known.stream, known.seq, duplicate=True)
        self._kept[unique] = Ack(subjects.stream(agent), len(self._kept) + 1)
        self.waiting.put_nowait(("publish", to, incoming))
        return self._kept[unique]

    async def deliver(self) -> None:
        """Handle what was told and published, one after the other, until cancelled."""
        while True:
            kind, to, incoming = await self.waiting.get()
            if kind == "tell":
                await self.answer(kind, to, incoming)
            else:
                await self._deliver_durable(to, incoming)
            self.waiting.task_done()

    async def _deliver_durable(self, to: str, incoming: Incoming) -> None:
        for delivery in range(1, DELIVERIES + 1):
            verdict = await self.desks[to].settle(replace(incoming, delivered=delivery))
            self._record("publish", to, incoming, {"done": "ok", "again": "failed", "never": verdict.reason}[verdict.kind])
            if verdict.kind != "again":
                return

    def _record(self, kind: Kind, to: str, incoming: Incoming, outcome: str) -> None:
        sender = full_name(subjects.parse(incoming.subject).sender)
        self.messages.append(Message(kind, sender, to, incoming.verb, self.blobs.value(incoming.body.decode()), outcome))


class _Wire:
    """The way out of one agent: straight to the desk of another."""

    def __init__(self, post: _Post, sender: subjects.Sender) -> None:
        self._post = post
        self._sender = sender

    async def ask(
        self, cluster: str, to: str, verb: str, body: bytes, *, limits: Limits, trace: Trace | None, watch: Watch = unwatched
    ) -> bytes:
        ends = [at for at in (limits.until, limits.timeout and self._post.clock.now() + limits.timeout) if at]
        name, incoming = self._pack("ask", (cluster, to, verb), body, Envelope(self._id(), self._sender, min(ends, default=None), trace))
        answer = await self._post.answer("ask", name, incoming)
        return result(answer.headers(), answer.content())

    async def tell(self, cluster: str, to: str, verb: str, body: bytes, *, trace: Trace | None) -> None:
        name, incoming = self._pack("ask", (cluster, to, verb), body, Envelope(self._id(), self._sender, trace=trace))
        self._post.waiting.put_nowait(("tell", name, incoming))

    async def publish(
        self,
        cluster: str,
        to: str,
        verb: str,
        body: bytes,
        *,
        key: str | None,
        limits: Limits,
        trace: Trace | None,
    ) -> Ack:
        check_key(key or "")
        envelope = Envelope(self._id(), self._sender, trace=trace)
        name, incoming = self._pack("in", (cluster, to, verb), body, envelope)
        unique = f"{name} {self._sender.cluster}/{self._sender.agent}:{verb}:{key}" if key else envelope.id
        return self._post.keep(unique, to, name, incoming)

    def keep(self, letter: ops.Publish) -> int:
        """Take a message that the ledger has kept; gives its number."""
        cluster, _, to = letter.to.partition("/")
        trace = Trace.read(letter.headers.get(TRACE, ""))
        name, incoming = self._pack(
            "in", (cluster, to, letter.verb), letter.payload.encode(), Envelope(letter.id, self._sender, trace=trace)
        )
        return self._post.keep(letter.id, to, name, incoming).seq

    def _id(self) -> str:
        return new_id(self._post.clock.now(), os.urandom(10))

    def _pack(self, kind: subjects.Kind, target: tuple[str, str, str], body: bytes, envelope: Envelope) -> tuple[str, Incoming]:
        """The agent's name and the message as it arrives there."""
        cluster, to, verb = target
        check_size(body, f"the payload of {verb!r}")
        name = f"{cluster}/{to.removesuffix('-0')}"
        if name not in self._post.desks:
            msg = f"{name}: nobody is there to take it (this fleet has {', '.join(sorted(self._post.desks))})"
            raise NoAnswer(msg, cause="no_responders")
        subject = subjects.subject(kind, self._sender, self._sender.cluster, to, verb)  # as the receiver sees it
        return name, Incoming(subject, envelope.headers(), body)


class Fleet:
    """Agents that can reach each other. Made by `fleet`; its own asks come from `test/tester-0`."""

    def __init__(self, agents: Mapping[str, Agent], clock: Clock, tasks: asyncio.TaskGroup) -> None:
        self._post = _Post(clock)
        self._agents = agents
        self._ended: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._ledger = FakeLedger(clock, frozenset(agents), self._tell, ended=lambda task: self._ended[task.id].set(), post=self._keep)
        self._crew = Crew(self._ledger, tasks, self._post.blobs)
        self._places = {name: self._place(*name.split("/")) for name in agents}
        self._post.desks.update({name: Desk(agent, self._places[name]) for name, agent in agents.items()})
        outside = Context(self._place(CLUSTER, "tester"))
        self.ask = outside.ask
        self.tell = outside.tell
        self.publish = outside.publish
        self.submit = outside.submit

    def _tell(self, agent: str) -> None:
        self._crew.tell(agent)

    def _keep(self, holder: str, letter: ops.Publish) -> int:
        cluster, _, agent = holder.partition("#")[0].rpartition("-")[0].partition("/")
        wire = _Wire(self._post, subjects.Sender(cluster, agent, 0))
        return wire.keep(letter)

    @property
    def messages(self) -> list[Message]:
        """Every message, in the order in which they were handled; a durable one once per delivery."""
        return self._post.messages

    @property
    def tasks(self) -> list[Task]:
        """Every task, in the order in which they were submitted."""
        return [self._seen(task) for task in self._ledger.tasks.values()]

    @property
    def effects(self) -> list[Effect]:
        """Every effect that was begun, in order."""
        every = self._ledger.effects.values()
        return [Effect(e.key, e.task, e.semantics, e.outcome, self._post.blobs.value(e.value or "null"), e.error) for e in every]

    async def run(
        self, to: str, payload: object = None, *, verb: str = "", key: str | None = None, into: Any = Any, within: float = 30.0
    ) -> Any:
        """Submit a task, wait for its end, and give its result.

        Raises TaskFailed when it does not come to `done`, EffectUnknown when it stops for a human, TimeoutError after `within` seconds.
        """
        task = self._ledger.tasks[(await self.submit(to, verb, payload, key=key)).id]
        async with asyncio.timeout(within):
            await self._over(task)
        if task.state == "done":
            return decode(self._post.blobs.value(task.result or "null"), into)
        if task.state == "unknown":
            raise EffectUnknown(task.reason)
        raise TaskFailed(f"task {task.id} of {task.to} is {task.state}: {task.reason}", task=task.id, state=task.state)

    def _seen(self, task: FakeTask) -> Task:
        value = self._post.blobs.value
        said = tuple(value(text) for text in task.said)
        payload, result = (value(text or "null") for text in (task.payload, task.result))
        known = (task.id, task.to, task.verb, payload, task.key, task.state, task.reason, task.attempts, task.parent)
        return Task(*known, result, tuple(task.steps), said)

    async def _over(self, task: FakeTask) -> None:
        while task.state not in _OVER:
            self._ended[task.id].clear()
            await self._ended[task.id].wait()

    def answer_with(self, answer: str | Callable[[FakeQuestion], str | None] | None) -> None:
        """Have questions from now on answered so, or by a function of the question; None is nobody."""
        self._ledger.answering = answer if callable(answer) else lambda _: answer

    def cancel(self, task: str, reason: str = "cancelled") -> None:
        """Have a task (its id or key) and all below it given up."""
        for found in [each for each in self._ledger.tasks.values() if task in (each.id, each.key)]:
            self._ledger.cancel(found, reason)

    def crash_at(self, *, step: str = "", effect: str = "", called: bool = True) -> None:
        """Kill the replica that gets there, once: its tasks are tried again.

        `step`: when it was done and is not recorded yet. `effect`: when it was called and that is not recorded yet; with `called=False`
        when it is begun and not called yet.
        """
        self._crew.points.append(Point(step, effect, called))

    async def settled(self) -> None:
        """Until everything told, published and submitted, and what came of it, has been handled."""
        await self._post.waiting.join()
        while still := [task for task in self._ledger.tasks.values() if task.state not in _OVER]:
            for task in still:
                await self._over(task)
            await self._post.waiting.join()

    async def turn(self, name: str) -> None:
        """Call each piece of background work of an agent once."""
        full = _full(name)
        for work in self._agents[full].background:
            await run(hook(work.function), None, Context(self._places[full]))

    def open(self) -> None:
        """Begin to work on tasks; `fleet` does so."""
        for name, agent in self._agents.items():
            self._crew.start(agent, self._places[name])

    async def close(self) -> None:
        """Stop working on tasks; `fleet` does so."""
        await self._crew.close()

    async def hooks(self, which: Literal["starts", "stops"]) -> None:
        """Run the start or stop hooks of all agents; `fleet` does so at its begin and end."""
        for name, agent in self._agents.items():
            for function in agent.starts if which == "starts" else agent.stops:
                await run(hook(function), None, Context(self._places[name]))

    async def deliver(self) -> None:
        """Handle what was told and published until cancelled; `fleet` runs it."""
        await self._post.deliver()

    def _place(self, cluster: str, agent: str) -> Place:
        wire = _Wire(self._post, subjects.Sender(cluster, agent, 0))
        return Place(cluster, agent, 0, wire, self._post.clock, lambda: None, self._crew.line(f"{cluster}/{agent}-0#0"))


@asynccontextmanager
async def fleet(named: Mapping[str, object] | None = None, /, *, clock: Clock | None = None, **agents: object) -> AsyncIterator[Fleet]:
    """Start agents (or plain functions) and stop them at the end.

    Keyword names are agents of the cluster `test`; `named` takes full ones: `fleet({"analysts/analyst": analyst})`.
    """
    every = {_full(name): as_agent(agent, name) for name, agent in {**(named or {}), **agents}.items()}
    async with asyncio.TaskGroup() as tasks:
        made = Fleet(every, clock or SystemClock(), tasks)
        await made.hooks("starts")
        made.open()
        delivering = tasks.create_task(made.deliver())
        try:
            yield made
            await made.settled()
        finally:
            delivering.cancel()
            await made.close()
        await made.hooks("stops")


def _full(name: str) -> str:
    return name if "/" in name else f"{CLUSTER}/{name}"
