"""Birth of a node: one per home, apart from its starter, with nothing of an earlier boot left alive. And the order to stay down."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import time
from dataclasses import dataclass
from typing import Final

from quarterdeck import linux
from quarterdeck.engines.local import birthmark
from quarterdeck.errors import Conflict, Forbidden, Terminal
from quarterdeck.model.home import Home

MARK: Final = "QD_NODE"
"""The variable that every process below a node carries in its initial environment: `<home's mark>:<boot>`."""
_PRIVATE: Final = 0o700
_SWEEP_WITHIN: Final = 10.0


@dataclass(frozen=True, slots=True)
class Boot:
    """One life of the node. `label` names its home in cgroups and marks, `id` is new each time."""

    label: str
    id: str

    @property
    def mark(self) -> str:
        """The value of `QD_NODE` in all processes of this life."""
        return f"{self.label}:{self.id}"


def new_boot(home: Home) -> Boot:
    """A life with a fresh random id."""
    return Boot(home.mark, secrets.token_hex(8))


def prepare(home: Home) -> None:
    """Make the folders, private to this user. Raises Forbidden when that of the sockets, or what it is in, belongs to somebody else."""
    for folder in (home.root, home.node, home.logs, home.run.parent, home.run):
        folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    for folder in (home.run.parent, home.run):
        if folder.stat().st_uid != os.getuid():
            raise Forbidden(f"{folder} belongs to another user", hint="remove it, or use another QUARTERDECK_HOME", where=str(folder))


def lock(home: Home) -> int:
    """Take the home for this process; the descriptor holds it. Raises Conflict that names the node which has it."""
    descriptor = os.open(home.node / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        first = os.pread(descriptor, 20, 0).decode().strip() or "unknown"
        os.close(descriptor)
        raise Conflict(f"a node (pid {first}) already runs on {home.root}", hint="qd down ends it", where=str(home.node / "lock")) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def stand_alone() -> None:
    """Leave the starter's session, keep none of its descriptors but the standard ones, adopt orphans."""
    if os.getpgrp() != os.getpid():
        os.setsid()
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    linux.become_subreaper()


def left_behind(boot: Boot) -> dict[int, str]:
    """Processes that carry the mark of this home, of any boot, in their environment or from birth: pid and mark."""
    born = dict.fromkeys(birthmark.bearers(boot.label), boot.label)
    return born | linux.marked(MARK, re.escape(boot.label) + r":[0-9a-f]{16}")


def sweep(boot: Boot) -> int:
    """Kill what an earlier boot left, until nothing of it is alive; returns how many. Raises Terminal when something will not die."""
    killed: set[int] = set()
    deadline = time.monotonic() + _SWEEP_WITHIN
    while left := left_behind(boot):
        if time.monotonic() > deadline:
            raise Terminal(f"processes of an earlier node do not end: {sorted(left)}")
        for pid in left:
            linux.kill(pid)
        killed |= left.keys()
        time.sleep(0.005)
    return len(killed)
