"""What a handler gets beside its payload: who it is, who asks, until when, and the ways to other agents."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar, overload

from quarterdeck.agents.payload import decode, encode, loads
from quarterdeck.bus.envelope import Ack, Limits, Trace
from quarterdeck.bus.subjects import TOKEN
from quarterdeck.clock import Clock
from quarterdeck.errors import UserError

T = TypeVar("T")
_RESERVED: Final = re.compile(r"_[a-z]+\Z")


class Outbound(Protocol):
    """The way out; the bus's `Client` is one, the test bench another. See `quarterdeck.bus.client.Client` for what each promises."""

    async def ask(self, cluster: str, to: str, verb: str, body: bytes, *, limits: Limits, trace: Trace | None) -> bytes: ...  # noqa: D102

    async def tell(self, cluster: str, to: str, verb: str, body: bytes, *, trace: Trace | None) -> None: ...  # noqa: D102

    async def publish(  # noqa: D102
        self, cluster: str, to: str, verb: str, body: bytes, *, key: str | None, limits: Limits, trace: Trace | None
    ) -> Ack: ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where a piece of code runs: one replica, its way out, its clock, and what counts its progress."""

    cluster: str
    agent: str
    replica: int
    outbound: Outbound
    clock: Clock
    progressed: Callable[[], None]

    @property
    def name(self) -> str:
        """`cluster/agent-n`."""
        return f"{self.cluster}/{self.agent}-{self.replica}"


class Log:
    """Log lines with fields: `ctx.log("read", lines=400)` is `ctx.log.info(...)`. They carry the trace and go to the replica's log.

    Built on the standard library's logger `quarterdeck.agent`, so that a user's own logging configuration applies.
    """

    def __init__(self, trace_id: str) -> None:
        self._trace_id = trace_id

    def __call__(self, text: str, **fields: object) -> None:
        """The same as `info`."""
        self._write(logging.INFO, text, fields)

    def debug(self, text: str, **fields: object) -> None:
        """For whoever looks for a fault in the agent."""
        self._write(logging.DEBUG, text, fields)

    def info(self, text: str, **fields: object) -> None:
        """What happened."""
        self._write(logging.INFO, text, fields)

    def warning(self, text: str, **fields: object) -> None:
        """Something that may need somebody."""
        self._write(logging.WARNING, text, fields)

    def error(self, text: str, **fields: object) -> None:
        """Something failed."""
        self._write(logging.ERROR, text, fields)

    def exception(self, text: str, **fields: object) -> None:
        """Something failed; with the traceback of the exception being handled."""
        self._write(logging.ERROR, text, fields, traceback=True)

    def _write(self, level: int, text: str, fields: dict[str, object], *, traceback: bool = False) -> None:
        shown = "".join(f" {name}={value!r}" if " " in str(value) else f" {name}={value}" for name, value in fields.items())
        _LOGGER.log(level, "%s%s trace=%s", text, shown, self._trace_id, exc_info=traceback)


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
        answer should have. Raises NoAnswer (a Transient), RemoteError (its Transient or Terminal half), PayloadError, Forbidden.
        """
        cluster, agent = self._target(to, verb)
        limits = Limits(timeout, self.deadline)
        answer = await self._place.outbound.ask(cluster, agent, verb, encode(payload), limits=limits, trace=self._span)
        return decode(loads(answer), into)

    async def tell(self, to: str, verb: str, payload: object = None) -> None:
        """Send at most once and wait for nothing: it is lost when nobody listens, and nobody says so. For what must arrive: `publish`."""
        cluster, agent = self._target(to, verb)
        await self._place.outbound.tell(cluster, agent, verb, encode(payload), trace=self._span)

    async def publish(self, to: str, verb: str, payload: object = None, *, key: str | None = None, timeout: float | None = None) -> Ack:  # noqa: ASYNC109
        """Send durably: when this returns, the message is on disk in the agent's stream and will be handled at least once.

        `key` makes it unique among this agent's messages of the verb: publishing it again within two minutes stores nothing and says
        `duplicate`. Raises NoAnswer; publish again with the same key when its outcome is unknown.
        """
        cluster, agent = self._target(to, verb)
        limits = Limits(timeout, self.deadline)
        return await self._place.outbound.publish(cluster, agent, verb, encode(payload), key=key, limits=limits, trace=self._span)

    def progress(self, fraction: float, text: str = "") -> None:
        """Say how far a long piece of work is (0 to 1). It also shows that the replica is not hung."""
        self._place.progressed()
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
_LOGGER: Final = logging.getLogger("quarterdeck.agent")


def current() -> Context | None:
    """The context of the work that runs here, or None outside any: for libraries that need the trace, the deadline or the log."""
    return CURRENT.get()
