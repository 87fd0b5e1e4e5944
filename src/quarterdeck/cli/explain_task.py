"""`qd explain TASK`: how a task stands, what it and those below it wait for, and the command that gets it going."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from quarterdeck.cli.render import clock_time, show
from quarterdeck.cli.screen import Screen, clean
from quarterdeck.cli.sections import headed, section
from quarterdeck.cli.session import Session
from quarterdeck.cli.task_view import budget, event_line, waits
from quarterdeck.client.wire import Document
from quarterdeck.clock import SystemClock
from quarterdeck.deploy.stopped import way_back
from quarterdeck.version import API_VERSION

_EVENTS: Final = 5
_STUCK: Final = 5
_OVER: Final = ("done", "cancelled")
_WIDTH: Final = 8


def explain_task(session: Session, task: str) -> None:
    """One screen about a task by id."""
    tree: list[Document] = session.client.get(f"/v1/tasks/{task}/tree")["items"]
    history: list[Document] = session.client.get(f"/v1/tasks/{task}/history")["items"]
    top, below = tree[0], tree[1:]
    document = {
        "apiVersion": API_VERSION,
        "kind": "Explanation",
        "target": task,
        "system": top["system"],
        "sentence": _sentence(top),
        "task": top,
        "below": dict(Counter(one["state"] for one in below)),
        "stuck": [one for one in below if one["state"] not in _OVER and one["state"] != "running"],
        "history": history[-_EVENTS:],
        "next": list(dict.fromkeys(_commands(top, below))),
    }
    of_it = replace(session, system=str(top["system"]))
    show(session, document, lambda screen: screen.lines(*_drawn(of_it.aimed_in(document), screen)), name=task)


def _sentence(task: Document) -> str:
    match task["state"]:
        case "running":
            return f"running: {task['owner']} works on it, attempt {task['attempts']} of {task['most_attempts']}"
        case "dead":
            return f"dead: given up after {task['attempts']} of {task['most_attempts']} attempts: {task['reason']}"
        case "unknown":
            return "unknown: whether an effect happened has to be said by somebody who looked"
        case "queued" if task.get("not_before"):
            return f"queued: not before {clock_time(task['not_before'])}"
        case "queued" if not task["waits_on"]:
            return f"queued: no replica of {task['target']} has taken it yet"
        case state:
            return f"{state}: {task['reason']}" if task["reason"] else str(state)


def _drawn(document: Document, screen: Screen) -> list[str]:
    task, now = document["task"], SystemClock().now()
    name = f"{document['target']} {task['key']}" if task["key"] else document["target"]
    counts = ", ".join(f"{n} {state}" for state, n in document["below"].items())
    rows = [
        ("Target", task["target"] + (f", on {task['owner']} under fence {task['fence']}" if task["owner"] else "")),
        *(("Waits", text) for text in waits(task, now)),
        *(("Effect", f"{one['key']} {one['outcome']}, {one['semantics']}") for one in task["effects"]),
        *(("Asked", f"{one['name']} {one['state']}: {one['question']}") for one in task["questions"]),
        ("Budget", ", ".join(budget(task))),
        ("Below", counts),
        *(("Stuck", text) for one in document["stuck"][:_STUCK] for text in _stuck(one, now)),
    ]
    lines = headed(screen, {**document, "target": name})
    lines += [line for label, text in rows if text for line in screen.wrapped(f"  {label:<{_WIDTH}}", clean(text))]
    lines += section(screen, "History", _told(document, screen), _WIDTH)
    return [*lines, *section(screen, "Next", [clean(text) for text in document["next"]], _WIDTH)]


def _stuck(task: Document, now: float) -> Iterator[str]:
    waited = waits(task, now)
    yield f"{task['id']} {task['target']} {task['state']}" + (f" {', '.join(waited)}" if waited else f": {task['reason']}")


def _told(document: Document, screen: Screen) -> list[str]:
    return [event_line(event, document["target"], screen).strip() for event in document["history"]]


def _commands(top: Document, below: list[Document]) -> Iterator[str]:
    """What gets it going, the nearest cause first: a task below that needs somebody holds up all above it."""
    for task in (*reversed(below), top):
        name = task["id"]
        yield from (way_back(wait["target"]) for wait in task["waits_on"] if wait["kind"] == "stop")
        yield from (
            f"qd budget resume {wait['target'].partition('/')[2]}".rstrip() for wait in task["waits_on"] if wait["kind"] == "budget"
        )
        if task["state"] == "unknown":
            keys = (one["key"] for one in task["effects"] if one["outcome"] == "unknown")
            yield from (f"qd task resolve {name} {shlex.quote(key)} --done|--failed|--again --reason TEXT" for key in keys)
        yield from (f"qd task answer {name}" for wait in task["waits_on"] if wait["kind"] == "human")
        if task["state"] == "dead" or (task is top and task["state"] == "failed"):
            yield f"qd task retry {name} --reason TEXT"
    if top["state"] == "running":
        yield f"qd logs -f {top['owner']}"
    yield f"qd task get {top['id']} --tree"
