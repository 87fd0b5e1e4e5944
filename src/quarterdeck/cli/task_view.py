"""Tasks in words and as a tree. What agents said is cut to a line and made harmless."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from quarterdeck.cli.render import clock_time, counted, moment, since, style_of
from quarterdeck.cli.screen import Screen, clean
from quarterdeck.client.wire import Document

_LABEL: Final = 10
_BRIEF: Final = 60
_NUMBER: Final = 7
"""Columns of an event's number and the space behind it."""


def told(document: Document, screen: Screen) -> str:
    """One line about a task that was given, or was there already."""
    known = "" if document.get("created", True) else " · was there already"
    why = f" · {clean(document['reason'])}" if document.get("reason") else ""
    return f"task {document['id']} {_state(document, screen)} · {clean(document['target'])}{known}{why}"


def ending(document: Document, children: int, effects: int, screen: Screen) -> str:
    """`task 01J… done in 1.8 s · 6 children · 3 effects · cause ts-food-service`."""
    begun, ended = moment(document["created_at"]), moment(document["ended_at"])
    took = f" in {spell((ended - begun).total_seconds())}" if begun and ended else ""
    tries = document["attempts"]
    parts = [
        f"task {document['id']} {_state(document, screen)}{took}",
        counted(tries, "attempt") if tries > 1 else "",
        counted(children, "child", "children") if children else "",
        counted(effects, "effect") if effects else "",
        brief(document["result"]) if document["state"] == "done" else clean(document["reason"] or document["error"] or ""),
    ]
    return " · ".join(part for part in parts if part)


def drawn(document: Document, screen: Screen, now: float) -> list[str]:
    """Everything about one task, a line for each thing there is to say."""
    rows = [
        ("Task", f"{document['id']} {_state(document, screen)}{_why(document)}"),
        ("Key", document["key"]),
        ("Target", document["target"] + (f" {document['verb']}" if document["verb"] else "")),
        ("Attempt", _attempt(document)),
        ("Given", f"{clock_time(document['created_at'])}, {since(document['created_at'], now)} ago"),
        ("Ended", clock_time(document["ended_at"]) if document["ended_at"] else ""),
        ("Deadline", clock_time(document["deadline"]) if document["deadline"] else ""),
        ("Below", document["parent"]),
        ("Fork of", _origin(document)),
        ("Forks", ", ".join(document["forks"])),
        ("Children", str(len(document["children"])) if document["children"] else ""),
        ("Progress", _progress(document)),
        *(("Waits", text) for text in waits(document, now)),
        ("Budget", ", ".join(budget(document))),
        *(("Step", f"{step['name']} {step['state']}") for step in document["steps"]),
        *(("Effect", _effect(effect)) for effect in document["effects"]),
        *(("Asked", _question(question)) for question in document["questions"]),
        ("Payload", brief(document["payload"], 400)),
        ("Result", brief(document["result"], 400) if document["state"] == "done" else ""),
        ("Error", document["error"] if document["error"] != document["reason"] else ""),
    ]
    return [
        line for label, text in rows if text for line in screen.wrapped(f" {label:<{_LABEL}}", clean(text) if label != "Task" else text)
    ]


def tree(documents: Sequence[Document], screen: Screen, now: float) -> list[str]:
    """A task and everything below it: state, attempts, owner, fence, effects, and where it waits and why."""
    below: dict[str | None, list[Document]] = {}
    for document in documents[1:]:
        below.setdefault(document["parent"], []).append(document)
    return list(_branch(documents[0], below, "", "", screen, now))


def _branch(  # noqa: PLR0917 a place in a drawing
    document: Document, below: Mapping[str | None, list[Document]], first: str, rest: str, screen: Screen, now: float
) -> Iterator[str]:
    children = below.get(document["id"], [])
    bar = "|  " if screen.ascii else "│  "
    inner = rest + (bar if children else "   ")
    yield from screen.beside(f"{first}{_state(document, screen, wide=True)} {document['id']} ", clean(_facts(document)), f"{inner}  ")
    for detail in _details(document, now):
        for line in screen.beside(inner, clean(detail), f"{inner}  "):
            yield screen.paint(line, "dim")
    for n, child in enumerate(children):
        last = n == len(children) - 1
        corner = ("`- " if last else "|- ") if screen.ascii else ("└─ " if last else "├─ ")
        yield from _branch(child, below, rest + corner, rest + ("   " if last else bar), screen, now)


def _facts(document: Document) -> str:
    begun, ended = moment(document["started_at"]), moment(document["ended_at"])
    took = spell((ended - begun).total_seconds()) if begun and ended else ""
    who = f"{document['owner']} fence {document['fence']}" if document["owner"] else ""
    tries = f"attempt {document['attempts']} of {document['most_attempts']}" if document["attempts"] > 1 else ""
    return " · ".join(part for part in (document["target"], document["key"] or "", who, tries, took) if part)


def _details(document: Document, now: float) -> Iterator[str]:
    if document["forked_from"]:
        yield f"fork of {_origin(document)}"
    if document["state"] not in ("done", "running", "queued", "waiting") and document["reason"]:
        yield document["reason"]
    yield from (f"waits {text}" for text in waits(document, now))
    if _progress(document):
        yield f"progress {_progress(document)}"
    if budget(document):
        yield f"budget {', '.join(budget(document))}"
    if document["steps"]:
        yield f"steps {', '.join(step['name'] for step in document['steps'])}"
    yield from (f"effect {_effect(effect)}" for effect in document["effects"])


def forking(document: Document) -> list[str]:
    """What a fork would keep, and what would be done again."""
    kept, again = ([f"{one['kind']} {clean(one['name'])}" for one in document[part]] for part in ("kept", "again"))
    begin = f"from {clean(document['step'])}" if document["step"] else "from the very beginning"
    listed = [*(f" kept   {text}" for text in kept), *(f" again  {text}" for text in again)]
    return [f"task {document['task']} would be run again {begin}, as {clean(document['key'])}", *listed]


def waits(document: Document, now: float) -> list[str]:
    """What a task waits for, and since when."""
    return [f"for {_thing(one)} since {since(one['since'], now)} ago" for one in document["waits_on"]]


def _thing(wait: Document) -> str:
    kind, target = wait["kind"], wait["target"]
    match kind:
        case "human":
            return f"a human's answer to {target}"
        case "lane":
            return f"task {target}, which is before it in its lane"
        case "effect":
            return f"a human's word on effect {target}"
        case "ask":
            return f"an answer of {target}"
        case "stop":
            return f"the start of {'everything' if target.endswith(':') else target}"
        case _:
            return f"{kind} {target}"


def budget(document: Document) -> list[str]:
    """`calls 3 of 20`."""
    return [
        f"{kind} {0 if one['spent'] is None else one['spent']:g}"
        + (f" of {one['limit']:g}" if one.get("limit") is not None else "")
        + (f", {one['reserved']:g} reserved" if one.get("reserved") else "")
        for kind, one in document["budget"].items()
    ]


def event_line(event: Document, root: str, screen: Screen) -> str:
    """One recorded event."""
    detail = ", ".join(f"{name} {brief(value)}" for name, value in (event.get("detail") or {}).items())
    which = "" if event["task"] == root else f" {event['task']}"
    fence = f" fence {event['fence']}" if event["fence"] else ""
    name = screen.paint(event["event"], *style_of(event["event"]))
    said = clean(f" ({detail})") if detail else ""
    return f"{event['sequence']:>6} {clock_time(event['time'])} {name}{which} {clean(event['actor'])}{fence}{said}"


def events(documents: Sequence[Document], root: str, screen: Screen) -> Iterator[str]:
    """Recorded events below one another; what does not fit goes on below its time."""
    for event in documents:
        line = event_line(event, root, screen)
        yield from screen.beside(line[:_NUMBER], line[_NUMBER:], " " * _NUMBER)


def brief(value: Any, most: int = _BRIEF) -> str:
    """A JSON value on one line, cut."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = clean(" ".join(text.split()))
    return text if len(text) <= most else f"{text[: most - 1]}…"


def spell(seconds: float) -> str:
    """`240 ms`, `1.8 s`, `3 min 5 s`, `2 h 4 min`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:  # noqa: PLR2004
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"  # noqa: PLR2004


def _state(document: Document, screen: Screen, *, wide: bool = False) -> str:
    state = document["state"]
    return screen.paint(f"{state:<9}" if wide else state, *(style_of(state) or (("yellow",) if state == "waiting" else ())))


def _origin(document: Document) -> str:
    origin = document["forked_from"]
    return "" if origin is None else f"{origin['task']} {('from ' + origin['step']) if origin['step'] else 'from the very beginning'}"


def _why(document: Document) -> str:
    return f" · {clean(document['reason'])}" if document["reason"] else ""


def _attempt(document: Document) -> str:
    who = f", {document['owner']}" if document["owner"] else ""
    return f"{document['attempts']} of {document['most_attempts']}{who}, fence {document['fence']}"


def _progress(document: Document) -> str:
    far = document.get("progress")
    return f"{far['fraction']:.0%} {far['text']}".strip() if far and document["state"] in ("running", "waiting") else ""


def _effect(effect: Document) -> str:
    error = f": {effect['error']}" if effect["error"] else ""
    return f"{effect['key']} {effect['outcome']}{error} ({effect['semantics']}, fence {effect['fence']})"


def _question(question: Document) -> str:
    said = f": {question['answer']} ({question['by']})" if question["answer"] is not None else ""
    return f"{question['name']} {question['state']}{said}"
