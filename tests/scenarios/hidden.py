"""Programs started as on a machine that lacks something: words to put before a command. Whoever that command starts lacks it as well."""

import shutil
import subprocess
import sys

import pytest

_APART = ("unshare", "--mount", "--propagation", "private", "sh", "-ec")
WITHOUT_GROUPS = (*_APART, 'mount -t tmpfs -o ro tmpfs /sys/fs/cgroup; exec "$@"', "without-groups")
WITHOUT_MEMORY_GROUPS = (*_APART, 'mount -t tmpfs -o ro tmpfs /sys/fs/cgroup/memory; exec "$@"', "without-memory-groups")
UNPRIVILEGED = 65534
AS_NOBODY = (
    *("setpriv", "--reuid", str(UNPRIVILEGED), "--regid", str(UNPRIVILEGED), "--clear-groups"),
    *("--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"),
    "env",
)
"""The one power that is kept is to read: the interpreter of these tests may lie in root's own home."""
_NO_LANDLOCK = """
import ctypes, os, struct, sys

class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]

NUMBER, IS_LANDLOCK, NO_SUCH_CALL, ALLOWED = (0x20, 0, 0, 0), (0x15, 0, 1, 444), (0x06, 0, 0, 0x50000 | 38), (0x06, 0, 0, 0x7FFF0000)
steps = [NUMBER, IS_LANDLOCK, NO_SUCH_CALL, ALLOWED]  # seccomp(2): landlock_create_ruleset answers ENOSYS
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(38, 1, 0, 0, 0)
if libc.prctl(22, 2, ctypes.byref(Program(len(steps), ctypes.addressof(code)))) != 0:
    raise OSError(ctypes.get_errno(), "seccomp")
os.execvp(sys.argv[1], sys.argv[1:])
"""
WITHOUT_LANDLOCK = (sys.executable, "-c", _NO_LANDLOCK)


def works(through):
    """Skip the test, and say why, where commands cannot be started like that."""
    if shutil.which(through[0]) is None:
        pytest.skip(f"there is no {through[0]}")
    tried = subprocess.run([*through, sys.executable, "-c", ""], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"{through[0]} is not permitted here: {tried.stderr.strip()[-200:]}")
    return through
