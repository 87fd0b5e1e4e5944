"""Disposable machines for tests that need another one than this: with this one's files, a network of their own, and a real systemd.

A machine is a set of Linux namespaces (namespaces(7)) around an overlay of the root file system: what is written in it is gone with it, and
nothing of this machine changes. Its first process is systemd, so that orphans are reaped, services run, and to kill it is a power failure,
after which the machine boots again from the same disk. Machines reach each other by a cable, and nothing else.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

PROGRAMS = ("unshare", "nsenter", "setpriv", "pivot_root", "ip", "systemctl", "systemd-tmpfiles", "dbus-daemon")
SYSTEMD = "/lib/systemd/systemd"
NETWORK = "10.74.10"
WITHIN = 30.0
"""Seconds to boot; it takes less than one."""
_DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL")
_GROUPS = Path("/sys/fs/cgroup")
_DISK = r"""
disk=$1 keeps=$2
mount -t tmpfs -o mode=755 tmpfs "$disk"
shift 2
for folder in / "$@"; do
    if test -z "$(ls -A "$disk/root/$folder" 2>/dev/null)"; then
        number=$((number + 1))
        mkdir -p "$disk/upper$number" "$disk/work$number" "$disk/root/$folder"
        mount -t overlay overlay -o "lowerdir=$folder,upperdir=$disk/upper$number,workdir=$disk/work$number" "$disk/root/$folder"
    fi
done
cd "$disk/root"
sed -i "s|^root:\([^:]*\):0:0:\([^:]*\):[^:]*:|root:\1:0:0:\2:$keeps:|" etc/passwd
mkdir -p root/.config
rm -rf root/.config/systemd etc/systemd/system/*.wants
ln -s "$keeps/.config/systemd" root/.config/systemd
ln -s /dev/null etc/tmpfiles.d/tmp.conf
printf '#!/bin/sh\nexec "$@"\n' > usr/local/bin/sudo
chmod 755 usr/local/bin/sudo
ip link set lo up
echo made
exec cat
"""
"""The disk and the network, which outlive a boot: kept by a process that ends with its stdin.

The folders that follow are there too, also from file systems of their own. What this machine starts when it boots is not started, and
/tmp is not emptied. We are root, which sudo has nothing to add to: where it is missing, as in containers, it is one line. The home folder
of a page is root's, also for systemd, which takes /root for it whatever /etc/passwd says.
"""
_BOOT = r"""
cd "$1/root"
mount -t tmpfs -o mode=755 tmpfs run
mkdir -p "./$2"
mount --bind "$2" "./$2"
mount -t tmpfs -o mode=755 tmpfs dev
for node in null:3 zero:5 full:7 random:8 urandom:9; do mknod -m 666 "dev/${node%:*}" c 1 "${node#*:}"; done
mknod -m 666 dev/tty c 5 0
mkdir dev/pts dev/shm
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for stream in stdin:0 stdout:1 stderr:2; do ln -s "fd/${stream#*:}" "dev/${stream%:*}"; done
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
if test -d /sys/fs/cgroup/systemd; then
    mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
    mkdir sys/fs/cgroup/unified sys/fs/cgroup/systemd
    mount -t cgroup2 cgroup2 sys/fs/cgroup/unified
    mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
else
    mount -t cgroup2 cgroup2 sys/fs/cgroup
fi
pivot_root . mnt
umount -l /mnt
exec env -i container=other PATH="$PATH" "$3" --system --unit=multi-user.target
"""
"""The first process, in a PID and mount namespace of its own. What belongs to the kernel, and so to everybody, cannot be written there."""
_NEEDED = (Path(__file__).parents[1], Path(sys.prefix), Path(sys.base_prefix))


class Machine:
    """One that is running. `keeps` is a folder of the real disk that is there too, under the same name; `address` is on the cable."""

    def __init__(self, name, disk, keeps, address):
        self.name, self.disk, self.keeps, self.address = name, disk, keeps, address
        self.groups = [group / disk.name for group in _own_groups()]
        argv = [*_DIES_WITH_US, "unshare", "--mount", "--net", "--uts", "--ipc", "--propagation", "private"]
        self.hardware = subprocess.Popen([*argv, "sh", "-ec", _DISK, name, disk, keeps, *_NEEDED], **_STREAMS)
        _says(self.hardware, "made")
        self.first = None

    def boot(self):
        """Power on; returns when systemd has started what belongs to the machine."""
        for group in self.groups:
            group.mkdir(exist_ok=True)
        join = "".join(f"echo $$ > {group}/cgroup.procs; " for group in self.groups)
        script = f'{join}exec nsenter --target {self.hardware.pid} --mount --net --uts --ipc "$@"'
        apart = ["unshare", "--cgroup", "--mount", "--pid", "--fork", "--kill-child"]
        argv = [*_DIES_WITH_US, "sh", "-ec", script, "boot", *apart, "sh", "-ec", _BOOT, self.name, self.disk, self.keeps, SYSTEMD]
        self.first = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + WITHIN
        while self._state() not in ("running", "degraded"):
            assert self.first.poll() is None, "systemd ended"
            assert time.monotonic() < deadline, f"systemd is {self._state()}"
            time.sleep(0.05)

    def power_off(self):
        """As when the plug is pulled: every process is killed, nothing is asked."""
        os.kill(self._init, signal.SIGKILL)
        self.first.wait()
        deadline = time.monotonic() + WITHIN
        while any(file.read_text() for group in self.groups for file in group.rglob("cgroup.procs")):
            assert time.monotonic() < deadline, "processes are left"
            time.sleep(0.02)

    def throw_away(self):
        if self.first is not None and self.first.poll() is None:
            self.power_off()
        self.hardware.communicate()
        for group in self.groups:
            for folder in sorted((one for one in group.rglob("*") if one.is_dir()), reverse=True):
                folder.rmdir()
            group.rmdir()

    @property
    def enter(self):
        """Words before a command of somebody who sits at this machine."""
        join = "".join(f"mkdir -p {group}/session; echo $$ > {group}/session/cgroup.procs; " for group in self.groups)
        script = f'{join}exec nsenter --target {self._init} --mount --net --uts --ipc --cgroup --pid "$@"'
        return ("sh", "-ec", script, self.name)

    @property
    def _init(self):
        """The id of its first process, as we see it."""
        (pid,) = Path(f"/proc/{self.first.pid}/task/{self.first.pid}/children").read_text().split()
        return int(pid)

    @contextmanager
    def network(self):
        """Sockets that this thread opens meanwhile are in this machine's network (setns(2))."""
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        its = os.open(f"/proc/{self.hardware.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(its)
            yield
        finally:
            _enter(own)
            os.close(own)
            os.close(its)

    def log_in(self):
        """As pam_systemd does: the user's own systemd and the folder of the session are there until `log_out`."""
        self.run("systemctl", "start", "user@0.service")
        return "/run/user/0"

    def log_out(self):
        self.run("systemctl", "stop", "user@0.service", "user-runtime-dir@0.service")

    def run(self, *argv):
        """What a command printed there; raises CalledProcessError."""
        return subprocess.run([*self.enter, *argv], check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60).stdout

    def _state(self):
        try:
            asked = subprocess.run([*self.enter, "systemctl", "is-system-running"], capture_output=True, text=True, check=False, timeout=10)
        except (OSError, ValueError):  # it is about to be born
            return "off"
        return asked.stdout.strip() or asked.stderr.strip()


def _enter(namespace):
    if ctypes.CDLL(None, use_errno=True).setns(namespace, 0) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _own_groups():
    """The control groups that we are in, of every hierarchy but cpuset, whose new groups take nobody before they are given processors.

    A machine has one below each as its root (cgroup_namespaces(7)): systemd manages all that it sees.
    """
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        folder = _GROUPS / (controllers.removeprefix("name=") or "unified") / path.lstrip("/")
        if controllers == "" and not folder.is_dir():
            folder = _GROUPS / path.lstrip("/")
        if controllers != "cpuset" and (folder / "cgroup.procs").exists():
            yield folder


_STREAMS = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}


def _says(process, word):
    said = process.stdout.readline().strip()
    assert said == word, said + process.stdout.read()


def possible():
    """Skip the test, and say what is missing, where there can be no such machines."""
    if os.getuid() != 0:
        pytest.skip("machines of namespaces need root")
    missing = [name for name in PROGRAMS if shutil.which(name) is None] + [file for file in (SYSTEMD,) if not Path(file).exists()]
    if missing:
        pytest.skip(f"machines of namespaces need {', '.join(missing)}")
    tried = subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--fork", "--propagation", "private", "sh", "-ec",
         "mount -t tmpfs tmpfs /mnt; cd /mnt; mkdir u w r; mount -t overlay overlay -o lowerdir=/,upperdir=u,workdir=w r"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if tried.returncode != 0:
        pytest.skip(f"namespaces or overlays are not permitted here: {tried.stderr.strip()[-200:]}")


@contextmanager
def machine(name, keeps, address=None):
    """A machine that runs, with `keeps` of the real disk, until the end; `address` is its last number on the cable."""
    possible()
    disk = Path(tempfile.mkdtemp(prefix="qd-machine-"))
    made = Machine(name, disk, Path(keeps), address and f"{NETWORK}.{address}")
    try:
        made.boot()
        made.run("hostname", name)
        yield made
    finally:
        made.throw_away()
        disk.rmdir()


def connect(one, other, **names):
    """A cable between two machines, and the names by which each of both knows them: `names` are NAME=machine, with `_` for a dot."""
    ends = [("cable", "netns", str(end.hardware.pid)) for end in (one, other)]
    subprocess.run(["ip", "link", "add", *ends[0], "type", "veth", "peer", "name", *ends[1]], check=True)
    lines = "".join(f"{known.address} {name.replace('_', '.')}\n" for name, known in names.items())
    for end in (one, other):
        end.run("ip", "address", "add", f"{end.address}/24", "dev", "cable")
        end.run("ip", "link", "set", "cable", "up")
        end.run("sh", "-ec", f"printf %s '{lines}' >> /etc/hosts")
