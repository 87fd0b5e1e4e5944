"""The ground on which a node may build its cgroups (cgroups(7); systemd's "Control Group APIs and Delegation").

Version 1 has a hierarchy for each controller, and root may make groups anywhere. In version 2 they are one tree that belongs to systemd:
groups may be made below one that was delegated, and only where no process lives in it directly. So the node moves into a scope of its own.
Where it may not, the unit that it is in serves as well, if it is delegated; but systemd cannot start the keeper again in such a one.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from quarterdeck.engines.local.node.rooms import CONTROLLERS, NONE, Cgroups, empty, members, pass_on
from quarterdeck.model.home import unit_name

PLATFORM: Final = "platform"
"""The group of keeper, control plane and node below a delegated one: only groups without groups below them have processes."""
_ROOT: Final = Path("/sys/fs/cgroup")
_BOOTED: Final = Path("/run/systemd/system")
_LINGERS: Final = Path("/var/lib/systemd/linger")
_MOVED_WITHIN: Final = 5.0


def find(label: str) -> Cgroups:
    """The cgroups below which this process may make groups called `label`, which is made anew: what was in it is killed.

    In version 2 this process, and all others of a delegated group, may be in another group afterwards.
    """
    return _version_1(label) or _version_2(label) or NONE


def _version_1(label: str) -> Cgroups | None:
    own = dict(_own_groups())
    bases = {}
    for controller in CONTROLLERS:
        for parent in (_ROOT / controller / own.get(controller, "/").lstrip("/"), _ROOT / controller):
            if (parent / "cgroup.procs").exists() and _usable(parent / label):
                bases[controller] = parent / label
                break
    return Cgroups("v1", bases) if bases else None


def _version_2(label: str) -> Cgroups | None:
    if not (_ROOT / "cgroup.controllers").exists():
        return None
    for folder in [path for path, folders, _ in os.walk(_ROOT) if label in folders]:  # of a node before this one, in another scope
        empty(Path(folder, label))
    _enter_scope(label)
    return _built(_own(), label)


def _built(base: Path, label: str) -> Cgroups | None:
    """Groups below a group; None where that is not for us to do, or where it cannot be seen, as outside a container."""
    if not (base / "cgroup.controllers").exists():
        return None
    usable = [name for name in CONTROLLERS if name in (base / "cgroup.controllers").read_text().split()]
    if not usable or not _opened(base, usable, ours=_is_scope(base, label)) or not _usable(base / label):
        return None
    pass_on(base / label, usable)
    return Cgroups("v2", dict.fromkeys(usable, base / label))


def _opened(base: Path, controllers: Sequence[str], *, ours: bool) -> bool:
    """Whether groups below have these controllers now. Who lives in a group that is ours to divide moves into one below it."""
    with contextlib.suppress(OSError):  # not ours, or somebody lives there
        pass_on(base, controllers)
        return True
    if not ours and not _delegated(base):
        return False
    with contextlib.suppress(OSError):
        (base / PLATFORM).mkdir(exist_ok=True)
        deadline = time.monotonic() + _MOVED_WITHIN
        while (living := members(base)) and time.monotonic() < deadline:  # one that is there may begin another meanwhile
            for pid in living:
                with contextlib.suppress(ProcessLookupError):  # it has ended
                    (base / PLATFORM / "cgroup.procs").write_text(str(pid))
        pass_on(base, controllers)
        return True
    return False


def _is_scope(folder: Path, label: str) -> bool:
    """A scope that a node of this home asked for. That of a user's systemd does not always have the mark."""
    return folder.name.startswith(f"{label}-") and folder.name.endswith(".scope")


def _delegated(folder: Path) -> bool:
    """By the mark that systemd sets: the first one may be read by its owner, the second by root, and is the one of older versions."""
    for name in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError):
            return os.getxattr(folder, name) == b"1"
    return False


def _enter_scope(label: str) -> None:
    """Move this process into a delegated scope of its own, if that can be: of the machine for root, else of the user's systemd.

    That ends with the last session of a user who does not linger, and the fleet would with it: limits are not worth that. When the machine
    is shut down, the unit of the home ends the fleet, and the scope ends after it.
    """
    uid, own = os.getuid(), _own()
    outlives = uid == 0 or f"user@{uid}.service" in own.parts or _lingers(uid)
    if _is_scope(own, label) or not outlives or not _BOOTED.exists() or shutil.which("busctl") is None:
        return
    name = f"{label}-{secrets.token_hex(4)}.scope"
    properties = {
        "PIDs": ("au", "1", str(os.getpid())),
        "Delegate": ("b", "true"),
        "TasksMax": ("t", str(2**64 - 1)),
        "CollectMode": ("s", "inactive-or-failed"),
        "Before": ("as", "1", unit_name(label)),
        "Description": ("s", "Quarterdeck fleet"),
    }
    argv = [
        *("busctl", "--user" if uid else "--system", "call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1"),
        *("org.freedesktop.systemd1.Manager", "StartTransientUnit", "ssa(sv)a(sa(sv))", name, "fail", str(len(properties))),
        *(word for key, value in properties.items() for word in (key, *value)),
        "0",
    ]
    environment = {"XDG_RUNTIME_DIR": f"/run/user/{uid}", **os.environ}
    with contextlib.suppress(OSError, subprocess.SubprocessError):  # no bus, or not allowed
        subprocess.run(argv, env=environment, capture_output=True, timeout=_MOVED_WITHIN, check=True)
        deadline = time.monotonic() + _MOVED_WITHIN
        while _own().name != name and time.monotonic() < deadline:  # the answer comes before it is done
            time.sleep(0.005)


def _lingers(uid: int) -> bool:
    """Whether the systemd of a user outlives the user's sessions."""
    with contextlib.suppress(KeyError):  # nobody has this number, as in many containers
        return (_LINGERS / pwd.getpwuid(uid).pw_name).exists()
    return False


def _own() -> Path:
    """The group of version 2 that this process is in, or the one whose `platform` it is."""
    folder = _ROOT / dict(_own_groups()).get("", "/").lstrip("/")
    return folder.parent if folder.name == PLATFORM else folder


def _own_groups() -> Iterable[tuple[str, str]]:
    """(controller, path) of this process; the empty controller is version 2."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            yield controller, path


def _usable(base: Path) -> bool:
    try:
        empty(base)
        base.mkdir(exist_ok=True)
    except OSError:  # read-only or not ours
        return False
    return os.access(base / "cgroup.procs", os.W_OK)
