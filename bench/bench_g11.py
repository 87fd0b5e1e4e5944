"""G11: durable tasks: given over HTTP, worked on with one effect each, done; durable steps; every transition fsynced.

Peers by turns: DBOS workflows of one step on SQLite with WAL and synchronous=FULL, and steps of a LangGraph graph checkpointed in memory.
Beside them the ceiling: groups of transactions of two rows each, straight into SQLite opened as ours is. Tasks are counted as the doors
list them afterwards, not as they were asked for.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

import measure

INFLIGHT = 64
BATCH = 500
DAY = 86400.0
WORKER = '''\
"""Does next to nothing, durably."""

from quarterdeck import Agent, Context

agent = Agent("echo", concurrency=128)


async def act(n: int) -> int:
    return n


@agent.task("noop")
async def noop(n: int, ctx: Context) -> int:
    return await ctx.effect("act", act, n, semantics="idempotent")
'''
STEPPER = '''\
"""Takes durable steps, one after the other."""

from quarterdeck import Agent, Context

agent = Agent("witness", concurrency=64)


async def part(n: int) -> int:
    return n


@agent.task("steps")
async def steps(count: int, ctx: Context) -> None:
    for n in range(count):
        await ctx.step("part", part, n)
'''


class Door:
    """Connections to the control plane that stay open; `ask` takes a free one."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, method: str, target: str, body: object = None) -> Any:
        """One request, again while it is told to come again; raises RuntimeError for any other refusal."""
        reader, writer = self._free.pop() if self._free else await asyncio.open_unix_connection(self._path)
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        writer.write(head.encode() + content)
        status, *headers = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        length = next(int(h.split(":")[1]) for h in headers if h.lower().startswith("content-length:"))
        found = json.loads(await reader.readexactly(length))
        if status.split()[1] == "429":  # the open loop after a slow write: it asks again, and its time goes on
            self._free.append((reader, writer))
            return await self.ask(method, target, body)
        if not 200 <= int(status.split()[1]) < 300:
            message = f"{method} {target}: {status} {found}"
            raise RuntimeError(message)
        self._free.append((reader, writer))
        return found

    def close(self) -> None:
        """Every connection."""
        for _, writer in self._free:
            writer.close()


class Ours:
    """A fleet with two agents, its door, and the rounds so far."""

    def __init__(self, door: Door) -> None:
        self._door, self._round = door, 0

    def _order(self, key: str, payload: object, *, agent: str = "echo", verb: str = "noop", delay: float = 0.0) -> dict[str, Any]:
        return {"target": f"pool/{agent}", "verb": verb, "payload": payload, "key": key, "delay": delay}

    def _prefix(self) -> str:
        self._round += 1
        return f"r{self._round}-"

    async def _batches(self, orders: Sequence[dict[str, Any]]) -> None:
        parts = [orders[at : at + BATCH] for at in range(0, len(orders), BATCH)]
        await _at_once(4, [lambda part=part: self._door.ask("POST", "/v1/tasks/batch", {"tasks": part}) for part in parts])

    async def batched(self, count: int) -> float:
        """Orders per second, 500 in a request, four requests in flight. Nobody begins them before tomorrow."""
        prefix = self._prefix()
        began = time.perf_counter()
        await self._batches([self._order(f"{prefix}{n}", n, delay=DAY) for n in range(count)])
        seconds = time.perf_counter() - began
        assert len(await self._listed(prefix)) == count
        return count / seconds

    async def single(self, count: int) -> float:
        """Orders per second, one in a request, 64 requests in flight."""
        prefix = self._prefix()
        orders = [self._order(f"{prefix}{n}", n, delay=DAY) for n in range(count)]
        began = time.perf_counter()
        await _at_once(INFLIGHT, [lambda order=order: self._door.ask("POST", "/v1/tasks", order) for order in orders])
        seconds = time.perf_counter() - began
        assert len(await self._listed(prefix)) == count
        return count / seconds

    async def through(self, count: int, *, singly: bool = False) -> float:
        """Tasks per second from the first order to the last end; ordered in batches, or `singly` with 64 requests in flight."""
        prefix = self._prefix()
        orders = [self._order(f"{prefix}{n}", n) for n in range(count)]
        began = time.perf_counter()
        if singly:
            await _at_once(INFLIGHT, [lambda order=order: self._door.ask("POST", "/v1/tasks", order) for order in orders])
        else:
            await self._batches(orders)
        await self._over(prefix)
        seconds = time.perf_counter() - began
        await self._done(prefix, count)
        return count / seconds

    async def paced(self, count: int, rate: float) -> list[float]:
        """Open loop: milliseconds from when each order was due until its task was done, as the ledger noted it."""
        prefix = self._prefix()
        begin, epoch = time.perf_counter() + 0.1, time.time() + 0.1  # noqa: TID251 to be compared with what the ledger noted

        async def one(n: int) -> None:
            await asyncio.sleep(max(0.0, begin + n / rate - time.perf_counter()))
            await self._door.ask("POST", "/v1/tasks", self._order(f"{prefix}{n}", n))

        await asyncio.gather(*(one(n) for n in range(count)))
        await self._over(prefix)
        found = await self._done(prefix, count)
        return [(_epoch(task["ended_at"]) - epoch - int(task["key"].removeprefix(prefix)) / rate) * 1000 for task in found]

    async def steps(self, tasks: int, each: int) -> float:
        """Durable steps per second of so many tasks side by side."""
        prefix = self._prefix()
        began = time.perf_counter()
        await self._batches([self._order(f"{prefix}{n}", each, agent="witness", verb="steps") for n in range(tasks)])
        await self._over(prefix)
        seconds = time.perf_counter() - began
        await self._done(prefix, tasks)
        return tasks * each / seconds

    async def _over(self, prefix: str) -> None:
        while (await self._door.ask("GET", f"/v1/tasks?state=open&key={prefix}&limit=1"))["items"]:  # noqa: ASYNC110 polled, as a client would
            await asyncio.sleep(0.05)

    async def _done(self, prefix: str, count: int) -> list[dict[str, Any]]:
        found = await self._listed(prefix)
        assert (len(found), {task["state"] for task in found}) == (count, {"done"}), "each was done, once"
        return found

    async def _listed(self, prefix: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        before = ""
        while True:
            page = await self._door.ask("GET", f"/v1/tasks?key={prefix}&limit=500{before}")
            found += page["items"]
            if page["next"] is None:
                return found
            before = f"&before={page['next']}"


async def _at_once(most: int, asked: Sequence[Callable[[], Awaitable[object]]]) -> None:
    waiting = list(reversed(asked))

    async def work() -> None:
        while waiting:
            await waiting.pop()()

    await asyncio.gather(*(work() for _ in range(most)))


def _epoch(told: object) -> float:
    return told if isinstance(told, float) else datetime.fromisoformat(str(told)).timestamp()


def ceiling(group: int, count: int) -> float:
    """Transactions of two rows per second, so many of them in one commit, as SQLite alone can do it."""
    with tempfile.TemporaryDirectory(prefix="qdb", dir=measure.STATE) as folder:
        raw = sqlite3.connect(f"{folder}/x.db", isolation_level=None)
        for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "CREATE TABLE t (id TEXT PRIMARY KEY, body TEXT)"):
            raw.execute(statement)
        began = time.perf_counter()
        for at in range(0, count, group):
            raw.execute("BEGIN IMMEDIATE")
            for n in range(at, at + group):
                raw.executemany("INSERT INTO t VALUES (?, ?)", [(f"{n}a", "x" * 200), (f"{n}b", "x" * 200)])
            raw.execute("COMMIT")
        seconds = time.perf_counter() - began
        raw.close()
        return count / seconds


def peer(name: str, *arguments: object) -> float | str:
    """What a peer does per second, in a process of its own environment; or why there is none."""
    try:
        python = measure.environment(name)
        with tempfile.TemporaryDirectory(prefix="qdb", dir=measure.STATE) as folder:
            given = [str(folder if one is ... else one) for one in arguments]
            ran = subprocess.run(
                [python, measure.HERE / f"{name}_peer.py", *given], capture_output=True, text=True, check=True, timeout=300
            )
    except (OSError, subprocess.SubprocessError) as error:
        return f"not measurable here: {error}"
    return float(json.loads(ran.stdout.splitlines()[-1])["per_second"])


async def rounds(given: argparse.Namespace) -> dict[str, list[Any]]:
    """Ours and the peers by turns; neither runs while the other is measured."""
    found: dict[str, list[Any]] = {}

    def note(name: str, value: object) -> None:
        found.setdefault(name, []).append(value)
        print(f"{name}: {value if not isinstance(value, list) else median(value)}", file=sys.stderr)

    for _ in range(given.rounds):
        with measure.fleet({"echo": WORKER, "witness": STEPPER}) as fleet:
            door = Door(fleet.home.api_socket)
            ours = Ours(door)
            await ours.through(min(given.count, 100))  # the first are not as the later ones
            note("submit_batched", await ours.batched(2 * given.count))
            note("submit_single", await ours.single(given.count))
            note("end_to_end", await ours.through(given.count))
            note("end_to_end_singly", peak := await ours.through(given.count, singly=True))
            note("at_70_percent", await ours.paced(given.count, 0.7 * peak))
            note("steps", await ours.steps(64, max(1, given.count // 64)))
            note("steps_alone", await ours.steps(1, max(1, given.count // 20)))
            door.close()
        for group in (1, 16, 128):
            note(f"ceiling_{group}", ceiling(group, 128 * max(1, given.count // 500)))
        if not given.no_peer:
            note("dbos", await asyncio.to_thread(peer, "dbos", ..., max(20, given.count // 20)))
            note("langgraph", await asyncio.to_thread(peer, "langgraph", given.count))
    return found


def told(values: list[float]) -> dict[str, float]:
    """Median and range."""
    return {"median": round(median(values), 1), "least": round(min(values), 1), "most": round(max(values), 1)}


def main(arguments: list[str] | None = None) -> None:
    """Print the line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-peer", action="store_true")
    given = parser.parse_args(arguments)
    measure.STATE.mkdir(parents=True, exist_ok=True)
    found = asyncio.run(rounds(given))
    late = found.pop("at_70_percent")
    figures: dict[str, object] = {
        "at_70_percent_ms": {name: told([measure.percentile(one, share) for one in late]) for name, share in (("p50", 0.5), ("p99", 0.99))}
    }
    peers = {name: found.pop(name) for name in ("dbos", "langgraph") if name in found}
    figures |= {f"{name}_per_second": told(values) for name, values in found.items()}
    for name, ours in (("dbos", "end_to_end"), ("langgraph", "steps")):
        values = peers.get(name, ["not asked for"])
        absent = [value for value in values if isinstance(value, str)]
        figures[name] = absent[0] if absent else {"per_second": told(values), "steady": measure.spread(values) <= measure.STEADY}
        if not absent:
            figures[f"{ours}_to_{name}"] = told([a / b for a, b in zip(found[ours], values, strict=True)])
    measure.report("G11", what="durable tasks", **figures)


if __name__ == "__main__":
    main()
