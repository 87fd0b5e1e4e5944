# ruff: noqa: ARG005 callbacks keep the real signature

import json
import time

import pytest
from sqlalchemy import text

from quarterdeck.errors import NotFound, Terminal, UserError
from quarterdeck.model.records import Entry
from quarterdeck.store import checkpoints, headfile, journal, keeper, keys
from quarterdeck.store.chain import EMPTY, GENESIS, Head, canonical
from quarterdeck.store.checkpoints import Limits
from quarterdeck.store.export import export
from quarterdeck.store.store import Store
from quarterdeck.store.verify import verify

from .conftest import ACTOR


def verified(home, **kwargs):
    return verify(home.database, head_file=home.root / "journal.head", **kwargs)


def test_a_record_carries_everything_and_links_to_the_one_before(store, note):
    first = note(store, reason="why", before={"n": 3}, after={"n": 5}, evidence=["a"], outcome="failed", system="triage")[0]
    second = note(store)[0]
    with store.read() as connection:
        assert journal.read(connection) == [first, second]
        assert journal.head(connection) == Head(2, second.hash, second.at)
    assert (first.prev, second.prev) == (GENESIS, first.hash)
    assert (first.actor, first.via, first.before, first.after, first.evidence) == ("uid:0", "socket", {"n": 3}, {"n": 5}, ["a"])
    assert (first.outcome, first.system, second.after) == ("failed", "triage", None)


def test_an_empty_journal_has_an_empty_head_and_verifies(store, home):
    with store.read() as connection:
        assert journal.head(connection) == EMPTY
    assert verified(home).ok


def test_filters(store, note):
    note(store, 2, verb="replica.started", target="a", system="one")
    note(store, 2, verb="replica.exited", target="b", system="two")
    note(store, 1, verb="replica", target="a", system="two")
    with store.read() as connection:

        def seqs(**kwargs):
            return [one.seq for one in journal.read(connection, **kwargs)]

        assert seqs(after=3) == [4, 5]
        assert seqs(limit=2) == [1, 2]
        assert seqs(limit=2, newest_first=True) == [5, 4]
        assert seqs(system="two", target="a") == [5]
        assert seqs(verb="replica.") == [1, 2, 3, 4]
        assert seqs(verb="replica") == [5]
        assert seqs(verb="replic%.") == []


def test_a_span_of_time_begins_with_its_first_second_and_ends_before_its_last(store, note, clock):
    times = []
    for _ in range(3):
        times.append(note(store)[0].at)
        clock.advance(1.0)
    with store.read() as connection:

        def within(**kwargs):
            return [one.at for one in journal.read(connection, **kwargs)]

        assert within(since=times[1]) == times[1:]
        assert within(until=times[1]) == times[:1]
        assert within(since=times[1], until=times[2]) == times[1:2]
        assert within(since=times[2] + 1.0) == []


def test_what_is_no_json_or_too_large_is_refused(store, note):
    for bad, error in ((float("nan"), ValueError), (object(), TypeError), ("x" * (1 << 20), UserError)):
        with pytest.raises(error):
            note(store, after=bad)
    assert note(store)[0].seq == 1


def test_hostile_text_is_kept_as_text(store, home, note):
    note(store, target="a\0b\ud800", reason="x" * 10_000)
    with store.read() as connection:
        (one,) = journal.read(connection)
    assert one.target == "a\ufffdb?"
    assert len(one.reason) == journal.REASON_LIMIT
    assert verified(home).ok


def test_equal_payloads_have_different_digests(store, note):
    note(store, 2, after=True)
    with store.read() as connection:
        assert journal.digests(connection, 1)["after"] != journal.digests(connection, 2)["after"]
        with pytest.raises(NotFound):
            journal.digests(connection, 3)


def test_an_erased_payload_keeps_the_chain_valid_and_an_unexplained_gap_does_not(store, home, note):
    note(store, 3, after={"person": "Ada"})
    with store.read() as connection:
        digest = journal.digests(connection, 2)["after"]
    store.write_sync(lambda tx: journal.erase(tx, digest, ACTOR, "request 17"))
    with store.read() as connection:
        assert [one.after for one in journal.read(connection)][:3] == [{"person": "Ada"}, None, {"person": "Ada"}]
    assert verified(home).ok
    with pytest.raises(NotFound):
        store.write_sync(lambda tx: journal.erase(tx, digest, ACTOR, "again"))
    store.write_sync(lambda tx: tx.connection.execute(text("DELETE FROM payloads WHERE seq=3")))
    assert "no record says that it was erased" in verified(home).problems[0]


@pytest.mark.parametrize("damage", ["UPDATE journal SET actor='nobody'", "UPDATE payloads SET body='6'", "UPDATE payloads SET salt=''"])
def test_an_altered_record_is_never_served(store, note, damage):
    note(store, after={"n": 5})
    store.write_sync(lambda tx: tx.connection.execute(text(damage)))
    with store.read() as connection, pytest.raises(Terminal, match="does not match its hash"):
        journal.read(connection)


def test_checkpoints_come_every_minute_while_something_happens_and_at_close(store, home, clock, note):
    note(store, 3)
    clock.advance(keeper.EVERY - 1)
    note(store)
    clock.advance(2)
    note(store)
    store.write_sync(lambda tx: None)
    with store.read() as connection:
        (one,) = checkpoints.list_(connection)
    assert (one.n, one.seq, one.records, one.floor) == (1, 5, 5, 1)
    clock.advance(keeper.EVERY + 1)
    store.write_sync(lambda tx: None)
    note(store)
    store.close()
    verdict = verified(home)
    assert verdict.ok
    assert verdict.key == (home.keys / keys.PUBLIC_FILE).read_text().strip()
    assert headfile.last(home.root / "journal.head").order == (6, 2)


def test_an_idle_writer_makes_the_checkpoint_by_itself(home, clock, note, monkeypatch):
    monkeypatch.setattr("quarterdeck.store.writer._IDLE", 0.01)
    store = Store.open(home, clock)
    note(store)
    clock.advance(keeper.EVERY + 1)
    deadline = time.monotonic() + 10
    while headfile.last(home.root / "journal.head").checkpoint == 0:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    store.close()


def test_retention_drops_whole_segments_and_the_rest_verifies(home, clock, note):
    store = Store.open(home, clock, limits=Limits(records=25))
    for _ in range(8):
        note(store, 10, after={"a": 1})
        clock.advance(keeper.EVERY + 1)
        store.write_sync(lambda tx: None)
    with store.read() as connection:
        kept = checkpoints.kept(connection)[0]
        first = journal.read(connection, limit=1)[0].seq
        last = journal.read(connection, verb="journal.retain")[-1]
        assert connection.execute(text("SELECT min(seq) FROM payloads")).scalar() >= first
    assert kept <= 25
    assert first > 50
    assert last.target.endswith(f"..{first - 1}")
    expected = verified(home)
    assert expected.ok
    assert expected.records == kept
    store.write_sync(lambda tx: tx.connection.execute(text("DELETE FROM journal WHERE seq=:n"), {"n": first}))
    assert not verified(home).ok


def test_retention_by_bytes(home, clock, note):
    store = Store.open(home, clock, limits=Limits(bytes=20_000))
    for _ in range(6):
        note(store, 5, after="x" * 1000)
        clock.advance(keeper.EVERY + 1)
        store.write_sync(lambda tx: None)
    assert store.sizes()["journal_bytes"] <= 20_000
    assert verified(home).ok
    store.close()


def test_a_head_kept_elsewhere_finds_a_journal_cut_back_in_all_places(store, home, clock, note):
    note(store, 4)
    store.close()
    older = {path.name: path.read_bytes() for path in (home.database, home.root / "journal.head")}
    again = Store.open(home, clock)
    kept_elsewhere = note(again, 2)[-1]
    again.close()
    expected = Head(kept_elsewhere.seq, kept_elsewhere.hash, kept_elsewhere.at)
    assert verified(home, expected_head=expected).ok
    for name, content in older.items():
        (home.root / name).write_bytes(content)
    assert verified(home).ok, "nothing inside the home can know"
    assert "cut off" in verified(home, expected_head=expected).problems[0]
    assert not verified(home, expected_head=Head(3, "0" * 64, 0.0)).ok
    assert verified(home, key="00" * 32).problems == ("checkpoint 1 is signed by another key than expected",)


def test_records_cut_off_before_any_checkpoint_are_missed_by_the_head_file(store, home, note):
    note(store, 3)
    store.write_sync(lambda tx: tx.connection.execute(text("DELETE FROM journal WHERE seq=3")))
    assert verified(home).problems == ("records 3 to 3 are cut off: the head file ends at 3",)


def test_a_lost_key_is_replaced_said_and_reported(store, home, clock, note):
    note(store)
    store.close()
    (home.keys / keys.SEED_FILE).unlink()
    (home.keys / keys.PUBLIC_FILE).unlink()
    again = Store.open(home, clock)
    note(again)
    again.close()
    third = Store.open(home, clock)
    with third.read() as connection:
        assert [one.verb for one in journal.read(connection)][-1] == "journal.key"
    third.close()
    assert verified(home).problems == ("checkpoint 2 is signed by another key than expected",)


def test_a_damaged_key_is_refused(store, home, clock):
    store.close()
    (home.keys / keys.SEED_FILE).write_text("nonsense")
    with pytest.raises(Terminal, match="signing key is damaged"):
        Store.open(home, clock)


def test_the_export_is_lines_of_json_and_verifies(store, home, tmp_path, clock, note):
    note(store, 3, after={"a": 1})
    clock.advance(keeper.EVERY + 1)
    note(store, 2)
    with store.read() as connection:
        lines = list(export(connection, keys.held(home.keys)))
    kinds = [json.loads(line)["kind"] for line in lines]
    assert kinds == ["Journal", *["record"] * 4, "checkpoint", "record", "end"]
    path = tmp_path / "journal.jsonl"
    path.write_text("".join(lines))
    assert verify(path).ok
    with pytest.raises(NotFound):
        verify(tmp_path / "nothing")


def test_a_commit_that_failed_may_be_missing_in_the_head_file_until_the_store_is_mended(store, home, note, monkeypatch):
    monkeypatch.setattr("quarterdeck.store.verify._CATCH_UP", 0.0)
    note(store, 3)
    lagging = home.root / "lagging"
    lagging.write_bytes((home.root / "journal.head").read_bytes())
    note(store)
    assert "the head file ends at record 3" in verify(home.database, head_file=lagging).problems[0]
    assert verify(home.database, head_file=lagging, in_doubt=True).ok
    store.write_sync(lambda tx: tx.connection.execute(text("DELETE FROM journal WHERE seq>2")))
    assert not verify(home.database, head_file=lagging, in_doubt=True).ok


def test_the_head_file_starts_again_when_it_is_long(tmp_path, monkeypatch):
    monkeypatch.setattr(headfile, "LIMIT", 1000)
    path = tmp_path / "journal.head"
    file = headfile.HeadFile(path)
    for seq in range(1, 101):
        file.append(headfile.Line(Head(seq, "a" * 64, 1.5), 0))
        assert path.stat().st_size < 1200
    file.close()
    assert headfile.last(path).head.seq == 100


def test_a_torn_line_is_dropped_and_brought_up_to_date(store, home, clock, note):
    note(store, 3)
    store.close()
    path = home.root / "journal.head"
    path.write_bytes(path.read_bytes()[:-10])
    assert headfile.last(path).order == (3, 0)
    Store.open(home, clock).close()
    assert headfile.last(path).order == (3, 1)
    path.write_text("1 2 3\n")
    assert "damaged" in verified(home).problems[0]
    with pytest.raises(Terminal, match="damaged"):
        Store.open(home, clock)


def test_verifying_a_running_store_is_no_false_alarm(store, home, note):
    note(store, 50)
    for _ in range(5):
        future = store._submit(lambda tx: [journal.append(tx, Entry(ACTOR, "test.note", "x")) for _ in range(50)])
        assert verified(home).ok
        future.result(10)


def test_verifying_offline_leaves_no_file_behind(store, home, note):
    note(store)
    store.close()
    before = sorted(path.name for path in home.root.iterdir())
    assert verified(home).ok
    assert sorted(path.name for path in home.root.iterdir()) == before


def test_canonical_is_one_text_per_value():
    assert canonical({"b": [1, 2.5], "a": "ü"}) == '{"a":"\\u00fc","b":[1,2.5]}'
