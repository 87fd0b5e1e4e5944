"""G1: durable messages between two agent processes, acknowledged and handled; asks against raw request-reply; peers by turns.

Ours: `ctx.publish` with 64 in flight, `ctx.publish_all`, and `ctx.publish` with keys (through the database). Peers: nats-py's awaited
publish, one by one, on a nats-server with the same sync setting, and asynchronous calls from one Ray actor to another. All counts are of
messages that were acknowledged *and* arrived: the receiver's own count, read back. Plain messages may arrive twice: `repeats`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median
from typing import Any

import measure
import nats
from nats.errors import NoRespondersError

BODY = "x" * 256
SENDER = '''\
"""Publishes and asks as it is told, and says how long that took."""

import asyncio
import time

from quarterdeck import Agent, Context

agent = Agent("echo")
BODY = "x" * 256


@agent.on("publish")
async def publish(given: dict, ctx: Context) -> float:
    places = asyncio.Semaphore(given["inflight"])

    async def one(number: int) -> None:
        async with places:
            key = f"{given['key']}-{number}" if given["key"] else None
            await ctx.publish("witness", "take", BODY, key=key, timeout=60)

    began = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(given["count"])))
    return time.perf_counter() - began


@agent.on("publish_all")
async def publish_all(given: dict, ctx: Context) -> float:
    began = time.perf_counter()
    await ctx.publish_all("witness", "take", [BODY] * given["count"], timeout=60)
    return time.perf_counter() - began


@agent.on("paced")
async def paced(given: dict, ctx: Context) -> list[float]:
    """Open loop: each publish has its time, whether or not the one before has come back; milliseconds from then on."""
    loop = asyncio.get_running_loop()
    begin = loop.time() + 0.05

    async def one(number: int) -> float:
        due = begin + number / given["rate"]
        await asyncio.sleep(max(0.0, due - loop.time()))
        await ctx.publish("witness", "take", BODY, timeout=60)
        return (loop.time() - due) * 1000

    return list(await asyncio.gather(*(one(number) for number in range(given["count"]))))


@agent.on("asks")
async def asks(count: int, ctx: Context) -> list[float]:
    found = []
    for _ in range(count):
        began = time.perf_counter()
        await ctx.ask("witness", "back", BODY)
        found.append((time.perf_counter() - began) * 1000)
    return found
'''
RECEIVER = '''\
"""Counts what it takes."""

from quarterdeck import Agent

agent = Agent("witness", concurrency=64)
taken = 0


@agent.on("take")
async def take(body: str) -> None:
    global taken
    taken += 1


@agent.on("back")
async def back(body: str) -> str:
    return body


@agent.on("count")
async def count() -> int:
    return taken
'''


class Ours:
    """Two agents of one cluster."""

    def __init__(self, fleet: measure.Fleet) -> None:
        self._fleet = fleet

    def ask(self, agent: str, verb: str, payload: object = None) -> Any:
        """One question through the door."""
        body = {"target": f"pool/{agent}", "verb": verb, "payload": payload, "timeout": 120}
        return self._fleet.client.post("/v1/ask", body, timeout=130)["reply"]

    def rate(self, verb: str, count: int, **given: object) -> dict[str, float]:
        """Messages per second until all were acknowledged, and until all had arrived."""
        before, began = self.ask("witness", "count"), time.perf_counter()
        seconds = self.ask("echo", verb, {"count": count, **given})
        while (now := self.ask("witness", "count")) < before + count:
            time.sleep(0.01)
        return {"acknowledged": count / seconds, "handled": count / (time.perf_counter() - began), "repeats": now - before - count}


@contextmanager
def bus() -> Iterator[str]:
    """A nats-server that syncs each write, as ours does; gives its URL."""
    with tempfile.TemporaryDirectory(prefix="qdb", dir=measure.STATE) as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        conf = Path(folder, "conf")
        conf.write_text(f'listen: "127.0.0.1:{port}"\njetstream {{ store_dir: "{folder}/js", sync_interval: always }}\n')
        process = subprocess.Popen([Path(sys.executable).with_name("nats-server"), "-c", conf], stderr=subprocess.DEVNULL)
        try:
            measure.until(lambda: _answers(port), within=10)
            yield f"nats://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


async def peer(url: str, count: int) -> dict[str, Any]:
    """nats-py: awaited publishes one by one, and request-reply between two connections."""
    sender, receiver = await nats.connect(url), await nats.connect(url)
    js = sender.jetstream()
    config = {"name": "S", "subjects": ["s"], "storage": "file", "retention": "workqueue", "num_replicas": 1}
    for pause in (0.1,) * 50:  # a server listens before its streams do
        try:
            await js._api_request("$JS.API.STREAM.CREATE.S", json.dumps(config).encode())  # noqa: SLF001 as our own code makes streams
            break
        except NoRespondersError:
            await asyncio.sleep(pause)
    body = json.dumps(BODY).encode()
    began = time.perf_counter()
    for _ in range(count):
        await js.publish("s", body)
    rate = count / (time.perf_counter() - began)
    assert (await js.stream_info("S")).state.messages == count

    async def back(msg: Any) -> None:
        await msg.respond(msg.data)

    await receiver.subscribe("back", cb=back)
    await receiver.flush()
    times = []
    for _ in range(count):
        began = time.perf_counter()
        await sender.request("back", body)
        times.append((time.perf_counter() - began) * 1000)
    await sender.close()
    await receiver.close()
    return {"publish": rate, "request_ms": median(times)}


def one_round(given: argparse.Namespace, number: int) -> dict[str, Any]:
    """Ours, then the peers: none runs while another is measured."""
    with measure.fleet({"echo": SENDER, "witness": RECEIVER}) as fleet:
        ours = Ours(fleet)
        ours.rate("publish", 100, inflight=8, key=None)  # warm
        found: dict[str, Any] = {
            "unbatched": ours.rate("publish", given.count, inflight=64, key=None),
            "batched": ours.rate("publish_all", 10 * given.count),
            "keyed": ours.rate("publish", given.count, inflight=64, key=f"r{number}"),
        }
        peak = found["unbatched"]["acknowledged"]
        paced = ours.ask("echo", "paced", {"count": given.count, "rate": 0.7 * peak})
        found["at_70"] = {"p50": median(paced), "p99": measure.percentile(paced, 0.99)}
        found["ask_ms"] = median(ours.ask("echo", "asks", given.count))
    with bus() as url:
        found["peer"] = asyncio.run(peer(url, given.count))
    with nullcontext("not asked for") if given.no_peer else measure.ray(given.ray) as ray:
        found["ray"] = ray.call("messages", count=given.count)["rate"] if isinstance(ray, measure.Ray) else None
    return found


def spread(values: list[float], digits: int = 2) -> dict[str, float]:
    """Median, least and most."""
    return {"median": round(median(values), digits), "least": round(min(values), digits), "most": round(max(values), digits)}


def main(arguments: list[str] | None = None) -> None:
    """Print the line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ray", type=Path)
    parser.add_argument("--no-peer", action="store_true", help="without Ray; nats-py is there anyway")
    given = parser.parse_args(arguments)
    rounds = [one_round(given, number) for number in range(given.rounds)]
    figures: dict[str, Any] = {"rounds": len(rounds), "messages": given.count, "bytes": len(BODY)}
    for name in ("unbatched", "batched", "keyed"):
        figures[f"{name}_repeats"] = sum(r[name]["repeats"] for r in rounds)
        for what in ("acknowledged", "handled"):
            figures[f"{name}_{what}_per_second"] = spread([r[name][what] for r in rounds], 0)
    figures["nats_py_per_second"] = spread([r["peer"]["publish"] for r in rounds], 0)
    figures["unbatched_to_nats_py"] = spread([r["unbatched"]["acknowledged"] / r["peer"]["publish"] for r in rounds])
    figures["ask_to_request_p50"] = spread([r["ask_ms"] / r["peer"]["request_ms"] for r in rounds])
    figures["at_70_percent_ms"] = {"p50": spread([r["at_70"]["p50"] for r in rounds]), "p99": spread([r["at_70"]["p99"] for r in rounds])}
    figures["p99_to_p50"] = spread([r["at_70"]["p99"] / r["at_70"]["p50"] for r in rounds])
    figures["peer_steady"] = measure.spread([r["peer"]["publish"] for r in rounds]) <= measure.STEADY
    calls = [r["ray"] for r in rounds if r["ray"]]
    if calls:
        figures["ray_calls_per_second"] = spread(calls, 0)
        figures["batched_to_ray"] = spread([r["batched"]["handled"] / r["ray"] for r in rounds if r["ray"]])
    measure.report("G1", what="durable messages between two agents, sync always", peer="nats-py" + (", ray" if calls else ""), **figures)


if __name__ == "__main__":
    main()
