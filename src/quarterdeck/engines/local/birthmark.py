"""A mark that everything below a home's fork servers inherits and that a cleared environment does not take off: a limit nobody meets.

RLIMIT_RTTIME (microseconds of real-time scheduling, getrlimit(2)) survives fork and exec, is shown in /proc/PID/limits, and whoever lowers
it cannot raise it again. Each home has a number of its own, of some hundred thousand years. Without control groups it is what finds a
program that an agent left behind with an empty environment, once every process between has died. Standard library only.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import resource
from pathlib import Path
from typing import Final

from quarterdeck import linux

_LEAST: Final = 1 << 62
_BITS: Final = 56
_SHOWN: Final = re.compile(rb"^Max realtime timeout\s+(\d+)\s", re.MULTILINE)


def number(label: str) -> int:
    """The limit that marks a home."""
    return _LEAST + int.from_bytes(hashlib.sha256(label.encode()).digest(), "big") % (1 << _BITS)


def put(label: str) -> None:
    """Mark this process and all that will come of it; the environment alone marks where the machine sets a lower limit."""
    with contextlib.suppress(ValueError, OSError):  # a limit that was given to us and that we may not raise, or a kernel without this one
        resource.setrlimit(resource.RLIMIT_RTTIME, (number(label), number(label)))


def has(pid: int, label: str) -> bool:
    """Whether a process bears the mark of a home."""
    with contextlib.suppress(OSError):  # it ended
        shown = _SHOWN.search(Path(f"/proc/{pid}/limits").read_bytes())
        return shown is not None and int(shown[1]) == number(label)
    return False


def bearers(label: str) -> set[int]:
    """All that live and bear the mark of a home."""
    return {pid for pid in linux.pids() if has(pid, label) and linux.stat(pid)[0] not in ("", "Z")}
