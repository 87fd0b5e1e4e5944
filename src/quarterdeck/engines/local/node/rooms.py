"""Rooms: the cgroups in which clusters, their replicas and the services live, and the limits that hold there.

Version 1 hierarchies and version 2 are both served; where neither can be written, replicas get a data limit (rlimit) instead. What a
machine lacks is named as a weakening, never pretended.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from quarterdeck import linux
from quarterdeck.model.desired import Quota
from quarterdeck.model.table import Table

CONTROLLERS: Final = ("memory", "pids", "cpu")
_PIDS_PER_REPLICA: Final = 256
_PERIOD_US: Final = 100_000
_EMPTIED_WITHIN: Final = 2.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Cores, bytes and processes; None is unlimited."""

    cpu: float | None = None
    memory: int | None = None
    pids: int | None = None

    @classmethod
    def of(cls, quota: Quota) -> Limits:
        """A cluster's limits."""
        return cls(quota.cpu, quota.memory, quota.replicas * _PIDS_PER_REPLICA)


REPLICA_PIDS: Final = _PIDS_PER_REPLICA


@dataclass(frozen=True, slots=True)
class Cgroups:
    """Where groups can be made: version, and the base folder of each usable controller (version 2 has one folder for all)."""

    version: str
    bases: dict[str, Path]

    @property
    def weakenings(self) -> tuple[str, ...]:
        """What is missing, for people."""
        if self.version == "none":
            return ("no cgroup: memory by rlimit in each process, clusters, cpu and processes without limit",)
        names = {"memory": "no memory limit but by rlimit in each process", "pids": "no process limit", "cpu": "no cpu limit"}
        missing = tuple(text for name, text in names.items() if name not in self.bases)
        return (*(("cgroup v1",) if self.version == "v1" else ()), *missing)

    def folders(self, name: str) -> dict[str, Path]:
        """The folder of group `name` below each base."""
        return {controller: base / name for controller, base in self.bases.items()}

    def make(self, name: str, limits: Limits, *, leaf: bool) -> None:
        """Create or change a group. A `leaf` has processes, others have groups."""
        folders = self.folders(name)
        for folder in set(folders.values()):
            folder.mkdir(parents=True, exist_ok=True)
            if self.version == "v2":
                between = [folder.parents[n] for n in range(len(Path(name).parts) - 1)]
                for inner in reversed(between if leaf else [folder, *between]):
                    pass_on(inner, folders)
        for controller, folder in folders.items():
            for file, value in _settings(self.version, controller, limits):
                (folder / file).write_text(value)

    def doors(self, name: str) -> list[int]:
        """Descriptors through which a process of one thread joins the group by writing `0`.

        In version 1 by `tasks`: a thread that moves itself need not wait for all forks and exits of the machine to pause, a process
        that moves through `cgroup.procs` does, some 7 ms in each hierarchy.
        """
        file = "tasks" if self.version == "v1" else "cgroup.procs"
        return [os.open(folder / file, os.O_WRONLY | os.O_CLOEXEC) for folder in sorted(set(self.folders(name).values()))]

    def oom_kills(self, name: str) -> int:
        """How many processes of the group the kernel has killed for want of memory."""
        folder = self.folders(name).get("memory")
        if folder is None or not folder.exists():
            return 0
        text = (folder / ("memory.oom_control" if self.version == "v1" else "memory.events")).read_text()
        return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill ")), 0)

    def memory(self, name: str) -> int | None:
        """Bytes that count against the limit of a group; None where nobody counts."""
        folder = self.folders(name).get("memory")
        text = None if folder is None else _read(folder / ("memory.usage_in_bytes" if self.version == "v1" else "memory.current"))
        return None if text is None else int(text)

    def cpu_seconds(self, name: str) -> float | None:
        """Processor time of all that ever ran in a group; None where nobody counts: in version 1 that can be a hierarchy of its own."""
        folder = self.folders(name).get("cpu")
        if folder is None:
            return None
        if self.version == "v1":
            text = _read(folder / "cpuacct.usage")
            return None if text is None else int(text) / 1e9
        text = _read(folder / "cpu.stat")
        return None if text is None else int(dict(map(str.split, text.splitlines()))["usage_usec"]) / 1e6

    def kill(self, name: str) -> None:
        """Kill whatever is in the group now."""
        for folder in set(self.folders(name).values()):
            for pid in members(folder):
                linux.kill(pid)

    def remove(self, name: str) -> bool:
        """Take an empty group away; False when something still is in it."""
        return all(_remove(folder) for folder in set(self.folders(name).values()))


NONE: Final = Cgroups("none", {})


def pass_on(folder: Path, controllers: Iterable[str]) -> None:
    """Let groups below one of version 2 have these controllers; raises OSError where processes live in it."""
    (folder / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in controllers))


def _settings(version: str, controller: str, limits: Limits) -> Iterable[tuple[str, str]]:
    v1 = version == "v1"
    if controller == "memory":
        value = "-1" if limits.memory is None and v1 else "max" if limits.memory is None else str(limits.memory)
        return (("memory.limit_in_bytes" if v1 else "memory.max", value),)
    if controller == "pids":
        return (("pids.max", "max" if limits.pids is None else str(limits.pids)),)
    share = None if limits.cpu is None else int(limits.cpu * _PERIOD_US)
    if v1:
        return (("cpu.cfs_quota_us", str(-1 if share is None else share)),)
    return (("cpu.max", f"{'max' if share is None else share} {_PERIOD_US}"),)


def _read(file: Path) -> str | None:
    with contextlib.suppress(OSError):  # the kernel does not have it, or the group is gone
        return file.read_text()
    return None


def members(folder: Path) -> list[int]:
    """Processes directly in a cgroup; none when it is gone."""
    with contextlib.suppress(OSError):  # removed meanwhile
        return [int(pid) for pid in (folder / "cgroup.procs").read_text().split()]
    return []


def below(base: Path) -> list[Path]:
    """The group and all groups below it, deepest first."""
    return [Path(path) for path, _, _ in os.walk(base, topdown=False)]


def empty(base: Path) -> list[str]:
    """Kill everything below `base` and remove it; returns what is left after two seconds."""
    deadline = time.monotonic() + _EMPTIED_WITHIN
    while base.exists() and time.monotonic() < deadline:
        for folder in below(base):
            for pid in members(folder):
                linux.kill(pid)
        if all([_remove(folder) for folder in below(base)]):  # noqa: C419 every one is to be tried
            break
        time.sleep(0.005)
    return [str(folder) for folder in below(base)]


def _remove(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:  # what was wanted
        return True
    except OSError:  # busy: something in it is still ending
        return False
    return True


def name_of(system: str, cluster: str) -> str:
    """The group of a cluster, in which those of its processes are."""
    return f"{system}.{cluster}"


class Rooms:
    """The groups of all clusters in the table."""

    def __init__(self, cgroups: Cgroups) -> None:
        self._cgroups = cgroups
        self._made: set[str] = set()
        self._refused: dict[str, str] = {}

    @property
    def weakenings(self) -> list[str]:
        """Rooms whose limits the kernel did not take."""
        return [f"room {name} without its limits: {error}" for name, error in self._refused.items()]

    def apply(self, table: Table) -> None:
        """Make or change them; a cluster without a room of its own gets one without limits."""
        limits = {name_of(row.system, row.cluster): Limits() for row in table.rows}
        limits |= {name_of(room.system, room.namespace.cluster): Limits.of(room.namespace.quota) for room in table.rooms}
        self._made |= limits.keys()
        self._refused = {}
        for name, limit in limits.items():
            try:
                self._cgroups.make(name, limit, leaf=False)
            except OSError as error:
                self._refused[name] = str(error)

    def tidy(self, used: set[str]) -> None:
        """Remove those that neither the table nor a process needs, as far as they are empty."""
        for name in self._made - used:
            groups = [group for folder in self._cgroups.folders(name).values() for group in below(folder)]
            if all([_remove(group) for group in groups]):  # noqa: C419 every one is to be tried
                self._made.discard(name)
