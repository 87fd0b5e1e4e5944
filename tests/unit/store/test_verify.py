"""Forgers who know the format: they cut, change, rehash and rewrite totals, but have no key; or they have one of their own."""
# ruff: noqa: S608 raw SQL on a test database

import json
import sqlite3

import pytest
from nacl.signing import SigningKey

from quarterdeck.model.records import Entry
from quarterdeck.store import audit, export, headfile, journal, keeper, keys, schema
from quarterdeck.store.chain import EMPTY, GENESIS, Head, canonical, link
from quarterdeck.store.engine import writable
from quarterdeck.store.store import Store
from quarterdeck.store.verify import verify, verify_home

from .conftest import ACTOR


def append(store, count):
    """In one commit."""
    store.write_sync(lambda tx: [journal.append(tx, Entry(ACTOR, "test.note", "x", after={"n": n})) for n in range(count)])


@pytest.fixture
def lived(home, clock):
    """A stopped home with 223 records and two checkpoints, over two minutes."""
    store = Store.open(home, clock)
    append(store, 200)
    clock.advance(keeper.EVERY + 1)
    append(store, 0)
    append(store, 23)
    store.close()
    return home


@pytest.fixture
def key(lived):
    return keys.published(lived.keys)


@pytest.fixture
def exported(lived, clock):
    """The lines of an export, as values."""
    store = Store.open(lived, clock)
    with store.read() as connection:
        lines = [json.loads(line) for line in export.export(connection, keys.held(lived.keys))]
    store.close()
    return lines


@pytest.fixture
def judged(tmp_path):
    """The verdict on lines."""

    def judge(lines, **kwargs):
        path = tmp_path / "journal.jsonl"
        path.write_text("".join(canonical(line) + "\n" for line in lines))
        return verify(path, **kwargs)

    return judge


def forged(lines, *, count=None, **fields):
    """The first `count` records with other fields, all rehashed; no checkpoint; totals that fit, the signature of the export kept."""
    header, *middle, end = lines
    records, prev = [line for line in middle if line["kind"] == "record"][:count], GENESIS
    for line in records:
        line.update(fields, prev=prev)
        prev = line["hash"] = link(line)
    return [header, *records, {**end, "records": len(records), "checkpoints": 0, "seq": len(records), "hash": prev}]


def without_signature(lines):
    return [*lines[:-1], {name: value for name, value in lines[-1].items() if name not in {"key", "signature"}}]


def signed_by(lines, signer):
    return [*lines[:-1], export.sign(without_signature(lines)[-1], signer)]


FORGERIES = {"cut": {"count": 150}, "changed": {"actor": "nobody"}}


@pytest.mark.parametrize("how", FORGERIES)
@pytest.mark.parametrize("with_key", [False, True])
def test_an_export_that_was_forged_is_found_whether_its_signature_is_kept_or_dropped(exported, judged, key, how, with_key):
    lines, given = forged(exported, **FORGERIES[how]), key if with_key else None
    kept = judged(lines, key=given)
    assert len(kept.problems) == 1
    assert "the signature of the export's head" in kept.problems[0]
    dropped = judged(without_signature(lines), key=given)
    assert len(dropped.problems) == 1
    assert "is not signed, so that it cannot be told from a forged one" in dropped.problems[0]
    assert (dropped.key, dropped.signed) == ("", 0)


@pytest.mark.parametrize("how", FORGERIES)
def test_a_forger_with_a_key_of_his_own_is_found_by_the_homes_key_and_named_without_it(exported, judged, key, how):
    his = SigningKey.generate()
    lines = signed_by(forged(exported, **FORGERIES[how]), his)
    assert judged(lines, key=key).problems == (f"the export's head is signed by another key than expected: {keys.public(his)}",)
    alone = judged(lines)
    assert alone.ok
    assert f"signed by the key {keys.public(his)}; compare that" in alone.unproven[0]


def test_a_good_export_is_proven_by_the_key_or_says_what_is_not(exported, judged, key):
    alone, proven = judged(exported), judged(exported, key=key)
    assert (alone.ok, alone.key, alone.signed, len(alone.unproven)) == (True, key, 223, 1)
    assert key in alone.unproven[0]
    assert (proven.ok, proven.signed, proven.unproven) == (True, 223, ())
    assert judged(exported, key="00" * 32).problems[0] == "checkpoint 1 is signed by another key than expected"


def test_an_export_of_which_only_totals_or_checkpoints_were_changed_is_found(exported, judged):
    for change in ({"checkpoints": 1}, {"note": "x"}, {"key": "00" * 32}, {"signature": "00" * 64}):
        assert not judged([*exported[:-1], {**exported[-1], **change}]).ok, change
    assert "does not agree" in judged([exported[0], exported[-1]]).problems[0], "every record dropped, the true end kept"
    for half in ("key", "signature"):
        assert "is not signed" in judged([*exported[:-1], {k: v for k, v in exported[-1].items() if k != half}]).problems[0]


def test_an_export_from_before_its_last_records_is_missed_by_a_head_kept_elsewhere(exported, judged, lived, clock, key, note):  # noqa: PLR0917
    store = Store.open(lived, clock)
    (last,) = note(store)
    store.close()
    assert judged(exported, key=key).ok, "it was a true one"
    assert "cut off" in judged(exported, key=key, expected_head=Head(last.seq, last.hash, last.at)).problems[0]


def change(home, *statements):
    with sqlite3.connect(home.database) as raw:
        for statement in statements:
            raw.execute(statement)
    raw.close()


def cut(seq):
    return [f"DELETE FROM {table} WHERE seq>{seq}" for table in ("journal", "payloads", "checkpoints")]


@pytest.mark.parametrize("statements", [cut(150), cut(200), ["DELETE FROM checkpoints"], [*cut(150), "DELETE FROM checkpoints"]])
def test_a_home_cut_back_or_without_checkpoints_is_found_with_and_without_its_head_file(lived, key, statements):
    assert verify_home(lived).ok
    change(lived, *statements)
    assert not verify_home(lived).ok
    (lived.root / headfile.NAME).unlink()
    for given in (None, key):
        assert "the head file journal.head is gone" in verify_home(lived, key=given).problems[-1]


def test_a_home_that_lost_its_head_file_alone_says_what_to_do(lived, clock):
    (lived.root / headfile.NAME).unlink()
    assert "Was this home restored? Then the next start makes a new one" in verify_home(lived).problems[0]
    Store.open(lived, clock).close()
    assert verify_home(lived).ok


def without_checkpoints(home):
    """As a forger would: the head file says that there never was one."""
    change(home, "DELETE FROM checkpoints")
    last = headfile.last(home.root / headfile.NAME)
    (home.root / headfile.NAME).write_bytes(headfile.Line(last.head, 0).text())


def test_a_journal_of_hours_without_a_checkpoint_is_found(home, clock):
    store = Store.open(home, clock)
    append(store, 3)
    clock.advance(3600 * audit._OVERDUE + 1)
    append(store, 3)
    store.close()
    without_checkpoints(home)
    assert verify_home(home).problems[0].startswith("there is no checkpoint in 1.0 hours of records")


def test_a_long_journal_without_a_checkpoint_is_found(home, clock, monkeypatch):
    store = Store.open(home, clock)
    append(store, 50)
    store.close()
    without_checkpoints(home)
    assert verify_home(home).ok, "a first minute may look like this: only a key or a head kept elsewhere tells"
    for nothing in (None, EMPTY):
        told = verify_home(home, key=keys.published(home.keys), expected_head=nothing)
        assert "nothing here is signed by the key" in told.problems[0]
    monkeypatch.setattr(audit, "SEGMENT", 50)
    assert verify_home(home).problems[0].startswith("records 1 to 50 are in no checkpoint")


def test_a_segment_is_never_longer_than_the_verifier_allows(store, home, monkeypatch):
    monkeypatch.setattr(keeper, "SEGMENT", 20)
    monkeypatch.setattr(audit, "SEGMENT", 20)
    for count in (19, 1, 7, 45, 19):
        append(store, count)
        assert verify_home(home).ok, count


def test_a_journal_that_was_emptied_under_an_applied_system_is_found(triage, home):
    triage.close()
    change(home, *cut(0))
    (home.root / headfile.NAME).unlink()
    assert verify_home(home).problems == ("the journal is empty, though a system was applied: its records were removed",)


def test_a_home_in_its_first_moments_verifies(home, clock, note):
    home.root.mkdir()
    home.database.touch()
    schema.migrate(writable(home.database))
    assert verify_home(home).ok, "killed before the head file was made"
    store = Store.open(home, clock)
    assert verify_home(home).ok
    record = note(store, 2)[-1]
    fresh = verify_home(home)
    assert (fresh.ok, fresh.key, fresh.signed, fresh.unproven) == (True, "", 0, ())
    kept = Head(record.seq, record.hash, record.at)
    assert verify_home(home, expected_head=kept, key=keys.published(home.keys)).ok, "a head kept elsewhere proves what nobody signed yet"
    store.close()
    assert verify_home(home).signed == 2


def test_a_database_without_its_head_file_says_that_a_cut_end_would_not_be_seen(lived):
    alone = verify(lived.database)
    assert alone.ok
    assert "cut off the end" in alone.unproven[0]
    assert verify_home(lived).unproven == ()


def test_an_export_needs_the_key_that_the_home_has(lived):
    (lived.keys / keys.SEED_FILE).unlink()
    with pytest.raises(Exception, match="signing key is gone") as refused:
        keys.held(lived.keys)
    assert "restore keys/journal.seed" in refused.value.hint
    assert not (lived.keys / keys.SEED_FILE).exists()


def test_the_proof_is_the_head_and_the_key(triage, home):
    with triage.read() as connection:
        head = journal.head(connection)
        found = export.proof(connection, home.keys)
    assert (found["seq"], found["hash"], found["key"]) == (head.seq, head.hash, keys.published(home.keys))
