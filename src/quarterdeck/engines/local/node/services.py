"""Long-running programs beside the replicas, e.g. nats-server.

Start, wait for the port, restart with bounded intensity, stop in reverse.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import subprocess
from dataclasses import dataclass, field
from typing import Any, Final

from quarterdeck import linux
from quarterdeck.engines.local.node import memory as slots
from quarterdeck.engines.local.node.exits import understand
from quarterdeck.engines.local.node.forks import join
from quarterdeck.engines.local.node.logs import LogPipe
from quarterdeck.engines.local.node.memory import Memory
from quarterdeck.engines.local.node.place import Place
from quarterdeck.engines.local.node.rooms import Limits
from quarterdeck.errors import NotFound
from quarterdeck.model.desired import Restart
from quarterdeck.model.table import Service

_INTENSITY: Final = Restart(budget=5, within=60.0, retry_after=30.0)
_READY_WITHIN: Final = 10.0
_ASK_EVERY: Final = 0.01
_CONNECT_WITHIN: Final = 0.5
_STOP_WITHIN: Final = 10.0
_SETTLED_WITHIN: Final = 15.0


@dataclass(slots=True)
class Running:
    """One life of a service's process."""

    process: subprocess.Popen[bytes]
    pipes: list[LogPipe]
    pidfd: int
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Program:
    """A service and whatever process it has now. One task keeps it up until it is cancelled."""

    def __init__(self, service: Service, place: Place) -> None:
        self.service = service
        self.state = "starting"
        self.reason = ""
        self.since = place.clock.now()
        self.restarts = 0
        self.settled = asyncio.Event()
        """Set once it was ready, or has failed: nobody need wait for it any longer."""
        self._place = place
        self._memory = Memory()
        self._now: Running | None = None
        self._task = place.tasks.create_task(self._keep_up())

    @property
    def pid(self) -> int | None:
        """Of the process, if there is one."""
        return self._now.process.pid if self._now else None

    @property
    def group(self) -> str:
        """Its cgroup."""
        return f"services/{self.service.name}"

    def _move(self, state: str, reason: str = "") -> None:
        if state != self.state:
            self.since = self._place.clock.now()
        self.state, self.reason = state, reason
        if state != "starting":
            self.settled.set()

    async def _keep_up(self) -> None:
        clock = self._place.clock
        while True:
            await asyncio.sleep(max(0.0, slots.may_start_at(self._memory, _INTENSITY) - clock.monotonic()))
            self._memory = slots.began(self._memory, self.service.digest, clock.monotonic())
            began = clock.monotonic()
            try:
                reason = await self._live()
            except OSError as error:
                reason = f"cannot start: {error}"
            worked = self.state == "ready" and clock.monotonic() - began > slots.WORKED_AFTER
            self.restarts += 1
            jitter = random.random()  # noqa: S311 spreads back-off, guards nothing
            self._memory = slots.died(self._memory, _INTENSITY, clock.monotonic(), worked=worked, jitter=jitter, reason=reason)
            self._move("starting" if self._memory.failed_at is None else "failed", reason)
            self._place.events.add("service.exited", self.service.name, reason=reason, state=self.state)

    async def _live(self) -> str:
        """Start it and be with it until it ends; returns why it ended."""
        running = self._now = self._start()
        self._place.events.add("service.started", self.service.name, pid=running.process.pid)
        try:
            async with asyncio.timeout(_READY_WITHIN):
                up = await self._port_answers(running)
            if up:
                self._move("ready")
                self._place.events.add("service.ready", self.service.name, pid=running.process.pid)
            await running.ended.wait()
        except TimeoutError:
            return f"port {self.service.port} does not answer within {_READY_WITHIN:g} s"
        finally:
            self._bury(running)
        status = running.process.returncode
        wait_status = -status if status < 0 else status << 8
        return understand(wait_status, at=self._place.clock.now(), oom=False, hang=False, detail="").cause

    async def _port_answers(self, running: Running) -> bool:
        while not running.ended.is_set():
            if self.service.port == 0 or await _connects(self.service.port):
                return True
            await asyncio.sleep(_ASK_EVERY)
        return False

    def _start(self) -> Running:
        service, place = self.service, self._place
        place.cgroups.make(self.group, Limits(memory=service.memory), leaf=True)
        doors = place.cgroups.doors(self.group)
        pipes = [place.logs.reader(service.name, stream) for stream in ("out", "err")]
        parent = os.getpid()
        try:
            process = subprocess.Popen(
                service.argv,
                env=place.environment(place.home.root),
                cwd=place.home.root,
                stdin=subprocess.DEVNULL,
                stdout=pipes[0].write_end,
                stderr=pipes[1].write_end,
                start_new_session=True,
                preexec_fn=lambda: _enter(doors, parent),  # noqa: PLW1509 the node has one thread
            )
        except BaseException:
            for pipe in pipes:
                pipe.finish()
            raise
        finally:
            for descriptor in (*doors, *(pipe.write_end for pipe in pipes)):
                os.close(descriptor)
        running = Running(process, pipes, os.pidfd_open(process.pid))
        asyncio.get_running_loop().add_reader(running.pidfd, running.ended.set)
        return running

    def _bury(self, running: Running) -> None:
        self._now = None
        asyncio.get_running_loop().remove_reader(running.pidfd)
        self._place.cgroups.kill(self.group)
        running.process.kill()
        running.process.wait()
        os.close(running.pidfd)
        for pipe in running.pipes:
            pipe.finish()

    def restart(self) -> None:
        """End the process; it comes back by itself."""
        self._memory = Memory()
        if self.pid is not None:
            linux.kill(self.pid, signal.SIGTERM)
        else:
            self._move("starting", self.reason)  # it is tried again from now on: whoever looks shall not take it for failed still
            self._task.cancel()
            self._task = self._place.tasks.create_task(self._keep_up())

    async def stop(self) -> None:
        """SIGTERM, wait, SIGKILL; it does not come back."""
        running = self._now
        if running is not None:
            linux.kill(running.process.pid, signal.SIGTERM)
            await asyncio.wait([asyncio.ensure_future(running.ended.wait())], timeout=_STOP_WITHIN)
        self._task.cancel()
        await asyncio.wait([self._task])
        self._place.cgroups.remove(self.group)
        self._move("stopped")

    def seen(self) -> dict[str, Any]:
        """As `observe` tells it."""
        service = self.service
        told = {"name": service.name, "state": self.state, "reason": self.reason, "pid": self.pid, "port": service.port}
        return {**told, "restarts": self.restarts, "digest": service.digest, "since": self.since}


def _enter(doors: list[int], parent: int) -> None:
    join(doors)
    linux.die_with_parent()
    if os.getppid() != parent:
        os._exit(1)


async def _connects(port: int) -> bool:
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.setblocking(False)
        try:
            async with asyncio.timeout(_CONNECT_WITHIN):
                await loop.sock_connect(sock, ("127.0.0.1", port))
        except OSError:  # refused, or too slow (TimeoutError is an OSError): not yet
            return False
    return True


class Services:
    """All services of the table, in its order."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._programs: dict[str, Program] = {}
        self._changing = asyncio.Lock()

    async def apply(self, services: tuple[Service, ...]) -> None:
        """Stop what is gone or changed, start what is new; returns when all were ready once or have failed, or after a while."""
        async with self._changing:
            wanted = {service.name: service for service in services}
            for name, program in reversed(list(self._programs.items())):
                if wanted.get(name) != program.service:
                    await program.stop()
                    del self._programs[name]
            for name, service in wanted.items():
                if name not in self._programs:
                    self._programs[name] = Program(service, self._place)
        with contextlib.suppress(TimeoutError):  # one that takes so long is seen as such by everybody; the rest goes on
            async with asyncio.timeout(_SETTLED_WITHIN):
                for program in list(self._programs.values()):
                    await program.settled.wait()

    def restart(self, name: str) -> None:
        """End the service's process so that it starts anew. Raises NotFound."""
        if name not in self._programs:
            raise NotFound(f"no service {name}", hint=f"there are: {', '.join(self._programs) or 'none'}")
        self._programs[name].restart()

    @property
    def pids(self) -> set[int | None]:
        """Of all running services."""
        return {program.pid for program in self._programs.values()}

    def seen(self) -> list[dict[str, Any]]:
        """As `observe` tells them."""
        return [program.seen() for program in self._programs.values()]
