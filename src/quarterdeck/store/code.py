"""Code trees of revisions: content-addressed, read-only copies in `home.revisions/<digest>`, so that a rollback brings the code back too.

The digest covers paths, executable bits, link targets and contents. A snapshot that exists is hashed again before it is used, and made
anew when it was damaged.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from quarterdeck.durable import sync_folder, write_all
from quarterdeck.errors import UserError
from quarterdeck.model.home import Home
from quarterdeck.store.chain import canonical
from quarterdeck.store.tree import Leaf, leaves

LOCK_FILES: Final = ("uv.lock", "pylock.toml", "poetry.lock", "pdm.lock", "Pipfile.lock", "requirements.lock", "requirements.txt")
_MAKING: Final = ".making-"
_DAMAGED: Final = ".damaged-"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A tree in the home: `digest` is the folder's name below `revisions/`; `files` counts links too."""

    digest: str
    files: int
    bytes: int


def snapshot(root: Path, home: Home, *, without: Iterable[Path] = ()) -> Snapshot:
    """Copy the tree into the home unless it is there, `without` what no agent is to find in it.

    Raises UserError (see tree.leaves) and OSError; leaves nothing half made behind.
    """
    found = leaves(root, without=(home.root, *without))
    digest = _digest(root, found)
    place = home.revisions / digest
    if place.is_dir() and _intact(place, digest):
        return Snapshot(digest, len(found), sum(leaf.size for leaf in found))
    home.revisions.mkdir(mode=0o755, parents=True, exist_ok=True)
    making = home.revisions / f"{_MAKING}{secrets.token_hex(6)}"
    try:
        copied = _copy(root, making, found)
        if copied != digest:
            msg = f"the code tree {root} changed while it was copied"
            raise UserError(msg, hint="save everything, then try again", where=str(root))
        _place(making, place)
    finally:
        _delete(making)
    return Snapshot(digest, len(found), sum(leaf.size for leaf in found))


def tree_digest(root: Path, *, without: Iterable[Path] = ()) -> str:
    """The digest a snapshot of this tree would have."""
    return _digest(root, leaves(root, without=without))


def lock_digest(root: Path) -> str:
    """One digest over the lock files at the root, by name and content; empty when there is none."""
    present = [(name, _hash(root / name)) for name in LOCK_FILES if (root / name).is_file()]
    return hashlib.sha256(canonical(present).encode()).hexdigest() if present else ""


def retain(home: Home, keep: frozenset[str]) -> tuple[str, ...]:
    """Delete snapshots that nobody names any more (revisions.retain says who does), and what a crash left; gives the digests deleted."""
    if not home.revisions.is_dir():
        return ()
    gone = [entry for entry in home.revisions.iterdir() if entry.name not in keep]
    for entry in gone:
        _delete(entry)
    return tuple(sorted(entry.name for entry in gone if not entry.name.startswith(".")))


def _digest(root: Path, found: list[Leaf]) -> str:
    return _summed([(leaf, _hash(root / leaf.path)) for leaf in found if leaf.kind != "l"], found)


def _summed(hashes: list[tuple[Leaf, str]], found: list[Leaf]) -> str:
    content = {leaf.path: value for leaf, value in hashes}
    lines = (canonical([leaf.path, leaf.kind, content.get(leaf.path, leaf.target)]) for leaf in found)
    return hashlib.sha256("\n".join(("quarterdeck.code.v1", *lines)).encode()).hexdigest()


def _copy(root: Path, making: Path, found: list[Leaf]) -> str:
    making.mkdir(mode=0o755)
    hashes: list[tuple[Leaf, str]] = []
    for leaf in found:
        target = making / leaf.path
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        if leaf.kind == "l":
            target.symlink_to(leaf.target)
        else:
            content = _read(root / leaf.path)
            _write(target, content, 0o555 if leaf.kind == "x" else 0o444)
            hashes.append((leaf, hashlib.sha256(content).hexdigest()))
    for folder, _, _ in os.walk(making, topdown=False):
        Path(folder).chmod(0o555)
        sync_folder(Path(folder))
    return _summed(hashes, found)


def _read(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def _write(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        write_all(descriptor, content)
        os.fchmod(descriptor, mode)  # whatever the umask says: replicas under other users must read it
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _hash(path: Path) -> str:
    return hashlib.sha256(_read(path)).hexdigest()


def _intact(place: Path, digest: str) -> bool:
    try:
        return tree_digest(place) == digest
    except (OSError, UserError):  # unreadable or no longer a plain tree: damaged, whatever it is
        return False


def _place(making: Path, place: Path) -> None:
    making.chmod(0o755)  # renaming a folder writes its parent entry
    if place.exists() or place.is_symlink():
        damaged = place.with_name(f"{_DAMAGED}{secrets.token_hex(6)}")
        place.rename(damaged)
        making.rename(place)
        _delete(damaged)
    else:
        making.rename(place)
    place.chmod(0o555)
    sync_folder(place.parent)


def _delete(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
        return
    if not path.exists():
        return
    for folder, _, _ in os.walk(path):
        Path(folder).chmod(0o755)
    shutil.rmtree(path)
