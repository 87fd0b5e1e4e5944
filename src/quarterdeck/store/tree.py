"""Which files of a code tree count: the one walk that snapshots and digests share.

Left out: `.git`, `__pycache__`, `.venv`, `node_modules`, `*.pyc`, every hidden name, and what `.quarterdeckignore` at the root names, one
pattern a line: a name or shell pattern for any depth (`*.log`, `build/`), or with a `/` inside a path from the root (`data/raw/*.csv`);
`#` starts a comment; there is no negation. A symbolic link counts as a link and must stay inside the tree.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, Literal

from quarterdeck.errors import UserError

IGNORE_FILE: Final = ".quarterdeckignore"
MAX_BYTES: Final = 64 << 20
MAX_FILES: Final = 5_000
_ALWAYS: Final = frozenset({"__pycache__", "node_modules"})


@dataclass(frozen=True, slots=True)
class Leaf:
    """A file or link: its path from the root with `/`, what it is (`x`: an executable file), its size, and a link's relative target."""

    path: str
    kind: Literal["f", "x", "l"]
    size: int = 0
    target: str = ""


def leaves(root: Path, *, without: Iterable[Path] = ()) -> list[Leaf]:
    """All that count, sorted by path. `without` are folders and files to leave out (a home inside the tree, secrets).

    Raises UserError for a tree over 64 MiB or 5,000 files, for a link that leaves it, and for what is neither file, folder nor link.
    """
    if not root.is_dir():
        msg = f"the code root {root} is not a folder"
        raise UserError(msg, hint="code: in the spec is relative to the spec's own folder", where=str(root))
    found: list[Leaf] = []
    size = 0
    for leaf in _walk(root, root.resolve(), "", _patterns(root), frozenset(path.resolve() for path in without)):
        found.append(leaf)
        size += leaf.size
        if len(found) > MAX_FILES or size > MAX_BYTES:
            what = f"more than {MAX_FILES} files" if len(found) > MAX_FILES else f"more than {MAX_BYTES >> 20} MiB"
            msg = f"the code tree {root} has {what} (at {leaf.path})"
            raise UserError(msg, hint=f"list what agents do not import in {IGNORE_FILE}", where=str(root))
    return sorted(found, key=lambda leaf: leaf.path)


def _walk(folder: Path, root: Path, prefix: str, patterns: tuple[str, ...], without: frozenset[Path]) -> Iterator[Leaf]:
    with os.scandir(folder) as entries:
        for entry in entries:
            path = f"{prefix}{entry.name}"
            if _ignored(entry.name, path, patterns, folder=entry.is_dir(follow_symlinks=False)):
                continue
            if entry.is_symlink():
                yield _link(Path(entry.path), root, path)
            elif root / path in without:
                continue
            elif entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path), root, f"{path}/", patterns, without)
            else:
                yield _file(entry.stat(follow_symlinks=False), path)


def _file(status: os.stat_result, path: str) -> Leaf:
    if not stat.S_ISREG(status.st_mode):
        msg = f"{path} is neither a file, a folder nor a link"
        raise UserError(msg, hint=f"name it in {IGNORE_FILE}", where=path)
    return Leaf(path, "x" if status.st_mode & stat.S_IXUSR else "f", status.st_size)


def _link(link: Path, root: Path, path: str) -> Leaf:
    target = link.resolve()
    if not target.is_relative_to(root):
        msg = f"the link {path} leaves the code tree"
        raise UserError(msg, hint=f"copy its target into the tree, or name it in {IGNORE_FILE}", where=path)
    return Leaf(path, "l", target=os.path.relpath(target, link.parent.resolve()))


def _patterns(root: Path) -> tuple[str, ...]:
    file = root / IGNORE_FILE
    if not file.is_file():
        return ()
    lines = (line.strip() for line in file.read_text(errors="replace").splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))


def _ignored(name: str, path: str, patterns: tuple[str, ...], *, folder: bool) -> bool:
    if name.startswith(".") or name in _ALWAYS or name.endswith(".pyc"):
        return True
    return any(_matches(name, path, pattern, folder=folder) for pattern in patterns)


def _matches(name: str, path: str, pattern: str, *, folder: bool) -> bool:
    if pattern.endswith("/") and not folder:
        return False
    bare = pattern.strip("/")
    return fnmatchcase(path if "/" in bare or pattern.startswith("/") else name, bare)
