"""How far replicas can be kept apart on this machine: by users of their own, by Landlock, or not at all, which is then said."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from quarterdeck import linux
from quarterdeck.model.home import Home

FIRST_UID: Final = 61_000
_SIGNAL_SCOPE_SINCE: Final = 6
_LOOK: Final = "import asyncio, os, sys, quarterdeck.model.boot; os.stat(sys.argv[1])"
_LOOK_WITHIN: Final = 20.0


@dataclass(frozen=True, slots=True)
class Isolation:
    """`uid`: each replica runs as its own user; `landlock`: the kernel's version of it, 0 for none; `root`: replicas are root's."""

    uid: bool
    landlock: int
    root: bool = False

    @property
    def weakenings(self) -> tuple[str, ...]:
        """What is missing, for people. System call filters are not in this version, so `unsandboxed` always holds."""
        same = () if self.uid or self.landlock else ("same-uid",)
        signals = ("no signal scope",) if not self.uid and 0 < self.landlock < _SIGNAL_SCOPE_SINCE else ()
        root = ("agents run as root",) if self.root else ()
        return ("unsandboxed", *same, *signals, *root)


def package_root() -> Path:
    """The folder from which `quarterdeck` is imported."""
    return Path(linux.__file__).resolve().parent.parent


def find(home: Home) -> Isolation:
    """Look at the kernel, and as root try once whether another user could run replicas here."""
    as_root = os.getuid() == 0
    others = as_root and _others_can_run(home)
    isolation = Isolation(uid=others, landlock=linux.landlock_abi(), root=as_root and not others)
    if isolation.uid:
        for folder in (home.root, home.node):
            folder.chmod(0o711)
    return isolation


def _others_can_run(home: Home) -> bool:
    tried = (
        subprocess.run(
            [sys.executable, "-P", "-c", _LOOK, str(home.root)],
            env={"PYTHONPATH": str(package_root())},
            cwd="/",
            user=FIRST_UID,
            group=FIRST_UID,
            extra_groups=[],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_LOOK_WITHIN,
            check=False,
        )
        if _reachable(Path(sys.executable))
        else None
    )
    return tried is not None and tried.returncode == 0


def _reachable(path: Path) -> bool:
    """Whether all folders above may be entered by anybody; saves the attempt where even exec would fail."""
    return all(parent.stat().st_mode & 0o001 for parent in path.resolve().parents)


class Uids:
    """Hands each replica slot a user id of its own and gives it its work folder."""

    def __init__(self) -> None:
        self._given: dict[str, int] = {}

    def settle(self, slot: str, work: Path) -> int:
        """The slot's user, who owns everything in `work` after this call."""
        uid = self._given.setdefault(slot, FIRST_UID + len(self._given))
        if work.stat().st_uid != uid:
            for folder, folders, files in os.walk(work):
                for name in (".", *folders, *files):
                    os.lchown(Path(folder) / name, uid, uid)
        for parent in list(work.parents)[:3]:
            parent.chmod(0o711)
        return uid


def open_to_read(folder: Path) -> None:
    """Let other users read a code tree: the folder that holds the trees can be entered, not listed."""
    folder.parent.chmod(0o711)
    for place, folders, files in os.walk(folder):
        for name in (".", *folders, *files):
            path = Path(place) / name
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))
