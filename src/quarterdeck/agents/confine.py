"""Locks a process out of the platform's own files with Landlock, by raw system calls. Source: landlock(7), kernel documentation.

Landlock lists what is allowed, so "everything but the home" is spelt as all that lies beside the way down to it. What appears beside that
way later stays out of reach. /proc and /sys can only be read, of /dev only the harmless devices exist, nobody can make device files.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from quarterdeck import linux

_CREATE, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_RULE_PATH_BENEATH: Final = 1
_ON_FILES: Final = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15  # execute, write, read, truncate, device ioctl
_READ: Final = 1 << 0 | 1 << 2 | 1 << 3  # execute, read file, read folder
_DEVICE_NODES: Final = 1 << 6 | 1 << 11
_SCOPES: Final = 1 << 0 | 1 << 1  # abstract unix sockets, signals
_ADDED: Final = {2: 1 << 13, 3: 1 << 14, 5: 1 << 15}  # rename across folders, truncate, device ioctl: since these versions
_FIRST: Final = (1 << 13) - 1
_SCOPE_SINCE: Final = 6
_NET_SINCE: Final = 4
_DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty", "shm", "pts", "ptmx")


@dataclass(frozen=True, slots=True)
class View:
    """What a process may see. `hidden` are folders out of reach but for the `readable` and `writable` paths below them."""

    hidden: tuple[str, ...]
    readable: tuple[str, ...]
    writable: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Grant:
    """An open path and the rights below it."""

    descriptor: int
    rights: int


def _all_rights(abi: int) -> int:
    return _FIRST | sum(bit for since, bit in _ADDED.items() if abi >= since)


def own(path: str, abi: int) -> list[Grant]:
    """The grant of one writable folder, to add to those of a View."""
    return list(_grant(path, _all_rights(abi) & ~_DEVICE_NODES))


def grants(view: View, abi: int) -> list[Grant]:
    """Open everything that `view` allows. Opened once in a fork server, used by each replica it forks."""
    everything = _all_rights(abi) & ~_DEVICE_NODES
    hidden = {os.path.realpath(path) for path in view.hidden} | {"/proc", "/sys", "/dev"}
    wide = [(path, everything) for path in _beside(Path("/"), hidden)]
    devices = [(f"/dev/{name}", everything) for name in _DEVICES]
    narrow = [(path, _READ) for path in (*view.readable, "/proc", "/sys")]
    writable = [(path, everything) for path in view.writable]
    return [grant for path, rights in (*wide, *devices, *narrow, *writable) for grant in _grant(path, rights)]


def _beside(folder: Path, hidden: set[str]) -> Iterator[str]:
    for entry in os.scandir(folder):
        below = f"{entry.path}/"
        if entry.path in hidden or entry.is_symlink():
            continue
        if any(path.startswith(below) for path in hidden):
            yield from _beside(Path(entry.path), hidden)
        else:
            yield entry.path


def _grant(path: str, rights: int) -> Iterable[Grant]:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):  # gone meanwhile, or not ours to open: then it is not granted
        return ()
    return (Grant(descriptor, rights if os.path.isdir(path) else rights & _ON_FILES),)  # noqa: PTH112 a string is what we have


def restrict(allowed: Iterable[Grant], abi: int) -> None:
    """Keep this process and its future children to `allowed`, for good; layers add up. Raises OSError."""
    net_off, scopes = 0, _SCOPES if abi >= _SCOPE_SINCE else 0
    size = 24 if abi >= _SCOPE_SINCE else 16 if abi >= _NET_SINCE else 8
    attributes = struct.pack("=QQQ", _all_rights(abi), net_off, scopes)
    ruleset = linux.syscall(_CREATE, ctypes.c_char_p(attributes), ctypes.c_size_t(size), ctypes.c_uint32(0))
    try:
        for grant in allowed:
            _add(ruleset, grant, abi)
        linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
        linux.syscall(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)


def _add(ruleset: int, grant: Grant, abi: int) -> None:
    rule = struct.pack("=Qi", grant.rights & _all_rights(abi), grant.descriptor)
    linux.syscall(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_RULE_PATH_BENEATH), ctypes.c_char_p(rule), ctypes.c_uint32(0))
