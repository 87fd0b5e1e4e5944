# ruff: noqa: ARG005 callbacks keep the real signature

import asyncio
import hashlib
import threading
import time

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from quarterdeck.errors import Conflict, NotFound, StoreReadOnly, Terminal, Transient
from quarterdeck.model.records import Entry
from quarterdeck.store import engine, journal, meta, rows, schema, tables, writer
from quarterdeck.store.chain import canonical
from quarterdeck.store.store import Store

from .conftest import ACTOR


def test_a_write_is_there_after_reopening(store, home, clock, note):
    note(store, 3)
    store.close()
    again = Store.open(home, clock)
    with again.read() as connection:
        assert [one.seq for one in journal.read(connection)] == [1, 2, 3]
    again.close()


def test_the_writing_connection_is_durable(store):
    with store._now.writing.connect() as connection:
        raw = engine.driver(connection)
        assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert raw.execute("PRAGMA synchronous").fetchone() == (2,)
        assert raw.execute("PRAGMA wal_autocheckpoint").fetchone() == (0,)


def test_a_database_that_cannot_be_durable_is_refused(tmp_path, monkeypatch):
    real = engine._open
    monkeypatch.setattr(engine, "_open", lambda path, query, *pragmas: real(path, query, "synchronous=OFF"))
    with pytest.raises(Terminal, match="would not be durable"):
        engine.writable(tmp_path / "x.db").connect()


def test_what_one_request_raises_fails_only_that_one(store):
    begun, gate = threading.Event(), threading.Event()
    entry = Entry(ACTOR, "test.note", "x")

    def bad(tx):
        journal.append(tx, entry)
        meta.put(tx, "lost", "yes")
        raise Conflict("no")

    async def together():
        blocker = asyncio.ensure_future(store.write(lambda tx: (begun.set(), gate.wait(10))))
        await asyncio.to_thread(begun.wait, 10)
        writes = [store.write(lambda tx: journal.append(tx, entry)), store.write(bad), store.write(lambda tx: journal.append(tx, entry))]
        waiting = asyncio.gather(*writes, return_exceptions=True)
        await asyncio.sleep(0)  # each of the three has queued its request
        assert store._now.writer._queue.qsize() == 3
        gate.set()
        await blocker
        return await waiting

    before = store._now.writer.groups
    first, failed, second = asyncio.run(together())
    assert isinstance(failed, Conflict)
    assert (first.seq, second.seq, second.prev) == (1, 2, first.hash)
    assert store._now.writer.groups == before + 2, "the three must have shared one commit"
    with store.read() as connection:
        assert meta.get(connection, "lost") is None
        assert len(journal.read(connection)) == 2


def test_readers_cannot_write(store):
    with store.read() as connection, pytest.raises(Exception, match="readonly"):
        connection.execute(text("DELETE FROM journal"))


def test_a_read_is_one_snapshot(store, note):
    note(store)
    with store.read() as connection:
        assert journal.head(connection).seq == 1
        note(store)
        assert journal.head(connection).seq == 1


def test_the_second_opener_is_refused_and_told_who_was_first(store, home, clock):
    began = time.monotonic()
    with pytest.raises(Conflict, match=r"pid \d+, since 2023-11-14T22:13:20.000Z"):
        Store.open(home, clock)
    assert time.monotonic() - began < 1


def test_closing_lets_the_next_one_in_and_can_be_repeated(store, home, clock):
    store.close()
    store.close()
    Store.open(home, clock).close()
    with pytest.raises(Terminal, match="closed"):
        store.sizes()


def test_read_only_reads_and_refuses_writes(store, home, clock, note):
    note(store, 2)
    store.close()
    reading = Store.open(home, clock, read_only=True)
    assert not reading.writable
    assert "read only" in reading.reason
    with reading.read() as connection:
        assert journal.head(connection).seq == 2
    with pytest.raises(StoreReadOnly):
        reading.write_sync(lambda tx: None)
    assert reading.try_become_writable()
    assert note(reading)[0].seq == 3
    reading.close()


def test_read_only_of_nothing_is_not_found(home, clock):
    with pytest.raises(NotFound):
        Store.open(home, clock, read_only=True)
    Store.open(home, clock).close()  # and the lock was given back


def test_too_many_waiting_writes_are_refused(store, monkeypatch):
    monkeypatch.setattr(writer, "WAITING", 2)
    gate = threading.Event()
    blocker = store._submit(lambda tx: gate.wait(10))
    while not blocker.running():
        time.sleep(0.001)
    waiting = [store._submit(lambda tx: None) for _ in range(2)]
    with pytest.raises(Transient, match="cannot keep up"):
        store.write_sync(lambda tx: None)
    gate.set()
    assert [one.result(10) for one in waiting] == [None, None]


def test_a_write_inside_a_write_is_refused_at_once(store):
    with pytest.raises(RuntimeError, match="wait for itself"):
        store.write_sync(lambda tx: store.write_sync(lambda inner: None))


def test_a_cancelled_write_that_has_not_begun_never_runs(store):
    gate = threading.Event()
    blocker = store._submit(lambda tx: gate.wait(10))
    ran = []

    async def cancelled():
        one = asyncio.ensure_future(store.write(lambda tx: ran.append(1)))
        await asyncio.sleep(0)
        one.cancel()
        await asyncio.gather(one, return_exceptions=True)

    asyncio.run(cancelled())
    gate.set()
    blocker.result(10)
    store.write_sync(lambda tx: None)
    assert ran == []


def test_an_unanswered_write_is_unknown(store, monkeypatch):
    monkeypatch.setattr("quarterdeck.store.store.WRITE_DEADLINE", 0.05)
    gate = threading.Event()
    with pytest.raises(Transient, match="unknown"):
        store.write_sync(lambda tx: gate.wait(10))
    with pytest.raises(Transient, match="unknown"):
        asyncio.run(store.write(lambda tx: None))
    gate.set()


def test_subscribers_wake_when_the_journal_grew_and_only_then(store, note):
    async def follow():
        with store.subscribe() as grown:
            assert not await grown.wait(0.05)
            await store.write(lambda tx: meta.put(tx, "a", "b"))
            assert not await grown.wait(0.05), "nothing was journalled"
            await asyncio.to_thread(note, store)
            assert await grown.wait(5)
            assert not await grown.wait(0.05)

    asyncio.run(follow())
    assert store._growth._waiting == set()


def test_a_subscriber_whose_loop_ended_is_dropped(store, note):
    async def leave():
        return store.subscribe()

    asyncio.run(leave())
    note(store, 2)
    store.write_sync(lambda tx: None)
    assert store._growth._waiting == set()


def test_sizes_show_limits(store, note):
    note(store, 3, after={"a": 1})
    sizes = store.sizes()
    assert sizes["journal_records"] == 3
    assert 0 < sizes["journal_bytes"] < sizes["journal_bytes_limit"]
    assert sizes["database_bytes"] + sizes["wal_bytes"] > 0


def test_warm_open_is_fast_and_does_not_import_alembic(store, home, clock, monkeypatch, slowness):
    store.close()
    monkeypatch.setattr(schema, "_upgrade", lambda connection: pytest.fail("nothing to migrate"))
    times = []
    for _ in range(3):
        began = time.perf_counter()
        again = Store.open(home, clock)
        times.append(time.perf_counter() - began)
        again.close()
    assert min(times) < 0.15 * slowness(), times


def test_migrations_build_exactly_the_tables(store):
    assert ScriptDirectory(str(schema.FOLDER)).get_current_head() == schema.HEAD
    with store._now.writing.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []


def test_a_migration_that_fails_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "x.db"
    made = engine.writable(path)

    def half(connection):
        connection.execute(text("CREATE TABLE journal (seq INTEGER)"))
        raise OSError("killed here")

    monkeypatch.setattr(schema, "_upgrade", half)
    with pytest.raises(OSError, match="killed here"):
        schema.migrate(made)
    monkeypatch.undo()
    assert schema.migrate(made)
    assert not schema.migrate(made)
    made.dispose()


def at_schema(path, revision):
    """A database as an earlier version left it."""
    made = engine.writable(path)
    config = Config()
    config.set_main_option("script_location", str(schema.FOLDER))
    with made.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    return made


def test_tokens_of_the_first_schema_are_still_good_and_an_altered_one_is_not_made_so(tmp_path):
    made = at_schema(tmp_path / "x.db", "0001")
    row = {"role": "admin", "hash": "ab", "note": "é", "created": 1.0, "expires": 2.0, "once": False, "revoked": None}
    insert = text("INSERT INTO tokens VALUES (:id, :role, :hash, :note, :created, :expires, :once, :revoked, :sum)")
    with made.begin() as connection:
        for id_, role in (("good", "viewer"), ("altered", "admin")):
            total = hashlib.sha256(f"tokens\n{canonical({'id': id_, **row, 'role': 'viewer'})}".encode()).hexdigest()[:32]
            connection.execute(insert, {"id": id_, **row, "role": role, "sum": total})
    assert schema.migrate(made)
    with made.connect() as connection:
        found = rows.one(connection, tables.tokens, id="good")
        assert (found["role"], found["cluster"], found["system"], found["used"], found["user"]) == ("viewer", None, None, None, "")
        with pytest.raises(Terminal, match="does not match its checksum"):
            rows.one(connection, tables.tokens, id="altered")
    made.dispose()


def test_a_database_of_a_newer_version_is_refused(store, home, clock):
    store.write_sync(lambda tx: tx.connection.execute(text("UPDATE alembic_version SET version_num='9999'")))
    store.close()
    with pytest.raises(Terminal, match="cannot be brought"):
        Store.open(home, clock)
    with pytest.raises(Terminal, match="9999"):
        Store.open(home, clock, read_only=True)


def test_an_altered_row_is_never_served(triage):
    triage.write_sync(lambda tx: tx.connection.execute(text("UPDATE revisions SET spec='other'")))
    from quarterdeck.store import revisions  # noqa: PLC0415

    with triage.read() as connection, pytest.raises(Terminal, match="checksum"):
        revisions.current(connection, "triage")
    triage.write_sync(lambda tx: tx.connection.execute(text("UPDATE revisions SET spec=x'00ff'")))
    with triage.read() as connection, pytest.raises(Terminal, match="checksum"):
        revisions.current(connection, "triage")
