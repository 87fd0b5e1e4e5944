"""How `qd explain` lays out what it tells of a thing: a sentence, then sections with a title each. Pure: documents in, lines out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from quarterdeck.cli.render import clock_time
from quarterdeck.cli.screen import Screen, clean
from quarterdeck.client.wire import Document

NEXT: Final = "Next"
"""The title of commands: they are to be copied, and stay whole on the narrowest terminal."""
_MOST: Final = 10


def headed(screen: Screen, document: Document) -> list[str]:
    """`analysts/analyst: 5 of 5 ready`; a system is a target with a colon of its own."""
    return screen.wrapped(f"{screen.paint(clean(document['target']).removesuffix(':'), 'bold')}: ", clean(document["sentence"]))


def section(screen: Screen, title: str, rows: Sequence[str], width: int) -> list[str]:
    """Rows below one another beside a title of `width` columns; on a narrow terminal below it."""
    lines: list[str] = []
    for number, row in enumerate(rows):
        label = f"  {title if number == 0 else '':<{width}}"
        lines += [f"{label}{row}"] if title == NEXT else screen.wrapped(label, row)
    return lines


def condition_line(condition: Document, thing: str) -> str:
    """`LinkCarries a->b true: …`; the target is named where it is not the thing itself."""
    target = str(condition.get("target") or "")
    named = f" {target}" if target not in ("", thing) else ""
    return clean(f"{condition['kind']}{named} {condition['status']}: {condition.get('message') or condition.get('evidence') or ''}")


def record_line(record: Document) -> str:
    """`7 2026-11-24 16:12:01.250 uid:0 apply triage done (first)`."""
    reason = f" ({record['reason']})" if record.get("reason") else ""
    return clean(
        f"{record['seq']} {clock_time(record['at'])} {record['actor']} {record['verb']} {record['target']} {record['outcome']}{reason}"
    )


def carried_out(plan: Document | None) -> Iterator[str]:
    """The last plan that was carried out: what asked for it, and its newest steps with when and what became of each."""
    if not plan:
        return
    yield clean(_asked(plan["edit"]))
    steps = plan["steps"]
    if len(steps) > _MOST:
        yield f"{len(steps) - _MOST} steps before these"
    yield from map(step_line, steps[-_MOST:])


def step_line(step: Document) -> str:
    """`2026-11-24 16:12:01.250 analysts/analyst replicas 3 → 4: done (table 1.10 acknowledged)`."""
    how = "begun, and not ended" if step["outcome"] == "begun" else step["outcome"]
    told = f" ({step['evidence']})" if step.get("evidence") else ""
    return clean(f"{clock_time(step['at'])} {step['target']} {step['reason']}: {how}{told}")


def _asked(edit: Document | None) -> str:
    if edit is None:
        return "for an edit elsewhere"
    what = f"revision {edit['revision']}" if edit.get("revision") else f"{edit['verb']} {edit['target']}"
    return f"for {what} of {clock_time(edit['at'])} by {edit['actor']}" + (f' ("{edit["reason"]}")' if edit.get("reason") else "")
