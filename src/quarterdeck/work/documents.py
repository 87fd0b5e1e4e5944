"""Tasks, effects, questions and events as the doors show them: plain JSON values, times as RFC 3339."""

from __future__ import annotations

import json
from typing import Any, Final

from sqlalchemy import Connection

from quarterdeck.clock import iso
from quarterdeck.model.blobs import Ref
from quarterdeck.model.work import ENDED, Effect, Event, Question, Task
from quarterdeck.store import budgets, effects, events, forks, overview, questions, steps, tasks, trips
from quarterdeck.work.output import Piece

Document = dict[str, Any]
_PLURAL: Final = "s"


def short(task: Task) -> Document:
    """The short form of a task, for lists."""
    return {
        "kind": "Task",
        "id": task.id,
        "key": shown_key(task),
        "system": task.target.system,
        "target": task.target.name,
        "verb": task.verb,
        "state": task.state,
        "reason": told(task),
        "attempts": task.attempts,
        "owner": replica_of(task),
        "parent": task.parent,
        "created_at": iso(task.created),
        "started_at": _at(task.started),
        "ended_at": _at(task.ended),
    }


def shown_key(task: Task) -> str | None:
    """The key its user gave; those of children are the ledger's own."""
    return None if task.key is None or task.key.startswith(tasks.CHILD) else task.key


def replica_of(task: Task) -> str | None:
    """The replica that has it, or had it last."""
    return None if task.owner is None else task.owner.partition("#")[0]


def told(task: Task) -> str:
    """Why it is as it is, in words: what a waiting task waits for is kept as JSON."""
    if task.state != "waiting":
        return task.reason
    words = waited(task.reason)
    return f"for {words}" if words else ""


def waited(reason: str) -> str:
    """What was waited for, from the JSON that is kept as the reason of it."""
    names = json.loads(reason or "{}")
    more = names.pop("more", 0)  # not named: of whatever kind
    parts = [f"{len(names[kind])} {kind if len(names[kind]) != 1 else kind.removesuffix(_PLURAL)}" for kind in names if names[kind]]
    return " and ".join([*parts, *([f"{more} more"] if more else [])])


def whole(connection: Connection, task: Task) -> Document:
    """Everything there is to know of one task."""
    payload, result = tasks.body(connection, task.id, "input"), tasks.body(connection, task.id, "result")
    error = tasks.body(connection, task.id, "error")
    return {
        **short(task),
        "fence": task.fence,
        "most_attempts": task.most,
        "priority": task.priority,
        "tenant": task.tenant,
        "lane": task.lane,
        "not_before": _at(task.after or None) if task.state == "queued" else None,
        "deadline": _at(task.deadline),
        "payload": value(payload),
        "result": value(result),
        "large": [name for name, body in (("payload", payload), ("result", result)) if body and Ref.in_body(body)],
        "error": error if error is not None or task.state not in ("failed", "dead") else task.reason,
        "root": task.root,
        "depth": task.depth,
        "children": [child.id for child in tasks.children(connection, task.id)],
        "steps": [{"name": s.name, "state": "done", "at": iso(s.at), "fence": s.fence} for s in steps.of(connection, task.id)],
        "effects": [effect(one) for one in effects.of_task(connection, task.id)],
        "questions": [question(one) for one in questions.of(connection, task.id)],
        "budget": _budget(connection, task),
        "waits_on": _waits(connection, task),
        "cancel": task.cancel,
        "trace": task.trace,
        "forked_from": forks.origin_of(connection, task.id),
        "forks": forks.of(connection, task.id),
    }


def fork_plan(plan: forks.Plan, key: str) -> Document:
    """What a fork of a task would keep, and what would be done again; `key` is the one it gets unless another is named."""
    kept, again = ([{"kind": piece.kind, "name": piece.name} for piece in pieces if piece.mine] for pieces in (plan.kept, plan.again))
    return {"kind": "ForkPlan", "task": plan.origin["id"], "step": plan.step, "key": key, "kept": kept, "again": again}


def value(body: str | None) -> Any:
    """What a body says, as it is shown: of one that is kept as a file only its name and size."""
    ref = None if body is None else Ref.in_body(body)
    if ref is not None:
        return {"$ref": str(ref), "bytes": ref.size}
    return json.loads(body or "null")


def _budget(connection: Connection, task: Task) -> Document:
    """What it may spend, has reserved and has spent, those below it included; nothing where nothing limits it."""
    account = budgets.of_tasks(connection, [task.id]).get(task.id)
    return {} if account is None else account.told


def effect(one: Effect) -> Document:
    """An effect."""
    return {
        "key": one.key,
        "task": one.task,
        "semantics": one.semantics,
        "outcome": one.outcome,
        "fence": one.fence,
        "value": value(one.value),
        "error": one.error,
        "started_at": iso(one.started),
        "ended_at": _at(one.ended),
    }


def question(one: Question) -> Document:
    """A question; `arguments` is JSON, exactly what an answer is about."""
    return {
        "task": one.task,
        "name": one.name,
        "question": one.question,
        "options": list(one.options),
        "arguments": _value(one.arguments),
        "default": one.default,
        "until": _at(one.until),
        "state": one.state,
        "answer": one.answer,
        "by": one.by,
        "asked_at": iso(one.asked),
        "ended_at": _at(one.ended),
    }


def event(one: Event) -> Document:
    """A recorded event."""
    said = {"detail": dict(one.detail)} if one.detail else {}
    return {
        "sequence": one.seq,
        "task": one.task,
        "event": one.kind,
        "time": iso(one.at),
        "actor": one.actor,
        "fence": one.fence,
        **said,
    }


def events_of(connection: Connection, task: Task, *, after: int, limit: int) -> list[Event]:
    """The recorded events of a task, and if nobody delegated it of all below it, in order."""
    if task.id == task.root:
        return overview.below(connection, task.root, after=after, limit=limit)
    return events.of(connection, [task.id], after=after, limit=limit)


def history(connection: Connection, task: Task, *, after: int, limit: int) -> list[Document]:
    """The same as documents."""
    return [event(one) for one in events_of(connection, task, after=after, limit=limit)]


def _waits(connection: Connection, task: Task) -> list[Document]:
    """What a task waits for, and since when."""
    if task.state == "queued" and task.behind:
        return [{"kind": "lane", "target": task.behind, "since": iso(task.created)}]
    if task.state == "queued":
        held = trips.of(connection, task.target.system, [task.target.cluster])
        return [{"kind": "budget", "target": trip.scope, "since": iso(trip.at)} for trip in held]
    if task.state == "unknown":
        found = [e for e in effects.of_root(connection, task.root) if e.outcome == "unknown" and e.task == task.id]
        return [{"kind": "effect", "target": e.key, "since": iso(e.ended or e.started)} for e in found]
    if task.state != "waiting":
        return []
    children = [c for c in tasks.children(connection, task.id) if c.state not in ENDED]
    asked = [q for q in questions.of(connection, task.id) if q.state == "open"]
    return [
        *({"kind": "task", "target": c.id, "since": iso(c.created)} for c in children),
        *({"kind": "human", "target": q.name, "since": iso(q.asked)} for q in asked),
    ]


def output(piece: Piece, task: str) -> Document:
    """A piece of what a task said."""
    return {"task": task, "n": piece.n, "at": iso(piece.at), "value": json.loads(piece.value)}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:  # a digest, as earlier versions kept it
        return text


def _at(at: float | None) -> str | None:
    return None if at is None else iso(at)
