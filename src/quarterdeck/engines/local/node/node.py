"""The node itself: its parts wired together, its second hand, and how it stops."""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import asdict
from typing import Any, Final

from quarterdeck import linux, stop_order
from quarterdeck.engines.local.living import living
from quarterdeck.engines.local.node import observe, rooms
from quarterdeck.engines.local.node.control import Control
from quarterdeck.engines.local.node.fleet import Fleet
from quarterdeck.engines.local.node.forks import reap
from quarterdeck.engines.local.node.halts import Halts
from quarterdeck.engines.local.node.lifecycle import MARK, left_behind
from quarterdeck.engines.local.node.place import Place
from quarterdeck.engines.local.node.services import Services
from quarterdeck.engines.local.node.table import Counters, Proven, Tables
from quarterdeck.engines.local.node.used import Meter
from quarterdeck.errors import NotFound
from quarterdeck.halts import Halt
from quarterdeck.model.table import Table

_TICK: Final = 1.0
_ORDER_GRACE: Final = 3.0
_ORDERED_DRAIN: Final = 10.0
_GONE_WITHIN: Final = 2.0
_SWEEP_EVERY: Final = 0.02
_SWEEP_WITHIN: Final = 5.0
_LOOK_AGAIN: Final = 5.0
"""Seconds between looks at what is halted, once nothing of it was there."""


class Node:
    """Everything of one node. `done` is set when it has stopped and may end."""

    def __init__(self, place: Place, control_argv: tuple[str, ...]) -> None:
        folder = place.home.node
        self.place = place
        self.tables = Tables(folder)
        self.halts = Halts(place.home, place.clock)
        self.fleet = Fleet(place, Counters(folder), Proven(folder), self.halts)
        self.services = Services(place)
        self.control = Control(place, control_argv)
        self.done = asyncio.Event()
        self._rooms = rooms.Rooms(place.cgroups)
        self._meter = Meter(place.cgroups, place.clock)
        self._applying = asyncio.Lock()
        self._applied: Table | None = None
        self._stopping: asyncio.Task[dict[str, Any]] | None = None
        self._ordered_since: float | None = None
        self._sweeping: asyncio.Task[None] | None = None
        self._burying: asyncio.TimerHandle | None = None
        self._swept = place.clock.monotonic()

    # what must not run

    def halt(self, halt: Halt, within: float | None) -> dict[str, Any]:
        """Let nothing of a target run: what does is asked to finish `within` seconds, then killed; at 0 that is done when this returns."""
        problem = self.halts.order(halt, within)
        self.fleet.look_at_all()
        self.place.events.add("halt.ordered", f"{halt.system}/{halt.target}", reason=halt.reason, actor=halt.actor, within=within)
        self._sweep()
        return {"kept": not problem, "problem": problem, **self.halts.to_json()}

    def require(self, system: str, target: str) -> None:
        """Raise NotFound unless the table has such a system (empty: any), cluster or agent, or one of it runs."""
        rows = [*self.tables.now.rows, *(workload.row for workload in self.fleet.workloads.values())]
        known = {name for row in rows if system in ("", row.system) for name in ("", row.cluster, row.name)}
        if target not in known and (system or target):
            names = ", ".join(sorted(known - {""})) or "nothing"
            raise NotFound(f"nothing called {target or system!r} runs here, but {names}", hint="qd stop fleet stops everything")

    def lift(self, system: str, target: str) -> dict[str, Any]:
        """Let a target run again."""
        problem = self.halts.lift(system, target)
        self.fleet.look_at_all()
        self.place.events.add("halt.lifted", f"{system}/{target}")
        return {"kept": not problem, "problem": problem, **self.halts.to_json()}

    def reset_halts(self, whole: tuple[Halt, ...]) -> dict[str, Any]:
        """Take a list for the whole truth."""
        problem = self.halts.reset(whole)
        self.fleet.look_at_all()
        return {"kept": not problem, "problem": problem, **self.halts.to_json()}

    def _sweep(self) -> None:
        if self._sweeping is None or self._sweeping.done():
            self._sweeping = self.place.tasks.create_task(self._sweep_on())

    async def _sweep_on(self) -> None:
        """Kill by looking: what escaped from its replica, what a fork server still holds, what no longer has a parent we know."""
        deadline = self.place.clock.monotonic() + _SWEEP_WITHIN
        while (left := await asyncio.to_thread(self._under_halt)) and self.place.clock.monotonic() < deadline:
            for pid in left:
                linux.kill(pid)
            self._bury_orphans()
            await asyncio.sleep(_SWEEP_EVERY)
        self._swept = self.place.clock.monotonic()

    def _under_halt(self) -> list[int]:
        over = self.halts.over()
        found = living(self.place.home, MARK, os.getpid()) if over else ()
        return [one.pid for one in found if any(one.may_be_of(halt.system, halt.target) for halt in over)]

    def _keep_down(self) -> None:
        """As long as something is halted, look now and then whether something of it is there; at once when its time is over."""
        if self.halts.over() and self.place.clock.monotonic() - self._swept >= _LOOK_AGAIN:
            self._sweep()

    # the table

    def accept(self, table: Table) -> None:
        """Take a table, on disk first, and begin to carry it out. Raises Conflict when it is older than the one in force."""
        if self.tables.accept(table):
            self.place.events.add("table.accepted", "node", version=list(table.version))
            self.carry_out()

    def carry_out(self) -> None:
        """Begin to make the table true; whatever it said before is overtaken."""
        self.place.tasks.create_task(self._carry_out())

    async def _carry_out(self) -> None:
        async with self._applying:
            table = self.tables.now
            if table is self._applied or self._stopping is not None:
                return
            self._rooms.apply(table)
            await self.services.apply(table.services)
            if self._stopping is None:
                self.fleet.table(table)
                self._applied = table

    # the passing of time

    async def tick(self) -> None:
        """Once a second, for as long as the node lives."""
        while True:
            await asyncio.sleep(_TICK)
            self.fleet.tick()
            self._bury_orphans()
            self._keep_down()
            self._rooms.tidy(self._rooms_used())
            self._heed_order()

    def _rooms_used(self) -> set[str]:
        table = self.tables.now
        asked = {rooms.name_of(room.system, room.namespace.cluster) for room in table.rooms} | {
            rooms.name_of(row.system, row.cluster) for row in table.rows
        }
        return asked | {rooms.name_of(p.identity.system, p.identity.cluster) for p in self.fleet.processes}

    def _pids(self) -> dict[str, list[int]]:
        """Those of the replicas in each room of the table."""
        found: dict[str, list[int]] = {rooms.name_of(room.system, room.namespace.cluster): [] for room in self.tables.now.rooms}
        for process in self.fleet.processes:
            room = rooms.name_of(process.identity.system, process.identity.cluster)
            if process.pid is not None and room in found:
                found[room].append(process.pid)
        return found

    def _bury_orphans(self) -> None:
        """Kill and reap what became our child because everything between has died; what that had started comes to us next."""
        known = self.fleet.pids | self.services.pids
        orphans = [pid for pid in linux.children_of(os.getpid()) if pid not in known]
        for pid in orphans:
            linux.kill(pid)
            reap(pid)
        if orphans and self._burying is None:
            self._burying = asyncio.get_running_loop().call_later(_SWEEP_EVERY, self._bury_on)

    def _bury_on(self) -> None:
        self._burying = None
        self._bury_orphans()

    def _heed_order(self) -> None:
        """An order to stop whose giver died before it told us is carried out all the same."""
        if not stop_order.stands(self.place.home):
            self._ordered_since = None
            return
        now = self.place.clock.monotonic()
        self._ordered_since = self._ordered_since or now
        if now - self._ordered_since >= _ORDER_GRACE and self._stopping is None:
            self.place.tasks.create_task(self._stop_and_end())

    async def _stop_and_end(self) -> None:
        await self.stop(_ORDERED_DRAIN)
        self.done.set()

    # stopping

    async def stop(self, within: float) -> dict[str, Any]:
        """Stop everything, replicas first; returns what is left: nothing. Asked twice, both get the one answer."""
        if self._stopping is None:
            self._stopping = self.place.tasks.create_task(self._stop(within))
        return await asyncio.shield(self._stopping)

    async def _stop(self, within: float) -> dict[str, Any]:
        await self.fleet.stop(within)
        async with asyncio.timeout(_ORDERED_DRAIN * (1 + len(self.tables.now.services))):
            await self.services.apply(())
        deadline = self.place.clock.monotonic() + _GONE_WITHIN
        while left_behind(self.place.boot) and self.place.clock.monotonic() < deadline:
            for pid in left_behind(self.place.boot):
                linux.kill(pid)
            self._bury_orphans()
            await asyncio.sleep(0.01)
        self._bury_orphans()
        cgroups = [left for base in sorted(set(self.place.cgroups.bases.values())) for left in rooms.empty(base)]
        return {"processes": sorted(left_behind(self.place.boot)), "cgroups": cgroups, "sockets": self._sockets()}

    def _sockets(self) -> list[str]:
        """In their folder, but for the two doors that their owners close last."""
        doors = {self.place.home.node_socket, self.place.home.api_socket}
        with contextlib.suppress(FileNotFoundError):  # the folder is gone, and all sockets with it
            return [str(path) for path in self.place.home.run.iterdir() if path.is_socket() and path not in doors]
        return []

    # looking

    @property
    def weakenings(self) -> list[str]:
        """What this machine or these agents lack, for people."""
        spawned = any(not process.forked for process in self.fleet.processes)
        threads = ("some replicas are spawned, not forked: their imports start threads",) if spawned else ()
        return [*self.place.isolation.weakenings, *self.place.cgroups.weakenings, *self._rooms.weakenings, *threads]

    def hello(self) -> dict[str, Any]:
        """Who this is."""
        isolation = self.place.isolation
        return {
            "pid": os.getpid(),
            "boot": self.place.boot.id,
            "version": list(self.tables.now.version),
            "weakenings": self.weakenings,
            "isolation": {"uid": isolation.uid, "landlock": bool(isolation.landlock), "cgroup": self.place.cgroups.version},
        }

    def observe(self) -> dict[str, Any]:
        """Everything it sees now."""
        table = self.tables.now
        return {
            "at": self.place.clock.now(),
            "boot": self.place.boot.id,
            "version": list(table.version),
            "services": self.services.seen(),
            "rooms": [asdict(room) for room in table.rooms],
            "used": self._meter.read(self._pids()),
            "incarnations": self.fleet.incarnations(),
            "code": sorted(self.fleet.code),
            "rows": [
                observe.row(one, may_start=self.halts.end_by(one.row.system, one.row.name) is None) for one in self.fleet.workloads.values()
            ],
            "delivered": self.fleet.ways.told(),
            "weakenings": self.weakenings,
            "machine": observe.machine(),
            "events_next": self.place.events.next,
            "log_bytes": self.place.logs.bytes,
        }
