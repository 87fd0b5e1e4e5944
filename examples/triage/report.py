"""Turns the fleet's answer about an incident into a Markdown report, with the true cause beside the ranking.

The only reader of faults.json; the agents never get that file (.quarterdeckignore keeps it out of their code tree).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stream import service_of

TRUTH = Path(__file__).with_name("faults.json")
NOTE = (
    "Compared with a fault-free minute of the same day. *Score* is 0 to 1: the strongest change of any kind of call of the service, "
    "less what a changed callee explains. How it is computed: triage.py."
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one ranking compares with the truth; `place` is 1 for the first, 0 when the true cause is not in the ranking."""

    incident: str
    truth: str
    kind: str
    first: str
    place: int


def faults() -> dict[str, dict[str, str]]:
    """What was injected in each incident."""
    found: dict[str, dict[str, str]] = json.loads(TRUTH.read_text(encoding="utf-8"))
    return found


def judge(answer: dict[str, Any], fault: dict[str, str]) -> Verdict:
    """Compare a ranking with what was injected."""
    ranked = [cause["service"] for cause in answer["causes"]]
    truth = service_of(fault["inject_pod"])
    place = ranked.index(truth) + 1 if truth in ranked else 0
    return Verdict(answer["incident"], truth, fault["inject_type"], ranked[0] if ranked else "none", place)


def render(answer: dict[str, Any], verdict: Verdict, fault: dict[str, str]) -> str:
    """The report of one incident."""
    where = {0: "**wrong**: not in the ranking", 1: "**right**: ranked first"}.get(verdict.place, f"**wrong**: ranked {verdict.place}.")
    rows = [
        f"| {place} | {_cell(cause['service'])} | {cause['score']:.2f} | {cause['signal']} | {_cell(cause['evidence'])} |"
        for place, cause in enumerate(answer["causes"], 1)
    ]
    return "\n".join([
        f"# Incident {answer['incident']}",
        "",
        f"Read {answer['lines']:,} log lines and {answer['spans']:,} spans of {answer['services']} services.",
        "",
        "## Suspected root causes",
        "",
        "| # | service | score | signal | evidence |",
        "|---|---|---|---|---|",
        *(rows or ["| | no service changed | | | |"]),
        "",
        NOTE,
        "",
        "## What it was",
        "",
        f"{verdict.truth}: {verdict.kind}, injected at {fault['inject_time']} UTC. The ranking was {where}",
        "",
    ])  # fmt: skip


def write(answers: list[dict[str, Any]], into: Path) -> list[Verdict]:
    """Write one report per incident and a table of all; gives the verdicts."""
    into.mkdir(parents=True, exist_ok=True)
    truth = faults()
    verdicts = [judge(answer, truth[answer["incident"]]) for answer in answers]
    for answer, verdict in zip(answers, verdicts, strict=True):
        name = answer["incident"].replace(":", "")
        (into / f"{name}.md").write_text(render(answer, verdict, truth[answer["incident"]]), encoding="utf-8")
    rows = [f"| [{v.incident}]({v.incident.replace(':', '')}.md) | {v.kind} | {v.truth} | {v.first} | {v.place or '-'} |" for v in verdicts]
    table = [
        "# Incidents",
        "",
        "| incident | fault | true cause | ranked first | place of the true cause |",
        "|---|---|---|---|---|",
        *rows,
        "",
    ]
    (into / "README.md").write_text("\n".join(table), encoding="utf-8")
    return verdicts


def _cell(text: str) -> str:
    """Log text is hostile: it must not leave its table cell or become markup."""
    return " ".join(text.replace("`", "'").replace("<", "&lt;").replace("|", "\\|").split())
