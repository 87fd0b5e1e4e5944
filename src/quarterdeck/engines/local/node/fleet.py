"""All workloads of the table and their processes: carries decisions out, remembers ends, tells what happened.

Latency matters in one place: from the end of a replica that worked to the request for its successor nothing waits, and everything that
can be put off (logs, cgroups, the cause of the end) is.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from quarterdeck import linux
from quarterdeck.engines.local.node import memory as slots
from quarterdeck.engines.local.node.decide import Drain, Finish, Halt, Kill, Order, Pause, Seen, Start, Stop, decide
from quarterdeck.engines.local.node.ends import Ends
from quarterdeck.engines.local.node.forks import Forks, Key
from quarterdeck.engines.local.node.halts import Halts
from quarterdeck.engines.local.node.isolation import Uids
from quarterdeck.engines.local.node.launch import Launcher, credential
from quarterdeck.engines.local.node.memory import Memory
from quarterdeck.engines.local.node.place import Place
from quarterdeck.engines.local.node.process import Identity, Listener, Process
from quarterdeck.engines.local.node.table import Counters, Proven
from quarterdeck.engines.local.node.vitals import SAMPLES, Beat, Ring
from quarterdeck.engines.local.node.ways import Ways
from quarterdeck.errors import NotFound
from quarterdeck.model.desired import Template
from quarterdeck.model.table import Row, Table
from quarterdeck.model.world import Exit

_UNBORN_WITHIN: Final = 5.0
_STALLED: Final = 2.0


@dataclass(slots=True)
class Workload:
    """A row and what became of it."""

    row: Row
    processes: dict[tuple[int, int], Process] = field(default_factory=dict)
    memory: dict[int, Memory] = field(default_factory=dict)
    halted: Halt | None = None
    last: dict[int, Exit] = field(default_factory=dict)
    restarts: Counter[int] = field(default_factory=Counter)
    timer: asyncio.TimerHandle | None = None
    soon: asyncio.Handle | None = None
    looking: bool = False
    rings: dict[int, Ring] = field(default_factory=dict)
    """By slot, over its incarnations, so that the time in which it had no process is a gap and not a beginning."""

    @property
    def name(self) -> str:
        """`system/cluster/agent`."""
        return f"{self.row.system}/{self.row.name}"

    def newest(self, n: int) -> Process | None:
        """The youngest process of a slot."""
        return max((p for p in self.processes.values() if p.identity.n == n), key=lambda p: p.identity.incarnation, default=None)

    def sample(self, at: float) -> None:
        """A line for each slot, of its youngest process that runs; what was kept of slots that are gone goes."""
        lines = {process.identity.n: line for process in self.processes.values() if (line := process.sample(at)) is not None}
        for n, line in lines.items():
            self.rings.setdefault(n, Ring()).add(line)
        for n in self.rings.keys() - lines.keys() - {slot.n for slot in self.row.slots}:
            del self.rings[n]


class Fleet(Listener):
    """`table` sets what should run; from then on it happens by itself."""

    def __init__(self, place: Place, counters: Counters, proven: Proven, halts: Halts) -> None:
        self._place = place
        self._halts = halts
        self._counters = counters
        self._proven = proven
        self._forks = Forks(place)
        self._launcher = Launcher(place, self._forks, Uids())
        self._loop = asyncio.get_running_loop()
        self._random = random.Random()  # noqa: S311 spreads back-off, guards nothing
        self._ticked = place.clock.monotonic()
        self._ends = Ends(place, self._forks)
        self._probes = 0
        self.workloads: dict[str, Workload] = {}
        self.ways = Ways()

    # what should be

    def table(self, table: Table) -> None:
        """Take a new table; what is no longer in it drains."""
        rows = {f"{row.system}/{row.name}": row for row in table.rows}
        for name, row in rows.items():
            if name in self.workloads:
                self._change(self.workloads[name], row)
            else:
                self.workloads[name] = Workload(row)
        for name in self.workloads.keys() - rows.keys():
            workload = self.workloads[name]
            workload.row = replace(workload.row, slots=())
        self._proven.keep_only(set(rows))
        self.ways.keep_only({(row.system, row.cluster) for row in table.rows})
        self.look_at_all()

    def _change(self, workload: Workload, row: Row) -> None:
        old, workload.row = workload.row, row
        if slots.asked(old) != slots.asked(row):
            workload.memory.clear()
            workload.halted = None
        if old.template.digest != row.template.digest:
            self._event("rollout.started", workload.name, old=old.template.digest, new=row.template.digest)
        for process in workload.processes.values():
            self._inform(process, old, row)

    @staticmethod
    def _inform(process: Process, old: Row, row: Row) -> None:
        if (old.links, old.peers) != (row.links, row.peers):
            process.send({"t": "links", "links": [asdict(link) for link in row.links], "peers": list(row.peers)})
        fresh = credential(row, process.identity.n, process.identity.incarnation)
        if fresh is not None and (fresh, row.bus_url) != (process.credential, old.bus_url):
            process.credential = fresh
            process.send({"t": "credentials", "credential": asdict(fresh), "url": row.bus_url})

    def incarnations(self) -> dict[str, int]:
        """The newest incarnation of every slot `system/cluster/agent-n` that ever ran."""
        return self._counters.last()

    @property
    def code(self) -> frozenset[str]:
        """The code trees that replicas run from or would be started from again."""
        return frozenset(key.code for key in self._needed()) | {workload.row.template.code for workload in self.workloads.values()}

    async def stop(self, within: float) -> None:
        """Drain everything, kill what does not finish `within` seconds, and end the fork servers."""
        for workload in self.workloads.values():
            workload.row = replace(workload.row, slots=(), rollout=replace(workload.row.rollout, drain=within))
        self.look_at_all()
        deadline = self._place.clock.monotonic() + within + 5.0
        while (self.processes or self._ends.closing) and self._place.clock.monotonic() < deadline:  # noqa: ASYNC110 several sets must be empty
            await asyncio.sleep(0.01)
        self._forks.keep_only(set())
        while self._forks.pids and self._place.clock.monotonic() < deadline + 5.0:  # noqa: ASYNC110 the same
            await asyncio.sleep(0.01)

    # looking and acting

    @property
    def processes(self) -> list[Process]:
        """All that run or end."""
        return [process for workload in self.workloads.values() for process in workload.processes.values()]

    def look_at_all(self) -> None:
        """Have each workload decided on and acted on now."""
        for workload in list(self.workloads.values()):
            self._look(workload)
        self._forks.keep_only(self._needed())

    def _needed(self) -> set[Key]:
        needed = {Key(p.identity.system, p.identity.cluster, p.identity.template.code) for p in self.processes}
        for workload in self.workloads.values():
            row = workload.row
            good = self._proven.get(workload.name)
            templates = [row.template, *([good] if good else [])] if row.slots and self._end_by(row) is None else []
            needed |= {Key(row.system, row.cluster, template.code) for template in templates}
        return needed

    def _look(self, workload: Workload) -> None:
        """Decide and act; an order that changes the picture at once (a failed start) makes it look again."""
        if workload.looking:
            return
        workload.looking, workload.soon = True, None
        try:
            decision = decide(workload.row, self._seen(workload), self._place.clock.monotonic())
            self._start(workload, [order for order in decision.orders if isinstance(order, Start)])
            for order in decision.orders:
                self._carry_out(workload, order)
        finally:
            workload.looking = False
        if workload.timer is not None:
            workload.timer.cancel()
        wait = None if decision.again_at is None else decision.again_at - self._place.clock.monotonic()
        workload.timer = None if wait is None else self._loop.call_later(max(wait, 0.0), self._look, workload)
        if not workload.row.slots and not workload.processes:
            self.workloads.pop(workload.name, None)

    def _look_soon(self, workload: Workload) -> None:
        """Once for everything that is heard in this round of the loop."""
        if workload.soon is None:
            workload.soon = self._loop.call_soon(self._look, workload)

    def _seen(self, workload: Workload) -> Seen:
        row = workload.row
        counters = {slot.n: self._counters.next(f"{workload.name}-{slot.n}") for slot in row.slots}
        good = self._proven.get(workload.name)
        live = tuple(process.live() for process in workload.processes.values())
        return Seen(live, workload.memory, counters, good.digest if good else None, workload.halted, self._end_by(row))

    def _end_by(self, row: Row) -> float | None:
        return self._halts.end_by(row.system, row.name)

    def _carry_out(self, workload: Workload, order: Order) -> None:
        match order:
            case Start():
                pass  # all of a decision together, before
            case Drain(n, incarnation, within, reason):
                workload.processes[n, incarnation].drain(within, reason)
            case Kill(n, incarnation, reason, hang, counts):
                self._kill(workload.processes[n, incarnation], reason, hang=hang, counts=counts)
            case Pause(n, incarnation):
                workload.processes[n, incarnation].pause()
                self._event("replica.quarantined", f"{workload.name}-{n}", incarnation=incarnation)
            case Stop(halt):
                workload.halted = halt
                workload.memory.clear()
                self._event("rollout.stopped", workload.name, template=halt.key[0], reason=halt.reason)
            case Finish(template):
                self._proven.note(workload.name, workload.row.template)
                self._event("rollout.finished", workload.name, template=template)

    def _kill(self, process: Process, reason: str, *, hang: bool, counts: bool) -> None:
        self._event("replica.killed", process.identity.slot, pid=process.pid, reason=reason, hang=hang)
        process.end(self._place.cgroups, reason, hang=hang, counts=counts)
        if hang:
            self._place.tasks.create_task(process.dump_then_end())
        if process.pid is None:
            self._loop.call_later(0.0 if counts else _UNBORN_WITHIN, self._end_unborn, process)

    @staticmethod
    def _end_unborn(process: Process) -> None:
        """The fork server is stuck in an import that only its own end can end."""
        if process.pid is None and not process.birth.done():
            linux.kill(process.server_pid)

    def _start(self, workload: Workload, orders: list[Start]) -> None:
        if not orders:
            return
        try:
            taken = self._counters.take(f"{workload.name}-{order.n}" for order in orders)
        except OSError as error:  # a disk that is full or broken may come back: the next tick asks again
            sys.stderr.write(f"{workload.name}: {len(orders)} replicas wait, their numbers cannot be written down: {error}\n")
            return
        for order in orders:
            template = self._template(workload, order.template)
            row = workload.row
            number = taken[f"{workload.name}-{order.n}"]
            identity = Identity(row.system, row.cluster, row.agent, order.n, number, template)
            now = self._place.clock.monotonic()
            workload.memory[order.n] = slots.began(workload.memory.get(order.n, slots.FRESH), template.digest, now)
            try:
                workload.processes[order.n, number] = self._launcher.launch(row, identity, self)
            except OSError as error:
                self._failed(workload, order.n, f"cannot start: {error}")

    def _template(self, workload: Workload, digest: str) -> Template:
        good = self._proven.get(workload.name)
        return good if good is not None and good.digest == digest else workload.row.template

    # what processes tell

    def _workload(self, process: Process) -> Workload:
        identity = process.identity
        return self.workloads[f"{identity.system}/{identity.cluster}/{identity.agent}"]

    def is_born(self, process: Process) -> None:
        """It has a pid."""
        identity = process.identity
        self._event("replica.started", identity.slot, pid=process.pid, incarnation=identity.incarnation, forked=process.forked)
        if process.kill_reason:
            process.end_now()

    def is_ready(self, process: Process) -> None:
        """It answers."""
        workload = self._workload(process)
        workload.memory[process.identity.n] = slots.ready(workload.memory.get(process.identity.n, slots.FRESH))
        ms = round((self._place.clock.monotonic() - process.began) * 1000, 2)
        self._event("replica.ready", process.identity.slot, pid=process.pid, incarnation=process.identity.incarnation, ms=ms)
        self._counters.restock(process.identity.slot)
        self._look_soon(workload)

    def is_refused(self, process: Process, failed: dict[str, Any]) -> None:
        """Its code cannot be imported, or its fork server ended."""
        workload = self._workload(process)
        identity = process.identity
        del workload.processes[identity.n, identity.incarnation]
        self._ends.close(process)
        where = f" ({failed['where']})" if failed["where"] else ""
        reason = f"{process.kill_reason or failed['error']}{where}"
        workload.last[identity.n] = Exit(None, None, False, False, self._place.clock.now(), reason)
        if failed.get("retry"):
            self._mourn(workload, process, reason)
        else:
            self._failed(workload, identity.n, reason)
        self._look_soon(workload)

    def _failed(self, workload: Workload, n: int, reason: str) -> None:
        now = self._place.clock.monotonic()
        workload.memory[n] = slots.failed(workload.memory.get(n, slots.FRESH), now, reason)
        self._event("replica.failed", f"{workload.name}-{n}", reason=reason)

    def has_ended(self, process: Process) -> None:
        """Its end was seen. One that worked is replaced at once; otherwise the cause comes first, it decides how to go on."""
        if process.worked or process.status is not None:
            self._replace(process)
        else:
            self._place.tasks.create_task(self._replace_when_understood(process))

    async def _replace_when_understood(self, process: Process) -> None:
        await self._ends.understood(process)
        self._replace(process)

    def _replace(self, process: Process) -> None:
        workload = self._workload(process)
        identity = process.identity
        del workload.processes[identity.n, identity.incarnation]
        if not process.asked_to_end:
            workload.restarts[identity.n] += 1
            reason = process.fatal or process.kill_reason or (process.ending(oom=False).cause if process.status is not None else "")
            self._mourn(workload, process, reason)
        self._look(workload)
        self._ends.follow(process, workload.newest(identity.n), lambda ending: self._explained(workload, process, ending))

    def _mourn(self, workload: Workload, process: Process, reason: str) -> None:
        n, now = process.identity.n, self._place.clock.monotonic()
        before = workload.memory.get(n, slots.FRESH)
        jitter = self._random.random()
        after = slots.died(before, workload.row.restart, now, worked=process.worked, jitter=jitter, reason=reason)
        workload.memory[n] = after
        if after.failed_at is not None:
            self._event("replica.failed", f"{workload.name}-{n}", reason=reason, deaths=len(after.deaths))

    @staticmethod
    def _explained(workload: Workload, process: Process, ending: Exit) -> None:
        n = process.identity.n
        workload.last[n] = ending
        known = workload.memory.get(n)
        if known is not None and not process.asked_to_end and (ending.oom or not known.reason):
            workload.memory[n] = replace(known, reason=process.fatal or ending.cause)

    def measured(self, process: Process, before: Beat) -> None:
        """What its newest beat says more than the one before belongs to its cluster, whatever becomes of the process."""
        self.ways.take(process.identity.system, process.identity.cluster, before.ways, process.vitals.beat.ways)

    def told(self, process: Process, message: dict[str, Any]) -> None:
        """Anything else it says."""
        if message.get("t") == "credentials":
            self._event("replica.credentials", process.identity.slot, expires=message.get("expires"))

    # the passing of time

    def tick(self) -> None:
        """Once a second: samples, and a look at everything. After a pause of the node itself nobody is called hung."""
        now, at = self._place.clock.monotonic(), self._place.clock.now()
        paused = now - self._ticked > _STALLED
        self._ticked = now
        for process in self.processes:
            if paused and process.ready_at is not None:
                process.beat = now
        for workload in self.workloads.values():
            workload.sample(at)
        self.look_at_all()

    @property
    def pids(self) -> set[int | None]:
        """Of all replicas and fork servers, those included whose end is still being understood."""
        return {process.pid for process in [*self.processes, *self._ends.closing]} | self._forks.pids

    # doors

    def find(self, system: str, name: str) -> Process:
        """The youngest process of replica `cluster/agent-n`. Raises NotFound."""
        for process in reversed(self.processes):
            if process.identity.system == system and process.identity.name == name:
                return process
        raise _absent(system, name)

    def ring(self, system: str, name: str) -> list[list[float | None]]:
        """The lines of a replica slot `cluster/agent-n` in the order of COLUMNS, oldest first, also while it has no process. NotFound."""
        agent, _, n = name.rpartition("-")
        workload = self.workloads.get(f"{system}/{agent}")
        known = {slot.n for slot in workload.row.slots} | {n for n, _ in workload.processes} if workload else set()
        if workload is None or not n.isdecimal() or int(n) not in known:
            raise _absent(system, name)
        ring = workload.rings.get(int(n))
        return [] if ring is None else list(ring.rows(self._place.clock.now() - SAMPLES))

    async def probe(self, system: str, name: str, probe: dict[str, Any], within: float) -> dict[str, Any]:
        """Ask a replica something over its channel. Raises NotFound, TimeoutError."""
        self._probes += 1
        return await self.find(system, name).probe(self._probes, probe, within)

    def _event(self, kind: str, target: str, **detail: object) -> None:
        self._place.events.add(kind, target, **detail)


def _absent(system: str, name: str) -> NotFound:
    return NotFound(f"no replica {name} of system {system} runs here", hint="qd get replicas lists those that do")
