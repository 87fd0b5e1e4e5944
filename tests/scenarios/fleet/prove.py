"""Work under attack: tasks are submitted while every kind of process is killed, and a sink outside the product counts the real calls.

Used by test_prove.py; `make prove` runs it long. Everything is drawn from one seed, though the machine's own timing is not.
"""

import json
import os
import random
import re
import signal
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

from tests.scenarios.fleet.sink import Sink

from quarterdeck import linux
from quarterdeck.client.wire import Wire
from quarterdeck.clock import SystemClock
from quarterdeck.errors import Conflict, QuarterdeckError, Transient

SPEC = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {{name: bank}}
spec:
  clusters:
    front:
      quota: {{replicas: 6}}
      agents:
        orders: {{run: "bank:orders", replicas: 2, hang_after: 300s, restart: {{budget: 1000}}, env: {{SINK: "{port}"}}}}
    back:
      quota: {{replicas: 8}}
      agents:
        payer: {{run: "bank:payer", replicas: 3, hang_after: 300s, restart: {{budget: 1000}}, env: {{SINK: "{port}"}}}}
  links:
    - {{from: front, to: back, timeout: 2s, attempts: 3}}
"""
BANK = '''\
"""An order is checked once, paid in two parts by others, and confirmed. The sink counts each call that really happened."""

import asyncio
import os
import random

from quarterdeck import Agent, Context

orders = Agent("orders", concurrency=16)
payer = Agent("payer", concurrency=16)


async def call(kind: str, key: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(os.environ["SINK"]))
    writer.write(f"{kind} {key}\\n".encode())
    answer = await reader.readline()
    writer.close()
    return answer.decode().strip()


async def check(n: int) -> int:
    await asyncio.sleep(random.random() * 0.02)
    return n * 2


@orders.task()
async def order(n: int, ctx: Context) -> int:
    doubled = await ctx.step("check", check, n)
    parts = await asyncio.gather(*[ctx.delegate("back/payer", payload=[n, part], attempts=1000) for part in range(2)])
    await ctx.effect(f"confirm-{n}", call, "unsafe", f"confirm-{n}", semantics="unsafe")
    return doubled + sum(parts)


@payer.task()
async def pay(what: list[int], ctx: Context) -> int:
    n, part = what
    await asyncio.sleep(random.random() * 0.03)
    await ctx.effect(f"book-{n}-{part}", call, "idempotent", f"book-{n}-{part}", semantics="idempotent")
    await ctx.effect(f"pay-{n}-{part}", transfer, f"pay-{n}-{part}", semantics="dedupes")
    return part


async def transfer(name: str, *, key: str) -> str:
    return await call("dedupes", key)
'''


APART = 6.0
"""Seconds between the deaths of a control plane and a node: each is the one that starts the other again."""
CUSTOMERS = 3
FIRST_ZOMBIE = 5
PAUSE = 16.5
"""Seconds: a lease is 15."""


@dataclass
class Shot:
    """One blow: at what, when."""

    kind: str
    at: float
    pid: int


@dataclass
class Attack:
    """The state of one run."""

    fleet: object
    sink: Sink
    seed: int
    acked: dict = field(default_factory=dict)
    shots: list = field(default_factory=list)
    duplicates: int = 0
    resolved: int = 0
    conflicts: int = 0
    zombies: int = 0
    bereft: dict = field(default_factory=dict)
    asleep: set = field(default_factory=set)
    errors: list = field(default_factory=list)
    _closed: threading.Event = field(default_factory=threading.Event)
    _over: threading.Event = field(default_factory=threading.Event)
    _next: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def client(self):
        return Wire(self.fleet.home, SystemClock())

    # work

    def submit(self, n):
        """Until it is acknowledged; what fails is asked again with the same key, as a client would."""
        client = self.client()
        body = {"target": "front/orders", "payload": n, "key": f"order-{n}", "attempts": 1000}
        while True:
            try:
                made = client.post("/v1/tasks", body, timeout=10)
            except Transient:
                time.sleep(0.05)
                continue
            with self._lock:
                known = self.acked.setdefault(n, made["id"])
            assert known == made["id"], f"order {n} is {known} and {made['id']}"
            return made

    def customers(self, backlog, seed):
        """Keeps about `backlog` orders open, one in three of them twice, one in ten with another body."""
        chance = random.Random(seed)  # noqa: S311 a repeatable run
        client = self.client()
        while not self._closed.is_set():
            try:
                open_ = len(client.get("/v1/tasks", {"tops": True, "state": "open", "limit": 200})["items"])
            except QuarterdeckError:
                time.sleep(0.1)
                continue
            for _ in range(max(0, backlog - open_)):
                with self._lock:
                    n, self._next = self._next, self._next + 1
                self.submit(n)
                if chance.random() < 0.33 and not self.submit(n)["created"]:
                    self.duplicates += 1
                if chance.random() < 0.1:
                    self.other(n)
            time.sleep(0.05)

    def other(self, n):
        with suppress(Transient):
            try:
                self.client().post("/v1/tasks", {"target": "front/orders", "payload": -1, "key": f"order-{n}"}, timeout=10)
            except Conflict:
                self.conflicts += 1
            else:
                self.errors.append(f"order {n} was taken with another body")

    def humans(self):
        """Whoever looks after unknown effects: asks the bank, and says what it says."""
        client = self.client()
        while not self._over.is_set():
            with suppress(QuarterdeckError):
                for effect in client.get("/v1/effects", {"outcome": "unknown"})["items"]:
                    done = self.sink.happened("unsafe", effect["key"])
                    said = {"outcome": "done", "value": "ok"} if done else {"outcome": "again"}
                    client.post(f"/v1/tasks/{effect['task']}/resolve", {"key": effect["key"], **said, "reason": "the bank says so"})
                    self.resolved += 1
            time.sleep(0.2)

    # blows

    def pids(self, kind):
        found = self.fleet.marked()
        match kind:
            case "replica":
                return [pid for pid, name in found.items() if name.startswith("qd replica")]
            case "fork":
                return [pid for pid, name in found.items() if name.startswith("qd fork")]
            case "bus":
                return [pid for pid, name in found.items() if "nats-server" in name]
            case "node":
                with suppress(OSError, ValueError):
                    return [self.fleet.node()]
            case "control":
                return [
                    pid
                    for pid in linux.marked("QUARTERDECK_HOME", re.escape(str(self.fleet.home.root)))
                    if " serve" in self.fleet.command(pid)
                ]
        return []

    def strike(self, chance, kind):
        found = [pid for pid in self.pids(kind) if pid not in self.asleep]
        if not found:
            return
        pid = chance.choice(found)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            self.shots.append(Shot(kind, time.monotonic(), pid))

    def pause(self, chance, seconds):
        """A zombie: one that has work is stopped beyond its lease, then woken. Gives whether there is one."""
        there = [r for r in self.fleet.replicas(agent="back/").values() if r["pid"] not in self.asleep]
        for replica in chance.sample(there, len(there)):
            with suppress(ProcessLookupError):
                os.kill(replica["pid"], signal.SIGSTOP)
                if held := self._held(replica["name"]):
                    self.zombies += 1
                    self.bereft |= held
                    self.asleep.add(replica["pid"])
                    threading.Timer(seconds, self._wake, [replica["pid"]]).start()
                    return True
                os.kill(replica["pid"], signal.SIGCONT)  # an idle one proves nothing
        return False

    def _held(self, replica):
        with suppress(QuarterdeckError):
            running = self.client().get("/v1/tasks", {"state": "running", "target": "back/payer", "limit": 200})["items"]
            return {task["id"]: task["fence"] for task in map(self._whole, running) if task["owner"] == replica}
        return {}

    def _whole(self, task):
        return self.client().get(f"/v1/tasks/{task['id']}")

    def _wake(self, pid):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
        self.asleep.discard(pid)

    def run(self, kills, *, backlog=16, within=600.0):
        """Kill so often; then let everything come to its end. Gives what is wrong."""
        chance = random.Random(self.seed)  # noqa: S311 a repeatable run
        customers = [threading.Thread(target=self.customers, args=(backlog, self.seed + n), daemon=True) for n in range(CUSTOMERS)]
        humans = threading.Thread(target=self.humans, daemon=True)
        for thread in (*customers, humans):
            thread.start()
        calm = Counter()
        deadline = time.monotonic() + within
        while (len(self.shots) < kills or self._missing()) and time.monotonic() < deadline:
            kind = self._next_kind(chance, calm, enough=len(self.shots) >= kills)
            if kind == "zombie":
                calm[kind] = time.monotonic() if self.pause(chance, PAUSE) else 0.0
            elif kind:
                self.strike(chance, kind)
            time.sleep(0.05 + chance.random() * 0.4)
        return self.end([*customers, humans])

    def end(self, threads):
        """No more orders; those that are open come to their end. Gives what is wrong."""
        *customers, humans = threads
        self._closed.set()
        for thread in customers:
            thread.join(60)
        self._settle()
        self._over.set()
        humans.join(30)
        return self.problems()

    def _missing(self):
        return ({"bus", "control", "node"} - {shot.kind for shot in self.shots}) | (set() if self.zombies else {"zombie"})

    def _next_kind(self, chance, calm, *, enough):
        """What is struck next; the platform's own processes seldom, because their crash budgets are five a minute."""
        now = time.monotonic()
        kind = chance.choices(("replica", "fork", "bus", "control", "node", "zombie"), (80, 4, 5, 5, 3, 3))[0]
        if enough:
            kind = min(self._missing())
        elif not self.zombies and len(self.shots) >= FIRST_ZOMBIE:
            kind = "zombie"
        if now - calm[kind] < {"bus": 15.0, "control": 15.0, "node": 15.0, "zombie": PAUSE + 3.0}.get(kind, 0.0):
            kind = "replica"
        if now - calm[{"control": "node", "node": "control"}.get(kind, "")] < APART:
            kind = "replica"
        if kind in ("node", "fork", "control") and self.asleep:  # would kill the zombie with all others, or grant its lease anew
            kind = "" if enough else "replica"
        calm[kind] = now
        return kind

    def _settle(self, within=120.0):
        client, deadline = self.client(), time.monotonic() + within
        while True:
            with suppress(QuarterdeckError):
                left = client.get("/v1/tasks", {"state": "open", "limit": 200})["items"]
                if not left and not self.asleep:
                    return
            if time.monotonic() > deadline:
                self.errors += [f"not ended within {within} s: {self._story(client, one['id'])}" for one in left[:3]]
                return
            time.sleep(0.25)

    @staticmethod
    def _story(client, task):
        whole, events = client.get(f"/v1/tasks/{task}"), client.get(f"/v1/tasks/{task}/history")["items"]
        told = [f"{e['sequence']} {e['task'][-4:]} {e['event']} {e['actor']} {e['fence']}" for e in events[-20:]]
        return json.dumps(
            {"task": task, **{k: whole[k] for k in ("state", "reason", "owner", "fence", "waits_on", "effects")}, "events": told}, indent=1
        )

    # judgement

    def problems(self):
        """None lost, none twice, each effect as often as it may; fences only rise."""
        client, found = self.client(), list(self.errors)
        for n, task in self.acked.items():
            document = client.get(f"/v1/tasks/{task}")
            if (document["state"], document["result"]) != ("done", n * 2 + 1):
                found.append(f"order {n}: {document['state']} {document['result']} {document['reason']}")
            found += self._calls(n, task)
        found += self._history(client)
        return found

    def _calls(self, n, task):
        if self.sink.calls["unsafe", f"confirm-{n}"] != 1:
            yield f"order {n} was confirmed {self.sink.calls['unsafe', f'confirm-{n}']} times"
        for part in range(2):
            if not self.sink.calls["idempotent", f"book-{n}-{part}"]:
                yield f"order {n} part {part} was never booked"
            if self.sink.applied[f"{task}/pay-{n}-{part}"] != 1:
                yield f"order {n} part {part} was paid {self.sink.applied[f'{task}/pay-{n}-{part}']} times"

    def _history(self, client):
        for n, task in self.acked.items():
            fences, ends = {}, Counter()
            for event in client.get(f"/v1/tasks/{task}/history")["items"]:
                known = fences.get(event["task"], 0)
                if event["fence"] < known:
                    yield f"order {n}: the fence of {event['task']} fell from {known} to {event['fence']}"
                fences[event["task"]] = event["fence"]
                ends[event["task"]] += event["event"] == "done"
            for one, count in ends.items():
                if count != 1:
                    yield f"order {n}: {one} was done {count} times"

    def counted(self, kind):
        """Events of a kind over all tasks: claims beyond the first are redeliveries, `refused` are fence rejections."""
        client, count = self.client(), 0
        for task in self.acked.values():
            count += sum(event["event"] == kind for event in client.get(f"/v1/tasks/{task}/history")["items"])
        return count

    def told(self):
        claims = self.counted("claim")
        return {
            "seed": self.seed,
            "orders": len(self.acked),
            "tasks": 3 * len(self.acked),
            "kills": dict(Counter(shot.kind for shot in self.shots)),
            "zombies": self.zombies,
            "taken_from_zombies": sum(self.client().get(f"/v1/tasks/{task}")["fence"] > fence for task, fence in self.bereft.items()),
            "claims_again": claims - 3 * len(self.acked),
            "fence_rejections": self.counted("refused"),
            "duplicate_submits": self.duplicates,
            "conflicts": self.conflicts,
            "resolved_by_hand": self.resolved,
            "calls": sum(self.sink.calls.values()),
        }
