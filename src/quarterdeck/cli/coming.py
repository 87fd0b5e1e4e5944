"""Nouns and verbs of versions to come: asked for today they say so, with the nearest command that there is, not with a guess at a typo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from quarterdeck.cli.usage import UsageError

NOUNS: Final[Mapping[str, str]] = {
    "alerts": "qd wait --for ready fails when the fleet is not well; qd status says why",
    "contacts": "qd explain spec.owner: whom a system belongs to stands in its spec",
    "drills": "qd validate --deep proves everything again, now",
    "evals": "qd task list --state failed,dead shows work that went wrong",
    "forecasts": "qd get budgets shows what work may cost, and has cost",
    "incidents": "qd status shows the latest; qd journal --target TARGET everything that happened to one agent",
    "objectives": "qd status shows the readiness; qd get conditions every proof with its age",
    "runs": "qd get tasks lists work; qd task get TASK --tree shows one with all below it",
    "schedules": "qd task submit TARGET --delay 1h gives work for later",
    "silences": "qd hold TARGET --reason TEXT keeps all automation off a target",
    "traces": "qd task get TASK --tree shows one task through all agents; qd logs --since 10m what they wrote",
}
"""Each noun, with what does the nearest thing today."""
VERBS: Final[Mapping[str, str]] = {
    "certify": "qd validate --deep proves everything that can be proven",
    "drill": "qd validate --deep proves everything again, now",
    "exec": "qd attach REPLICA shows what a replica writes and asks it what you type",
    "incident": "qd status shows the latest; qd journal --target TARGET everything that happened to one agent",
    "trace": "qd task get TASK --tree shows one task through all agents",
    "weight": "qd quarantine REPLICA --reason TEXT takes a replica out of traffic; qd scale sets how many there are",
}
"""Each verb, with what does the nearest thing today."""


def refuse_noun(noun: str) -> None:
    """Raise UsageError for a noun of a version to come; pass for any other."""
    _refuse(next((kind for kind in NOUNS if noun in (kind, kind.removesuffix("s"))), ""), NOUNS)


def refuse_verb(verb: str) -> None:
    """Raise UsageError for a verb of a version to come; pass for any other."""
    _refuse(verb if verb in VERBS else "", VERBS)


def _refuse(name: str, nearest: Mapping[str, str]) -> None:
    if name:
        raise UsageError(f"{name}: not in this version", hint=nearest[name])
