"""How often examples/triage names the true root cause: `python bench/triage_accuracy.py PATH` of the extracted Train Ticket archive.

One JSON line: all 28 faults of the archive, the same with the slice's thinning (three of four traces), and the shipped slice. The scoring
was tuned on these 28, so the figures are of development data. `misses` names what was ranked first instead.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "triage"
sys.path[:0] = [str(EXAMPLE), str(ROOT / "tools")]

import report  # noqa: E402 after the path
import slice_train_ticket as cutter  # noqa: E402
import stream  # noqa: E402
import triage  # noqa: E402

Case = tuple[dict[str, str], list[stream.Trace]]


def ranked(traces: list[stream.Trace], base: stream.Counters) -> list[triage.Cause]:
    """What the fleet would answer: windows, compared one by one, merged by phase."""
    windows: dict[float, list[stream.Trace]] = defaultdict(list)
    for trace in traces:
        windows[(trace.start - traces[0].start) // stream.WINDOW * stream.WINDOW].append(trace)
    phases = triage.phases((begins, triage.compare(stream.count(part), base)) for begins, part in windows.items())
    return triage.rank(phases["before"], phases["during"])


def figures(cases: Iterable[Case], base: stream.Counters) -> dict[str, object]:
    """Top-1 and top-3, in all and per fault type."""
    tally: dict[str, dict[str, int]] = defaultdict(lambda: {"faults": 0, "top1": 0, "top3": 0})
    misses: list[str] = []
    for fault, traces in cases:
        verdict = report.judge({"incident": fault["inject_time"], "causes": ranked(traces, base)}, fault)
        for kind in ("all", verdict.kind):
            tally[kind]["faults"] += 1
            tally[kind]["top1"] += verdict.place == 1
            tally[kind]["top3"] += 1 <= verdict.place <= 3
        if verdict.place != 1:
            misses.append(f"{verdict.incident} {verdict.kind} {verdict.truth}: place {verdict.place}, first {verdict.first}")
    return {**tally, "misses": misses}


def archive(path: Path) -> list[Case]:
    """Every fault with the traces of the minutes around it; rows that two minutes hold are read once."""
    hours = json.loads((path / "faults.json").read_text(encoding="utf-8"))
    return [(fault, load(path, cutter.minutes(fault["inject_time"][11:16]))) for hour in hours.values() for fault in hour]


def load(path: Path, minutes: list[str]) -> list[stream.Trace]:
    """The traces of some minutes of the archive."""
    return stream.traces(*([path / kind / f"{minute}_{kind}.csv" for minute in minutes] for kind in ("log", "trace")))


def shipped(name: str) -> list[stream.Trace]:
    """The traces of a folder of the slice."""
    folder = EXAMPLE / "data" / name.replace(":", "")
    return stream.traces([folder / "log.csv.gz"], [folder / "trace.csv.gz"])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path, nargs="?", help="the extracted archive; without it only the slice is measured")
    given = parser.parse_args()
    base = stream.count(shipped("normal"))
    line: dict[str, object] = {"bench": "triage_accuracy"}
    if given.archive:
        cases = archive(given.archive)
        line["archive"] = figures(cases, stream.count(load(given.archive / "normal", [cutter.NORMAL])))
        line["archive_thinned"] = figures([(fault, [one for one in traces if cutter.kept(one.trace)]) for fault, traces in cases], base)
    line["slice"] = figures([(fault, shipped(name)) for name, fault in report.faults().items()], base)
    print(json.dumps(line))


if __name__ == "__main__":
    main()
