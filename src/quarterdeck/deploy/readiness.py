"""The production readiness score: a pure function of executed evidence and its age, and of nothing else.

The table has room for what later versions will prove; those points honestly score zero today.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from quarterdeck.deploy.converged import QUARANTINED, Conditions, holds
from quarterdeck.deploy.counted import EFFECTS_COUNTED
from quarterdeck.deploy.evidence import DEEP, PROOFS, Proof, proof
from quarterdeck.deploy.held import WITHIN_BUDGET
from quarterdeck.model.desired import Desired
from quarterdeck.model.records import Condition

ANSWERS: Final = "AgentAnswers"
"""The proof that every replica of an agent answers."""
STALE_FACTOR: Final = 10.0
"""Evidence older than its freshness earns half; older than ten times that, nothing."""
NOTHING: Final = "nothing to prove in this system"
"""Of a rule that has no target, such as links where there are none: it earns nothing, for nothing was executed, and is no advice."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Points for a set of proofs that must all hold; `command` is how to earn them in this version, empty when it cannot.

    `broken_by`: Conditions that take the points away while they are false, and what mends each.
    """

    name: str
    possible: int
    kinds: tuple[str, ...]
    command: str = ""
    broken_by: Mapping[str, str] = field(default_factory=dict)

    def wanted(self, desired: Desired) -> tuple[tuple[str, str], ...]:
        """(kind, target) of its proofs in a system; none where there is nothing to prove, which earns nothing: nothing was executed."""
        return tuple((kind, target) for kind in self.kinds for target in _targets(kind, desired))

    def broken(self, conditions: Conditions) -> Condition | None:
        """The first false Condition that breaks it."""
        return next((c for c in conditions.values() if c.kind in self.broken_by and c.status == "false"), None)

    def mended_by(self, conditions: Conditions) -> str:
        """How to earn its points now."""
        if broken := self.broken(conditions):
            return self.broken_by[broken.kind]
        kept = next((c.target for c in conditions.values() if c.kind in self.kinds and c.reason == QUARANTINED), None)
        return self.command if kept is None else f"end the quarantine in {kept}: qd release"


@dataclass(frozen=True, slots=True)
class Now:
    """What is seen of an agent while its evidence is read: how it lacks replicas (empty: it does not), and when they changed last."""

    lacks: str = ""
    changed: float = 0.0


@dataclass(frozen=True, slots=True)
class Point:
    """What one rule earned, from which evidence, of what age in seconds (None = no evidence)."""

    name: str
    earned: int
    possible: int
    evidence: str
    age_seconds: float | None


@dataclass(frozen=True, slots=True)
class Readiness:
    """Score of 100, its points, and the next proofs, cheapest first."""

    score: int
    points: tuple[Point, ...]
    next: tuple[str, ...]


RULES: Final = (
    Rule("control plane proven", 6, ("JournalVerified", "SecondWriterRefused", "NodeAttached", "AnonymousRefused"), "qd validate"),
    Rule("every acknowledged message synced", 6, ("BusSynced",), "qd validate"),
    Rule("clusters isolated", 6, ("PathClosed", "PathRefused"), "qd validate"),
    Rule("links carry messages", 5, ("LinkOpen", "LinkCarries"), "qd validate"),
    Rule("every replica answers and takes work", 7, (ANSWERS,), "qd validate", {WITHIN_BUDGET: "qd budget resume"}),
    Rule("logs, metrics and journal readable", 4, ("LogsArriving", "MetricsReadable", "JournalReadable"), "qd validate"),
    Rule("recovered from a crash", 4, ("RecoveredFromCrash",), "kill -9 the process of a replica; its pid: qd get replicas"),
    Rule("deep validation", 4, ("JournalDeep", "CodeIntact"), "qd validate --deep"),
    Rule(
        "work done once, effects counted",
        8,
        (EFFECTS_COUNTED,),
        "give a task whose agent calls ctx.effect: qd task submit --help",
        {EFFECTS_COUNTED: "qd task resolve"},
    ),
    Rule("alerts reach a person", 8, ()),
    Rule("recovery drill passed", 10, ()),
    Rule("backup restored and verified", 10, ()),
    Rule("objectives met", 8, ()),
    Rule("load tested to its target", 6, ()),
    Rule("agents sandboxed", 5, ()),
    Rule("changes approved by a second person", 3, ()),
)


def readiness(desired: Desired, conditions: Conditions, now: float, agents: Mapping[str, Now] | None = None) -> Readiness:
    """Score the executed evidence of one system. By `agents`, what an earlier probe found of one does not outlive what it found."""
    points = tuple(_point(rule, desired, conditions, now, agents or {}) for rule in RULES)
    lacking = [
        (point.possible - point.earned, rule.mended_by(conditions))
        for point, rule in zip(points, RULES, strict=True)
        if point.earned < point.possible and rule.wanted(desired)
    ]
    gains: dict[str, int] = {}
    for gain, command in lacking:
        gains[command] = gains.get(command, 0) + gain
    cheapest = sorted(gains.items(), key=lambda pair: (not pair[0].startswith("qd"), -pair[1]))
    return Readiness(sum(p.earned for p in points), points, tuple(f"{command}, +{gain}" for command, gain in cheapest if command))


def _point(rule: Rule, desired: Desired, conditions: Conditions, now: float, agents: Mapping[str, Now]) -> Point:
    wanted = rule.wanted(desired)
    found = [conditions[key] for key in wanted if key in conditions]
    if not wanted:
        return Point(rule.name, 0, rule.possible, NOTHING if rule.kinds else "not in this version", None)
    broken = rule.broken(conditions)
    if broken is not None:
        return Point(rule.name, 0, rule.possible, f"{broken.kind} {broken.target}: {broken.evidence}", now - broken.since)
    if len(found) < len(wanted) or not all(holds(conditions, k, t) for k, t in wanted):
        held = sum(holds(conditions, k, t) for k, t in wanted)
        return Point(rule.name, 0, rule.possible, f"{held} of {len(wanted)} proofs hold", None)
    age = now - min(c.observed for c in found)
    refuted = [f"{c.target}: {lacks}" for c in found if c.kind == ANSWERS and (lacks := agents.get(c.target, Now()).lacks)]
    if refuted:
        text = f"no longer so: {'; '.join(refuted)}; the last proof is {max(age, 0.0):.0f} s old"
        return Point(rule.name, 0, rule.possible, text, max(age, 0.0))
    stale = max((now - c.observed) / _fresh_for(c.kind) for c in found)
    share = 1.0 if stale <= 1 else 0.5 if stale <= STALE_FACTOR else 0.0
    evidence = "; ".join(dict.fromkeys(f"{c.kind} {c.target}: {c.evidence}{_before(c, agents, now)}" for c in found[:3]))
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""  # noqa: PLR2004 three examples are enough on a screen
    return Point(rule.name, int(rule.possible * share), rule.possible, evidence + more, max(age, 0.0))


def _before(proof: Condition, agents: Mapping[str, Now], now: float) -> str:
    """That a proof tells of replicas that were others, or in another state."""
    older = proof.kind == ANSWERS and proof.target in agents and proof.observed < agents[proof.target].changed
    return f" ({now - proof.observed:.0f} s ago, before its replicas changed)" if older else ""


def _targets(kind: str, desired: Desired) -> tuple[str, ...]:
    if kind in ("RecoveredFromCrash", EFFECTS_COUNTED):
        return (desired.system,)
    return tuple(target for target, _ in proof(kind).targets(desired))


def _fresh_for(kind: str) -> float:
    known: dict[str, Proof] = {p.kind: p for p in (*PROOFS, *DEEP)}
    return known[kind].fresh_for if kind in known else 7 * 86400.0
