"""Unified diffs as pages show them: each line with its sign, long ones folded. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from quarterdeck.web.inner import Json

SHORT: Final = 40
"""Lines that are shown without being asked for."""
OPENED: Final = 200
"""Lines of all files together that are shown without being asked for."""
KINDS: Final = {"+": "add", "-": "remove", "@": "place", "\\": "place"}


@dataclass(frozen=True, slots=True)
class Drawn:
    """A diff as (kind, line) with kind `add`, `remove`, `place` or `same`. `why`: the words in its place, when it is not told."""

    name: str
    action: str
    lines: tuple[tuple[str, str], ...]
    why: str
    opened: bool

    @property
    def added(self) -> int:
        """Lines with a plus."""
        return sum(kind == "add" for kind, _ in self.lines)

    @property
    def removed(self) -> int:
        """Lines with a minus."""
        return sum(kind == "remove" for kind, _ in self.lines)


def spec_of(told: Json) -> Drawn:
    """The diff of the spec."""
    lines = _lines(told["spec"]["diff"])
    return Drawn("spec", "change", lines, told["spec"]["untold"], len(lines) <= SHORT)


def files_of(told: Json) -> list[Drawn]:
    """The diffs of the files, what became of each where no lines can show it."""
    found, room = [], OPENED
    for file in told["code"]["files"]:
        lines = _lines(file["diff"])
        opened = 0 < len(lines) <= min(SHORT, room)
        room -= len(lines) if opened else 0
        found.append(Drawn(file["path"], file["action"], lines, _why(file), opened))
    return found


def _lines(diff: str | None) -> tuple[tuple[str, str], ...]:
    return tuple((KINDS.get(line[:1], "same"), line) for line in diff.split("\n")) if diff else ()


def _why(file: Json) -> str:
    """What the lines do not say: that there are none to see, or that the file is of another kind now."""
    before, after = file["before"], file["after"]
    words = [f"its lines are not shown: {file['untold']}"] if file["untold"] else []
    if before and after and before["kind"] != after["kind"]:
        words.append(f"{before['kind']} → {after['kind']}")
    if not words and not file["diff"]:
        words.append("empty")
    return ", ".join(words)
