"""Text as pages show it: what somebody else wrote is made harmless in one place, and counts and outcomes are put into words. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final
from unicodedata import category

from markupsafe import Markup

UNSEEN: Final = "\N{REPLACEMENT CHARACTER}"
TURNED_OUT: Final = {
    "killed": "failed", "dead": "failed", "lost": "failed", "error": "failed", "failed": "failed", "exceeded": "failed",
    "tripped": "failed", "unknown": "unknown", "quarantined": "quarantined", "quarantine": "quarantined",
}  # fmt: skip
"""The last word of a record's verb → the state it tells of; of all others it is enough that they were done."""


def harmless(text: object) -> str:
    """Somebody else's text: signs that nobody sees but that change how a line is read (bidi controls and the like) are shown as such."""
    said = str(text)
    if said.isprintable():
        return said
    return "".join(c if c.isprintable() or c in "\n\t" or category(c) == "Zs" else UNSEEN for c in said)


def finalize(value: object) -> object:
    """What a template prints, before it is escaped: every text is harmless. Markup is of our own making, and was so before."""
    return harmless(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def limited(changes: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Changes as pages tell them: `99, at most 4` is what one asks for, and what spec or quota leave of it."""
    return [
        {**one, "patch": {**one["patch"], "value": f"{one['patch']['value']}, {one['cut']}"}} if one.get("cut") else {**one}
        for one in changes
    ]


def exact(value: object) -> Markup:
    """A value that a form sends back as it is: escaped, but with every sign it has. For attributes and text areas of forms alone."""
    return Markup.escape(value)


def pretty(value: object) -> str:
    """A JSON value as people read it; what is not ASCII stays escaped where it could deceive."""
    return harmless(json.dumps(value, indent=2, ensure_ascii=False))


def compact(value: object) -> str:
    """A value of a journal record on one line."""
    if value is None or value == "":
        return ""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {compact(item)}" for key, item in value.items() if item not in (None, ""))
    if isinstance(value, list):
        return ", ".join(compact(item) for item in value)
    return str(value)


def counted(number: int, noun: str) -> str:
    """`1 effect`, `2 effects`; an adjective goes behind: `1 effect unknown`."""
    first, _, rest = noun.partition("|")
    return " ".join(part for part in (f"{number} {first}{'' if number == 1 else 's'}", rest) if part)


def standing(because: Iterable[str]) -> list[str]:
    """What holds of an agent; a restart was done once, and holds nothing."""
    return [text for text in because if not text.startswith("restart (")]


def turned_out(record: Mapping[str, Any]) -> tuple[str, str]:
    """(state, word) of what a journal record tells of: that it was written is no success of what it is about."""
    outcome, (_, _, word) = record["outcome"], record["verb"].rpartition(".")
    if outcome != "done":
        return outcome, outcome
    evidence = record.get("evidence")
    if word == "exited" and isinstance(evidence, Mapping):
        return ("pending", "exited") if evidence.get("asked") else ("failed", "exited")
    return (TURNED_OUT[word], word) if word in TURNED_OUT else ("done", "done")
