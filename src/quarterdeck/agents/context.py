"""What a handler gets beside its payload: who it is, who asks, until when, and the ways to other agents."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeVar, overload

from quarterdeck.agents.activity import NOBODY, Activity
from quarterdeck.agents.logs import Log
from quarterdeck.agents.payload import body, decode, encode, loads
from quarterdeck.agents.tasks import TaskInfo, TaskRef, Wish
from quarterdeck.bus.batches import Bulk
from quarterdeck.bus.envelope import Ack, Limits, Trace, new_id
from quarterdeck.bus.subjects import TOKEN
from quarterdeck.bus.tally import Outgoing, Worked
from quarterdeck.clock import Clock
from quarterdeck.errors import UserError
from quarterdeck.masks import OPEN, Mask
from quarterdeck.model.blobs import Ref
from quarterdeck.model.loops import Path
from quarterdeck.model.work import ATTEMPTS, MOST_BODY, Semantics

if TYPE_CHECKING:  # asyncio is not imported until something runs
    from quarterdeck.agents.line import Line
    from quarterdeck.agents.measure import Measures
    from quarterdeck.agents.part import Part
    from quarterdeck.agents.spend import Spent
    from quarterdeck.agents.waits import Waits
    from quarterdeck.bus.client import Watch

T = TypeVar("T")
TASK_VERB: Final = "task"
SUBMIT_WITHIN: Final = 600.0
"""Seconds for the ledger to take a task: it may be away for a while."""
_NOWHERE: Final = Path()
_RESERVED: Final = re.compile(r"_[a-z]+\Z")


class Outbound(Protocol):
    """The way out; the bus's `Client` is one, the test bench another. See `quarterdeck.bus.client.Client` for what each promises."""

    async def ask(  # noqa: D102
        self, cluster: str, to: str, verb: str, body: bytes, *, limits: Limits, trace: Trace | None, watch: Watch = ...
    ) -> bytes: ...

    async def tell(self, cluster: str, to: str, verb: str, body: bytes, *, trace: Trace | None) -> None: ...  # noqa: D102

    async def publish(  # noqa: D102
        self, cluster: str, to: str, verb: str, body: bytes, *, key: str | None, limits: Limits, trace: Trace | None
    ) -> Ack: ...


class OutsideTask(UserError):
    """What only a task has (steps, effects, delegation, questions) was used while a message was handled."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a piece of code runs: one replica, its way out, its clock, what counts its progress, and its line to the ledger."""

    cluster: str
    agent: str
    replica: int
    outbound: Outbound
    clock: Clock
    progressed: Callable[[], None]
    line: Line | None = None
    sent: Outgoing | None = None
    """What counts messages that go through the ledger; None where it takes none."""
    waits: Waits | None = None
    """What notes who waits for whom; None where nobody looks."""
    measures: Measures | None = None
    """What measures its work; None where nobody asks."""
    worked: Worked | None = None
    """What counts what was worked off; None where nobody asks."""
    mask: Mask = OPEN
    """What takes secrets out of errors and progress, which others read."""

    @property
    def name(self) -> str:
        """`cluster/agent-n`."""
        return f"{self.cluster}/{self.agent}-{self.replica}"


class Context:
    """Handed to handlers, hooks and background work; one per message.

    `name` is `cluster/agent-n`, `replica` its number; `sender` the same of who sent (empty in hooks); `deadline` epoch seconds after
    which nobody waits any more, or None; `trace` the W3C traceparent of this work; `delivered` counts deliveries of a durable message.
    """

    def __init__(
        self,
        place: Place,
        *,
        sender: str = "",
        deadline: float | None = None,
        trace: Trace | None = None,
        id: str = "",  # noqa: A002 the field's name
        delivered: int = 0,
        part: Part | None = None,
        activity: Activity = NOBODY,
        path: Path = _NOWHERE,
    ) -> None:
        span = trace.child(os.urandom(8)) if trace else Trace.begin(os.urandom(24))
        self.name = place.name
        self.cluster = place.cluster
        self.agent = place.agent
        self.replica = place.replica
        self.sender = sender
        self.deadline = deadline
        self.trace = str(span)
        self.id = id
        self.delivered = delivered
        self.log = Log(span.trace_id)
        self._place = place
        self._span = span
        self._part = part
        self._activity = activity
        self._path = path
        self._caused: Trace | None = None

    @property
    def task(self) -> TaskInfo | None:
        """The task being worked on; None while a message is handled."""
        return None if self._part is None else self._part.info

    @property
    def part(self) -> Part:
        """What works on the task for this context; raises OutsideTask where there is none."""
        if self._part is None:
            msg = f"{self.name} is not working on a task"
            raise OutsideTask(msg, hint="steps, effects, delegation and questions belong to tasks: qd task submit, or ctx.submit")
        return self._part

    @property
    def remaining(self) -> float | None:
        """Seconds until the deadline (negative when it has passed), or None."""
        return None if self.deadline is None else self.deadline - self._place.clock.now()

    @overload
    async def ask(self, to: str, verb: str, payload: object = None, *, timeout: float | None = None) -> Any: ...  # noqa: ASYNC109

    @overload
    async def ask(self, to: str, verb: str, payload: object = None, *, into: type[T], timeout: float | None = None) -> T: ...  # noqa: ASYNC109

    async def ask(self, to: str, verb: str, payload: object = None, *, into: Any = Any, timeout: float | None = None) -> Any:  # noqa: ASYNC109 the policy needs the number
        """Ask an agent and wait for its answer: `agent` of the own cluster, `cluster/agent`, or `cluster/agent-2` for a certain replica.

        Core request-reply: nothing is stored. The link's policy applies (time per attempt, attempts, breaker), so the other side may see
        one ask twice. `timeout` is seconds in all; the deadline of the message being handled is never passed. `into` is the type the
        answer should have. Raises NoAnswer (a Transient), RemoteError (its Transient or Terminal half), PayloadError, Forbidden;
        Deadlock when everybody it depends on waits for this very handler to end; BudgetExceeded, before anything is sent, in a task.
        """
        cluster, agent = self._target(to, verb)
        limits = Limits(timeout, self.deadline)
        if self._part is not None:
            await self._part.purse.call()
        answer = await self._asked(cluster, agent, verb, encode(payload), limits)
        return decode(loads(answer), into)

    async def _asked(self, cluster: str, agent: str, verb: str, data: bytes, limits: Limits) -> bytes:
        outbound, waits = self._place.outbound, self._place.waits
        if waits is None or self._activity is NOBODY:
            return await outbound.ask(cluster, agent, verb, data, limits=limits, trace=self._cause)
        with waits.on(self._activity, "ask", f"{cluster}/{agent}") as wait:
            return await outbound.ask(cluster, agent, verb, data, limits=limits, trace=self._cause, watch=wait.attempt)

    @property
    def _cause(self) -> Trace:
        """What a message that is sent now comes from."""
        if self._caused is None:
            text = self._path.text
            self._caused = replace(self._span, path=text) if text else self._span
        return self._caused

    def _changed(self) -> None:
        """Something came of it: what is sent from now on goes round in no circle with what led here."""
        self._path, self._caused = _NOWHERE, self._span

    async def tell(self, to: str, verb: str, payload: object = None) -> None:
        """Send at most once and wait for nothing: it is lost when nobody listens, and nobody says so. For what must arrive: `publish`."""
        cluster, agent = self._target(to, verb)
        await self._place.outbound.tell(cluster, agent, verb, encode(payload), trace=self._cause)

    async def publish(
        self,
        to: str,
        verb: str,
        payload: object = None,
        *,
        key: str | None = None,
        order: str | None = None,
        confirmed: bool = False,
        timeout: float | None = None,  # noqa: ASYNC109 the policy needs the number
    ) -> Ack:
        """Send durably: when this returns, the message is on disk and will be handled at least once.

        Without `key` and `order`, outside a task and not large, it is on disk in the agent's stream. Otherwise it is in the database, which
        sends it on and answers for it even when the bus loses its files; `confirmed` waits for the stream as well. `key` is unique for
        ever among what this agent sends to that agent with this verb: the same again stores nothing and says `duplicate`, another payload
        is a Conflict. Inside a task each publish has a key of its own, so that an attempt that is repeated sends nothing twice. Once a
        message with a key was handled, no handler sees it again. Messages of one `order` are handled one after the other. Raises Overloaded
        when the agent takes in less than it is sent; NoAnswer or Transient: its outcome is unknown, publish again with the same key.
        """
        cluster, agent = self._target(to, verb)
        outbound, limits = self._place.outbound, Limits(timeout, self.deadline)
        text = await self._body(payload, f"the payload of {verb!r}") if (key, order, self._part) == (None, None, None) else ""
        if text and Ref.in_body(text) is None:
            return await outbound.publish(cluster, agent, verb, text.encode(), key=None, limits=limits, trace=self._cause)
        from quarterdeck.agents.post import keep, letter  # noqa: PLC0415 asyncio is not imported until something runs
        from quarterdeck.model import ops  # noqa: PLC0415 many classes, which nobody needs until something runs

        id_ = new_id(self._place.clock.now(), os.urandom(10))
        named = letter(ops.Publish(id_, f"{cluster}/{agent}", verb, "", key, order, self._cause.headers()), self._part)
        text = text or await self._body(
            payload, f"the payload of {verb!r}"
        )  # only now: what has no key is numbered in the order of the calls
        line, sent = self._place.line, self._place.sent
        if line is None or sent is None:
            return await outbound.publish(cluster, agent, verb, text.encode(), key=key, limits=limits, trace=self._cause)
        waits = [seconds for seconds in (timeout, self.remaining) if seconds is not None]
        with sent.to(cluster):
            return await keep(line, replace(named, payload=text), min(waits, default=None), confirmed=confirmed)

    async def _body(self, payload: object, what: str) -> str:
        line = self._place.line
        return body(payload, what) if line is None else await line.body(payload, what)

    async def publish_all(self, to: str, verb: str, payloads: Sequence[object], *, timeout: float | None = None) -> list[Ack]:  # noqa: ASYNC109
        """Send many messages durably at the cost of few: as `publish` without a key, in batches of up to 64; an Ack for each batch.

        The messages of a batch go to one replica, which handles them one after the other. One that fails comes again without those that
        this replica has handled; another replica gets all of the batch again. Inside a task, or when one is large, it is the same as
        publishing each.
        """
        cluster, agent = self._target(to, verb)
        outbound, limits = self._place.outbound, Limits(timeout, self.deadline)
        texts = [] if self._part is not None else [encode(payload) for payload in payloads]
        if not texts or not isinstance(outbound, Bulk) or max(map(len, texts)) > MOST_BODY:
            return [await self.publish(to, verb, payload, timeout=timeout) for payload in payloads]
        return await outbound.publish_all(cluster, agent, verb, texts, limits=limits, trace=self._cause)

    async def step(
        self, name: str, function: Callable[..., Any], *args: Any, into: Any = None, changed: Literal["keep", "again"] = "keep"
    ) -> Any:
        """Do a piece of the task once: what `function(*args)` gave is kept, and a later attempt is given it without calling.

        A step is known by its name and how often the name was used before in the task. `into` is the type of the value (default: what the
        function says it returns). `changed="again"` repeats a step whose code has changed since. Raises Fenced when the task is not ours.
        """
        value = await self.part.step(name, function, args, into, changed=changed)
        self._changed()
        return value

    async def effect(self, key: str, function: Callable[..., Any], *args: Any, semantics: Semantics = "unsafe", into: Any = None) -> Any:
        """Do something to the world outside, counted once for `key` in the whole tree of tasks.

        `semantics` says what a second call with the same arguments does: `idempotent` nothing more, `dedupes` nothing if it is handed the
        same `key=` (which is added to the call), `unsafe` it would happen twice. After a crash in the middle, the first two are called
        again; of the third nobody knows whether it happened, and the task stops until a human says so (`qd task resolve`). An exception
        of an unsafe call leaves it unknown too, unless it is Terminal or UserError: raise those when it certainly did not happen.
        """
        value = await self.part.effect(key, function, args, semantics, into)
        self._changed()
        return value

    async def delegate(
        self,
        to: str,
        verb: str = "",
        payload: object = None,
        *,
        into: Any = Any,
        timeout: float | None = None,  # noqa: ASYNC109 the ledger keeps it
        name: str | None = None,
        priority: int | None = None,
        lane: str | None = None,
        attempts: int = ATTEMPTS,
        budget: Mapping[str, float] | None = None,
    ) -> Any:
        """Have another agent do a part of this task as a task of its own, and wait for its result.

        It is delegated once, however often this handler is run: a later attempt finds it by `name` (default: target and verb) and how often
        the name was used. It inherits deadline, priority, tenant and budget. Raises TaskFailed when it does not come to `done`.
        """
        cluster, agent = self._target(to, verb or TASK_VERB)
        until = None if timeout is None else self._place.clock.now() + timeout
        wish = Wish(name, priority, lane, until, attempts, budget or {}, self._path.text)
        with self._sent(cluster):
            value = await self.part.delegate(f"{cluster}/{agent}", verb, payload, into, wish)
        self._changed()
        return value

    async def submit(
        self,
        to: str,
        verb: str = "",
        payload: object = None,
        *,
        key: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 the ledger keeps it
        priority: int = 0,
        lane: str | None = None,
        attempts: int = ATTEMPTS,
    ) -> TaskRef:
        """Give an agent a task of its own, which nobody here waits for: once this returns, it is on disk and will be done.

        The same `key` again is the same task; it is unique in the whole system. Without one, a task that is run again finds by target, verb
        and their count what it submitted before; outside a task each call is another task. Raises Conflict for a key that was used for
        something else, Forbidden where no link leads.
        """
        if self._place.line is None:
            raise UserError(f"{self.name} has no ledger", hint="tasks are submitted from inside a fleet, or a test's fleet")
        cluster, agent = self._target(to, verb or TASK_VERB)
        until = None if timeout is None else self._place.clock.now() + timeout
        unique = key or self._own_key(f"{cluster}/{agent}:{verb}")
        text = await self._body(payload, "the payload")
        order = (f"{cluster}/{agent}", verb, text, unique, priority, lane, until, attempts, self.trace)
        from quarterdeck.model import ops  # noqa: PLC0415 many classes, which nobody needs until something runs

        with self._sent(cluster):
            found = await self._place.line.call(ops.Submit(*order), SUBMIT_WITHIN)
        return TaskRef(found["task"], found["state"], found["created"])

    def _sent(self, cluster: str) -> AbstractContextManager[None]:
        """Around what goes to a cluster: work counts as what is sent there, as messages do."""
        return nullcontext() if self._place.sent is None else self._place.sent.to(cluster)

    def _own_key(self, what: str) -> str:
        return os.urandom(16).hex() if self._part is None else self._part.own_key(what)

    def spend(self, **amounts: float) -> Spent:
        """Reserve what something will cost: `async with ctx.spend(tokens=2000) as spent: …; spent.used(tokens=1500)`. Free outside a task.

        Raises BudgetExceeded when the task, one above it, its cluster or system today has not so much left: let it pass, the task fails.
        """
        from quarterdeck.agents.spend import Spent  # noqa: PLC0415 asyncio is not imported until something runs

        return Spent(None if self._part is None else self._part.purse, amounts)

    def emit(self, value: object) -> None:
        """Say something while the task goes on: a piece of text, or any JSON value of up to 16,000 bytes.

        Whoever follows the task sees it as it comes. It is kept in memory only, the last 1,000 pieces of a task, and may be lost: what must
        not be belongs into the result.
        """
        self.part.output.put(value)
        self._place.progressed()

    async def ask_human(
        self,
        question: str,
        options: Sequence[str] = (),
        until: float | None = None,
        *,
        default: str | None = None,
        arguments: object = None,
    ) -> str:
        """Ask a human and wait for the answer, one of `options` (any text when there are none).

        The question is bound to `arguments`: what is to be done, exactly. `until` is seconds from now; then `default` is the answer, or
        Denied is raised when there is none. `qd task answer` and the dashboard answer it; no agent can.
        """
        end = None if until is None else self._place.clock.now() + until
        answer = await self.part.ask_human(question, tuple(options), end, default, arguments)
        self._changed()
        return answer

    def progress(self, fraction: float, text: str = "") -> None:
        """Say how far a long piece of work is (0 to 1). It also shows that the replica is not hung. Of a task everybody can see it."""
        self._place.progressed()
        self._changed()
        if self._part is not None:
            self._part.progress = (min(1.0, max(0.0, float(fraction))), self._place.mask.text(text)[:200])
        self.log.info(text or "progress", progress=f"{fraction:.0%}")

    def _target(self, to: str, verb: str) -> tuple[str, str]:
        cluster, slash, agent = to.rpartition("/")
        cluster = cluster if slash else self.cluster
        if not TOKEN.match(agent) or not all(TOKEN.match(part) for part in cluster.split(".")):
            msg = f"{to!r} names no agent"
            raise UserError(msg, hint='"agent" of the own cluster, "cluster/agent", or "cluster/agent-2" for one replica')
        if not TOKEN.match(verb) and not _RESERVED.match(verb):
            msg = f"{verb!r} cannot be a verb"
            raise UserError(msg, hint="lower-case letters, digits, - and _, not at the ends")
        return cluster, agent


CURRENT: Final[ContextVar[Context | None]] = ContextVar("quarterdeck_context", default=None)


def current() -> Context | None:
    """The context of the work that runs here, or None outside any: for libraries that need the trace, the deadline or the log."""
    return CURRENT.get()
