"""Clients that offer more than can be done, in a process of their own; prints one JSON line.

`closed`: at most so many tasks unfinished, as fast as that allows. `open`: orders are due at a fixed rate, whatever became of others.
A share of the clients is rude: refused, it asks again at once, without a word that it did, until nobody would wait for the answer any more.
The others wait as long as they were told to, and say that they try again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

CONNECTIONS = 2048
"""As many as can be in flight at once. An order that finds none free waits for one, and its time counts."""
OPENING = 16
"""Connections that are opened at a time; the line at the door is short."""
LOOK = 0.05
OK = (200, 201)


class Connection(asyncio.Protocol):
    """HTTP/1.1, one request at a time; as little as it takes, since every microsecond of it is missing elsewhere."""

    def __init__(self) -> None:
        self._got = b""
        self._answer: asyncio.Future[tuple[int, int, bytes]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever waits is told status 0."""
        del exc
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((0, 0, b""))

    @property
    def closed(self) -> bool:
        """Whether it is of no more use."""
        return self._transport.is_closing()

    def close(self) -> None:
        """End it."""
        self._transport.close()

    def ask(self, request: bytes) -> asyncio.Future[tuple[int, int, bytes]]:
        """The status of the answer, the seconds it says to wait, and its body."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        """A part of the answer."""
        self._got += data
        head, there, rest = self._got.partition(b"\r\n\r\n")
        if not there or self._answer is None:
            return
        names = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if len(rest) >= int(names[b"content-length"]):
            self._got = b""
            self._answer.set_result((int(head[9:12]), int(names.get(b"retry-after", b"0")), rest))


@dataclass(slots=True)
class Clients:
    """What they send, and what came of it. Times are epoch seconds, to be compared with what the ledger notes."""

    given: argparse.Namespace
    chance: random.Random
    statuses: Counter[int] = field(default_factory=Counter)
    accepted: dict[str, float] = field(default_factory=dict)
    """When the attempt that was taken began to want a connection, by key."""
    offered: int = 0
    refusals: list[float] = field(default_factory=list)
    """Seconds from sending to each refusal."""
    late: list[float] = field(default_factory=list)
    """Seconds that orders were sent off after they were due though a connection was free."""
    busy: int = 0
    most: int = 0
    _free: list[Connection] = field(default_factory=list)
    _places: asyncio.Semaphore = field(init=False)
    _opening: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(OPENING))

    def __post_init__(self) -> None:
        self._places = asyncio.Semaphore(self.given.connections)

    async def ask(self, request: bytes) -> tuple[int, int, bytes]:
        """One request on a connection that is free."""
        async with self._places:
            self.busy += 1
            self.most = max(self.most, self.busy)
            connection = self._free.pop() if self._free else None
            if connection is None or connection.closed:
                async with self._opening:
                    connection = (await asyncio.get_running_loop().create_unix_connection(Connection, self.given.socket))[1]
            answer = await connection.ask(request)
            self.busy -= 1
            self._free.append(connection)
            return answer

    async def order(self, n: int, due: float) -> None:
        """One order from when it is due until it is taken or nobody waits for it any more."""
        if not self._places.locked():
            self.late.append(now() - due)
        rude, attempt, wanted = self.chance.random() < self.given.rude, 1, due
        while (left := due + self.given.timeout - now()) > 0:
            began = now()
            key = f"{self.given.prefix}{n}"
            status, wait, _ = await self.ask(post(key, n, left, 1 if rude else attempt))
            self.statuses[status] += 1
            if status in OK:
                self.accepted[key] = wanted
                return
            self.refusals.append(now() - began)
            attempt += 1
            if not rude:
                await asyncio.sleep((wait or 1) * (1 + self.chance.random()))
            wanted = now()

    async def open(self) -> None:
        """Orders at a fixed rate for so many seconds."""
        begin = now() + LOOK
        self.offered = int(self.given.rate * self.given.seconds)
        async with asyncio.TaskGroup() as group:
            for n in range(self.offered):
                due = begin + n / self.given.rate
                if (ahead := due - now()) > 0:
                    await asyncio.sleep(ahead)
                group.create_task(self.order(n, due))

    async def closed(self) -> None:
        """Never more than `most` unfinished, as a look at what is open every so often tells."""
        until, known = now() + self.given.seconds, 0
        look = f"GET /v1/tasks?state=open&key={self.given.prefix}&limit=500 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        async with asyncio.TaskGroup() as group:
            while now() < until:
                running = [group.create_task(self.order(self.offered + n, now())) for n in range(self.given.most - known)]
                self.offered += len(running)
                await asyncio.sleep(LOOK)
                known = len(json.loads((await self.ask(look))[2])["items"]) + sum(not one.done() for one in running)

    def told(self) -> dict[str, object]:
        """All of it, as JSON."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "offered": self.offered,
            "accepted": self.accepted,
            "statuses": self.statuses,
            "refusals": sorted(self.refusals),
            "late": sorted(self.late),
            "most_in_flight": self.most,
            "cpu": used.ru_utime + used.ru_stime,
        }


def now() -> float:
    """Epoch seconds."""
    return time.time()  # noqa: TID251 compared with what the ledger notes


def post(key: str, n: int, timeout: float, attempt: int) -> bytes:
    """An order as HTTP."""
    body = json.dumps({"target": "pool/echo", "verb": "work", "payload": n, "key": key, "timeout": timeout}).encode()
    head = f"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nQd-Attempt: {attempt}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def run(given: argparse.Namespace) -> dict[str, object]:
    """Until all of them have gone."""
    clients = Clients(given, random.Random(given.prefix))  # noqa: S311 the same clients are rude in every run
    await (clients.closed() if given.mode == "closed" else clients.open())
    return clients.told()


def main() -> None:
    """Print the line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=("closed", "open"))
    parser.add_argument("socket")
    parser.add_argument("--prefix", required=True, help="begins every key")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--timeout", type=float, required=True, help="seconds after which nobody waits for a task any more")
    parser.add_argument("--rate", type=float, default=0.0, help="orders a second, of the open loop")
    parser.add_argument("--most", type=int, default=128, help="unfinished tasks, of the closed loop")
    parser.add_argument("--rude", type=float, default=0.0, help="the share that never backs off")
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    json.dump(asyncio.run(run(parser.parse_args())), sys.stdout)


if __name__ == "__main__":
    main()
