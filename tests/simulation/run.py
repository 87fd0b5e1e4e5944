"""Runs many seeds: `python -m tests.simulation.run 5000 [FIRST]`. One that fails prints itself; `… 1 SEED` replays it with its history."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import cache

from tests.simulation.ground import Disk
from tests.simulation.world import World

from quarterdeck.store import events


@cache
def disk() -> Disk:
    """One of each process."""
    return Disk()


def one(seed: int) -> tuple[int, list[str], dict[str, int]]:
    """What was wrong with it, and what happened."""
    logging.disable(logging.CRITICAL)
    world = World(disk(), seed)
    try:
        wrong = [str(violation) for violation in world.run()]
    except Exception as error:  # noqa: BLE001 a run that breaks down has failed
        wrong = [repr(error)]
    return seed, wrong, world.told


def replay(seed: int) -> None:
    """Print what is wrong, and everything that was recorded."""
    _, wrong, happened = one(seed)
    with disk().read() as connection:
        for event in events.every(connection, limit=100_000):
            told = json.dumps(dict(event.detail))
            print(f"{event.seq:5} {event.at:.2f} {event.task[-6:]} {event.kind:16} {event.actor:12} {event.fence} {told}")
    print(*wrong, happened, sep="\n")


def main(count: int, first: int) -> int:
    """How many failed."""
    began, total, failed = time.monotonic(), Counter(), 0
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for seed, wrong, told in pool.map(one, range(first, first + count), chunksize=8):
            total.update(told)
            if wrong:
                failed += 1
                print(f"seed {seed}: {wrong[:5]}", flush=True)
    told = {"seeds": count, "failed": failed, "seconds": round(time.monotonic() - began), **total}
    print(json.dumps(told), flush=True)
    return failed


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]] + [0]
    if numbers[0] == 1:
        replay(numbers[1])
    else:
        sys.exit(1 if main(numbers[0], numbers[1]) else 0)
