"""The offline verifier behind `qd journal verify`: needs no running control plane, changes nothing, trusts nothing it reads.

It finds every record that was changed, removed, reordered or cut off. What it cannot know by itself: someone who holds the signing key, or
who puts an older database with its head file, or an older export, in the place of a newer one, is found only by a head kept elsewhere;
someone who signs with a key of his own only by the public key. A database alone, without its head file, does not show a cut end.
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
from quarterdeck.version import API_VERSION

_SQLITE: Final = b"SQLite format 3\0"
_CATCH_UP: Final = 1.0
"""Seconds that the head file of a running control plane may need to follow a commit."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`ok` = no problems. `head` is the journal's end as found; records up to `signed` are signed by the public key `key` ("": none are).

    `unproven` says what a journal that is sound in itself does not show, as long as nothing that was kept elsewhere is given.
    """

    ok: bool
    records: int
    problems: tuple[str, ...]
    head: Head
    key: str = ""
    signed: int = 0
    unproven: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """The stable shape of `qd journal verify -o json`."""
        return {
            "apiVersion": API_VERSION,
            "kind": "JournalVerdict",
            **asdict(self),
            "problems": list(self.problems),
            "unproven": list(self.unproven),
        }


def verify_home(home: Home, *, expected_head: Head | None = None, key: str | None = None) -> Verdict:
    """Judge the store of a home by its own head file too, and by what its marker says of a commit that failed. Raises NotFound."""
    in_doubt = Marker.of(home.root).get() != "ok"
    return verify(home.database, expected_head=expected_head, head_file=home.root / headfile.NAME, key=key, in_doubt=in_doubt)


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
    if expected_head and not expected_head.seq:
        expected_head = None  # of an empty journal: it proves nothing
    audit = Audit(key=key)
    heads = _heads(head_file, audit) if head_file else None
    is_database = _is_database(path)
    (_database if is_database else _export)(path, audit)
    audit.finish()
    if not is_database:
        audit.signed_export()
    elif key and audit.records and not (audit.signed or expected_head):
        audit.problem("nothing here is signed by the key that is expected: a home signs in its first minute, and when it is stopped")
    if expected_head:
        audit.expect(expected_head)
    elif is_database and not head_file:
        audit.unproven.append("that nothing was cut off the end: give a head that was kept elsewhere with --head")
    if head_file and heads is not None:
        if not head_file.exists():
            _without_heads(head_file, audit)
        else:
            live = path.with_name(path.name + "-shm").exists()
            audit.compare(_caught_up(head_file, heads, audit) if live else heads, may_lag=in_doubt)
    key = audit.key if audit.signed else None
    return Verdict(not audit.problems, audit.records, tuple(audit.problems), audit.head, key or "", audit.signed, tuple(audit.unproven))


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
    if audit.first is None and connection.execute(select(tables.revisions.c.number).limit(1)).first():
        audit.problem("the journal is empty, though a system was applied: its records were removed")


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
    """None when it cannot be used."""
    try:
        return list(headfile.lines(path))
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        audit.problem(f"the head file cannot be used: {error}")
        return None


def _without_heads(path: Path, audit: Audit) -> None:
    """A store makes its head file before its first record; only one that never opened whole has none."""
    if audit.head.seq:
        why = "without it, records cut off the end are not missed. Was this home restored? Then the next start makes a new one"
        audit.problem(f"the head file {path.name} is gone: {why}")


def _caught_up(path: Path, found: list[headfile.Line], audit: Audit) -> list[headfile.Line]:
    """The head file's lines, read before the database: none may lead it. A running control plane writes its line just after the commit."""
    limit = time.monotonic() + _CATCH_UP
    end = (audit.head.seq, audit.last_checkpoint)
    while (found[-1].order if found else (0, 0)) < end and time.monotonic() < limit:
        time.sleep(0.01)
        found = [line for line in headfile.lines(path) if line.order <= end]
    return found
