"""A kernel of its own (User Mode Linux) for what ours may not show: all control groups in version 2, as distributions have them.

It is a program; its disk is an overlay of ours, as that of a machine of namespaces. Everything in it is real and slow: about ten times.
"""

import fcntl
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from tests import machines

UML = "linux.uml"
MEMORY = "2G"
APT = ("apt-get", "-q", "-y", "-o", "Dpkg::Use-Pty=0", "-o", "DPkg::Lock::Timeout=300")
_UNIT = """\
[Unit]
After=dbus.socket systemd-logind.service
Wants=dbus.socket systemd-logind.service
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
Type=oneshot
TimeoutStartSec=infinity
ExecStart={command}
StandardOutput=file:{keeps}/out
StandardError=file:{keeps}/err
"""
_FIRST = """\
#!/bin/sh
mount -t tmpfs -o mode=755 tmpfs /run
exec /lib/systemd/systemd --system --unit=work.service
"""
_START = r"""
cd "$1/root"
mkdir -p "./$2"
mount --bind "$2" "./$2"
cp "$2/work.service" etc/systemd/system/work.service
cp "$2/first" first
chmod 755 first
export TMPDIR="$1"
exec "$3" root=/dev/root rootfstype=hostfs rootflags="$1/root" rw "mem=$4" con=null con0=null,fd:1 \
    init=/first systemd.unified_cgroup_hierarchy=1
"""


def found():
    """The path of the kernel, which is installed first where that is possible without asking. Skips the test where it is not."""
    machines.possible()
    if shutil.which("apt-get"):
        with Path(tempfile.gettempdir(), "quarterdeck-kernel.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for words in () if shutil.which(UML) else (("update",), ("install", "--no-install-recommends", "user-mode-linux")):
                subprocess.run([*APT, *words], env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, capture_output=True, check=False)
    return shutil.which(UML) or pytest.skip("there is no User Mode Linux: install your system's package user-mode-linux")


def carried_out(keeps, *command, within):
    """What a command printed that a systemd with a kernel of its own carried out, as root; `keeps` is a folder that is there too."""
    kernel, disk = found(), Path(tempfile.mkdtemp(prefix="qd-kernel-"))
    (keeps / "work.service").write_text(_UNIT.format(command=shlex.join(map(str, command)), keeps=keeps))
    (keeps / "first").write_text(_FIRST)
    hardware = machines.Machine("kernel", disk, keeps, None).hardware
    enter = ("nsenter", "--target", str(hardware.pid), "--mount", "--net", "--uts", "--ipc")
    argv = [*enter, "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-ec", _START, "kernel", disk, keeps]
    with (keeps / "console").open("wb") as console:
        running = subprocess.Popen([*argv, kernel, MEMORY], stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT)
        try:
            running.wait(within)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
        finally:
            hardware.communicate()
            disk.rmdir()
    told = {name: (keeps / name).read_text(errors="replace") if (keeps / name).exists() else "" for name in ("out", "err", "console")}
    assert told["out"].strip(), f"{told['err'][-3000:]}\n{told['console'][-3000:]}"
    return told["out"]
