"""The seven phases as text, and what to do about one that failed. Pure: documents in, lines out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from quarterdeck.cli.screen import Screen, clean

MARKS: Final = {"done": ("✔", "green"), "failed": ("✘", "red"), "running": ("…", "yellow"), "pending": ("·", "dim")}
_NAME, _TOOK = 28, 8


def phase_lines(screen: Screen, phase: Mapping[str, Any]) -> list[str]:
    """` ✔ infrastructure_provisioning    0.2 s  3 namespaces`, one line where the terminal is wide enough."""
    mark, style = MARKS.get(phase["status"], MARKS["pending"])
    return screen.wrapped(f" {screen.paint(mark, style)} {phase['name']:<{_NAME}}{_took(phase)}  ", clean(phase.get("message") or ""))


def _took(phase: Mapping[str, Any]) -> str:
    """How long, in a column of its own; a phase that failed without a time has its cause there."""
    if phase.get("seconds") is None:
        return "" if phase["status"] == "failed" else " " * _TOOK
    return f"{phase['seconds']:>6.1f} s"


def failure_lines(status: Mapping[str, Any]) -> list[str]:
    """` Failed in phase 5 of 7; …` and ` Do: …`."""
    failure, names = status["failure"], [phase["name"] for phase in status["phases"]]
    number = names.index(failure["phase"]) + 1 if failure["phase"] in names else 0
    kept = _kept([names.index(name) + 1 for name in failure.get("completed") or () if name in names])
    details = clean(failure.get("details") or "")
    return [f" Failed in phase {number} of {len(names)}; {kept}{' ' + details if details else ''}", f" Do: {advice(failure)}"]


def advice(failure: Mapping[str, Any]) -> str:
    """What a person can do next, most likely first."""
    target, resume = clean(failure.get("target") or ""), clean(failure.get("resume") or "")
    steps = [f"{_remedy(str(failure.get('cause') or ''), target)}, then qd up" + (f" ({resume})" if resume else "")]
    if "/" in target and "->" not in target:
        replica = target if re.search(r"-\d+$", target) else f"{target}-0"
        before = " --previous" if failure.get("phase") == "agent_cluster_deployment" else ""
        steps += [f"qd logs {replica}{before}", f"qd explain {target}"]
    return " · ".join([*steps, "qd down"])


def _remedy(cause: str, target: str) -> str:
    missing = re.search(r"No module named '([\w.]+)'", cause)
    if missing:
        return f"add {missing[1].split('.')[0]} to requirements and install it where qd runs"
    kept = re.search(r"no replica serves: (\S+) quarantined", cause)
    return f"end the quarantine (qd release {target.partition('/')[0]}/{kept[1]})" if kept else "mend the cause"


def _kept(numbers: list[int]) -> str:
    if not numbers:
        return "nothing was completed before."
    if len(numbers) == 1:
        return f"phase {numbers[0]} is complete and kept."
    run = numbers == list(range(numbers[0], numbers[-1] + 1))
    return f"phases {f'{numbers[0]}-{numbers[-1]}' if run else ', '.join(map(str, numbers))} are complete and kept."


def ready_lines(status: Mapping[str, Any], seconds: float | None) -> list[str]:
    """` Ready in 1.9 s · readiness 38 of 100 (next: …)` and ` Weakened …`."""
    readiness = status.get("readiness") or {}
    following = next(iter(readiness.get("next") or ()), "")
    score = (
        f" · readiness {readiness['score']} of 100" + (f" (next: {clean(following)})" if following else "") if "score" in readiness else ""
    )
    lines = [f" Ready{f' in {seconds:.1f} s' if seconds is not None else ''}{score}"]
    return [*lines, *weakened(status)]


def weakened(status: Mapping[str, Any]) -> list[str]:
    """What this machine lacks, shown and never pretended."""
    return [f" Weakened  {'; '.join(map(clean, status['weakenings']))}"] if status.get("weakenings") else []
