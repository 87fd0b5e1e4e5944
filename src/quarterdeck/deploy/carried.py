"""The plan that was last carried out for a place, as the journal tells it: which edit asked for it, and what became of each step. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, get_args

from quarterdeck.clock import iso
from quarterdeck.model.records import Record
from quarterdeck.model.steps import ApplyWorkload, Probe, RemoveWorkload, Step

Json = dict[str, Any]
_STEP: Final = "step."
STEPS: Final = tuple(f"{_STEP}{kind.__name__}" for kind in get_args(Step) if kind is not Probe)
"""Verbs of the journal that tell of a step: whole ones, so that each is found by its index however long the journal is."""
OF_AGENTS: Final = (f"{_STEP}{ApplyWorkload.__name__}", f"{_STEP}{RemoveWorkload.__name__}")
EDITS: Final = ("revision.apply", "change.add", "change.revert", "change.expire")
"""Verbs after which something else is wanted."""
MOST: Final = 50


def carried_out(steps: Iterable[Record], edit: Record | None, *, shown: bool = True) -> Json | None:
    """The steps recorded since an edit, each once, in the order in which they were begun; None when there was none.

    `edit` is the newest before the newest step; it bounds the plan also where it is not to be `shown`. At most the last `MOST` steps.
    """
    since = edit.seq if edit else 0
    told: dict[tuple[str, str], list[Record]] = {}
    for record in sorted((r for r in steps if r.seq > since), key=lambda r: r.seq):
        told.setdefault((record.verb, record.target), []).append(record)
    if not told:
        return None
    ended = [_step(records) for records in told.values()][-MOST:]
    return {"at": max(step["at"] for step in ended), "edit": _edit(edit) if edit and shown else None, "steps": ended}


def _step(records: list[Record]) -> Json:
    """One step by all that is told of it. A failure that repeats is told once, so a new try does not hide the last end."""
    last = records[-1]
    ends = [r for r in records if r.outcome != "begun"]
    if last.outcome == "begun" and ends and ends[-1].outcome != "done":
        last = ends[-1]
    return {
        "at": iso(last.at),
        "step": last.verb.removeprefix(_STEP),
        "phase": last.after,
        "target": last.target,
        "reason": last.reason,
        "outcome": last.outcome,
        "evidence": last.evidence,
    }


def _edit(record: Record) -> Json:
    """Who asked for it: a revision that was applied, a Change that was made or has ended."""
    after = record.after if isinstance(record.after, dict) else {}
    return {
        "seq": record.seq,
        "at": iso(record.at),
        "verb": record.verb,
        "target": record.target,
        "actor": record.actor,
        "reason": record.reason,
        "revision": after.get("revision"),
    }
