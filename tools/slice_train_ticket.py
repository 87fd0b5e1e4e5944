"""Cuts the data of examples/triage out of the extracted Train Ticket archive: `python tools/slice_train_ticket.py PATH [INTO]`.

The rule does not look at the fault: of every incident the three minutes that the archive has are taken, a trace and its log lines stay
whole or go whole, and it stays when the first byte of the SHA-256 of its id is not a multiple of 4 (three of four traces). Rows that two
neighbouring minutes both hold are kept once. The fault-free minute is taken whole. The same archive gives the same bytes.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import io
import json
import math
import shutil
from pathlib import Path

INCIDENTS = ("08:43", "10:04", "11:29", "14:49")
"""The minutes of the injections: a return, two exceptions and a CPU contention, each in another service."""
NORMAL = "08_50"
WINDOW = 15
TARGET = Path(__file__).parents[1] / "examples" / "triage"
CLOCKS = {"log": "TimeUnixNano", "trace": "StartTimeUnixNano"}
Table = tuple[list[str], list[tuple[str, ...]]]
"""Header and rows."""


def kept(trace: str) -> bool:
    """Whether a trace stays."""
    return hashlib.sha256(trace.encode()).digest()[0] % 4 != 0


def read(paths: list[Path]) -> Table:
    """The rows of several minutes, each distinct row once, in order; rows with too many fields are kept as they are."""
    header: list[str] = []
    found: dict[tuple[str, ...], None] = {}
    for path in paths:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            header = next(reader)
            found.update(dict.fromkeys(tuple(row) for row in reader))
    return header, list(found)


def write(path: Path, table: Table) -> None:
    """Rows as CSV, compressed without a time stamp so that the bytes are the same each time."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([table[0], *table[1]])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.getvalue().encode(), 9, mtime=0))


def minutes(at: str) -> list[str]:
    """The names of the three minutes around an injection at HH:MM."""
    first = int(at[:2]) * 60 + int(at[3:])
    return [f"{minute // 60:02d}_{minute % 60:02d}" for minute in range(first, first + 3)]


def cut(source: Path, names: list[str], into: Path, *, whole: bool) -> dict[str, float]:
    """Write log and trace of some minutes and say what is in them."""
    starts: list[int] = []
    ends: list[int] = []
    figures: dict[str, float] = {}
    traces: set[str] = set()
    for kind, clock in CLOCKS.items():
        header, found = read([source / kind / f"{name}_{kind}.csv" for name in names])
        at, trace = header.index(clock), header.index("TraceID")
        rows = [row for row in found if whole or kept(row[trace])]
        write(into / f"{kind}.csv.gz", (header, rows))
        starts.append(min(int(row[at]) for row in rows))
        ends.append(max(int(row[at]) for row in rows))
        traces |= {row[trace] for row in rows}
        figures["lines" if kind == "log" else "spans"] = len(rows)
    first = min(starts) / 1e9
    seconds = max(ends) / 1e9 - first
    return {**figures, "traces": len(traces), "starts": first, "seconds": round(seconds, 3), "windows": math.floor(seconds / WINDOW) + 1}


def main() -> None:
    """Cut the slice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path, help="the extracted archive, train-ticket-2023-01-29")
    parser.add_argument("into", type=Path, nargs="?", default=TARGET, help="the example's folder")
    given = parser.parse_args()
    data = given.into / "data"
    index: dict[str, object] = {"normal": cut(given.archive / "normal", [NORMAL], data / "normal", whole=True)}
    incidents = {f"2023-01-29T{at}": at for at in INCIDENTS}
    index["incidents"] = {
        name: cut(given.archive, minutes(at), data / name.replace(":", ""), whole=False) for name, at in incidents.items()
    }
    (data / "index.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    faults = [fault for hour in json.loads((given.archive / "faults.json").read_text(encoding="utf-8")).values() for fault in hour]
    truth = {name: fault for name, at in incidents.items() for fault in faults if fault["inject_time"][11:16] == at}
    (given.into / "faults.json").write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")
    shutil.copyfile(given.archive / "LICENSE", data / "LICENSE")
    print(json.dumps({"bytes": sum(path.stat().st_size for path in data.rglob("*") if path.is_file()), **index}))


if __name__ == "__main__":
    main()
