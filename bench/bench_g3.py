"""G3: SIGKILL of a replica until its replacement answers a request; against a Ray actor that is restarted. `count` kills in `rounds`."""

from __future__ import annotations

import argparse
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from statistics import median

import measure

SETTLED = 0.1
"""Seconds for the witness to begin to ask and for the fleet to have done with the kill before."""


def kill(fleet: measure.Fleet, pool: ThreadPoolExecutor) -> float:
    """Kill the replica; gives the milliseconds until another process answers another agent in its name."""
    old = fleet.ask("pool/echo-0")
    answered = pool.submit(fleet.successor, old)
    time.sleep(SETTLED)
    began = time.monotonic()
    os.kill(old, signal.SIGKILL)
    return (answered.result() - began) * 1000


def main(arguments: list[str] | None = None) -> None:
    """Print the line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer-count", type=int, default=50, help="kills of the peer, which takes a second for each")
    parser.add_argument("--ray", type=Path)
    parser.add_argument("--no-peer", action="store_true")
    given = parser.parse_args(arguments)
    ours: list[list[float]] = []
    theirs: list[list[float]] = []
    absent = ""
    for _ in range(given.rounds):
        with measure.fleet() as fleet, ThreadPoolExecutor(1) as pool:
            kill(fleet, pool)  # the first is not as the later ones: credentials for the successors are on their way
            ours.append([kill(fleet, pool) for _ in range(given.count // given.rounds)])
        with nullcontext("not asked for") if given.no_peer else measure.ray(given.ray) as peer:
            if isinstance(peer, measure.Ray):
                theirs.append([peer.call("kill")["ms"] for _ in range(given.peer_count // given.rounds)])
            else:
                absent = peer
    flat = [ms for block in ours for ms in block]
    figures: dict[str, object] = {
        "kills": len(flat),
        "ours_ms": {"p50": round(median(flat), 1), "p99": round(measure.percentile(flat, 0.99), 1), "max": round(max(flat), 1)},
        "peer": absent,
    }
    if theirs:
        other = [ms for block in theirs for ms in block]
        ratios = [median(b) / median(a) for a, b in zip(ours, theirs, strict=True)]
        figures["peer"] = "ray"
        figures["peer_kills"] = len(other)
        figures["peer_ms"] = {"p50": round(median(other), 1), "p99": round(measure.percentile(other, 0.99), 1)}
        figures["ratio"] = {"median": round(median(ratios), 1), "least": round(min(ratios), 1), "most": round(max(ratios), 1)}
        figures["peer_steady"] = measure.spread([median(b) for b in theirs]) <= measure.STEADY
    measure.report("G3", what="SIGKILL to answering", **figures)


if __name__ == "__main__":
    main()
