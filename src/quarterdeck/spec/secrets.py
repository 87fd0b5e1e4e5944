"""Secrets by reference: `env:VARIABLE` of the process that runs qd, or `file:PATH` relative to the spec.

The value is read when a spec is checked (to know that it is there) and when it is applied; it is never kept in a spec.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from quarterdeck.errors import UserError

MOST_BYTES: Final = 64 * 1024
_WHAT: Final = f"file: names a text file of at most {MOST_BYTES // 1024} KiB that you may read; its path is relative to the spec"


def file_of(reference: str, *, base: Path) -> Path | None:
    """The file that a reference names, if it names one."""
    kind, _, place = reference.partition(":")
    return base / Path(place).expanduser() if kind == "file" else None


def resolve(reference: str, *, base: Path, environ: Mapping[str, str]) -> str:
    """The value of a reference, one trailing line break of a file removed. Raises UserError, whose message never holds the value."""
    kind, _, place = reference.partition(":")
    if kind == "env":
        if place not in environ:
            raise UserError(f"the environment variable {place} is not set", hint=f"export {place}=… before qd, or use file:PATH")
        return environ[place]
    try:
        path = file_of(reference, base=base)
    except RuntimeError as error:  # ~ of a user who does not exist
        raise UserError(f"{place} cannot be read: {error}", hint=_WHAT) from error
    if path is not None:
        return _content(path, place)
    raise UserError(f"{reference!r} is not a secret reference", hint="write env:VARIABLE or file:PATH")


def _content(path: Path, shown: str) -> str:
    """A regular file's text; opened without blocking, so that a pipe or device put there cannot hold the check up."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UserError(f"{shown} is not a regular file", hint=_WHAT)
            content = file.read(MOST_BYTES + 1)
        text = content.decode()
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UserError(f"{shown} cannot be read: {reason}", hint=_WHAT) from error
    if len(content) > MOST_BYTES or "\0" in text:
        raise UserError(f"{shown} is not a secret: more than {MOST_BYTES // 1024} KiB or a NUL byte", hint=_WHAT)
    return text.removesuffix("\n").removesuffix("\r")
