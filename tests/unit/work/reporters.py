"""Replicas that report who waits for whom, and the watch they report to, in virtual time."""

import json
from dataclasses import dataclass, field

from quarterdeck.clock import VirtualClock
from quarterdeck.model import ops
from quarterdeck.model.work import Holder, Order, Target
from quarterdeck.work.leases import Leases
from quarterdeck.work.requests import unpack
from quarterdeck.work.watch import Watch

HOUR = 3600.0


def holder(name, n=0, incarnation=1, system="s"):
    cluster, _, agent = name.rpartition("/")
    return Holder(system, cluster or "c", agent, n, incarnation)


@dataclass
class Replica:
    """What one replica knows; it reports when it is asked to, or when `pass_time` lets it. `deaf`: paused, or cut off."""

    who: Holder
    office: "Office"
    places: int = 1
    asks: dict = field(default_factory=dict)
    waits: dict = field(default_factory=dict)
    deaf: bool = False
    n: int = 0
    seen: float = 0.0
    broken: list = field(default_factory=list)
    unwanted: list = field(default_factory=list)

    def held(self, name, verb="v"):
        self.asks[name] = (name, verb, self.office.clock.now(), True)

    def queued(self, name, verb="v"):
        self.asks[name] = (name, verb, self.office.clock.now(), False)

    def asking(self, waiter, on, kind="ask", how="ask", to="c/x"):
        self.waits[waiter, on] = (waiter, kind, "v", on, how, to, self.office.clock.now())

    @property
    def op(self):
        self.n += 1
        free = max(0, self.places - sum(held for *_, held in self.asks.values()))
        return ops.Waits(self.n, self.seen, self.places, free, tuple(self.asks.values()), tuple(self.waits.values()))

    def report(self):
        if self.deaf:
            return
        again, left = True, 3
        while again and (left := left - 1) >= 0:
            (op,) = unpack(json.dumps({"ops": [ops.pack(self.op)]}).encode())
            said = self.office.watch.heard(self.who, op)
            self.seen, again = said["seen"], said["again"]
            for waiter, on, told in said["broken"]:
                if self.waits.pop((waiter, on), None):
                    self.broken.append((waiter, on, told))
            self.unwanted += [name for name, _ in said["unwanted"]]


class Office:
    """Replicas, the watch, and a virtual clock; looks each quarter of a second, as the ledger does."""

    def __init__(self):
        self.clock = VirtualClock()
        self.leases = Leases()
        self.replicas = {}
        self.staff = {}
        self.rows = {}
        self.watch = Watch(self.clock, self.leases, self._speak, lambda target: self.staff.get(target.name))

    def replica(self, name, n=0, **more):
        who = holder(name, n)
        made = self.replicas[who] = Replica(who, self, **more)
        self.staff[who.target.name] = self.staff.get(who.target.name, frozenset()) | {(n, 1)}
        self.watch.serves(who, made.places)
        return made

    def _speak(self, target, n):
        for replica in self.replicas.values():
            if (replica.who.target, replica.who.n) == (target, n):
                replica.report()

    def pass_time(self, seconds, *, reports=True, step=0.25):
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
            for replica in self.replicas.values() if reports else ():
                replica.report()
            suspected = self.watch.suspected()
            if suspected is not None:
                self.watch.look({name: self.rows[name] for name in suspected if name in self.rows})

    @property
    def broken(self):
        return [entry for replica in self.replicas.values() for entry in replica.broken]


def crosswise(office):
    """Two agents with one place each, whose handlers ask one another."""
    a, b = office.replica("a"), office.replica("b")
    a.held("1")
    b.held("2")
    a.asking("1", "3", to="c/b")
    b.asking("2", "4", to="c/a")
    b.queued("3")
    a.queued("4")
    return a, b


def task(name):
    return name.rjust(26, "0")


def row(office, name, agent, *, state="queued", behind=None, priority=0, after=0.0):
    """A task as the rows tell of it."""
    from quarterdeck.model.work import Task  # noqa: PLC0415 named only here

    order = Order(Target("s", "c", agent))
    office.rows[task(name)] = Task(
        task(name), 1, order.target, "", None, "", priority, None, behind, state, "", 1, 5, 1, None, after, None, None, task(name), 0, None,
        {}, "", "", office.clock.now(), None, None,
    )  # fmt: skip
    return task(name)
