"""Any record or checkpoint that is changed, removed, reordered, added or cut off is found, wherever it happens (reliability.md P23)."""
# ruff: noqa: ARG005, S311, S608 seeded mutations of a test database by raw SQL; callbacks keep the real signature

import json
import random
import shutil
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quarterdeck.clock import VirtualClock
from quarterdeck.model.home import Home
from quarterdeck.model.records import Actor, Entry
from quarterdeck.store import journal, keeper, keys
from quarterdeck.store.chain import canonical, link
from quarterdeck.store.checkpoints import Limits
from quarterdeck.store.export import export
from quarterdeck.store.store import Store
from quarterdeck.store.verify import verify

COLUMNS = (
    "at actor via on_behalf_of verb target reason outcome system before_digest after_digest evidence_digest prev hash".split()  # noqa: SIM905
)
MARKS = ("n", "floor", "seq", "hash", "at", "records", "bytes", "prev", "key", "signature")


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A closed home with 60 records in 6 segments, the first of them dropped by retention; and its export."""
    home = Home(tmp_path_factory.mktemp("sound") / "home")
    clock = VirtualClock()
    store = Store.open(home, clock, limits=Limits(records=50))
    for n in range(6):
        for m in range(10):
            entry = Entry(Actor("uid:0", "socket"), "test", f"t{m}", "why", before=m or None, after={"n": n}, system="s")
            store.write_sync(lambda tx, entry=entry: journal.append(tx, entry))
        clock.advance(keeper.EVERY + 1)
        store.write_sync(lambda tx: None)
    with store.read() as connection:
        text = "".join(export(connection, keys.held(home.keys)))
    store.close()
    (home.root / "export.jsonl").write_text(text)
    assert verify(home.database, head_file=home.root / "journal.head").ok
    assert verify(home.root / "export.jsonl").ok
    return home


def other(value, rng):
    """A different value of the same or another type; for text, one flipped bit."""
    if isinstance(value, str) and value:
        at = rng.randrange(len(value))
        return value[:at] + chr(ord(value[at]) ^ (1 << rng.randrange(5))) + value[at + 1 :]
    if isinstance(value, str):
        return "x"
    return rng.choice([value + 1, value - 1, -value - 1, str(value) + "x", b"\x00"])


def change_record(raw, rng, seqs):
    seq, column = rng.choice(seqs), rng.choice(COLUMNS)
    (value,) = raw.execute(f"SELECT {column} FROM journal WHERE seq=?", (seq,)).fetchone()
    raw.execute(f"UPDATE journal SET {column}=? WHERE seq=?", (other(value, rng), seq))


def forge_record(raw, rng, seqs):
    """As somebody would who knows the format: the changed record and all after it get fitting hashes."""
    raw.row_factory = sqlite3.Row
    seq = rng.choice(seqs)
    raw.execute("UPDATE journal SET reason='forged' WHERE seq=?", (seq,))
    prev = None
    for row in raw.execute("SELECT * FROM journal WHERE seq>=? ORDER BY seq", (seq,)).fetchall():
        fields = {**dict(row), "prev": prev or row["prev"]}
        prev = link(fields)
        raw.execute("UPDATE journal SET prev=?, hash=? WHERE seq=?", (fields["prev"], prev, fields["seq"]))


def forge_one(raw, rng, seqs):
    """Fits its own hash; the one after it does not follow any more."""
    raw.row_factory = sqlite3.Row
    seq = rng.choice(seqs[:-1])
    row = {**dict(raw.execute("SELECT * FROM journal WHERE seq=?", (seq,)).fetchone()), "reason": "forged"}
    raw.execute("UPDATE journal SET reason='forged', hash=? WHERE seq=?", (link(row), seq))


def drop_segments(raw, rng, seqs):
    """As retention would, but nobody signed it."""
    (seq,) = rng.choice(raw.execute("SELECT seq FROM checkpoints ORDER BY n").fetchall()[1:-1])
    raw.execute("DELETE FROM journal WHERE seq<=?", (seq,))
    raw.execute("DELETE FROM payloads WHERE seq<=?", (seq,))
    raw.execute("DELETE FROM checkpoints WHERE seq<?", (seq,))


def remove_records(raw, rng, seqs):
    first = rng.choice(seqs)
    raw.execute("DELETE FROM journal WHERE seq BETWEEN ? AND ?", (first, first + rng.randrange(5)))


def cut_head_off(raw, rng, seqs):
    raw.execute("DELETE FROM journal WHERE seq<=?", (rng.choice(seqs),))


def cut_tail(raw, rng, seqs):
    """With the checkpoints that would tell."""
    seq = rng.choice(seqs)
    for table in ("journal", "payloads", "checkpoints"):
        raw.execute(f"DELETE FROM {table} WHERE seq>=?", (seq,))


def swap_records(raw, rng, seqs):
    one, two = rng.sample(seqs, 2)
    for old, new in ((one, -1), (two, one), (-1, two)):
        raw.execute("UPDATE journal SET seq=? WHERE seq=?", (new, old))


def add_record(raw, rng, seqs):
    raw.row_factory = sqlite3.Row
    row = dict(raw.execute("SELECT * FROM journal ORDER BY seq DESC LIMIT 1").fetchone())
    new = {**row, "seq": row["seq"] + 1, "prev": row["hash"], "target": "added"}
    new = {**new, **dict.fromkeys(("before_digest", "after_digest", "evidence_digest"), "")}
    new["hash"] = link(new)
    raw.execute(f"INSERT INTO journal ({','.join(new)}) VALUES ({','.join('?' * len(new))})", tuple(new.values()))


def change_payload(raw, rng, seqs):
    digest, body = rng.choice(raw.execute("SELECT digest, body FROM payloads").fetchall())
    column = rng.choice(("digest", "seq", "salt", "body"))
    value = {"digest": other(digest, rng), "seq": rng.randrange(1000, 2000), "salt": "0" * 32, "body": other(body, rng)}[column]
    raw.execute(f"UPDATE payloads SET {column}=? WHERE digest=?", (value, digest))


def remove_payload(raw, rng, seqs):
    (digest,) = rng.choice(raw.execute("SELECT digest FROM payloads").fetchall())
    raw.execute("DELETE FROM payloads WHERE digest=?", (digest,))


def change_checkpoint(raw, rng, seqs):
    n, column = rng.choice(raw.execute("SELECT n FROM checkpoints").fetchall())[0], rng.choice(MARKS)
    (value,) = raw.execute(f"SELECT {column} FROM checkpoints WHERE n=?", (n,)).fetchone()
    new = value + 1000 if column == "n" else other(value, rng)
    raw.execute(f"UPDATE checkpoints SET {column}=? WHERE n=?", (new, n))


def remove_checkpoint(raw, rng, seqs):
    (n,) = rng.choice(raw.execute("SELECT n FROM checkpoints").fetchall())
    raw.execute("DELETE FROM checkpoints WHERE n=?", (n,))


def remove_all(raw, rng, seqs):
    for table in rng.choice((("journal",), ("checkpoints",), ("journal", "payloads"), ("journal", "payloads", "checkpoints"))):
        raw.execute(f"DELETE FROM {table}")


MUTATIONS = (
    change_record, forge_record, forge_one, drop_segments, remove_records, cut_head_off, cut_tail, swap_records, add_record,
    change_payload, remove_payload, change_checkpoint, remove_checkpoint, remove_all,
)  # fmt: skip
ONLY_BY_HEAD = (cut_tail, add_record, remove_checkpoint, remove_all)
"""What leaves a shorter or longer journal that is sound in itself."""


@pytest.mark.parametrize("mutate", MUTATIONS)
def test_every_mutation_of_the_database_is_found(sound, tmp_path, mutate):
    heads = sound.root / "journal.head"
    path = tmp_path / "x.db"
    for seed in range(50):
        rng = random.Random(f"{mutate.__name__} {seed}")
        shutil.copyfile(sound.database, path)
        raw = sqlite3.connect(path)
        raw.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF")
        seqs = [seq for (seq,) in raw.execute("SELECT seq FROM journal ORDER BY seq")]
        mutate(raw, rng, seqs)
        raw.commit()
        raw.close()
        assert not verify(path, head_file=heads if mutate in ONLY_BY_HEAD else None).ok, f"{mutate.__name__}, seed {seed}"


def test_every_cut_and_change_of_the_head_file_is_found(sound, tmp_path):
    content = (sound.root / "journal.head").read_bytes()
    path = tmp_path / "journal.head"
    for seed in range(15):
        rng = random.Random(seed)
        lines = content.splitlines(keepends=True)
        if seed % 3 == 0:
            lines = lines[: -1 - rng.randrange(5)]
        elif seed % 3 == 1:
            lines[-1] = lines[-1][: -1 - rng.randrange(10)]
        else:
            at = rng.randrange(len(lines))
            lines[at] = other(lines[at].decode(), rng).encode()
        path.write_bytes(b"".join(lines))
        assert not verify(sound.database, head_file=path).ok, seed
    assert "the head file none is gone" in verify(sound.database, head_file=tmp_path / "none").problems[0]
    assert "cannot be used" in verify(sound.database, head_file=tmp_path).problems[0]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_every_mutation_of_an_export_is_found(sound, tmp_path_factory, data):
    lines = (sound.root / "export.jsonl").read_bytes().splitlines(keepends=True)
    at = data.draw(st.integers(0, len(lines) - 1))
    match data.draw(st.sampled_from(("flip", "remove", "swap", "repeat", "cut", "field"))):
        case "flip":
            bit = data.draw(st.integers(0, 7))
            where = data.draw(st.integers(0, len(lines[at]) - 1))
            lines[at] = lines[at][:where] + bytes([lines[at][where] ^ (1 << bit)]) + lines[at][where + 1 :]
        case "remove":
            del lines[at]
        case "swap":
            to = data.draw(st.integers(0, len(lines) - 1).filter(lambda n: n != at))
            lines[at], lines[to] = lines[to], lines[at]
        case "repeat":
            lines.insert(data.draw(st.integers(0, len(lines))), lines[at])
        case "cut":
            lines = lines[:at]
        case "field":
            line = json.loads(lines[at])
            name = data.draw(st.sampled_from(sorted(line)))
            value = data.draw(st.one_of(st.none(), st.integers(), st.text(), st.lists(st.integers())).filter(lambda v: v != line[name]))
            lines[at] = canonical({**line, name: value}).encode() + b"\n"
    path = tmp_path_factory.getbasetemp() / "mutated.jsonl"
    path.write_bytes(b"".join(lines))
    assert not verify(path).ok


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=400))
def test_no_content_crashes_the_verifier(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "hostile.jsonl"
    path.write_bytes(content)
    assert not verify(path).ok
    path.write_bytes(b"SQLite format 3\0" + content)
    assert not verify(path).ok
