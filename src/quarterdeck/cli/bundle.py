"""`qd support-bundle`: one file that tells somebody else how this fleet is, without its secrets."""

from __future__ import annotations

import io
import json
import os
import shlex
import tarfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from quarterdeck.cli import direct, doctor, leftovers
from quarterdeck.cli.redaction import Redactor, known
from quarterdeck.cli.render import show, size, table
from quarterdeck.cli.screen import Screen, clean
from quarterdeck.cli.session import Session
from quarterdeck.cli.usage import UsageError
from quarterdeck.client.wire import Wire
from quarterdeck.clock import SystemClock
from quarterdeck.errors import Conflict, QuarterdeckError, UserError
from quarterdeck.model.home import Home
from quarterdeck.version import API_VERSION, VERSION

_TAIL: Final = 64 << 10
"""Bytes of the end of each log."""
_MOST_LOGS: Final = 200
_MOST_SPECS: Final = 50
"""Logs, and revisions of a system whose specs are looked at."""
_NOUNS: Final = ("clusters", "agents", "replicas", "links", "changes", "conditions", "revisions")
_PROC: Final = ("meminfo", "loadavg", "self/limits", "self/cgroup", "self/mounts", "version")
_WORDS: Final = """What `qd support-bundle` packed. Nothing was sent anywhere.

doctor.json     what `qd doctor` found            version.json  of command and control plane
machine/        limits, memory, mounts            left.txt      processes, sockets and control groups of the home
systems/        for each system: status, spec, plan, nouns, the newest journal records
logs/           the end of each log               missing.txt   what could not be had, and why

Left out: keys, tokens, secrets, the store. Redacted: the values of all secrets, values named like one, and what has the shape of one.
Look through it before you hand it on.
"""
Piece = tuple[str, Callable[[], Any]]


def support_bundle(
    session: Session,
    file: Annotated[Path | None, typer.Argument(metavar="FILE", show_default=False, help="Where to; named by the time without it.")] = None,
) -> None:
    """One file for whoever helps you: what runs, how it is, and its newest journal and logs.

    Secrets are taken out; look through it yourself before you hand it on.

    $ qd support-bundle
    $ tar tzf quarterdeck-support-*.tar.gz
    """
    if str(file) == "-":
        raise UsageError("an archive is not written into a pipe", hint="name a file: qd support-bundle FILE")
    place = session.place if isinstance(session.place, Home) else None
    redactor = Redactor(known(place, os.environ, _specs(session)))
    stamp = datetime.fromtimestamp(SystemClock().now(), UTC)
    path = file or Path(f"quarterdeck-support-{stamp:%Y%m%d-%H%M%S}.tar.gz")
    packed = _pack(path, _gathered(session, redactor), stamp.timestamp())
    document = {"apiVersion": API_VERSION, "kind": "SupportBundle", "file": str(path.absolute()), "redacted": redactor.count}
    document["items"] = [{"name": name, "bytes": length} for name, length in packed]

    def text(screen: Screen) -> None:
        table(screen, ("FILE", "SIZE"), [(name, size(length)) for name, length in packed])
        screen.line(f"{clean(path)}: {size(path.stat().st_size)}, {redactor.count} places redacted")

    show(session, document, text, name=str(path))
    session.say(f"look through it before you hand it on · next: tar tzf {shlex.quote(clean(path))}")


def _specs(session: Session) -> list[str]:
    """The text of every spec that replicas may have run by, for what it names like a secret: of the control plane, else of its store."""
    try:
        client = session.client
        systems = [{"system": str(item["name"])} for item in client.get("/v1/systems")["items"]]
        numbers = [(one, each["number"]) for one in systems for each in client.get("/v1/revisions", one)["items"][:_MOST_SPECS]]
        return [str(client.get(f"/v1/revisions/{number}", one)["spec"]) for one, number in numbers]
    except QuarterdeckError:
        return _stored(session.place) if isinstance(session.place, Home) else []


def _stored(home: Home) -> list[str]:
    from quarterdeck.store import engine, revisions  # noqa: PLC0415 SQLAlchemy, where no control plane answers

    try:
        return direct.offline(home, revisions.texts)
    except engine.ERRORS:  # there is none, or it cannot be read
        return []


def _gathered(session: Session, redactor: Redactor) -> Iterator[tuple[str, bytes]]:
    """(name, redacted content) of each piece; what cannot be had is told in the last one."""
    missing: list[str] = []
    yield "README.txt", _WORDS.encode()
    for name, make in _pieces(session, missing):
        try:
            made = make()
        except (QuarterdeckError, OSError) as error:
            missing.append(f"{name}: {error}")
            continue
        text = redactor.text(made) if isinstance(made, str) else json.dumps(redactor.document(made), indent=2) + "\n"
        yield redactor.text(name), text.encode()
    yield "missing.txt", redactor.text("".join(f"{line}\n" for line in missing) or "nothing\n").encode()


def _pieces(session: Session, missing: list[str]) -> Iterator[Piece]:
    yield "version.json", lambda: {"client": VERSION, "server": session.client.answers()}
    yield "doctor.json", lambda: doctor.described(doctor.look(session))
    for name in _PROC:
        yield f"machine/{name.replace('/', '-')}.txt", Path("/proc", name).read_text
    if isinstance(session.place, Home):
        home = session.place
        yield "left.txt", lambda: "".join(f"{line}\n" for line in leftovers.left(home).told())
        for path in sorted(home.logs.rglob("*.log"))[:_MOST_LOGS]:
            yield f"logs/{path.relative_to(home.logs)}", partial(_end, path)
    try:
        systems = [str(item["name"]) for item in session.client.get("/v1/systems")["items"]]
    except QuarterdeckError as error:
        missing.append(f"systems: {error.message}")
        return
    for system in systems:
        yield from _of_system(session.client, system)


def _of_system(client: Wire, system: str) -> Iterator[Piece]:
    folder, query = f"systems/{system}", {"system": system}
    yield f"{folder}/status.json", lambda: client.get("/v1/status", query)
    yield f"{folder}/spec.yaml", lambda: _spec(client, system)
    yield f"{folder}/plan.json", lambda: client.post("/v1/rollback", {**query, "to": _current(client, system), "dry_run": True}, timeout=60)
    yield f"{folder}/journal.json", lambda: client.get("/v1/journal", {**query, "limit": 500, "newest": True})
    for noun in _NOUNS:
        yield f"{folder}/{noun}.json", partial(client.get, f"/v1/{noun}", query)


def _current(client: Wire, system: str) -> int:
    return int(client.get("/v1/status", {"system": system})["revision"])


def _spec(client: Wire, system: str) -> str:
    return str(client.get(f"/v1/revisions/{_current(client, system)}", {"system": system})["spec"])


def _end(path: Path) -> str:
    """The last lines of a file; a first line that was cut is dropped, so that no half of a secret is shown."""
    with path.open("rb") as file:
        start = max(0, path.stat().st_size - _TAIL)
        file.seek(start)
        text = file.read().decode("utf-8", "replace")
    return text.partition("\n")[2] if start else text


def _pack(path: Path, pieces: Iterator[tuple[str, bytes]], at: float) -> list[tuple[str, int]]:
    """Write the archive, for its owner alone. Raises Conflict for a file that is there, UserError when it cannot be written."""
    top, packed = path.name.split(".")[0], []
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise Conflict(f"{path} is there already", hint="name another file", where=str(path.absolute())) from error
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}", hint="name a file in a folder of yours") from error
    with os.fdopen(descriptor, "wb") as out, tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in pieces:
            entry = tarfile.TarInfo(f"{top}/{name}")
            entry.size, entry.mtime, entry.mode = len(content), int(at), 0o600
            archive.addfile(entry, io.BytesIO(content))
            packed.append((name, len(content)))
    return packed
