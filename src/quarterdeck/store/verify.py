"""The offline verifier behind `qd journal verify`: needs no running control plane, changes nothing, trusts nothing it reads.

It finds every record that was changed, removed, reordered or cut off. What it cannot know by itself: someone who holds the signing key, or
who cuts database and head file back to the same older point, is found only by a head (or the public key) that was kept elsewhere.
A process killed between a commit and its line in the head file leaves that file one line behind; verify again after the next start.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, cast

from sqlalchemy import Connection, func, inspect, or_, select
from sqlalchemy.exc import DBAPIError

from quarterdeck.errors import NotFound
from quarterdeck.model.home import Home
from quarterdeck.store import headfile, tables
from quarterdeck.store.audit import Audit
from quarterdeck.store.chain import Head, canonical
from quarterdeck.store.engine import offline
from quarterdeck.store.export import Line, lines
from quarterdeck.store.recover import Marker
from quarterdeck.store.seals import Check, evidence_of

_SQLITE: Final = b"SQLite format 3\0"
_CATCH_UP: Final = 1.0
"""Seconds that the head file of a running control plane may need to follow a commit."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`ok` = no problems. `head` is the journal's end as found; `key` the public key of its checkpoints ("" when there are none)."""

    ok: bool
    records: int
    problems: tuple[str, ...]
    head: Head
    key: str = ""

    def document(self) -> dict[str, Any]:
        """The stable shape of `qd journal verify -o json`."""
        return {"apiVersion": "quarterdeck.dev/v1alpha1", "kind": "JournalVerdict", **asdict(self), "problems": list(self.problems)}


def verify_home(home: Home, *, expected_head: Head | None = None, key: str | None = None) -> Verdict:
    """Judge the store of a home by its own head file too, and by what its marker says of a commit that failed. Raises NotFound."""
    beside = home.root / headfile.NAME
    in_doubt = Marker.of(home.root).get() != "ok"
    return verify(home.database, expected_head=expected_head, head_file=beside if beside.exists() else None, key=key, in_doubt=in_doubt)


def verify(
    path: Path, *, expected_head: Head | None = None, head_file: Path | None = None, key: str | None = None, in_doubt: bool = False
) -> Verdict:
    """Judge a database or an export. Raises NotFound when there is no such file.

    `expected_head` is an earlier `head()` kept elsewhere, `head_file` the second file of the home, `key` the public key (hex) to insist on.
    `in_doubt`: the store has failed at a commit and is not mended yet; that one may be in the journal and not in the head file.
    """
    if not path.exists():
        msg = f"there is no journal at {path}"
        raise NotFound(msg, hint="name a home, or a file that qd journal export wrote")
    audit = Audit(key=key)
    heads = _heads(head_file, audit) if head_file else None
    if _is_database(path):
        _database(path, audit)
    else:
        _export(path, audit)
    audit.finish()
    if expected_head:
        audit.expect(expected_head)
    if head_file and heads is not None:
        live = path.with_name(path.name + "-shm").exists()
        audit.compare(_caught_up(head_file, heads, audit) if live else heads, may_lag=in_doubt)
    return Verdict(not audit.problems, audit.records, tuple(audit.problems), audit.head, audit.key or "")


def _is_database(path: Path) -> bool:
    if path.with_name(path.name + "-shm").exists():
        return True  # in use, perhaps by this process: opening and closing it here would lift SQLite's POSIX locks
    with path.open("rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE


def _database(path: Path, audit: Audit) -> None:
    try:
        engine = offline(path)
        with engine.connect() as connection:
            seals = Check()
            audit.feed(_noted(lines(connection), seals, audit))
            _strays(connection, audit)
            if _has_events(connection):
                for problem in seals.problems(connection):
                    audit.problem(problem)
        engine.dispose()
    except DBAPIError as error:
        audit.problem(f"the database cannot be read after record {audit.head.seq}: {error.orig}")
    except UnicodeError as error:
        audit.problem(f"the database holds text that is none after record {audit.head.seq}: {error}")


def _noted(lines_: Iterator[Line], seals: Check, audit: Audit) -> Iterator[Line]:
    for line in lines_:
        if line["kind"] == "record":
            problem = seals.record(line["verb"], evidence_of(cast("dict[str, dict[str, str]]", line["payloads"]), line["evidence_digest"]))
            if problem:
                audit.problem(f"record {line['seq']}: {problem}")
        yield line


def _has_events(connection: Connection) -> bool:
    """A database that was never opened by a version which knows tasks has none."""
    return inspect(connection).has_table(tables.task_events.name)


def _strays(connection: Connection, audit: Audit) -> None:
    p = tables.payloads
    outside = or_(p.c.seq < (audit.first or 0), p.c.seq > audit.head.seq)
    count = connection.execute(select(func.count()).select_from(p).where(outside)).scalar_one()
    if count:
        audit.problem(f"{count} payloads belong to no record")


def _export(path: Path, audit: Audit) -> None:
    audit.feed(_parsed(path, audit))


def _parsed(path: Path, audit: Audit) -> Iterator[Line]:
    with path.open("rb") as file:
        for number, text in enumerate(file, start=1):
            try:
                line = json.loads(text)
                exact = isinstance(line, dict) and f"{canonical(line)}\n".encode() == text
            except (ValueError, RecursionError):
                exact = False
            if exact:
                yield line
            else:
                audit.problem(f"line {number} was changed or cut")


def _heads(path: Path, audit: Audit) -> list[headfile.Line] | None:
    try:
        return list(headfile.lines(path))
    except (OSError, ValueError) as error:
        audit.problem(f"the head file cannot be used: {error}")
        return None


def _caught_up(path: Path, found: list[headfile.Line], audit: Audit) -> list[headfile.Line]:
    """The head file's lines, read before the database: none may lead it. A running control plane writes its line just after the commit."""
    limit = time.monotonic() + _CATCH_UP
    end = (audit.head.seq, audit.last_checkpoint)
    while (found[-1].order if found else (0, 0)) < end and time.monotonic() < limit:
        time.sleep(0.01)
        found = [line for line in headfile.lines(path) if line.order <= end]
    return found
