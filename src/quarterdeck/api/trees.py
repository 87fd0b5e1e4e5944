"""Two snapshots of code beside each other: which files came, changed or went, and the lines of small text files. Reads; blocks.

Nothing of a file is told whose name a secret of the spec is read from: before somebody said so, it may have been copied as code.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from quarterdeck.api.lines import lines, unified
from quarterdeck.store.tree import Leaf, leaves

MOST_FILES: Final = 300
"""Files that are listed."""
MOST_BYTES: Final = 64 << 10
"""Of a file whose lines are told."""
MOST_LINES: Final = 1_000
"""Of a file whose lines are told."""
LINES_IN_ALL: Final = 4_000
"""Lines that are told of one revision; what comes later is only listed."""
KINDS: Final = {"f": "file", "x": "executable", "l": "link"}
NOT_OPENED: Final = "a secret of the spec is read from a file of this name"
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Side:
    """A file as it is on one side: `file`, `executable` or `link`, and its size."""

    kind: str
    bytes: int


@dataclass(frozen=True, slots=True)
class FileDifference:
    """A file that is not the same on both sides. `diff` are its lines (see lines.unified), None where `untold` says why not."""

    path: str
    action: str
    before: Side | None
    after: Side | None
    diff: str | None
    untold: str


@dataclass(frozen=True, slots=True)
class TreeDifference:
    """The files by path, how many more there are, and why nothing can be told (empty: it can)."""

    files: tuple[FileDifference, ...] = ()
    left_off: int = 0
    untold: str = ""


def compare(before: Path | None, after: Path, secrets: frozenset[str]) -> TreeDifference:
    """What differs between two trees; all is new when `before` is None. `secrets` are names of files that are not opened.

    Raises UserError and OSError for a tree that is damaged or gone.
    """
    old, new = _listed(before), _listed(after)
    differing = [path for path in sorted(old.keys() | new.keys()) if not _same(before, after, old.get(path), new.get(path))]
    told = _told(before, after, [(path, old.get(path), new.get(path)) for path in differing[:MOST_FILES]], secrets)
    return TreeDifference(tuple(told), max(0, len(differing) - MOST_FILES))


def _listed(root: Path | None) -> dict[str, Leaf]:
    return {leaf.path: leaf for leaf in leaves(root)} if root else {}


def _same(before: Path | None, after: Path, old: Leaf | None, new: Leaf | None) -> bool:
    if before is None or old is None or new is None or old != new:
        return False
    return old.kind == "l" or all(a == b for a, b in zip(_chunks(before / old.path), _chunks(after / new.path), strict=False))


def _told(
    before: Path | None, after: Path, pairs: list[tuple[str, Leaf | None, Leaf | None]], secrets: frozenset[str]
) -> Iterator[FileDifference]:
    """Each difference, with its lines for as long as there is room for them."""
    room = LINES_IN_ALL
    for path, old, new in pairs:
        shown, untold = _lines(before, after, old, new, secrets, room)
        room -= shown.count("\n") + 1 if shown else 0
        action = "add" if old is None else "remove" if new is None else "change"
        yield FileDifference(_readable(path), action, _side(old), _side(new), None if untold else shown, untold)


def _lines(  # noqa: PLR0917 both sides, and what bounds them
    before: Path | None, after: Path, old: Leaf | None, new: Leaf | None, secrets: frozenset[str], room: int
) -> tuple[str, str]:
    """(the lines, why they are not told)."""
    sides = [leaf for leaf in (old, new) if leaf]
    if any(leaf.path.rpartition("/")[2] in secrets for leaf in sides):
        return "", NOT_OPENED
    if any(leaf.size > MOST_BYTES for leaf in sides):
        return "", f"more than {MOST_BYTES >> 10} KiB"
    texts = (_text(before, old), _text(after, new))
    if texts[0] is None or texts[1] is None:
        return "", "no text"
    if any(len(lines(text)) > MOST_LINES for text in texts if text is not None):
        return "", f"more than {MOST_LINES:,} lines"
    found = unified(texts[0], texts[1])
    if found.count("\n") >= room:
        return "", f"the files before it differ in {LINES_IN_ALL:,} lines already"
    return found, ""


def _text(root: Path | None, leaf: Leaf | None) -> str | None:
    """What a file says, or where a link leads; None for what is no text."""
    if root is None or leaf is None:
        return ""
    if leaf.kind == "l":
        return f"{_readable(leaf.target)}\n"
    content = b"".join(_chunks(root / leaf.path))
    try:
        return None if b"\0" in content else content.decode()
    except UnicodeDecodeError:
        return None


def _chunks(path: Path) -> Iterator[bytes]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        while part := file.read(_CHUNK):
            yield part


def _side(leaf: Leaf | None) -> Side | None:
    return Side(KINDS[leaf.kind], leaf.size) if leaf else None


def _readable(name: str) -> str:
    """A name of bytes that are no UTF-8 can be told in no answer."""
    return name.encode("utf-8", "replace").decode()
