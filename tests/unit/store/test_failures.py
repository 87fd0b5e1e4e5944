"""A failing disk under the store, injected; the real full disk is in tests/scenarios."""
# ruff: noqa: ARG005 callbacks keep the real signature

import os
import sqlite3
import threading

import pytest
from sqlalchemy import event, text

from quarterdeck.errors import StoreReadOnly, Terminal, Transient
from quarterdeck.store import engine, journal, recover
from quarterdeck.store.recover import Marker, Places
from quarterdeck.store.store import EXIT_STORE_FAILED, Store
from quarterdeck.store.verify import verify


def broken_disk(code=sqlite3.SQLITE_IOERR_FSYNC):
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    return error


def fail_commits(store, code=sqlite3.SQLITE_IOERR_FSYNC):
    def refuse(connection):
        raise broken_disk(code)

    event.listen(store._now.writing, "commit", refuse)


@pytest.fixture
def failed(home, clock, note):
    """A home whose store failed on a commit after five good records."""
    told = []
    store = Store.open(home, clock, on_fatal=told.append)
    note(store, 5)
    fail_commits(store)
    with pytest.raises(Transient, match="unknown"):
        note(store)
    store._now.writer.thread.join(10)
    assert len(told) == 1
    store.close()
    yield home
    del told[:]  # until here it holds the broken connection, as a dying process would: closing it would fold the log away


def test_exit_code():
    assert EXIT_STORE_FAILED == os.EX_IOERR


def test_a_failed_commit_answers_everybody_unknown_and_ends_writing(home, clock, note):
    told = threading.Event()
    store = Store.open(home, clock, on_fatal=lambda error: told.set())
    gate = threading.Event()
    fail_commits(store)
    running = store._submit(lambda tx: gate.wait(10))
    waiting = [store._submit(lambda tx: None) for _ in range(5)]
    gate.set()
    for one in (running, *waiting):
        error = one.exception(10)
        assert type(error) is Transient
        assert "unknown" in str(error)
    assert told.wait(10)
    assert not store.writable
    with pytest.raises(StoreReadOnly, match="a commit failed"):
        note(store)
    assert not store.try_become_writable(), "never on the same file in the same process"
    store.close()


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_CORRUPT])
def test_a_disk_error_inside_a_request_fails_the_whole_group(home, clock, note, code):
    told = []
    store = Store.open(home, clock, on_fatal=told.append)

    def work(tx):
        try:
            raise broken_disk(code)
        except sqlite3.Error as error:
            raise ValueError("wrapped by somebody") from error

    with pytest.raises(Transient, match="unknown"):
        store.write_sync(work)
    store._now.writer.thread.join(10)
    assert len(told) == 1
    assert Marker(home.root / "store.state").get().startswith("failed")
    store.close()


def test_a_transaction_that_ended_by_itself_is_never_acknowledged(home, clock):
    store = Store.open(home, clock)
    with pytest.raises(Transient, match="unknown"):
        store.write_sync(lambda tx: engine.driver(tx.connection).execute("ROLLBACK"))
    store._now.writer.thread.join(10)
    store.close()


def test_the_next_start_copies_verifies_and_keeps_the_old_file(failed, clock, note):
    before, log = failed.database.stat().st_ino, Places(failed.database).beside("-wal").stat().st_ino
    store = Store.open(failed, clock)
    assert store.writable
    assert failed.database.stat().st_ino != before
    assert Places(failed.database).kept.stat().st_ino == before
    assert Places(failed.database).beside(".failed-wal").stat().st_ino == log, "the old log must never meet the new database"
    with store.read() as connection:
        verbs = [one.verb for one in journal.read(connection)]
    assert verbs[:5] == ["test.note"] * 5
    assert verbs[-1] == "store.recovered"
    note(store)
    assert store.sizes()["kept_after_failure_bytes"] > 0
    store.close()
    assert verify(failed.database, head_file=failed.root / "journal.head").ok
    assert Marker(failed.root / "store.state").get() == "ok"
    Store.open(failed, clock).close()


@pytest.mark.parametrize("step", ["replace", "hardlink_to", "unlink"])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_crash_at_any_step_of_the_recovery_is_repeated_to_the_same_end(failed, clock, monkeypatch, step, nth):
    calls = []
    real = getattr(recover.Path, step)

    def crash(self, *args, **kwargs):
        if self.name.startswith("quarterdeck.db"):
            calls.append(self)
            if len(calls) == nth:
                raise KeyboardInterrupt
        return real(self, *args, **kwargs)

    monkeypatch.setattr(recover.Path, step, crash)
    try:
        Store.open(failed, clock).close()
    except KeyboardInterrupt:
        monkeypatch.undo()
        store = Store.open(failed, clock)
        assert store.writable
        store.close()
    assert verify(failed.database, head_file=failed.root / "journal.head").ok
    assert Places(failed.database).kept.exists()
    assert not Places(failed.database).copy.exists()


def test_without_room_for_the_copy_it_opens_read_only_and_mends_itself_later(failed, clock, monkeypatch, note):
    monkeypatch.setattr(recover, "_SPARE", 1 << 60)
    store = Store.open(failed, clock)
    assert not store.writable
    assert "disk is full" in store.reason
    with store.read() as connection:
        assert journal.head(connection).seq == 5
    with pytest.raises(StoreReadOnly, match="disk is full"):
        note(store)
    assert not store.try_become_writable()
    monkeypatch.undo()
    assert store.try_become_writable()
    assert [one.verb for one in note(store)] == ["test.note"]
    store.close()


def test_a_copy_that_does_not_verify_is_refused_and_nothing_is_replaced(failed, clock):
    raw = sqlite3.connect(failed.database)
    raw.execute("UPDATE journal SET reason='forged' WHERE seq=3")
    raw.commit()
    raw.close()
    inode = failed.database.stat().st_ino
    with pytest.raises(Terminal, match="does not match its hash"):
        Store.open(failed, clock)
    assert failed.database.stat().st_ino == inode
    assert not Places(failed.database).copy.exists()


def test_a_locked_database_is_not_now_and_nothing_is_lost(store, home, note, monkeypatch):
    with store._now.writing.connect() as connection:
        engine.driver(connection).execute("PRAGMA busy_timeout=50")
    other = sqlite3.connect(home.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Transient, match="locked by another process"):
        note(store)
    other.execute("ROLLBACK")
    other.close()
    assert [one.seq for one in note(store)] == [1]
    assert store.writable


def test_a_damaged_database_is_refused(store, home, clock):
    store.close()
    home.database.write_bytes(b"SQLite format 3\0" + os.urandom(8192))
    with pytest.raises(Terminal, match="damaged"):
        Store.open(home, clock)


def test_an_older_copy_is_refused(store, home, clock, note):
    note(store, 3)
    store.close()
    older = home.database.read_bytes()
    again = Store.open(home, clock)
    note(again, 2)
    again.close()
    home.database.write_bytes(older)
    with pytest.raises(Terminal, match="older copy"):
        Store.open(home, clock)
    (home.root / "journal.head").unlink()
    Store.open(home, clock).close()


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        ("UPDATE journal SET reason='forged' WHERE seq=3", "does not match its hash"),
        ("DELETE FROM journal WHERE seq=3", "does not follow"),
        ("UPDATE checkpoints SET records=99", "checkpoint 1 was changed"),
        ("DELETE FROM journal WHERE seq>3", "covers record 5, which is not there"),
    ],
)
def test_an_altered_tail_is_found_at_the_start(store, home, clock, note, damage, found):  # noqa: PLR0917 fixtures
    note(store, 5)
    store.close()
    raw = sqlite3.connect(home.database)
    raw.execute(damage)
    raw.commit()
    raw.close()
    with pytest.raises(Terminal, match=found):
        Store.open(home, clock)


def test_an_untouched_read_writes_nothing(store, home, note):
    note(store, 3)
    before = {path.name: path.read_bytes() for path in home.root.iterdir() if path.name.startswith("quarterdeck.db-wal")}
    reading = engine.untouched(home.database)
    with reading.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM journal")).scalar() == 3
        with pytest.raises(Exception, match="readonly"):
            connection.execute(text("DELETE FROM journal"))
    # not disposed before the store is closed: closing a descriptor lifts the POSIX locks of the whole process
    assert {name: (home.root / name).read_bytes() for name in before} == before
    store.close()
    reading.dispose()
