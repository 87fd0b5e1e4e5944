"""Runs inside Ray's own environment and does on request what the benchmark asks of the peer; see measure.Ray."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import ray
from ray.exceptions import RayError


@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=0)
class Echo:
    """Answers with its pid."""

    def pid(self) -> int:
        """Of the process it lives in."""
        return os.getpid()

    def take(self, body: str) -> int:
        """Take a message."""
        return len(body)

    def send(self, other: object, count: int, body: str) -> float:
        """Call another actor so often, all in flight, and wait for all answers; gives the seconds."""
        began = time.perf_counter()
        ray.get([other.take.remote(body) for _ in range(count)])
        return time.perf_counter() - began


def pss(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:"))


def base(folder: str) -> dict[str, object]:
    """PSS of everything Ray runs before there is an actor."""
    ours = [p for p in Path("/proc").iterdir() if p.name.isdigit() and folder.encode() in _argv(p) and int(p.name) != os.getpid()]
    return {"pss": sum(pss(int(p.name)) for p in ours), "processes": len(ours)}


def _argv(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:  # it ended meanwhile
        return b""


def create(count: int) -> dict[str, object]:
    """Make actors, wait until each has answered, measure, and end them."""
    began = time.perf_counter()
    actors = [Echo.remote() for _ in range(count)]
    pids = ray.get([actor.pid.remote() for actor in actors])
    seconds = time.perf_counter() - began
    sizes = [pss(pid) for pid in pids]
    for actor in actors:
        ray.kill(actor, no_restart=True)
    return {"seconds": seconds, "pss": sizes}


def messages(count: int) -> dict[str, object]:
    """Asynchronous calls from one actor to another, per second, after some to warm up."""
    sender, receiver = Echo.remote(), Echo.remote()
    ray.get(sender.send.remote(receiver, 200, "x" * 256))
    seconds = ray.get(sender.send.remote(receiver, count, "x" * 256))
    for actor in (sender, receiver):
        ray.kill(actor, no_restart=True)
    return {"rate": count / seconds}


class Victim:
    """One actor that is killed again and again."""

    def __init__(self) -> None:
        self.actor = Echo.remote()
        self.pid = ray.get(self.actor.pid.remote())

    def kill(self) -> dict[str, object]:
        """Kill it; gives the milliseconds until another process answers."""
        began = time.perf_counter()
        os.kill(self.pid, signal.SIGKILL)
        while True:
            try:
                pid = ray.get(self.actor.pid.remote(), timeout=10)
            except RayError:
                pid = self.pid
            if pid != self.pid:
                self.pid = pid
                return {"ms": (time.perf_counter() - began) * 1000}
            time.sleep(0.001)


def main(folder: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever Ray prints goes to the log
    ray.init(include_dashboard=False, log_to_driver=False, configure_logging=False, _temp_dir=folder)
    victim: Victim | None = None
    for line in sys.stdin:
        request = json.loads(line)
        match request["do"]:
            case "base":
                answer = base(folder)
            case "create":
                answer = create(request["count"])
            case "messages":
                answer = messages(request["count"])
            case _:
                victim = victim or Victim()
                answer = victim.kill()
        print(json.dumps(answer), file=answers, flush=True)
    ray.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
