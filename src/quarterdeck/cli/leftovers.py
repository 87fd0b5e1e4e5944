"""What of a home is still there after everything was stopped, asked of the kernel and of nobody else."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from quarterdeck import linux
from quarterdeck.client.wire import listens
from quarterdeck.errors import Forbidden, Transient
from quarterdeck.model.home import Home

MARK: Final = "QD_NODE"
"""Every process below a node carries `QD_NODE=<mark of the home>:<boot>` in its initial environment."""
_FRAME: Final = 16 << 20
_CGROUPS: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Left:
    """Processes (pid and name), sockets that answer, control groups."""

    processes: tuple[tuple[int, str], ...] = ()
    sockets: tuple[Path, ...] = ()
    groups: tuple[Path, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.processes or self.sockets or self.groups)

    def told(self) -> list[str]:
        """One line each."""
        processes = [f"process {pid} {name[:80]}" for pid, name in self.processes]
        return [*processes, *(f"socket {path}" for path in self.sockets), *(f"cgroup {path}" for path in self.groups)]


def left(home: Home) -> Left:
    """What is there now."""
    sockets = tuple(path for path in (home.api_socket, home.node_socket) if listens(path))
    listening = (pid for pid in map(listener, sockets) if pid is not None)
    groups = tuple(_groups(home))
    inside = (pid for group in groups for pid in _members(group))
    pids = {pid for pid in (*_marked(home), *_servers(home), *listening, *inside) if linux.stat(pid)[0] not in ("", "Z")} - {os.getpid()}
    return Left(tuple((pid, _name(pid)) for pid in sorted(pids)), sockets, groups)


def gone(home: Home, within: float) -> Left:
    """What is left once nothing is, or time is up."""
    deadline = time.monotonic() + within
    while (found := left(home)) and time.monotonic() < deadline:
        for group in found.groups if not found.processes else ():
            _remove(group)
        time.sleep(0.02)
    return found


def ended(home: Home, within: float) -> Left:
    """End what does not end by itself, gently first: who listens at this home's sockets, carries its mark or is in its groups; nobody else.

    Gives what remains after `within` seconds.
    """
    deadline = time.monotonic() + within
    order, patience = signal.SIGTERM, within / 2
    while True:
        found = left(home)
        for pid, _ in found.processes:
            linux.kill(pid, order)
        for group in found.groups:
            _remove(group)
        remains = gone(home, patience)
        if not remains or (order is signal.SIGKILL and time.monotonic() > deadline):  # on a busy machine looking alone takes long
            return remains
        order, patience = signal.SIGKILL, 1.0


def _remove(group: Path) -> None:
    for place, _, _ in os.walk(group, topdown=False):
        with suppress(OSError):  # somebody in it is still ending: looked at again by `gone`
            Path(place).rmdir()


def stop_node(home: Home, within: float) -> list[str] | None:
    """Ask the node itself to stop everything; what it says is left, or None when it does not answer."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
            door.settimeout(within + 5)
            door.connect(str(home.node_socket))
            door.sendall(json.dumps({"id": 1, "verb": "stop", "within": within}).encode() + b"\n")
            answer: dict[str, Any] = json.loads(door.makefile("rb").readline(_FRAME) or b"null") or {}
    except (OSError, ValueError):
        return None
    if "error" in answer:
        raise Transient(f"the node refuses to stop: {answer['error'].get('message', '')}", hint="qd down --yes again")
    remains = (answer.get("ok") or {}).get("left") or {}
    return [str(one) for kind in remains.values() for one in kind]


def sweep_files(home: Home) -> None:
    """Remove sockets that nobody listens at, and their folder when it is empty."""
    for path in (home.api_socket, home.node_socket):
        if path.is_socket() and not listens(path):
            path.unlink(missing_ok=True)
    with suppress(OSError):  # not there, or not empty because something else of ours is in it
        home.run.rmdir()


def purge(home: Home) -> None:
    """Remove the state folder. Raises Forbidden for a folder that is not one."""
    if not home.root.exists():
        return
    known = (home.database, home.node, home.logs)
    if not home.stop_order.exists() or not any(path.exists() for path in known):
        raise Forbidden(f"{home.root} does not look like a home of Quarterdeck", hint="remove it by hand if it is one")
    shutil.rmtree(home.root)


def listener(path: Path) -> int | None:
    """The process that listens at a unix socket, or None."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        if probe.connect_ex(str(path)) != 0:
            return None
        pid, _, _ = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(pid)


def _marked(home: Home) -> Iterator[int]:
    return iter(linux.marked(MARK, re.escape(home.mark) + r":[0-9a-f]+"))


def _groups(home: Home) -> Iterator[Path]:
    """Control groups called by this home's mark, in whatever hierarchy."""
    for place, folders, _ in os.walk(_CGROUPS):
        if home.mark in folders:
            yield Path(place, home.mark)
            folders.remove(home.mark)


def _members(group: Path) -> Iterator[int]:
    for place, _, _ in os.walk(group):
        with suppress(OSError):  # removed meanwhile
            yield from map(int, Path(place, "cgroup.procs").read_text().split())


def _servers(home: Home) -> Iterator[int]:
    """Control planes and nodes of this home that listen nowhere (any more): they carry its name in their environment."""
    for pid in linux.marked("QUARTERDECK_HOME", re.escape(str(home.root))):
        words = _name(pid).split()
        control = "quarterdeck.cli.main" in words and "serve" in words
        if control or "quarterdeck.engines.local.node" in words or words[:2] in (["qd", "serve"], ["qd", "node"]):
            yield pid


def _name(pid: int) -> str:
    with suppress(OSError):  # it ended between being found and being read
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    return "(ended)"
