"""Where a Chromium is, for whoever looks at the dashboard with one: tests/web, the benchmark of the first paint, the screenshots.

Never downloads a browser by itself: it takes the one of the machine, and `install` asks Debian's package manager for one.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
WITHIN = 600
APT = ("apt-get", "-q", "-y", "-o", "Dpkg::Use-Pty=0", "-o", "DPkg::Lock::Timeout=300")
SWITCHES = ("--no-sandbox", "--disable-dev-shm-usage") if os.geteuid() == 0 else ("--disable-dev-shm-usage",)
"""Chromium refuses to run as root inside its sandbox; it sees nothing but our own pages."""


class Missing(Exception):
    """There is no Chromium; the words say how to get one."""


def found() -> str | None:
    """The path of the machine's Chromium; QUARTERDECK_CHROMIUM names another one."""
    return os.environ.get("QUARTERDECK_CHROMIUM") or next((path for name in NAMES if (path := shutil.which(name))), None)


def path() -> str:
    """Of a Chromium, which is installed first where that is possible without asking; raises Missing."""
    return found() or install()


def install() -> str:
    """Debian's chromium by apt-get, as root only; of several processes that want it one installs it. Raises Missing."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Missing("no Chromium: install your system's chromium package, or name one by QUARTERDECK_CHROMIUM")
    with Path(tempfile.gettempdir(), "quarterdeck-chromium.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not found():
            _apt("update")
            _apt("install", "--no-install-recommends", "chromium", "fonts-dejavu-core")
    return found() or _none("apt-get installed chromium, yet it is not on the PATH")


def _apt(*arguments: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        ran = subprocess.run([*APT, *arguments], env=environment, capture_output=True, text=True, timeout=WITHIN, check=False)
    except subprocess.TimeoutExpired:
        _none(f"apt-get {arguments[0]} took longer than {WITHIN} s")
    if ran.returncode:
        _none(f"apt-get {arguments[0]} failed: {ran.stderr.strip()[-300:]}")


def _none(words: str) -> str:
    raise Missing(f"no Chromium: {words}")
