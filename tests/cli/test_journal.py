"""`qd journal head`, `export` and `verify` on a home at rest: nobody answers, the store itself is read and not changed."""

import json
import sqlite3
import time

import pytest

from quarterdeck.clock import SystemClock, VirtualClock
from quarterdeck.model.records import Actor, Entry
from quarterdeck.store import headfile, journal, keys, lock
from quarterdeck.store.store import Store


@pytest.fixture
def rested(home):
    """A home that was stopped after nine records."""
    store = Store.open(home, VirtualClock())
    for n in range(9):
        store.write_sync(lambda tx, n=n: journal.append(tx, Entry(Actor("uid:0", "socket"), "test", "x", after=n)))
    store.close()
    return home


@pytest.fixture
def kept(rested, qd, tmp_path):
    """What `qd journal head` gave, in a file."""
    path = tmp_path / "head.json"
    path.write_text(qd("journal", "head", "-o", "json").out)
    return path


@pytest.fixture
def exported(rested, qd, tmp_path):
    assert qd("journal", "export", tmp_path / "journal.jsonl").code == 0
    return tmp_path / "journal.jsonl"


def test_head_and_export_need_no_control_plane_and_change_nothing(rested, qd):
    before = {path.name: path.read_bytes() for path in rested.root.iterdir() if path.is_file() and path.name != "store.lock"}
    head, exported = qd("journal", "head", "-o", "json"), qd("journal", "export")
    assert (head.code, exported.code, head.err, exported.err) == (0, 0, "", "")
    assert (head.json["seq"], head.json["key"]) == (9, keys.published(rested.keys))
    assert json.loads(exported.out.splitlines()[-1])["hash"] == head.json["hash"]
    assert qd("journal", "head").out.startswith(f"9 {head.json['hash']} ")
    assert {path.name: path.read_bytes() for path in rested.root.iterdir() if path.is_file() and path.name != "store.lock"} == before


def test_where_there_is_no_store_or_somebody_starts_they_say_that_nobody_answers(home, qd):
    for verb in ("head", "export"):
        ran = qd("journal", verb)
        assert (ran.code, ran.out) == (5, "")
        assert "no control plane answers" in ran.err
    assert list(home.root.iterdir()) == []
    Store.open(home, VirtualClock()).close()
    held = lock.take(home.root / "store.lock", SystemClock())
    assert (qd("journal", "head").code, qd("journal", "export").code) == (5, 5)
    held.release()
    assert qd("journal", "head").code == 0


def test_a_damaged_store_is_no_traceback(rested, qd):
    rested.database.write_bytes(b"SQLite format 3\0" + b"x" * 8192)
    ran = qd("journal", "head")
    assert ran.code == 1
    assert ran.err.startswith("error: the store cannot be read: ")
    assert "hint: run this as the owner of the home; qd journal verify says" in ran.err


def test_an_export_without_the_homes_key_is_refused(rested, qd):
    (rested.keys / keys.SEED_FILE).unlink()
    ran = qd("journal", "export")
    assert (ran.code, ran.out) == (3, "")
    assert "the journal's signing key is gone" in ran.err


def test_an_export_is_verified_with_what_was_kept_elsewhere_and_alone_is_not_called_so(rested, qd, exported, kept):
    alone = qd("journal", "verify", exported)
    key = keys.published(rested.keys)
    assert alone.code == 0
    assert "✔ verified" not in alone.out
    assert f"! not proven: who made it: it is signed by the key {key}; compare that with keys/journal.pub" in alone.out
    assert f"! sound in itself: 9 records, head 9 {json.loads(kept.read_text())['hash'][:16]}, signed up to record 9" in alone.out
    assert qd("journal", "verify", exported, "-o", "name").out == "unproven\n"
    for given in (("--key", key), ("--head", kept)):
        assert qd("journal", "verify", exported, *given).out.startswith("✔ verified: 9 records")
    document = qd("journal", "verify", exported, "--key", key, "-o", "json").json
    assert (document["ok"], document["key"], document["signed"], document["unproven"]) == (True, key, 9, [])


def test_the_key_in_a_head_that_was_kept_counts_and_an_older_one_has_none(qd, exported, kept):
    head = json.loads(kept.read_text())
    kept.write_text(json.dumps({**head, "key": "00" * 32}))
    assert "signed by another key than expected" in qd("journal", "verify", exported, "--head", kept).out
    kept.write_text(json.dumps({name: head[name] for name in ("seq", "hash")}))
    assert "! not proven: who made it" in qd("journal", "verify", exported, "--head", kept).out


def test_an_export_without_its_signature_is_refused(qd, exported, kept):
    *lines, end = exported.read_text().splitlines(keepends=True)
    bare = {name: value for name, value in json.loads(end).items() if name not in {"key", "signature"}}
    exported.write_text("".join([*lines, json.dumps(bare, sort_keys=True, separators=(",", ":")) + "\n"]))
    for given in ((), ("--head", kept)):
        ran = qd("journal", "verify", exported, *given)
        assert ran.code == 1
        assert "the export is not signed, so that it cannot be told from a forged one" in ran.out


def test_a_home_that_was_cut_without_its_head_file_is_refused(rested, qd):
    assert qd("journal", "verify").out.startswith("✔ verified: 9 records, head 9 ")
    with sqlite3.connect(rested.database) as raw:
        raw.executescript("DELETE FROM checkpoints; DELETE FROM journal WHERE seq>5; DELETE FROM payloads WHERE seq>5")
    raw.close()
    (rested.root / headfile.NAME).unlink()
    ran = qd("journal", "verify")
    assert ran.code == 1
    assert "✘ the head file journal.head is gone" in ran.out
    assert "head 5 " in ran.out
    assert ran.out.endswith("none of them signed\n")


def test_a_time_is_read_back_in_the_zone_in_which_it_was_printed(fake, qd, documents, monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    fake.answers["GET", "/v1/journal"] = documents.listed([{**documents.record(7), "at": "2026-11-24T16:12:01.250Z"}])
    assert "2026-11-24 11:12:01.250" in qd("journal").out
    qd("journal", "--since", "2026-11-24 11:12:01.250", "--until", "2026-11-24T16:12:02Z")
    asked, _ = fake.asked("GET", "/v1/journal")[-1]
    assert (asked["since"], asked["until"]) == ("2026-11-24T16:12:01.250Z", "2026-11-24T16:12:02.000Z")
