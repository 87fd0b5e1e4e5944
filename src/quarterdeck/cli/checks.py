"""What `qd doctor` looks at on the machine. A check tries the thing itself where that does no harm, and says how to mend what is wrong."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import socket
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from quarterdeck import linux
from quarterdeck.cli.render import size
from quarterdeck.clock import Clock, SystemClock
from quarterdeck.durable import sync_folder, write_all
from quarterdeck.engines.local.node.isolation import Isolation
from quarterdeck.errors import QuarterdeckError

Status = Literal["ok", "warning", "failed"]
FILES: Final = 1024, 256
"""Open files per process: fewer is a warning, much fewer cannot work. A replica holds some 30, the node four for each replica."""
PROCESSES: Final = 512, 64
ROOM: Final = 2 << 30, 256 << 20
"""Bytes free on the disk of the home. A store that cannot write refuses all change."""
SLOW_SYNC: Final = 0.05
"""Seconds for one fsync, above which every acknowledged message is felt."""
RELEASED: Final = 1_767_225_600
"""2026-01-01: a clock that shows an earlier time is wrong."""
UNSANDBOXED: Final = "unsandboxed: system calls are not filtered in this version; nothing is wrong, but run only agents that you trust"
OLD_CGROUPS: Final = (
    "nothing is wrong, but weaker than v2, which systemd.unified_cgroup_hierarchy=1 boots: groups are not killed at one stroke"
)
_JUMP: Final = 0.5
_VOLATILE: Final = frozenset({"tmpfs", "ramfs"})
_FOREIGN: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs"})
_TIMEX, _STATUS_AT, _UNSYNCHRONISED, _ADJTIMEX_FAILED = 208, 40, 0x40, -1


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor: what was looked at, how it is, what was found, and the mend where one is needed."""

    name: str
    status: Status
    found: str
    mend: str = ""


Check = Callable[[], Finding]


def machine(home: Path, environ: Mapping[str, str]) -> Iterator[tuple[str, Check]]:
    """Every check of this machine by its name; `home` is the state folder, which need not exist."""
    yield "python", python
    yield "kernel", kernel
    yield "nats-server", lambda: nats_server(environ)
    yield "open files", lambda: files(resource.getrlimit(resource.RLIMIT_NOFILE))
    yield "processes", lambda: processes(resource.getrlimit(resource.RLIMIT_NPROC)[0])
    yield "cgroups", cgroups
    yield "Landlock", lambda: landlock(linux.landlock_abi(), root=os.getuid() == 0)
    yield "sandbox", lambda: sandbox(Isolation(uid=os.getuid() == 0, landlock=linux.landlock_abi()))
    yield "disk", lambda: disk(home)
    yield "fsync", lambda: fsync(home, SystemClock())
    yield "clock", lambda: clock(SystemClock(), home)
    yield "loopback", loopback


def looked_at(name: str, check: Check) -> Finding:
    """The finding of a check; what keeps it from looking is a finding too."""
    try:
        return check()
    except QuarterdeckError as error:
        return Finding(name, "failed", error.message, error.hint)
    except (OSError, ValueError, OverflowError) as error:
        return Finding(name, "failed", f"cannot be looked at: {error}", "mend the cause, then qd doctor")


def python() -> Finding:
    """The interpreter that runs this command, and everything that it starts."""
    good = sys.version_info >= (3, 11)
    found = f"{platform.python_version()}, {sys.executable}"
    return Finding("python", "ok" if good else "failed", found, "" if good else "use Python 3.11 or newer")


def kernel() -> Finding:
    """Linux, with descriptors for processes (pidfd, 5.3)."""
    there = hasattr(os, "pidfd_open")
    mend = "" if there else "use Linux 5.4 or newer"
    return Finding("kernel", "ok" if there else "failed", f"{platform.system()} {platform.release()} {platform.machine()}", mend)


def nats_server(environ: Mapping[str, str]) -> Finding:
    """The bus, run once for its version."""
    from quarterdeck.bus import server  # noqa: PLC0415 the cryptography that comes with it is for this check alone

    program = server.binary(environ)
    return Finding("nats-server", "ok", f"{'.'.join(map(str, server.version(program)))}, {program}")


def files(limit: tuple[int, int]) -> Finding:
    """(soft, hard) limit of open files."""
    soft, hard = limit
    few, none = FILES
    if soft == resource.RLIM_INFINITY or soft >= few:
        return Finding("open files", "ok", f"up to {_count(soft)} for each process, hard limit {_count(hard)}")
    can = hard == resource.RLIM_INFINITY or hard >= few
    raised = f"ulimit -n {few} before qd up" if can else "raise nofile in /etc/security/limits.conf"
    return Finding("open files", "warning" if soft >= none else "failed", f"only {soft} for each process", raised)


def processes(soft: int) -> Finding:
    """How many processes this user and its control group may have."""
    bounds = [bound for bound in (soft, *_pids()) if bound != resource.RLIM_INFINITY]
    least = min(bounds, default=resource.RLIM_INFINITY)
    few, none = PROCESSES
    if least == resource.RLIM_INFINITY or least >= few:
        return Finding("processes", "ok", f"up to {_count(least)}")
    mend = "raise nproc in /etc/security/limits.conf, or pids.max of the control group (a container's --pids-limit)"
    return Finding("processes", "warning" if least >= none else "failed", f"only {least}", mend)


def _pids() -> Iterator[int]:
    """Limits of the control groups that this process is in."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "pids"):
            file = Path("/sys/fs/cgroup", controllers, path.lstrip("/"), "pids.max")
            text = file.read_text().strip() if file.exists() else "max"
            yield int(text) if text.isdecimal() else resource.RLIM_INFINITY


def cgroups() -> Finding:
    """Makes a control group as the node would, and takes it away again."""
    from quarterdeck.engines.local.node import ground  # noqa: PLC0415 the node's own judgement

    label = f"qd-doctor-{os.getpid()}"
    found = ground.find(label)
    for folder in set(found.bases.values()):
        folder.rmdir()
    missing = [text for text in found.weakenings if text != "cgroup v1"]
    if found.version == "none":
        mend = "where systemd runs: loginctl enable-linger, then qd down and qd up; else as root, or in a container with a writable cgroup"
        return Finding("cgroups", "warning", "none can be made: a cluster's quota of CPU and memory does not hold", mend)
    named = f"{found.version}, {' '.join(sorted(found.bases))}"
    if missing:
        return Finding("cgroups", "warning", "; ".join([named, *missing]), "delegate the missing controllers")
    return Finding("cgroups", "ok", f"{named}; {OLD_CGROUPS}" if found.version == "v1" else named)


def landlock(abi: int, *, root: bool) -> Finding:
    """What keeps agents out of the home: Landlock, or users of their own when run as root."""
    if abi:
        return Finding("Landlock", "ok", f"version {abi}")
    if root:
        return Finding("Landlock", "ok", "not offered by this kernel; as root each replica gets a user of its own")
    mend = "boot with lsm=landlock,… or run as root; until then run only agents that you trust"
    return Finding("Landlock", "warning", "not offered by this kernel: agents can read the home", mend)


def sandbox(isolation: Isolation) -> Finding:
    """What of a sandbox there is not: the weakenings that `qd status` names, but for what the row of Landlock tells."""
    if "no signal scope" in isolation.weakenings:
        found = f"agents can send signals to one another (no signal scope); {UNSANDBOXED}"
        return Finding("sandbox", "warning", found, "use Linux 6.12 or newer, or run as root")
    return Finding("sandbox", "ok", UNSANDBOXED)


def disk(home: Path) -> Finding:
    """Room, and what kind of file system the home is on."""
    place = _existing(home)
    found = os.statvfs(place)
    free, few, none = found.f_bavail * found.f_frsize, *ROOM
    kind = _file_system(place)
    text = f"{size(free)} free for {home} ({kind})"
    if free < few:
        return Finding("disk", "warning" if free >= none else "failed", text, "make room, or set QUARTERDECK_HOME to a larger disk")
    if kind in _VOLATILE:
        return Finding("disk", "warning", f"{text}: gone when the machine restarts", "set QUARTERDECK_HOME to a folder on a disk")
    if kind in _FOREIGN:
        return Finding("disk", "warning", f"{text}: a network file system may lose locks and syncs", "set QUARTERDECK_HOME to a local disk")
    return Finding("disk", "ok", text)


def fsync(home: Path, clock: Clock) -> Finding:
    """Writes and syncs a page five times beside the store."""
    place, times = _existing(home), []
    descriptor, name = tempfile.mkstemp(prefix=".qd-doctor-", dir=place)
    try:
        for _ in range(5):
            begun = clock.monotonic()
            write_all(descriptor, bytes(4096))
            os.fsync(descriptor)
            times.append(clock.monotonic() - begun)
    finally:
        os.close(descriptor)
        Path(name).unlink()
    sync_folder(place)
    middle = sorted(times)[2]
    text = f"{middle * 1000:.1f} ms for 4 KiB in {place}"
    slow = middle > SLOW_SYNC
    return Finding("fsync", "warning" if slow else "ok", text, "every durable message waits for this: use a faster disk" if slow else "")


def clock(now: Clock, home: Path) -> Finding:
    """Whether the wall clock is sane, goes like the steady one, is not behind what the store has seen, and is kept right by somebody."""
    wall, steady = now.now(), now.monotonic()
    newest = max((file.stat().st_mtime for file in home.glob("quarterdeck.db*")), default=0.0) if home.exists() else 0.0
    synced = synchronised()
    drift = abs((now.now() - wall) - (now.monotonic() - steady))
    mend = "set it and keep it right: timedatectl set-ntp true"
    if wall < RELEASED:
        return Finding("clock", "failed", "it shows a time before this version was released", mend)
    if newest > wall + 60:
        return Finding("clock", "failed", f"it is {newest - wall:.0f} s behind the newest write of the store", mend)
    if drift > _JUMP:
        return Finding("clock", "warning", f"it jumped by {drift:.1f} s while being looked at", mend)
    if synced is False:
        return Finding("clock", "warning", "sane, but nobody keeps it right (the kernel says: not synchronised)", mend)
    return Finding("clock", "ok", "sane, kept right by NTP" if synced else "sane; who keeps it right cannot be seen here")


def synchronised() -> bool | None:
    """What the kernel knows of NTP, adjtimex(2); None where it may not be asked."""
    buffer = ctypes.create_string_buffer(_TIMEX)
    if ctypes.CDLL(None, use_errno=True).adjtimex(buffer) == _ADJTIMEX_FAILED:
        return None
    (status,) = struct.unpack_from("=i", buffer.raw, _STATUS_AT)
    return not status & _UNSYNCHRONISED


def loopback() -> Finding:
    """A port of 127.0.0.1 can be had and connected to."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname(), timeout=2):
        return Finding("loopback", "ok", "127.0.0.1 accepts connections")


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    return next(place for place in (path, *path.parents) if place.exists())


def _file_system(path: Path) -> str:
    """The type of the file system that a path is on, from /proc/self/mounts; the last of the longest mount points counts."""
    best, kind = 0, "unknown"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, point, name, *_ = line.split(" ")
        if path.resolve().is_relative_to(point) and len(point) >= best:
            best, kind = len(point), name
    return kind


def _count(limit: int) -> str:
    return "any number" if limit == resource.RLIM_INFINITY else str(limit)
