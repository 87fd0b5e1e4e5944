"""G2: N replicas from asked for to answering, and what each costs in memory; against N Ray actors."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import Any

import measure

from quarterdeck import linux

Peer = Callable[[], AbstractContextManager[measure.Ray | str]]


def ours(fleet: measure.Fleet, count: int) -> dict[str, Any]:
    """Scale from one to `count` more, let each answer, measure. The one keeps the fork server, as Ray's daemons are kept."""
    fleet.scale(1)
    seconds = fleet.scale(1 + count)
    pids = {fleet.ask(f"pool/echo-{n}", timeout=5) for n in range(1, 1 + count)}
    assert len(pids) == count, "every replica answers in its own process"
    return {"seconds": seconds, "pss": measure.pss(pids)}


def platform(fleet: measure.Fleet) -> float:
    """PSS in MiB of everything of ours that is no replica, the fork server included."""
    roots = {int((fleet.home.node / "lock").read_text()), fleet.client.get("/v1/version")["pid"]}
    every = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()]
    ours = roots | {pid for pid in every for root in roots if linux.descends(pid, root)}
    return sum(measure.pss(ours - {r["pid"] for r in fleet.client.get("/v1/replicas")["items"]}))


def sizes(peer: Peer, count: int, rounds: int) -> dict[str, Any]:
    """One size: ours and the peer by turns, neither running while the other is measured."""
    mine, theirs = [], []
    for _ in range(rounds):
        with measure.fleet() as fleet:
            idle = platform(fleet)
            mine.append({**ours(fleet, count), "idle": idle})
            fleet.scale(1)
            mine[-1]["after"] = platform(fleet)
        with peer() as other:
            if isinstance(other, measure.Ray):
                theirs.append({**other.call("create", count=count), "idle": other.base})
    found: dict[str, Any] = {
        "replicas": count,
        "rounds": rounds,
        "ours_per_second": round(median(count / m["seconds"] for m in mine), 1),
        "ours_pss_mib": round(mean(mean(m["pss"]) for m in mine), 2),
        "ours_base_pss_mib": round(median(m["idle"] for m in mine), 1),
        "ours_base_pss_afterwards_mib": round(median(m["after"] for m in mine), 1),
    }
    if theirs:
        ratios = [b["seconds"] / a["seconds"] for a, b in zip(mine, theirs, strict=True)]
        found["peer_per_second"] = round(median(count / t["seconds"] for t in theirs), 2)
        found["peer_pss_mib"] = round(mean(mean(t["pss"]) for t in theirs), 2)
        found["peer_base_pss_mib"] = round(median(t["idle"] for t in theirs), 1)
        found["ratio"] = {"median": round(median(ratios), 1), "least": round(min(ratios), 1), "most": round(max(ratios), 1)}
        found["peer_steady"] = measure.spread([t["seconds"] for t in theirs]) <= measure.STEADY
    return found


def main(arguments: list[str] | None = None) -> None:
    """Print the line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--counts", type=int, nargs="+", default=[50, 200])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ray", type=Path)
    parser.add_argument("--no-peer", action="store_true")
    given = parser.parse_args(arguments)
    peer: Peer = partial(nullcontext, "not asked for") if given.no_peer else partial(measure.ray, given.ray)
    found = [sizes(peer, count, given.rounds) for count in given.counts]
    named = "ray" if "peer_per_second" in found[0] else "none"
    measure.report("G2", what="asked for to answering; PSS of each replica, and of the idle platform", peer=named, sizes=found)


if __name__ == "__main__":
    main()
