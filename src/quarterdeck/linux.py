"""The raw Linux calls that Python does not offer, and what /proc tells about processes.

For the node and for the replicas' shell alike; standard library only, no state, nothing here decides anything.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_SET_NAME: Final = 15
PR_CAPBSET_DROP: Final = 24
PR_SET_CHILD_SUBREAPER: Final = 36
PR_SET_NO_NEW_PRIVS: Final = 38
_CAPSET: Final = {"x86_64": 126, "aarch64": 91}
_CAPABILITY_VERSION_3: Final = 0x20080522
_LANDLOCK_CREATE_RULESET: Final = 444
_ARG_START, _ARG_END = 45, 46  # fields of /proc/self/stat counted after the closing bracket of the name, proc(5) numbers them 48 and 49
_TICKS, _PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
_libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int | bytes = 0) -> None:
    """`prctl(2)`; raises OSError."""
    argument = ctypes.c_char_p(value) if isinstance(value, bytes) else ctypes.c_ulong(value)
    if _libc.prctl(ctypes.c_int(option), argument, ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)) != 0:
        raise _error(f"prctl {option}")


def syscall(number: int, *arguments: object) -> int:
    """A system call by number; raises OSError."""
    result = int(_libc.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        raise _error(f"system call {number}")
    return result


def _error(what: str) -> OSError:
    code = ctypes.get_errno()
    return OSError(code, f"{what}: {os.strerror(code)}")


def die_with_parent() -> None:
    """Be killed when the parent ends (`PDEATHSIG`). It is cleared by a change of uid, so set it last, then compare getppid."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def become_subreaper(on: bool = True) -> None:  # noqa: FBT001, FBT002 a switch
    """Become the new parent of orphans below this process."""
    prctl(PR_SET_CHILD_SUBREAPER, int(on))


def drop_capabilities() -> None:
    """Give up every capability for good: uid 0 keeps its files and loses its powers. Nothing to do for other users."""
    if re.search(r"^CapBnd:\s*0+$", Path("/proc/self/status").read_text(), re.MULTILINE):
        return  # done before, by the process we come from
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for capability in range(last + 1):
        prctl(PR_CAPBSET_DROP, capability)
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    syscall(_CAPSET[os.uname().machine], ctypes.c_char_p(header), ctypes.c_char_p(bytes(24)))


def landlock_abi() -> int:
    """The version of Landlock this kernel offers, 0 for none. Source: landlock(7)."""
    with contextlib.suppress(OSError):  # ENOSYS or EOPNOTSUPP: not built in or switched off, which is the answer 0
        return syscall(_LANDLOCK_CREATE_RULESET, ctypes.c_void_p(None), ctypes.c_size_t(0), ctypes.c_uint32(1))
    return 0


def set_title(title: str) -> None:
    """Show `title` in `ps`: written over this process's own argument block, cut to its length; the environment behind it stays."""
    fields = Path("/proc/self/stat").read_text().rpartition(") ")[2].split()
    start, end = int(fields[_ARG_START]), int(fields[_ARG_END])
    room = end - start
    ctypes.memmove(start, title.encode()[: room - 1].ljust(room, b"\0"), room)
    prctl(PR_SET_NAME, title.encode()[:15])


def peer(sock: socket.socket) -> tuple[int, int]:
    """(pid, uid) of whoever connected to a unix socket."""
    pid, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return pid, uid


def pids() -> Iterator[int]:
    """Every process there is."""
    return (int(name) for name in os.listdir("/proc") if name.isdecimal())  # noqa: PTH208 names are all that is wanted


def stat(pid: int) -> tuple[str, int, int]:
    """(state letter, parent's pid, start time in clock ticks since boot); ("", 0, 0) when the process is gone."""
    with contextlib.suppress(OSError):  # it ended between being named and being read
        file = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)  # bare calls: the door asks for each request
        try:
            fields = os.read(file, 4096).rpartition(b") ")[2].split()
        finally:
            os.close(file)
        return fields[0].decode(), int(fields[1]), int(fields[19])
    return "", 0, 0


def children_of(pid: int) -> list[int]:
    """Direct children, zombies included."""
    with contextlib.suppress(OSError):  # a thread ended meanwhile: then look at everybody
        files = list(Path(f"/proc/{pid}/task").glob("*/children"))
        if files:
            return [int(child) for file in files for child in file.read_text().split()]
    return [other for other in pids() if stat(other)[1] == pid]


def descends(pid: int, ancestor: int) -> bool:
    """Whether `ancestor` is above `pid`, or is it."""
    while pid > 1:
        if pid == ancestor:
            return True
        pid = stat(pid)[1]
    return False


def marked(variable: str, pattern: str) -> dict[int, str]:
    """Processes whose initial environment has `variable` with a value that matches the pattern in full: pid and the value."""
    found: dict[int, str] = {}
    wanted = re.compile(rb"(?:\A|\0)" + re.escape(variable).encode() + rb"=(" + pattern.encode() + rb")(?=\0|\Z)")
    for pid in pids():
        with contextlib.suppress(OSError):  # ended, or another user's: neither is ours
            match = wanted.search(Path(f"/proc/{pid}/environ").read_bytes())
            if match and stat(pid)[0] not in ("", "Z"):
                found[pid] = match.group(1).decode()
    return found


def usage(pid: int) -> tuple[float, int]:
    """(CPU seconds of all its threads in user and system mode, resident bytes); (0, 0) when the process is gone. One read of /proc."""
    with contextlib.suppress(OSError):  # it ended
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS, int(fields[21]) * _PAGE
    return 0.0, 0


def kill(pid: int, sig: int = signal.SIGKILL) -> None:
    """Signal a process; one that is already gone is what was wanted."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, sig)


def signal_pidfd(pidfd: int, sig: int) -> None:
    """Signal a process by its descriptor; one that has ended and was reaped meanwhile is what was wanted of a kill."""
    with contextlib.suppress(ProcessLookupError):  # its cgroup was killed first, or it ended by itself
        signal.pidfd_send_signal(pidfd, sig)
