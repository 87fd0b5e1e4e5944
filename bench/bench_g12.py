"""G12: compose and plan for 1,000 replicas, `qd --help`, and a warm `qd up` of the example to Ready. Absolute goals, no peer."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import measure

from quarterdeck.clock import VirtualClock
from quarterdeck.deploy.plan import plan
from quarterdeck.engines.memory import MemoryEngine
from quarterdeck.model.desired import Template
from quarterdeck.model.records import Condition
from quarterdeck.model.steps import Plan
from quarterdeck.model.world import World
from quarterdeck.spec.compose import compose
from quarterdeck.spec.load import reread

EXAMPLE = measure.HERE.parent / "examples" / "triage"
HEAD = "apiVersion: quarterdeck.dev/v1alpha1\nkind: System\nmetadata: {name: big}\nspec:\n  clusters:\n"


def wide(clusters: int, agents: int, replicas: int) -> str:
    """A spec of clusters * agents * replicas, each cluster linked to the next."""
    lines = []
    for c in range(clusters):
        lines += [f"    c{c}:", "      quota: {replicas: 1000}", "      agents:"]
        lines += [f'        a{a}: {{run: "m:a", replicas: {replicas}}}' for a in range(agents)]
    links = [f"    - {{from: c{c}, to: c{c + 1}}}" for c in range(clusters - 1)]
    return HEAD + "\n".join([*lines, "  links:", *links]) + "\n"


def decision(rounds: int, clusters: int = 10, agents: int = 10, replicas: int = 10) -> dict[str, float]:
    """Milliseconds of compose + plan: before anything is there, when all is there but the agents, and when all is there.

    Each round composes anew and plans on a World made anew, as the loop does; nothing is remembered between two rounds.
    """
    spec = reread(wide(clusters, agents, replicas))
    names = [f"{c}/{a}" for c, a, _ in spec.agents()]
    templates = {name: Template(f"{n:064x}", "tree", "m:a") for n, name in enumerate(names)}
    revisions = dict.fromkeys(names, 1)
    clock = VirtualClock()
    engine = MemoryEngine(clock)
    conditions: dict[tuple[str, str], Condition] = {}

    def planned(world: World) -> Plan:
        desired = compose(spec, revision=1, generation=1, index=1, templates=templates, revisions=revisions, changes=(), now=clock.now())
        return plan(desired, replace(world, at=clock.now()), conditions, clock.now())

    async def converge() -> None:
        while steps := planned(await engine.observe("big")).steps:
            for step in steps:
                await engine.perform("big", step)
                now = clock.now()
                conditions[getattr(step, "kind", ""), step.target] = Condition(
                    getattr(step, "kind", ""), step.target, "true", "", "", now, now, "", 1, step.phase
                )

    empty = asyncio.run(engine.observe("big"))
    empty_ms = _timed(lambda: planned(empty), rounds)
    asyncio.run(converge())
    full = asyncio.run(engine.observe("big"))
    unstaffed = replace(full, workloads=())
    assert sum(len(w.replicas) for w in full.workloads) == clusters * agents * replicas
    assert planned(full).ready
    assert len(planned(unstaffed).steps) == len(names)
    return {
        "empty_ms": empty_ms,
        "unstaffed_ms": _timed(lambda: planned(unstaffed), rounds),
        "converged_ms": _timed(lambda: planned(full), rounds),
    }


def _timed(work: Callable[[], object], rounds: int) -> float:
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return round(median(seconds) * 1000, 2)


def help_page(rounds: int) -> float:
    """Milliseconds of `qd --help`, process start included."""
    return _timed(lambda: subprocess.run([measure.QD, "--help"], check=True, stdout=subprocess.DEVNULL), rounds)


def warm_up(rounds: int) -> list[float]:
    """Seconds of `qd up` of the example to Ready in a home that was used and is down; the first, cold, run is not counted."""
    seconds = []
    with tempfile.TemporaryDirectory(prefix="qdb") as folder:
        project = Path(folder) / "triage"
        shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns("__pycache__", ".mypy_cache"))
        env = {**os.environ, "QUARTERDECK_HOME": str(Path(folder) / "home"), "QUARTERDECK_PORT": "0"}
        for _ in range(rounds + 1):
            began = time.perf_counter()
            subprocess.run([measure.QD, "up"], cwd=project, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            seconds.append(round(time.perf_counter() - began, 2))
            subprocess.run([measure.QD, "down", "--yes"], cwd=project, env=env, check=True, stdout=subprocess.DEVNULL)
    return seconds[1:]


def main(arguments: list[str] | None = None) -> None:
    """Print the line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--ups", type=int, default=5)
    given = parser.parse_args(arguments)
    ups = warm_up(given.ups) if given.ups else []
    measure.report(
        "G12",
        what="compose + plan of 1,000 replicas of 100 and of 500 agents; qd --help; warm qd up of the example to Ready",
        compose_and_plan=decision(given.rounds),
        compose_and_plan_of_500_agents=decision(given.rounds, 10, 50, 2),
        help_ms=help_page(given.rounds),
        warm_up_s={"median": median(ups), "all": ups} if ups else None,
        goals={"compose_and_plan_ms": 10, "help_ms": 150, "warm_up_s": 5},
    )


if __name__ == "__main__":
    main()
