"""What work a place has, for whoever asks why nothing happens there: how much in which state, what of it is stuck, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection

from quarterdeck.model.work import Task
from quarterdeck.store import overview, tasks
from quarterdeck.store.overview import Scope
from quarterdeck.work import documents

Document = dict[str, Any]
STUCK: Final = ("unknown", "waiting", "dead", "running", "queued")
"""States of work that has not come to a good end, those that need somebody the most first."""
MOST: Final = 5
"""Tasks that are named."""


def backlog(connection: Connection, scope: Scope) -> Document:
    """Tasks by state, what waits for a human, and the first few tasks that are stuck, each with what it waits for."""
    return {
        "states": overview.counts(connection, scope),
        "questions": overview.open_questions(connection, scope),
        "unknown_effects": overview.unknown_effects(connection, scope),
        "tasks": [_stuck(documents.whole(connection, task)) for task in _first(connection, scope)],
    }


def _first(connection: Connection, scope: Scope) -> list[Task]:
    target = f"{scope.cluster}/{scope.agent}" if scope.agent else None
    found: list[Task] = []
    for state in STUCK:
        left = MOST - len(found)
        found += tasks.list_(connection, scope.system, cluster=scope.cluster, target=target, states_=[state], limit=left) if left else []
    return found


def _stuck(whole: Document) -> Document:
    return {name: whole[name] for name in ("id", "key", "target", "state", "reason", "attempts", "owner", "created_at", "waits_on")}


def commands(work: Document, place: str) -> list[str]:
    """What to do about it, the most pressing first; `place` is a cluster, `cluster/agent`, or empty for all of a system."""
    held = {wait["target"] for task in work["tasks"] for wait in task["waits_on"] if wait["kind"] == "budget"}
    states: dict[str, int] = work["states"]
    wanted: Sequence[tuple[object, str]] = (
        (held, "qd budget resume" + "".join(f" {name.partition('/')[2]}" for name in sorted(held)[:1] if "/" in name)),
        (work["unknown_effects"], "qd get effects"),
        (work["questions"], "qd get questions"),
        (states.get("dead"), "qd get tasks --state dead" + (f" --target {place}" if "/" in place else "")),
    )
    stuck = [f"qd explain {task['id']}" for task in work["tasks"] if task["state"] in ("unknown", "waiting", "queued")]
    return [*(command for reason, command in wanted if reason), *stuck[:1]]
