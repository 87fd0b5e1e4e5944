"""`qd up --watch`: deploy again on every save of spec or code; a save that is wrong is shown, and the last good revision keeps serving.

Files are compared by time and size every 0.3 s: no dependency, the same on every file system, and a project of thousands of files costs
a few milliseconds a look.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from quarterdeck.cli.complain import complain
from quarterdeck.cli.source import Source
from quarterdeck.cli.up import Up
from quarterdeck.errors import QuarterdeckError

EVERY: Final = 0.3
SKIPPED: Final = frozenset({"__pycache__", "node_modules", "venv", "env", "dist", "build"})
"""Folders that are made, not written; folders and files whose name begins with a dot are skipped too."""
_MOST: Final = 20_000
Stamp = dict[str, tuple[int, int]]


@dataclass(slots=True)
class Saved:
    """What the spec and the code looked like when they were last deployed."""

    source: Source
    home: Path
    stamp: Stamp

    @classmethod
    def now(cls, source: Source, home: Path) -> Saved:
        """As they are on disk now; the state folder may lie inside the code and is not looked at."""
        return cls(source, home, stamp(source, home))

    def changed(self) -> bool:
        """Whether anything was saved since."""
        return stamp(self.source, self.home) != self.stamp

    def wait(self) -> None:
        """Return once something was saved and then stayed the same for one look, so that a save of many files is one."""
        while not self.changed():
            time.sleep(EVERY)
        last: Stamp = {}
        while (current := stamp(self.source, self.home)) != last:
            last = current
            time.sleep(EVERY)


def keep_up(run: Up, source: Source) -> int:
    """Deploy on every save until interrupted."""
    while True:
        saved = Saved.now(source, run.session.home.root)
        try:
            source = Source.read(source.path)
            done = run.once(source, superseded=saved.changed)
            run = replace(run, met=run.met or done.outcome == "ready")
        except QuarterdeckError as error:
            complain(error)
            run.session.say(f" {_still_serving(run)}")
        run.session.say(f" Watching {source.path} and {source.code} · Ctrl-C ends this, the deployment goes on")
        saved.wait()


def stamp(source: Source, home: Path) -> Stamp:
    """Time (ns) and size of the spec and of every file of the code."""
    found = dict(_files(source.code, home))
    found.update(_stat(source.path))
    return found


def _files(folder: Path, home: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    count = 0
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in SKIPPED and not name.startswith(".") and Path(place, name) != home)
        for name in names:
            count += 1
            if count > _MOST:
                return
            if not name.startswith(".") and not name.endswith((".pyc", "~", ".swp")):
                yield from _stat(Path(place, name))


def _stat(path: Path) -> list[tuple[str, tuple[int, int]]]:
    """Nothing for a file that an editor is just replacing; it will be there at the next look."""
    try:
        found = path.stat()
    except OSError:
        return []
    return [(str(path), (found.st_mtime_ns, found.st_size))]


def _still_serving(run: Up) -> str:
    try:
        status = run.session.client.get("/v1/status", {"system": run.session.system})
    except QuarterdeckError as error:
        return f"Nothing was changed; {error.message}"
    if status["ready"]:
        return f"Nothing was changed: revision {status['revision']} is still serving"
    return f"Nothing was changed: revision {status['revision']} is wanted, and is not ready ({status['sentence']})"
