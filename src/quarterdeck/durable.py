"""Files that must survive a power cut: written beside, synced, renamed, and the folder synced too.

For the node, the bus and the store alike; standard library only.
"""

from __future__ import annotations

import os
from pathlib import Path


def write_synced(path: Path, content: bytes, *, mode: int) -> None:
    """Replace a file whole: after a crash it has either the old content or the new, and nobody whom `mode` shuts out ever read it.

    Raises OSError; the old content is then still there, unless only the folder could not be synced.
    """
    draft = path.with_name(f".{path.name}.{os.urandom(4).hex()}")  # nobody else's, so that two writers never mix
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        try:
            os.fchmod(descriptor, mode)  # the umask may have taken some of it
            write_all(descriptor, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_all(descriptor: int, content: bytes) -> None:
    """Write every byte; a short write goes on, an error raises OSError."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def sync_file(path: Path) -> None:
    """Make a file's content durable."""
    _sync(path, os.O_RDONLY)


def sync_folder(path: Path) -> None:
    """Make renames and new names in a folder durable."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
