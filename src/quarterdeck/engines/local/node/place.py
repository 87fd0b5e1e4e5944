"""What all parts of one node share, made once at its start."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

from quarterdeck.clock import Clock
from quarterdeck.engines.local.node.events import Events
from quarterdeck.engines.local.node.isolation import Isolation
from quarterdeck.engines.local.node.lifecycle import MARK, Boot
from quarterdeck.engines.local.node.logs import Logs
from quarterdeck.engines.local.node.rooms import Cgroups
from quarterdeck.model.home import Home

_INHERITED = ("PATH", "LANG", "TZ")


@dataclass(frozen=True, slots=True)
class Place:
    """Home, this life, time, and the parts without a will of their own.

    `runtime` is `module:function` run in each replica; an error in one of `tasks` ends the node.
    """

    home: Home
    boot: Boot
    clock: Clock
    cgroups: Cgroups
    isolation: Isolation
    logs: Logs
    events: Events
    runtime: str
    tasks: asyncio.TaskGroup

    def environment(self, work: Path) -> dict[str, str]:
        """All that a child inherits: where programs are, language and zone, a folder of its own, and the mark of this node."""
        kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        return {**kept, "HOME": str(work), "TMPDIR": str(work), MARK: self.boot.mark}

    def work(self, *names: str) -> Path:
        """A private writable folder, made when missing."""
        folder = self.home.node.joinpath("work", *names)
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except FileNotFoundError:  # each folder above it is private too, which mkdir's `parents` does not promise
            if not names:
                raise
            self.work(*names[:-1])
            folder.mkdir(mode=0o700, exist_ok=True)
        return folder
