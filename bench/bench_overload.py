"""P15: what is done in time at one, two and five times the load that can be done, with clients that never back off, and afterwards.

A fleet of three replicas whose tasks take 5 ms. A closed loop finds how many tasks a second are done within their deadline; then orders are
due at multiples of that rate whatever becomes of others, from clients in processes of their own (overload_clients.py). One a tenth of a
second before, and after the load, tell what is normal and from when on it is normal again. As a machine may be slower a minute later, the
peak is found anew after each load, and goodput compared with the mean of both. What counts is what the ledger noted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import measure

from quarterdeck.errors import Transient

REPLICAS = 3
PROCESSES = 2
LEVELS = (16, 32, 64, 128)
"""Unfinished tasks in the closed loops, of which the best counts: with few replicas wait, with many the tasks do."""
RUDE = 0.25
"""The share of clients that never back off."""
PROBES = 0.1
"""Seconds between two orders that only tell whether all is well."""
WINDOW = 10
"""Of these tell together."""
WATCHED = 15.0
"""Seconds that are watched after the load."""
WORKER = '''\
"""Waits a little, as for an answer from elsewhere."""

import asyncio

from quarterdeck import Agent

agent = Agent("echo")


@agent.task("work")
async def work(n: int) -> int:
    await asyncio.sleep(0.005)
    return n
'''
Task = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Load:
    """What clients offered for so many seconds, and what became of it."""

    seconds: float
    timeout: float
    clients: Sequence[dict[str, Any]]
    tasks: Sequence[Task]
    refused: Counter[str]
    processor: float
    """Seconds that the control plane took of the processors."""

    @property
    def took(self) -> list[float]:
        """Milliseconds from wanting it to done, of each accepted task that was done."""
        asked = {key: at for one in self.clients for key, at in one["accepted"].items()}
        ends = {task["key"]: epoch(task["ended_at"]) for task in self.tasks if task["state"] == "done"}
        return [(ends[key] - at) * 1000 for key, at in asked.items() if key in ends]

    @property
    def goodput(self) -> float:
        """Tasks a second that were done within their deadline."""
        return sum(took <= self.timeout * 1000 for took in self.took) / self.seconds

    def told(self, peak: float) -> dict[str, Any]:
        """As JSON."""
        statuses = sum((Counter(one["statuses"]) for one in self.clients), Counter[str]())
        waits = [epoch(task["started_at"] or task["ended_at"]) - epoch(task["created_at"]) for task in self.tasks]
        return {
            "offered_per_second": round(sum(one["offered"] for one in self.clients) / self.seconds),
            "requests_per_second": round(statuses.total() / self.seconds),
            "goodput_per_second": round(self.goodput, 1),
            "to_peak": round(self.goodput / peak, 3),
            "accepted_ms": {name: round(measure.percentile(self.took or [0.0], share)) for name, share in (("p50", 0.5), ("p99", 0.99))},
            "accepted_too_late": len(self.tasks) - round(self.goodput * self.seconds),
            "longest_queue_wait_ms": round(max(waits, default=0.0) * 1000),
            "refused": dict(self.refused),
            "statuses": dict(statuses),
            "refusal_ms_p99": round(self._share("refusals", 0.99), 1),
            "control_plane_processor_seconds": round(self.processor, 1),
            "clients": {
                "late_ms_p99": round(self._share("late", 0.99), 1),
                "most_in_flight": sum(one["most_in_flight"] for one in self.clients),
                "processor_seconds": round(sum(one["cpu"] for one in self.clients), 1),
            },
        }

    def _share(self, name: str, share: float) -> float:
        return measure.percentile([value * 1000 for one in self.clients for value in one[name]] or [0.0], share)


@dataclass(slots=True)
class Round:
    """One fleet under load after load."""

    fleet: measure.Fleet
    timeout: float
    """Seconds until each order's deadline."""
    _loads: int = 0

    def load(self, mode: str, seconds: float, processes: int, **options: float) -> Load:
        """Offer something for so many seconds; gives it once every task has ended."""
        self._loads += 1
        prefix, before, used = f"l{self._loads}-", self._refused(), self._processor()
        fixed = [mode, str(self.fleet.home.api_socket), f"--seconds={seconds}", f"--timeout={self.timeout}"]
        given = [f"--{name}={value}" for name, value in options.items()]
        argv = [[sys.executable, measure.HERE / "overload_clients.py", *fixed, *given, f"--prefix={prefix}{n}-"] for n in range(processes)]
        running = [subprocess.Popen(one, stdout=subprocess.PIPE) for one in argv]
        with ThreadPoolExecutor(processes) as pool:
            clients = [json.loads(out) for out, _ in pool.map(subprocess.Popen.communicate, running)]
        used = self._processor() - used
        return Load(seconds, self.timeout, clients, self._ended(prefix), self._refused() - before, used)

    def peak(self, seconds: float) -> float:
        """Tasks a second that are done within their deadline, in the best of the closed loops."""
        return max(self.load("closed", seconds, 1, most=level).goodput for level in LEVELS)

    def probe(self, seconds: float) -> list[tuple[float, float]]:
        """One order after another, a tenth of a second apart: when each was given, and how many seconds it took (refused: for ever)."""
        self._loads += 1
        prefix, given = f"l{self._loads}-", dict[str, float]()
        begin = time.perf_counter()
        for n in range(int(seconds / PROBES)):
            time.sleep(max(0.0, begin + n * PROBES - time.perf_counter()))
            order = {"target": "pool/echo", "verb": "work", "payload": n, "key": f"{prefix}{n}", "timeout": self.timeout}
            given[f"{prefix}{n}"] = now()
            with suppress(Transient):
                self.fleet.client.post("/v1/tasks", order)
        ends = {task["key"]: epoch(task["ended_at"]) for task in self._ended(prefix) if task["state"] == "done"}
        return [(at, ends.get(key, float("inf")) - at) for key, at in given.items()]

    def memory(self) -> float:
        """MiB of the control plane."""
        return measure.pss([self._pid()])[0]

    def _processor(self) -> float:
        times = Path(f"/proc/{self._pid()}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
        return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")

    def _pid(self) -> int:
        return int(self.fleet.client.get("/v1/version")["pid"])

    def _ended(self, prefix: str) -> list[Task]:
        open_ = {"state": "open", "key": prefix, "limit": 1}
        measure.until(lambda: not self.fleet.client.get("/v1/tasks", open_)["items"], within=120)
        found: list[Task] = []
        before = None
        while True:
            page = self.fleet.client.get("/v1/tasks", {"key": prefix, "limit": 500, "before": before})
            found += page["items"]
            before = page["next"]
            if before is None:
                return found

    def _refused(self) -> Counter[str]:
        name = "quarterdeck_submit_refusals_total"
        told = [line for line in self.fleet.client.lines("/metrics") if line.startswith(f"{name}{{")]
        return Counter({line.split('"')[1]: int(float(line.rsplit(" ", 1)[1])) for line in told})


def normal_again(usual: float, probes: Sequence[tuple[float, float]], timeout: float) -> float | None:
    """Seconds until ten probes in a row were all done in time, half of them in twice the usual; None if they never were."""
    for n in range(len(probes) - WINDOW + 1):
        took = [seconds for _, seconds in probes[n : n + WINDOW]]
        if max(took) <= timeout and median(took) <= 2 * usual:
            return round(probes[n][0] - probes[0][0], 1)
    return None


def epoch(told: str) -> float:
    """Seconds."""
    return datetime.fromisoformat(told).timestamp()


def now() -> float:
    """Epoch seconds, to be compared with what the ledger noted."""
    return time.time()  # noqa: TID251 a benchmark stands outside the product


def one_round(given: argparse.Namespace) -> dict[str, Any]:
    """A fleet of its own: peak, then each factor, then nothing any more."""
    with measure.fleet({"echo": WORKER, "witness": measure.WITNESS}) as fleet:
        fleet.scale(REPLICAS)
        ours = Round(fleet, given.timeout)
        ours.load("closed", 2.0, 1, most=max(LEVELS))  # the first are not as the later ones
        peaks, loads = [ours.peak(given.seconds / 10)], []
        usual, memory = median(took for _, took in ours.probe(3.0)), ours.memory()
        for factor in given.factors:
            loads.append(ours.load("open", given.seconds, PROCESSES, rate=factor * peaks[-1] / PROCESSES, rude=RUDE))
            after, grown = ours.probe(given.watched), ours.memory() - memory
            peaks.append(ours.peak(given.seconds / 10))
    around = [(one + other) / 2 for one, other in pairwise(peaks)]
    return {
        "peaks_per_second": [round(peak, 1) for peak in peaks],
        "factors": {f"{factor:g}": load.told(peak) for factor, load, peak in zip(given.factors, loads, around, strict=True)},
        "usual_ms": round(usual * 1000),
        "normal_after_seconds": normal_again(usual, after, given.timeout),
        "control_plane_grew_mib": round(grown, 1),
    }


def main(arguments: list[str] | None = None) -> None:
    """Print the line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60.0, help="of each factor")
    parser.add_argument("--factors", type=float, nargs="+", default=[1.0, 2.0, 5.0])
    parser.add_argument("--timeout", type=float, default=2.0, help="seconds from when an order is due to its deadline")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--watched", type=float, default=WATCHED, help="seconds that are watched after the load")
    given = parser.parse_args(arguments)
    rounds = []
    for _ in range(given.rounds):
        rounds.append(one_round(given))
        print(json.dumps(rounds[-1], indent=1), file=sys.stderr)
    shares = {name: [one["factors"][name]["to_peak"] for one in rounds] for name in rounds[0]["factors"]}
    to_peak = {name: {"median": median(of), "least": min(of), "most": max(of)} for name, of in shares.items()}
    setting = {"replicas": REPLICAS, "seconds": given.seconds, "timeout_seconds": given.timeout, "share_that_never_backs_off": RUDE}
    measure.report("P15", what="overload", **setting, goodput_to_peak=to_peak, rounds=rounds)


if __name__ == "__main__":
    main()
