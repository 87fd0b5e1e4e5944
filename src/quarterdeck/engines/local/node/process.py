"""One incarnation of a replica as the node holds it: descriptors, what it told, what was asked of it, and how it ended."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from dataclasses import dataclass
from typing import Any, Final, Protocol

from quarterdeck import linux
from quarterdeck.clock import Clock
from quarterdeck.engines.local.node.decide import Live
from quarterdeck.engines.local.node.exits import understand
from quarterdeck.engines.local.node.lines import Lines
from quarterdeck.engines.local.node.logs import LogPipe
from quarterdeck.engines.local.node.rooms import Cgroups
from quarterdeck.engines.local.node.vitals import Beat, Vitals
from quarterdeck.masks import OPEN, Mask
from quarterdeck.model.desired import Template
from quarterdeck.model.table import Credential
from quarterdeck.model.world import Exit, Flow, Sample
from quarterdeck.states import REPLICA

_DUMP_WITHIN: Final = 0.1
_LONGEST_DUMP: Final = 64 << 10
_LONGEST_TEXT: Final = 2000


@dataclass(frozen=True, slots=True)
class Identity:
    """Which process: slot `n` of an agent, by incarnation and template."""

    system: str
    cluster: str
    agent: str
    n: int
    incarnation: int
    template: Template

    @property
    def name(self) -> str:
        """`cluster/agent-n`."""
        return f"{self.cluster}/{self.agent}-{self.n}"

    @property
    def slot(self) -> str:
        """`system/cluster/agent-n`."""
        return f"{self.system}/{self.name}"

    @property
    def group(self) -> str:
        """Its cgroup, inside its cluster's."""
        return f"{self.system}.{self.cluster}/{self.agent}-{self.n}.{self.incarnation}"


class Listener(Protocol):
    """Whom a process tells what happened to it; the fleet."""

    def is_born(self, process: Process) -> None:
        """It has a pid."""

    def is_refused(self, process: Process, failed: dict[str, Any]) -> None:
        """It will never have one; `failed` has `error`, `where`, and `retry` when its fork server ended."""

    def is_ready(self, process: Process) -> None:
        """It answers."""

    def has_ended(self, process: Process) -> None:
        """Its end was seen; the cause may not be known yet."""

    def measured(self, process: Process, before: Beat) -> None:
        """A beat came after that one."""

    def told(self, process: Process, message: dict[str, Any]) -> None:
        """It said something that the process does not deal with itself."""


@dataclass(slots=True)
class Equipment:
    """Descriptors kept for a process, and what takes its secrets out of all it says."""

    pipes: list[LogPipe]
    dump: int
    sock: socket.socket
    mask: Mask = OPEN


class Process:
    """From the order to start until its end is understood. `began` and `beat` are monotonic, `started` and `since` epoch seconds."""

    def __init__(self, identity: Identity, equipment: Equipment, clock: Clock, listener: Listener) -> None:
        self.identity = identity
        self.state = REPLICA.step(REPLICA.first, "starting")
        self.reason = ""
        self.pid: int | None = None
        self.forked = True
        self.server_pid = 0
        self.credential: Credential | None = None
        self.began = clock.monotonic()
        self.started = self.since = clock.now()
        self.ready_at: float | None = None
        self.beat = 0.0
        self.drain_until: float | None = None
        self.kill_reason = ""
        self.counts = True
        self.hang = False
        self.vitals = Vitals(self.began)
        self.fatal = ""
        self.stack = ""
        self.status: int | None = None
        self.ended_at: float | None = None
        self._clock = clock
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._pidfd = -1
        self._equipment = equipment
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.birth: asyncio.Future[float | None] = self._loop.create_future()
        """Done with the monotonic time at which it had a pid, or None when it will never have one."""
        self._lines = Lines(equipment.sock, self._heard)
        self._groups: Cgroups | None = None

    # what the fork server tells

    def born(self, pid: int, pidfd: int, *, forked: bool) -> None:
        """It runs."""
        self.pid, self._pidfd, self.forked = pid, pidfd, forked
        self._loop.add_reader(pidfd, self._exit_seen)
        self.birth.set_result(self._clock.monotonic())
        self._listener.is_born(self)
        self._lines.listen()  # not before: it may be ready sooner than the fork server has told who it is

    def refused(self, failed: dict[str, Any]) -> None:
        """It never came to be."""
        self.birth.set_result(None)
        self._listener.is_refused(self, failed)

    def exited(self, status: int) -> None:
        """The fork server has reaped it."""
        self.status = status

    def _exit_seen(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        self.ended_at = self._clock.monotonic()
        for _ in range(16):
            self._lines.read_now()
        self._listener.has_ended(self)

    # what it tells

    def _heard(self, message: dict[str, Any]) -> None:
        if message.get("t") != "beat":  # which has only numbers and names
            message = self._equipment.mask.within(message)
        match message.get("t"):
            case "ready" if self.ready_at is None:
                self.ready_at = self.beat = self._clock.monotonic()
                if self.state == "starting":
                    self.move("ready")
                self._listener.is_ready(self)
            case "beat":
                self._take_beat(message)
            case "fatal":
                where = str(message.get("where", ""))[:200]
                self.fatal = f"{str(message.get('error', ''))[:_LONGEST_TEXT]}{f' ({where})' if where else ''}"
            case "reply":
                self._take_reply(message)
            case _:
                self._listener.told(self, message)

    def _take_beat(self, message: dict[str, Any]) -> None:
        told = Beat.read(message)
        if told is not None:
            self.beat = self._clock.monotonic()
            before = self.vitals.beat
            self.vitals.take(told, self.beat)
            self._listener.measured(self, before)

    def _take_reply(self, message: dict[str, Any]) -> None:
        number = message.get("id")
        answer = self._answers.pop(number, None) if isinstance(number, int) else None
        if answer is not None and not answer.done():
            answer.set_result(message)

    # what is asked of it

    def send(self, message: dict[str, Any]) -> bool:
        """Hand it a message; False when it was dropped."""
        return self._lines.send(message)

    async def probe(self, number: int, probe: dict[str, Any], within: float) -> dict[str, Any]:
        """Ask it something; its reply, an object with `ok` or `error`. Raises TimeoutError."""
        answer: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self._answers[number] = answer
        try:
            self.send({"t": "probe", "id": number, "probe": probe})
            async with asyncio.timeout(within):
                return await answer
        finally:
            self._answers.pop(number, None)

    def drain(self, within: float, reason: str) -> None:
        """Ask it to finish."""
        self.drain_until = self._clock.monotonic() + within
        self.move("draining", reason)
        self.send({"t": "drain", "within": within})

    def pause(self) -> None:
        """Quarantine it: it lives, but takes no work."""
        self.move("quarantined", "quarantined")
        self.send({"t": "pause", "on": True})

    def end(self, groups: Cgroups, reason: str, *, hang: bool, counts: bool) -> None:
        """End it and all it started, at once unless it hangs: then `dump_then_end` is to follow."""
        self.kill_reason, self.hang, self.counts = reason, hang, counts
        self._groups = groups
        if not hang:
            self.end_now()

    async def dump_then_end(self) -> None:
        """Keep its stacks, which takes a tenth of a second, then end it."""
        self.stack = await self.dump()
        self.end_now()

    def end_now(self) -> None:
        """SIGKILL to its cgroup and to itself. Before it has a pid this waits for `born`."""
        if self._groups is not None:
            self._groups.kill(self.identity.group)
        if self._pidfd >= 0:
            linux.signal_pidfd(self._pidfd, signal.SIGKILL)

    async def dump(self) -> str:
        """The stacks of all its threads, as it writes them itself on SIGUSR2."""
        if self.pid is None or self._pidfd < 0:
            return "not running"
        if linux.stat(self.pid)[0] in ("T", "t"):
            return "the process is stopped (SIGSTOP or a debugger): it cannot write its stacks"
        before = os.fstat(self._equipment.dump).st_size
        linux.signal_pidfd(self._pidfd, signal.SIGUSR2)
        await asyncio.sleep(_DUMP_WITHIN)
        if self._equipment.dump < 0:
            return "ended meanwhile"
        return os.pread(self._equipment.dump, _LONGEST_DUMP, before).decode(errors="replace") or "it did not write its stacks"

    # what is known of it

    @property
    def worked(self) -> bool:
        """Whether it ever answered. Ends right after that are bounded by the restart budget alone."""
        return self.ready_at is not None

    @property
    def asked_to_end(self) -> bool:
        """Its end was ordered and is nobody's fault."""
        return self.drain_until is not None or (bool(self.kill_reason) and not self.counts)

    def move(self, state: str, reason: str = "") -> None:
        """To another state, by the table of allowed pairs."""
        if state != self.state:
            self.state = REPLICA.step(self.state, state, story=(self.identity.slot, f"incarnation {self.identity.incarnation}"))
            self.since = self._clock.now()
        self.reason = reason

    def live(self) -> Live:
        """As the decision sees it."""
        return Live(
            self.identity.n,
            self.identity.incarnation,
            self.identity.template.digest,
            self.started,
            self.began,
            self.ready_at,
            self.beat,
            self.drain_until,
            self.state == "quarantined",
            bool(self.kill_reason),
        )

    def flows(self) -> tuple[Flow, ...]:
        """What it sends where, with rates as of now."""
        return self.vitals.flows(self._clock.monotonic())

    def utilization(self) -> tuple[tuple[str, float], ...]:
        """What part of its places each verb takes, as of now."""
        return self.vitals.utilization(self._clock.monotonic())

    def sample(self, at: float) -> Sample | None:
        """One line for the ring of its slot, since the line before; None while it has no process. `at` is now in epoch seconds."""
        if self.pid is None or self.ended_at is not None:
            return None
        told, (cpu, memory) = self.vitals.beat, linux.usage(self.pid)
        return Sample(
            at=at,
            incarnation=self.identity.incarnation,
            progress=told.progress,
            lag_ms=told.lag,
            inflight=told.inflight,
            memory_bytes=memory,
            cpu_seconds=cpu,
            handled=told.handled,
            failed=told.failed,
            sent=sum(sent for sent, _ in told.sent.values()),
            unanswered=sum(failed for _, failed in told.sent.values()),
            beat_age=self.vitals.oldest(self._clock.monotonic()),
        )

    def ending(self, *, oom: bool) -> Exit:
        """How it ended."""
        detail = "\n".join(text for text in (self.fatal, self.kill_reason, self.stack) if text)
        return understand(self.status, at=self._clock.now(), oom=oom, hang=self.hang, detail=self._equipment.mask.text(detail))

    def close(self) -> None:
        """Take the rest of its output and give all descriptors back."""
        self._lines.close()
        for pipe in self._equipment.pipes:
            pipe.finish()
        os.close(self._equipment.dump)
        self._equipment.dump = -1
        for answer in self._answers.values():
            if not answer.done():
                answer.set_result({"error": "the replica ended"})
