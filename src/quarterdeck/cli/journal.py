"""`qd journal`: what happened, in order, and what proves it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quarterdeck.cli.completing import target_names
from quarterdeck.cli.follow import follow, require_lines
from quarterdeck.cli.render import clock_time, listing, show, style_of
from quarterdeck.cli.screen import clean
from quarterdeck.cli.session import Output, Session
from quarterdeck.cli.times import past
from quarterdeck.cli.usage import UsageError
from quarterdeck.client.wire import Document, Unreached
from quarterdeck.clock import SystemClock, iso
from quarterdeck.errors import Conflict, Terminal, UserError
from quarterdeck.model.home import Home
from quarterdeck.version import API_VERSION

if TYPE_CHECKING:
    from sqlalchemy import Connection

_COLUMNS = [
    ("SEQ", "seq"),
    ("AT", "time"),
    ("ACTOR", "actor"),
    ("VERB", "verb"),
    ("TARGET", "target"),
    ("OUTCOME", "outcome"),
    ("REASON", "reason"),
]


def journal(
    session: Session,
    *,
    follow_: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new records.")] = False,
    target: Annotated[str | None, typer.Option(metavar="TARGET", help="Only of this target.", autocompletion=target_names)] = None,
    verb: Annotated[str | None, typer.Option(metavar="VERB", help="Only of this verb; `replica.` means all that begin so.")] = None,
    after: Annotated[int | None, typer.Option(metavar="SEQ", help="Only after this record.")] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="Only from then on: 10m ago, 18:00 or 2026-11-30T18:00.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Only before then, likewise.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, max=500, help="At most that many, the newest.")] = 50,
) -> None:
    """What happened, in order. Each record is chained to the one before it; qd journal verify proves it offline.

    $ qd journal -f
    $ qd journal --target analysts/analyst --limit 10
    $ qd journal --since 2h --until 1h
    $ qd journal head -o json > kept-elsewhere.json
    """
    times = {"since": _moment(session, "since", since), "until": _moment(session, "until", until)}
    asked = {"system": session.system, "target": target, "verb": verb, **times}
    if follow_:
        if until:
            raise UsageError("what is to come has no end before now", hint="qd journal --until without -f; qd journal -f --since 10m")
        _follow(session, asked, after, limit)
        return
    document = session.client.get("/v1/journal", {**asked, "after": after, "limit": limit, "newest": after is None or None})
    document = {**document, "items": sorted(document["items"], key=lambda record: int(record["seq"]))}
    if not session.machine:
        document["items"] = [{**record, "time": clock_time(record["at"])} for record in document["items"]]
    columns = [*_COLUMNS, ("ON BEHALF OF", "on_behalf_of"), ("HASH", "hash")] if session.output is Output.wide else _COLUMNS
    filtered = any(value is not None for value in (target, verb, after, since, until))
    empty = "no record is like that; qd journal shows them all" if filtered else "nothing happened yet; qd up deploys a system"
    listing(session, document, columns, empty)
    if document["items"]:
        one = session.within(document["items"]) if target else session
        one.next(f"qd journal -f · qd explain {target}" if target else "qd journal -f · qd journal --target TARGET")


def _moment(session: Session, option: str, text: str | None) -> str | None:
    """The ISO time of an option. Raises UsageError for what is no time."""
    try:
        return None if text is None else iso(past(text, session.client.clock.now()))
    except UsageError as error:
        raise UsageError(error.message, hint=f"--{option} takes for example 10m, 18:00 or 2026-11-30T18:00") from error


def _follow(session: Session, asked: dict[str, str | None], after: int | None, limit: int) -> None:
    """The newest records first, then each new one as it comes."""
    require_lines(session)
    if after is None:
        newest = session.client.get("/v1/journal", {**asked, "limit": limit, "newest": True})["items"]
        for record in sorted(newest, key=lambda record: int(record["seq"])):
            session.screen.line(_line(session, record))
            after = int(record["seq"])
    for event in follow(session.client, "/v1/journal", lambda: {**asked, "after": after or 0}):
        session.screen.line(_line(session, event.data))


def _line(session: Session, record: Document) -> str:
    if session.output is Output.json:
        return json.dumps({"apiVersion": API_VERSION, "kind": "JournalRecord", **record})
    outcome = session.screen.paint(clean(record["outcome"]), *style_of(record["outcome"]))
    reason = f" ({clean(record['reason'])})" if record.get("reason") else ""
    words = " ".join(clean(record[name]) for name in ("actor", "verb", "target"))
    return f"{record['seq']} {clock_time(record['at'])} {words} {outcome}{reason}"


def head(session: Session) -> None:
    """The end of the journal: sequence, hash, time, and the home's public key. Kept elsewhere, it proves later that nothing was cut off.

    $ qd journal head -o json > kept-elsewhere.json
    $ qd journal verify --head kept-elsewhere.json
    """
    try:
        document = session.client.get("/v1/journal/head")
    except Unreached as nobody:
        from quarterdeck.store.export import proof  # noqa: PLC0415 SQLAlchemy, for this alone

        with _at_rest(session, nobody) as (home, connection):
            document = proof(connection, home.keys)
    document = {"apiVersion": API_VERSION, "kind": "JournalHead", **document}
    text = f"{document['seq']} {document['hash']} {clock_time(document['at'])}"
    show(session, document, lambda screen: screen.line(text), name=str(document["seq"]))
    session.next("qd journal head -o json > kept-elsewhere.json · qd journal verify --head kept-elsewhere.json")


def export(
    session: Session,
    file: Annotated[Path | None, typer.Argument(metavar="FILE", show_default=False, help="Where to; stdout without it.")] = None,
) -> None:
    """The whole journal as signed JSON lines, with payloads and checkpoints; qd journal verify FILE judges it.

    $ qd journal export journal.jsonl
    """
    lines = _exported(session)
    if file is None:
        for line in lines:
            print(line, file=session.screen.out)
        return
    try:
        with file.open("w", encoding="utf-8") as out:
            count = sum(out.write(f"{line}\n") > 0 for line in lines)
    except OSError as error:
        hint = "name a file that can be written, or none for stdout"
        raise UserError(f"{file} cannot be written: {error.strerror}", hint=hint, where=str(file.absolute())) from error
    session.say(f"{count} lines in {file}")


def _exported(session: Session) -> Iterator[str]:
    try:
        yield from session.client.lines("/v1/journal/export")
    except Unreached as nobody:
        from quarterdeck.store import export as exporting  # noqa: PLC0415 SQLAlchemy, for this alone
        from quarterdeck.store import keys  # noqa: PLC0415

        with _at_rest(session, nobody) as (home, connection):
            yield from (line.rstrip("\n") for line in exporting.export(connection, keys.held(home.keys)))


@contextmanager
def _at_rest(session: Session, nobody: Unreached) -> Iterator[tuple[Home, Connection]]:
    """The home's store, read only, while no control plane holds it. Raises `nobody` where there is none on this machine, or one starts."""
    from quarterdeck.store.engine import ERRORS  # noqa: PLC0415 SQLAlchemy, for this alone
    from quarterdeck.store.store import Store  # noqa: PLC0415

    home = session.place
    if not isinstance(home, Home) or not home.database.exists():
        raise nobody
    try:
        with closing(Store.open(home, SystemClock(), read_only=True)) as store, store.read() as connection:
            yield home, connection
    except Conflict:
        raise nobody from None
    except ERRORS as error:
        hint = "run this as the owner of the home; qd journal verify says whether the database is damaged"
        raise Terminal(f"the store cannot be read: {error}", hint=hint, where=str(home.database)) from error
