"""Keeps the control plane up: node and control plane restart each other, unless the order to stay down stands.

The control plane is whoever said hello as such. It is lost when its process ends, when its connection has been closed for a second without
another hello, or when it used to ping and is silent for five seconds. It is never a child of the node: orphans below the node are killed,
and a descendant of the node is refused at its door.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from quarterdeck import linux, stop_order
from quarterdeck.engines.local.node import memory as slots
from quarterdeck.engines.local.node.lifecycle import MARK
from quarterdeck.engines.local.node.memory import Memory
from quarterdeck.engines.local.node.place import Place
from quarterdeck.model.desired import Restart

_INTENSITY: Final = Restart(budget=5, within=60.0, retry_after=30.0)
_FIRST_WITHIN: Final = 15.0
_HELLO_WITHIN: Final = 20.0
_EOF_GRACE: Final = 1.0
_SILENT: Final = 5.0
_LOOK_EVERY: Final = 0.2
_LOG_SIZE: Final = 2 << 20


@dataclass(slots=True)
class Attached:
    """The control plane now. `heard` is monotonic; `closed_at` is when its connection ended."""

    pid: int
    pidfd: int
    heard: float
    pings: bool = False
    closed_at: float | None = None


class Control:
    """`argv` starts a control plane; without it nothing is restarted."""

    def __init__(self, place: Place, argv: Sequence[str]) -> None:
        self._place = place
        self._argv = argv
        self._now: Attached | None = None
        self._news = asyncio.Event()
        self._memory = Memory()

    # what the door tells

    def attach(self, pid: int) -> None:
        """A control plane said hello."""
        if self._now is not None and self._now.pid == pid:
            self._now.closed_at = None
            return
        self._detach()
        self._now = Attached(pid, os.pidfd_open(pid), self._place.clock.monotonic())
        asyncio.get_running_loop().add_reader(self._now.pidfd, self._news.set)
        self._place.events.add("control.attached", "control", pid=pid)
        self._news.set()

    def heard(self, pid: int, verb: object) -> None:
        """It asked for something. Once it has asked us to stop, it waits for the answer and says no more, however long a drain takes."""
        if self._now is not None and self._now.pid == pid:
            self._now.heard = self._place.clock.monotonic()
            self._now.pings = verb == "ping" or (self._now.pings and verb != "stop")

    def closed(self, pid: int) -> None:
        """Its connection ended."""
        if self._now is not None and self._now.pid == pid:
            self._now.closed_at = self._place.clock.monotonic()
            self._news.set()

    def _detach(self) -> None:
        if self._now is not None:
            asyncio.get_running_loop().remove_reader(self._now.pidfd)
            os.close(self._now.pidfd)
            self._now = None

    # keeping it up

    async def keep_up(self) -> None:
        """For as long as the node lives."""
        if not await self._attached_within(_FIRST_WITHIN):
            await self._revive()
        while True:
            began = self._place.clock.monotonic()
            reason = await self._lost()
            self._place.events.add("control.lost", "control", pid=self._now.pid if self._now else None, reason=reason)
            self._end()
            self._died(reason, worked=self._place.clock.monotonic() - began > slots.WORKED_AFTER)
            await self._revive()

    async def _wait(self, seconds: float) -> None:
        news = asyncio.ensure_future(self._news.wait())
        await asyncio.wait([news], timeout=seconds)
        news.cancel()
        self._news.clear()

    async def _attached_within(self, seconds: float) -> bool:
        deadline = self._place.clock.monotonic() + seconds
        while self._now is None and self._place.clock.monotonic() < deadline:
            await self._wait(deadline - self._place.clock.monotonic())
        return self._now is not None

    async def _lost(self) -> str:
        while True:
            reason = self._why_lost()
            if reason:
                return reason
            await self._wait(_LOOK_EVERY)

    def _why_lost(self) -> str:
        now, it = self._place.clock.monotonic(), self._now
        if it is None or linux.stat(it.pid)[0] in ("", "Z"):
            return "its process ended"
        if it.closed_at is not None and now - it.closed_at >= _EOF_GRACE:
            return "its connection was closed"
        return f"silent for {_SILENT:g} s" if it.pings and now - it.heard >= _SILENT else ""

    def _end(self) -> None:
        if self._now is not None and linux.stat(self._now.pid)[0] not in ("", "Z"):
            linux.signal_pidfd(self._now.pidfd, signal.SIGKILL)
        self._detach()

    async def _revive(self) -> None:
        while self._now is None:
            wait = slots.may_start_at(self._memory, _INTENSITY) - self._place.clock.monotonic()
            if wait > 0 or not self._argv or stop_order.stands(self._place.home):
                await self._wait(min(max(wait, _LOOK_EVERY), 1.0))
                continue
            self._memory = slots.began(self._memory, "control", self._place.clock.monotonic())
            pid = start_apart(self._argv, self._place.home.logs / "control.log")
            self._place.events.add("control.started", "control", pid=pid)
            if not await self._hello_from(pid):
                linux.kill(pid)
                self._died("it did not say hello", worked=False)

    async def _hello_from(self, pid: int) -> bool:
        deadline = self._place.clock.monotonic() + _HELLO_WITHIN
        while self._now is None and self._place.clock.monotonic() < deadline and linux.stat(pid)[0] not in ("", "Z"):
            await self._wait(_LOOK_EVERY)
        return self._now is not None

    def _died(self, reason: str, *, worked: bool) -> None:
        jitter = random.random()  # noqa: S311 spreads back-off, guards nothing
        now = self._place.clock.monotonic()
        self._memory = slots.died(self._memory, _INTENSITY, now, worked=worked, jitter=jitter, reason=reason)
        if self._memory.failed_at is not None:
            self._place.events.add("control.failed", "control", reason=reason)


def start_apart(argv: Sequence[str], log: Path) -> int:
    """Start a program that is no descendant of this process, with output into `log`; returns its pid."""
    if log.exists() and log.stat().st_size > _LOG_SIZE:
        log.replace(log.with_name(f"{log.name}.1"))
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    told, tell = os.pipe2(os.O_CLOEXEC)
    linux.become_subreaper(False)
    between = os.fork()
    if between == 0:
        _start_orphan(argv, output, tell)
    os.waitpid(between, 0)
    linux.become_subreaper()
    os.close(tell)
    os.close(output)
    with os.fdopen(told, "rb") as answer:
        return int(answer.read())


def _start_orphan(argv: Sequence[str], output: int, tell: int) -> None:
    try:
        os.setsid()
        pid = os.fork()
        if pid:
            os.write(tell, str(pid).encode())
            return
        nothing = os.open("/dev/null", os.O_RDONLY)
        for target, source in enumerate((nothing, output, output)):
            os.dup2(source, target)
        environment = {name: value for name, value in os.environ.items() if name != MARK}
        os.execvpe(argv[0], list(argv), environment)  # noqa: S606 no shell is meant
    finally:
        os._exit(127)
