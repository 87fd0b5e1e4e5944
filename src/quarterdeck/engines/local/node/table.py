"""What the node keeps on disk: the desired table, the incarnation counters, and the template each workload last was up with in full.

Whole files are replaced atomically and synced; counters are an append-only file with one sync per batch, written before any process starts.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from quarterdeck.durable import write_synced
from quarterdeck.errors import Conflict
from quarterdeck.model.desired import Template
from quarterdeck.model.table import Table


def _replace(path: Path, text: str) -> None:
    """For the node's own user alone: the table holds the credentials of replicas."""
    write_synced(path, text.encode(), mode=0o600)


class Tables:
    """The table now in force, kept in one file."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "table.json"
        self.now = self._read()

    def _read(self) -> Table:
        """What was accepted last; an empty one where there is none, or none that this version can read: that is kept beside.

        The control plane then brings everything back, since it looks at what the node holds and not at what it once sent.
        """
        with contextlib.suppress(FileNotFoundError):  # the first start of this home
            text = self._path.read_bytes()
            try:
                return Table.from_json(json.loads(text))
            except (KeyError, TypeError, ValueError) as error:
                beside = self._path.replace(self._path.with_suffix(".unreadable"))
                sys.stderr.write(f"the table cannot be read ({error!r}); it is kept as {beside}, and an empty one is in force\n")
        return Table(0, 0)

    def accept(self, table: Table) -> bool:
        """Take a newer table, on disk first; False when it is the one in force. Raises Conflict when it is older."""
        if table.version == self.now.version:
            return False
        if table.version < self.now.version:
            raise Conflict(f"table {table.version} is older than {self.now.version}, which is in force", hint="read the one in force first")
        _replace(self._path, json.dumps(table.to_json(), separators=(",", ":")))
        self.now = table
        return True


class Counters:
    """The number of the last incarnation of every replica slot; it only ever rises, over restarts of the node too.

    What is synced runs one ahead of what was given out, so that a replica that is replaced does not wait for the disk, which takes a
    hundred times its usual time when it has much to write. After a restart of the node the number ahead counts as given out.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "incarnations"
        self._synced = self._read()
        self._last = Counter(self._synced)
        _replace(self._path, "".join(f"{n} {slot}\n" for slot, n in self._synced.items()))
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    def _read(self) -> Counter[str]:
        last: Counter[str] = Counter()
        if self._path.exists():
            for line in self._path.read_text().splitlines():
                number, _, slot = line.partition(" ")
                if number.isdecimal():  # else a line cut by a crash: nothing was started under it
                    last[slot] = max(last[slot], int(number))
        return last

    def next(self, slot: str) -> int:
        """The incarnation that would be started next."""
        return self._last[slot] + 1

    def last(self) -> dict[str, int]:
        """The newest incarnation of every slot that ever had one."""
        return dict(self._last)

    def take(self, slots: Iterable[str]) -> dict[str, int]:
        """Count up; every number is synced before anybody learns it. Raises OSError, and then nothing was taken."""
        taken = {slot: self.next(slot) for slot in slots}
        self._sync({slot: number for slot, number in taken.items() if number > self._synced[slot]})
        self._last.update({slot: taken[slot] - self._last[slot] for slot in taken})
        return taken

    def restock(self, slot: str) -> None:
        """Sync the next number of a slot, at a time when nobody waits for it."""
        if self._synced[slot] == self._last[slot]:
            with contextlib.suppress(OSError):  # then it is done when the number is needed
                self._sync({slot: self._last[slot]})

    def _sync(self, numbers: dict[str, int]) -> None:
        if numbers:
            lines = "".join(f"{n + 1} {slot}\n" for slot, n in numbers.items())
            os.write(self._file, f"\n{lines}".encode())  # from a new line on, since an error may have cut the one before
            os.fdatasync(self._file)
            self._synced.update({slot: n + 1 - self._synced[slot] for slot, n in numbers.items()})


def _template(data: dict[str, Any]) -> Template:
    pairs = {name: tuple((str(k), str(v)) for k, v in data[name]) for name in ("env", "secrets")}
    return Template(**{**data, **pairs})


class Proven:
    """Per workload, the template that last was up in full: what serves on when a newer one fails, over restarts of the node too."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "proven.json"
        self._templates = self._read()

    def _read(self) -> dict[str, Template]:
        with contextlib.suppress(FileNotFoundError):  # nothing has been up in full yet
            data: dict[str, Any] = json.loads(self._path.read_text())
            return {name: _template(item) for name, item in data.items()}
        return {}

    def get(self, workload: str) -> Template | None:
        """The template, or None when none was ever up in full."""
        return self._templates.get(workload)

    def note(self, workload: str, template: Template) -> None:
        """Note that `template` is up in full."""
        self._templates[workload] = template
        self._write()

    def keep_only(self, workloads: set[str]) -> None:
        """Forget workloads that are gone."""
        if self._templates.keys() - workloads:
            self._templates = {name: item for name, item in self._templates.items() if name in workloads}
            self._write()

    def _write(self) -> None:
        _replace(self._path, json.dumps({name: asdict(item) for name, item in self._templates.items()}))
