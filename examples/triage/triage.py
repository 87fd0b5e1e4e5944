"""Scores what calls do during an incident against a fault-free minute and ranks services as root causes: pure functions.

Two changes are looked at, for each kind of call (a service and an operation):

* **pattern**: a log line that the call always wrote and no longer writes, a new ERROR line, more errors than before. Size = change of the
  share of calls that wrote it, discounted when few calls were seen.
* **latency**: how far the call's own time (without its callees) lies above the fault-free median, in octaves, less what was already so in
  the minute before the incident.

A pattern change is explained away as far as a callee shows one too, so the deepest service that changed stands out and not its callers.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Literal, TypedDict

from stream import ANY_ERROR, BUCKETS_PER_OCTAVE, Call, Counters

LOOK_BACK, ONSET = 60.0, 90.0
"""Seconds of an incident: the first minute is the time before; until ONSET the fault may have begun half-way, so that is not scored."""
SIGMAS = 4.0
"""A change counts in full from this many standard deviations of its binomial error."""
OCTAVES = 2.0
"""A call that takes 4 times its fault-free own time has the full latency score,"""
DOUBT = 2.0
"""as far as enough calls were timed: n calls count n / (n + DOUBT)."""
CEILING = 5.0
"""One call adds at most this many octaves, so that a single time-out does not decide."""
WEIGHT = {"new error": 1.0, "more errors": 0.5, "fewer errors": 0.3, "new line": 0.3, "more lines": 0.0, "vanished": 1.0}

Phase = Literal["before", "onset", "during"]


class Change(TypedDict):
    """What one kind of call did beyond what the fault-free minute predicts; changes of two windows add up.

    `excess`: for a template, calls that wrote it less the calls expected to; `octaves`: sum over calls of octaves above the fault-free
    median of own time, less the fault-free mean of the same. `base_…`: the fault-free minute, equal in every window.
    """

    n: int
    judged: int
    timed: int
    excess: dict[str, float]
    octaves: float
    callees: list[str]
    base_judged: int
    base_timed: int
    base_marks: dict[str, int]
    base_ms: float


class Evidence(TypedDict):
    """The changes of one phase of an incident."""

    lines: int
    spans: int
    changes: dict[str, Change]
    texts: dict[str, str]


class Cause(TypedDict):
    """One service, how strongly it is suspected (0 to 1), and why, in numbers for people."""

    service: str
    score: float
    signal: str
    evidence: str


def phase_of(seconds: float) -> Phase:
    """The phase of what began so many seconds into the incident."""
    return "before" if seconds < LOOK_BACK else "onset" if seconds < ONSET else "during"


def compare(seen: Counters, base: Counters) -> Evidence:
    """Score one window against the fault-free minute; kinds of calls that minute never saw cannot be compared and are left out."""
    known = {name: call for name, call in seen["calls"].items() if name in base["calls"]}
    changes = {name: _compare_call(call, base["calls"][name]) for name, call in known.items()}
    named = {mark for change in changes.values() for mark in change["excess"]}
    texts = {mark: text for mark, text in {**base["texts"], **seen["texts"]}.items() if mark in named}
    return Evidence(lines=seen["lines"], spans=seen["spans"], changes=changes, texts=texts)


def _compare_call(call: Call, base: Call) -> Change:
    excess: dict[str, float] = {}
    if base["judged"]:
        for mark in {*call["marks"], *base["marks"]}:
            expected = call["judged"] * base["marks"].get(mark, 0) / base["judged"]
            excess[mark] = round(call["marks"].get(mark, 0) - expected, 6)
    middle = median_octave(base["took"])
    timed, usual = sum(call["took"].values()), sum(base["took"].values())
    octaves = _above(call["took"], middle) - timed * _above(base["took"], middle) / usual if usual else 0.0
    kept = {mark: value for mark, value in excess.items() if value}
    return Change(
        n=call["n"], judged=call["judged"], timed=timed if usual else 0, excess=kept, octaves=octaves,
        callees=sorted({*call["callees"], *base["callees"]}), base_judged=base["judged"], base_timed=usual,
        base_marks={mark: base["marks"].get(mark, 0) for mark in kept}, base_ms=2**middle / 1000,
    )  # fmt: skip


def median_octave(took: dict[str, int]) -> float:
    """The median of counted own times as a power of two of microseconds; 0 of none."""
    half, passed = sum(took.values()) / 2, 0
    for size in sorted(map(int, took)):
        passed += took[str(size)]
        if passed >= half:
            return size / BUCKETS_PER_OCTAVE
    return 0.0


def _above(took: dict[str, int], middle: float) -> float:
    return sum(min(CEILING, max(0.0, int(size) / BUCKETS_PER_OCTAVE - middle)) * count for size, count in took.items())


def merge(parts: Iterable[Evidence]) -> Evidence:
    """The evidence of several windows as one; the order does not matter."""
    total = Evidence(lines=0, spans=0, changes={}, texts={})
    for part in parts:
        total["lines"] += part["lines"]
        total["spans"] += part["spans"]
        total["texts"] = {**part["texts"], **total["texts"]}
        for name, change in part["changes"].items():
            known = total["changes"].get(name)
            total["changes"][name] = change if known is None else _sum(known, change)
    return total


def _sum(one: Change, two: Change) -> Change:
    marks = {*one["excess"], *two["excess"]}
    return Change(
        n=one["n"] + two["n"], judged=one["judged"] + two["judged"], timed=one["timed"] + two["timed"],
        excess={mark: one["excess"].get(mark, 0.0) + two["excess"].get(mark, 0.0) for mark in marks},
        octaves=one["octaves"] + two["octaves"], callees=sorted({*one["callees"], *two["callees"]}),
        base_judged=one["base_judged"], base_timed=one["base_timed"], base_ms=one["base_ms"],
        base_marks={**one["base_marks"], **two["base_marks"]},
    )  # fmt: skip


def rank(before: Evidence, during: Evidence) -> list[Cause]:
    """Services by suspicion, the strongest kind of call of each; one whose score shows as 0.000 is left out."""
    patterns = {name: _pattern(change, during["texts"]) for name, change in during["changes"].items()}
    best: dict[str, Cause] = {}
    for name, change in sorted(during["changes"].items()):
        explained = max((patterns[callee][0] for callee in change["callees"] if callee in patterns and callee != name), default=0.0)
        strength, signal, text = patterns[name]
        slow, slow_text = _latency(change, before["changes"].get(name))
        service, _, operation = name.partition(" ")
        score, signal, text = max((strength * (1 - explained), signal, text), (slow, "latency", slow_text))
        shown = round(score, 3)
        if shown > (best[service]["score"] if service in best else 0.0):
            best[service] = Cause(service=service, score=shown, signal=signal, evidence=f"{operation}: {text}")
    return sorted(best.values(), key=lambda cause: (-cause["score"], cause["service"]))


def _pattern(change: Change, texts: dict[str, str]) -> tuple[float, str, str]:
    """(strength 0 to 1, signal, sentence) of the strongest change of pattern."""
    return max((_mark(change, mark, texts) for mark in change["excess"]), default=(0.0, "pattern", "no change"))


def _mark(change: Change, mark: str, texts: dict[str, str]) -> tuple[float, str, str]:
    n, base_n, base_seen = change["judged"], change["base_judged"], change["base_marks"][mark]
    if not n:
        return 0.0, "pattern", "no call to compare"
    excess = change["excess"][mark]
    smoothed = (base_seen + 0.5) / (base_n + 1)
    sigmas = excess / math.sqrt(n * smoothed * (1 - smoothed) * (1 + n / base_n))
    signal = _signal(mark, excess, base_seen)
    strength = WEIGHT[signal] * min(1.0, abs(excess) / n) * min(1.0, abs(sigmas) / SIGMAS)
    now = round(excess + n * base_seen / base_n)
    text = f'{signal}: {mark} "{texts.get(mark, "")}" in {base_seen} of {base_n} fault-free calls, now in {now} of {n}'
    return strength, "errors" if mark == ANY_ERROR else "pattern", text.replace(' ""', "")


def _signal(mark: str, excess: float, base_seen: int) -> str:
    if mark.startswith(("ERROR", "UNPARSED")):
        return "fewer errors" if excess < 0 else "more errors" if base_seen else "new error"
    return "vanished" if excess < 0 else "more lines" if base_seen else "new line"


def _latency(change: Change, before: Change | None) -> tuple[float, str]:
    """(strength 0 to 1, sentence): octaves above the fault-free median, less what was so before the incident."""
    if not change["timed"]:
        return 0.0, "not timed"
    now = change["octaves"] / change["timed"]
    already = max(0.0, before["octaves"] / before["timed"]) if before and before["timed"] else 0.0
    few = min(change["timed"], change["base_timed"])
    strength = min(1.0, max(0.0, now - already) / OCTAVES) * few / (few + DOUBT)
    return strength, (
        f"own time (fault-free median {change['base_ms']:.1f} ms) now {2**now:.1f}x on average over {change['timed']} calls, "
        f"{2**already:.1f}x in the minute before"
    )


def phases(parts: Iterable[tuple[float, Evidence]]) -> dict[Phase, Evidence]:
    """The evidence of windows, each with the second at which it begins, merged by phase."""
    sorted_in: dict[Phase, list[Evidence]] = defaultdict(list)
    for begins, evidence in parts:
        sorted_in[phase_of(begins)].append(evidence)
    return {phase: merge(sorted_in[phase]) for phase in ("before", "onset", "during")}
