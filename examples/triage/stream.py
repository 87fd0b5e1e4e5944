"""Reads the log and trace files of one incident and counts what its calls did: pure functions, standard library only.

A *call* is one request as one service handled it: the entry span, every span below it inside the same pod, and the log lines written in
them. A call is named `service operation`. A log line is named by its *template*: level and code location when the logger gives one, else
the text with ids and numbers masked.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import re
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

WINDOW = 15.0
"""Seconds of the incident's own time in one window."""
UNAVAILABLE = "unavailable:"
"""In a template: the line says that no instance of the named service could be found."""
ANY_ERROR = "ERROR anywhere"
"""The mark of a call that wrote at least one ERROR line, whichever."""
BUCKETS_PER_OCTAVE = 4
"""Self times are counted in buckets a quarter octave wide, so that counts of windows add up and a median is good to 9 %."""

_POD = re.compile(r"(.+?)-[0-9a-f]{6,10}-[0-9a-z]{5}\Z")
_HEAD = re.compile(
    r"\d\d:\d\d:\d\d\.\d+\s+(?P<level>[A-Z]+)\s+(?P<place>\S+?#\d+)?\s*(?:TraceID: \w*\s+SpanID: \w*\s*)?(?P<text>.*)", re.DOTALL
)
_IDS = re.compile(r"\b(?:[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|[0-9a-f]{16,})\b", re.IGNORECASE)
_NUMBERS = re.compile(r"\d+")
_UNAVAILABLE = re.compile(r"No instances available for (?P<service>[\w-]+)")


@dataclass(frozen=True, slots=True)
class Line:
    """One log line; `at` in seconds since 1970 UTC."""

    at: float
    service: str
    trace: str
    span: str
    level: str
    template: str
    text: str


@dataclass(frozen=True, slots=True)
class Span:
    """One timed piece of work; `took` in microseconds."""

    at: float
    service: str
    pod: str
    trace: str
    span: str
    parent: str
    operation: str
    took: int


@dataclass(slots=True)
class Trace:
    """All that belongs to one request from outside, in one piece."""

    trace: str
    lines: list[Line] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)

    @property
    def start(self) -> float:
        """When its first event happened."""
        return min([line.at for line in self.lines] + [span.at for span in self.spans])


def service_of(pod: str) -> str:
    """The service a pod belongs to: its name without the two hashes that the Deployment appended."""
    found = _POD.match(pod)
    return found[1] if found else pod


def mask(text: str) -> str:
    """The text with ids and numbers masked, at most 120 characters."""
    return _NUMBERS.sub("#", _IDS.sub("<id>", text)).strip()[:120]


def template_of(message: str) -> tuple[str, str, str]:
    """(level, template, text) of a message; a message of unknown shape is UNPARSED and named by its masked text."""
    head = _HEAD.match(message)
    if head is None:
        return "UNPARSED", f"UNPARSED {mask(message)}", mask(message)
    level, text = head["level"], head["text"]
    missing = _UNAVAILABLE.search(text)
    if missing:
        return level, f"{level} {UNAVAILABLE}{missing['service']}", mask(text)
    return level, f"{level} {head['place'] or mask(text)}", mask(text)


def parse_line(row: dict[str, str]) -> Line:
    """One row of a log file; whatever it holds, it becomes a line, so that every row read is counted."""
    raw = row.get("Log") or ""
    try:
        message = json.loads(raw)["log"]
    except (ValueError, TypeError, KeyError, RecursionError):
        message = raw
    level, template, text = template_of(str(message))
    return Line(
        _seconds(row), service_of(row.get("PodName") or "?"), row.get("TraceID") or "", row.get("SpanID") or "", level, template, text
    )


def parse_span(row: dict[str, str]) -> Span:
    """One row of a trace file; a duration that is no number counts as 0."""
    pod, took = row.get("PodName") or "?", row.get("Duration") or ""
    at = _seconds(row, "StartTimeUnixNano")
    return Span(
        at, service_of(pod), pod, row.get("TraceID") or "", row.get("SpanID") or "", row.get("ParentID") or "",
        row.get("OperationName") or "?", int(took) if took.isdecimal() else 0,
    )  # fmt: skip


def _seconds(row: dict[str, str], column: str = "TimeUnixNano") -> float:
    value = row.get(column) or ""
    return int(value) / 1e9 if value.isdecimal() else 0.0


def rows(path: Path) -> Iterator[dict[str, str]]:
    """The rows of a .csv or .csv.gz; raises ValueError when the file is cut short or no CSV, naming the row."""
    count = 0
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as raw, io.TextIOWrapper(raw, "utf-8", "replace", "") as file:
        try:
            for row in csv.DictReader(part.replace("\0", "") for part in file):
                count += 1
                yield row
        except (EOFError, OSError, zlib.error, csv.Error) as error:
            msg = f"{path.name} cannot be read after row {count}: {error}"
            raise ValueError(msg) from error


def traces(logs: Iterable[Path], spans: Iterable[Path]) -> list[Trace]:
    """Every trace of the files, by start; a line without a trace id makes a trace of its own."""
    found: dict[str, Trace] = {}
    for path in logs:
        for number, row in enumerate(rows(path)):
            line = parse_line(row)
            found.setdefault(line.trace or f"untraced {path.name} {number}", Trace(line.trace)).lines.append(line)
    for path in spans:
        for row in rows(path):
            span = parse_span(row)
            found.setdefault(span.trace, Trace(span.trace)).spans.append(span)
    return sorted(found.values(), key=lambda each: (each.start, each.trace))


def bucket(microseconds: float) -> int:
    """The bucket of a self time."""
    return round(math.log2(max(1.0, microseconds)) * BUCKETS_PER_OCTAVE)


class Call(TypedDict):
    """What all calls of one name did: how many, in how many each template was seen, whom they called, how long each took by itself.

    `judged` counts the calls whose templates are counted: all but those cut short because another service was unavailable, whose missing
    lines tell of that other service.
    """

    n: int
    judged: int
    marks: dict[str, int]
    callees: dict[str, int]
    took: dict[str, int]


class Counters(TypedDict):
    """Counters of some traces, as JSON; counters of two sets of traces add up. `texts` has one example for each template."""

    lines: int
    spans: int
    calls: dict[str, Call]
    texts: dict[str, str]


def count(found: Iterable[Trace]) -> Counters:
    """Put the calls of some traces together and count them."""
    total = nothing()
    for trace in found:
        total["lines"] += len(trace.lines)
        total["spans"] += len(trace.spans)
        _count_trace(trace, total)
    return total


def nothing() -> Counters:
    """Of no traces."""
    return Counters(lines=0, spans=0, calls={}, texts={})


def by_service(found: Iterable[Trace]) -> dict[str, Counters]:
    """Count some traces for each service that wrote something in them: its own lines, spans and calls."""
    every = list(found)
    whole, parts = count(every), {}
    for event in (event for trace in every for event in (*trace.lines, *trace.spans)):
        own = parts.setdefault(event.service, nothing())
        own["lines" if isinstance(event, Line) else "spans"] += 1
    for name, call in whole["calls"].items():
        own = parts[name.partition(" ")[0]]
        own["calls"][name] = call
        own["texts"] |= {mark: whole["texts"][mark] for mark in call["marks"] if mark in whole["texts"]}
    return parts


def _count_trace(trace: Trace, total: Counters) -> None:
    spans = {span.span: span for span in trace.spans}
    entry = {key: _entry(span, spans) for key, span in spans.items()}
    name = {key: f"{spans[key].service} {spans[key].operation}" for key in set(entry.values())}
    below: dict[str, int] = defaultdict(int)
    for span in spans.values():
        below[span.parent] += span.took
    took: dict[str, int] = defaultdict(int)
    for key, span in spans.items():
        took[entry[key]] += max(0, span.took - below[key])
    marks: dict[str, set[str]] = defaultdict(set)
    for line in trace.lines:
        total["texts"].setdefault(line.template, line.text)
        home = entry.get(line.span)
        if home is None:
            home = f"no span {line.service}"
            name[home] = f"{line.service} (no span)"
        marks[home].add(line.template)
    for key, called in name.items():
        _add(_call(total, called), marks[key], took.get(key))
        parent = spans.get(spans[key].parent) if key in spans else None
        if parent is not None:
            callees = _call(total, name[entry[parent.span]])["callees"]
            callees[called] = callees.get(called, 0) + 1


def _entry(span: Span, spans: dict[str, Span]) -> str:
    """The id of the span through which the request entered this span's pod."""
    seen = {span.span}
    parent = spans.get(span.parent)
    while parent is not None and parent.pod == span.pod and parent.span not in seen:
        seen.add(parent.span)
        span, parent = parent, spans.get(parent.parent)
    return span.span


def _call(total: Counters, name: str) -> Call:
    return total["calls"].setdefault(name, Call(n=0, judged=0, marks={}, callees={}, took={}))


def _add(call: Call, marks: set[str], took: int | None) -> None:
    call["n"] += 1
    if not any(UNAVAILABLE in mark for mark in marks):
        call["judged"] += 1
        _add_marks(call, marks | {ANY_ERROR} if any(mark.startswith("ERROR") for mark in marks) else marks)
    if took is not None:
        size = str(bucket(took))
        call["took"][size] = call["took"].get(size, 0) + 1


def _add_marks(call: Call, marks: set[str]) -> None:
    for mark in marks:
        call["marks"][mark] = call["marks"].get(mark, 0) + 1
