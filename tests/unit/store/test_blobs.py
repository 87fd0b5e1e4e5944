"""Large bodies as files: written whole or not at all, read as they were written or not at all, and gone when nothing refers to them."""

import errno
import hashlib
import os
import threading

import pytest
from sqlalchemy import select, text

from quarterdeck.errors import Conflict, NotFound, StoreReadOnly, Terminal
from quarterdeck.model.blobs import MOST_BLOB, Ref
from quarterdeck.model.work import Order, Target, TooLarge
from quarterdeck.store import blobs as module
from quarterdeck.store import orders, tables
from quarterdeck.store.blobs import Blobs

CONTENT = b'"' + b"x" * 500_000 + b'"'
REF = Ref.of(CONTENT)
DAY = 86_400.0


@pytest.fixture
def blobs(tmp_path):
    made = Blobs(tmp_path / "blobs", spare=0)
    made.open()
    return made


def keep(blobs, content=CONTENT, system="s", wanted=None):
    draft = blobs.draft(system)
    try:
        draft.write(content)
        return draft.keep(wanted)
    finally:
        draft.drop()


def files(folder):
    return sorted(str(path.relative_to(folder / "blobs")) for path in (folder / "blobs").rglob("*") if path.is_file())


def test_the_same_content_is_one_file_and_there_after_a_restart(blobs, tmp_path):
    assert keep(blobs) == keep(blobs, wanted=REF) == REF
    assert files(tmp_path) == [f"s/{REF.digest[:2]}/{REF.digest}"]
    assert (tmp_path / "blobs" / files(tmp_path)[0]).stat().st_mode & 0o777 == 0o600
    again = Blobs(tmp_path / "blobs")
    again.open()
    assert again.holds("s", REF)
    assert again.read("s", REF, 499_998, 10) == b'xxx"'


def test_what_another_system_has_is_not_there(blobs):
    keep(blobs)
    assert not blobs.holds("t", REF)
    for ask in (lambda: blobs.use("t", REF), lambda: blobs.read("t", REF, 0, 1), lambda: blobs.check("t", REF)):
        with pytest.raises(NotFound, match="there is no blob"):
            ask()


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "/etc", "s\n", "S", "x" * 64, "s\0"])
def test_no_name_leads_out_of_the_folder(blobs, tmp_path, name):
    for ask in (lambda: blobs.draft(name), lambda: blobs.use(name, REF), lambda: blobs.read(name, REF, 0, 1)):
        with pytest.raises(NotFound, match="there is no system"):
            ask()
    assert files(tmp_path) == []


@pytest.mark.parametrize("harm", [lambda text: text[:-1], lambda text: text + b"x", lambda text: b"[" + text[1:], lambda _: b""])
def test_a_damaged_file_is_an_error_that_says_so_until_the_content_is_put_again(blobs, tmp_path, harm):
    keep(blobs)
    path = tmp_path / "blobs" / files(tmp_path)[0]
    path.write_bytes(harm(CONTENT))
    with pytest.raises(Terminal, match=f"the file of blob sha256:{REF.digest}:{REF.size} is damaged"):
        blobs.check("s", REF)
    assert not blobs.holds("s", REF)
    keep(blobs)
    assert blobs.holds("s", REF)


def test_a_file_that_cannot_be_read_says_so(blobs, tmp_path):
    keep(blobs)
    path = tmp_path / "blobs" / files(tmp_path)[0]
    path.unlink()
    path.mkdir()
    with pytest.raises(Terminal, match="cannot be read: Is a directory"):
        blobs.check("s", REF)


def test_another_content_than_wanted_leaves_nothing(blobs, tmp_path):
    with pytest.raises(Conflict, match=f"what came is sha256:{hashlib.sha256(b'1').hexdigest()}:1, not"):
        keep(blobs, b"1", wanted=REF)
    assert files(tmp_path) == []


def test_too_much_leaves_nothing(blobs, tmp_path):
    draft = blobs.draft("s")
    draft.size = MOST_BLOB - 1
    draft.write(b"x")
    with pytest.raises(TooLarge, match="more than 67,108,864 bytes"):
        draft.write(b"x")
    draft.drop()
    assert files(tmp_path) == []


def test_the_database_keeps_its_room(tmp_path):
    full = Blobs(tmp_path / "blobs", spare=1 << 62)
    full.open()
    with pytest.raises(StoreReadOnly, match="no room"):
        keep(full)
    assert files(tmp_path) == []


@pytest.mark.parametrize("broken", ["write_all", "sync_folder", "fsync"])
def test_a_failing_disk_is_told_and_leaves_nothing(blobs, tmp_path, monkeypatch, broken):
    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    draft = blobs.draft("s")
    monkeypatch.setattr(*((module.os, broken) if broken == "fsync" else (module, broken)), fail)

    def kept():
        draft.write(CONTENT)
        draft.keep()

    with pytest.raises(StoreReadOnly, match="Input/output error"):
        kept()
    draft.drop()
    assert files(tmp_path) == []


def test_what_was_under_way_is_gone_after_a_restart(blobs, tmp_path):
    blobs.draft("s").write(CONTENT)
    assert len(files(tmp_path)) == 1
    blobs.open()
    assert files(tmp_path) == []


def test_only_what_is_old_and_referred_to_by_nothing_goes(blobs, tmp_path):
    old, kept, fresh = (keep(blobs, content) for content in (b"1", b"2", b"3"))
    for ref in (old, kept):
        os.utime(tmp_path / "blobs" / "s" / ref.digest[:2] / ref.digest, (1000, 1000))
    asked = []

    def referred(refs):
        asked.extend(refs)
        return {kept.body}

    assert blobs.sweep(referred, 2000) == 1
    assert set(asked) == {old, kept}
    assert [blobs.holds("s", ref) for ref in (old, kept, fresh)] == [False, True, True]


def test_what_is_used_while_it_is_swept_stays(blobs, tmp_path):
    """Between the look at the rows and the end of the file, somebody is told that it is there."""
    ref = keep(blobs)
    os.utime(tmp_path / "blobs" / files(tmp_path)[0], (1000, 1000))

    def referred(_):
        user = threading.Thread(target=blobs.use, args=("s", ref))
        user.start()
        user.join()
        return set()

    assert blobs.sweep(referred, 2000) == 0
    assert blobs.holds("s", ref)


def test_every_column_that_has_bodies_is_looked_at_through_an_index(work):
    refs = [Ref.of(b"%d" % n) for n in range(300)]
    work.turn(lambda turn: orders.submit(turn, Order(Target("s", "c", "a"), refs[7].body), "me"))
    work.turn(lambda turn: orders.submit(turn, Order(Target("s", "c", "a"), "7"), "me"))
    with work.store.read() as connection:
        assert module.referred(connection, refs) == {refs[7].body}
        for column in module._COLUMNS:
            query = select(column).where(text(tables.IS_REF.format(column.name)), column.in_(["a", "b"]))
            plan = connection.execute(text(f"EXPLAIN QUERY PLAN {query.compile(compile_kwargs={'literal_binds': True})}"))
            assert f"ix_{column.table.name}_refs" in str(plan.all())
