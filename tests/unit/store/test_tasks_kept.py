"""What is left of tasks: seals that notice any change of their events, and keys that outlive everything else."""

import asyncio
import sqlite3

import pytest

from quarterdeck.errors import Conflict, NotFound
from quarterdeck.model.records import Actor
from quarterdeck.model.work import Holder, Order, Target
from quarterdeck.store import effects, events, journal, orders, overview, retention, rows, seals, tables, tasks
from quarterdeck.store.blobs import Blobs
from quarterdeck.store.store import Store
from quarterdeck.store.verify import verify_home
from quarterdeck.work.keeping import Keeping

WORKER = Target("s", "core", "worker")
OTHER = Holder("s", "core", "other", 0, 1)
ME = Actor("uid:0", "socket")
WEEK = retention.KEEP


@pytest.fixture
def keeping(work, clock):
    """Seals and forgets, outside any loop."""

    class Sync:
        def seal(self):
            return asyncio.run(Keeping(work.store, clock, Blobs(work.store.home.blobs)).seal())

        def forget(self):
            return asyncio.run(Keeping(work.store, clock, Blobs(work.store.home.blobs)).forget())

    return Sync()


def done(work, **fields):
    hold = work.running(**fields)
    work.begin(hold, semantics="idempotent")
    work.finish(hold, value='"secret"')
    work.step(hold)
    work.done(hold)
    return hold.task


def counts(work):
    every = (tables.tasks, tables.task_bodies, tables.task_events, tables.steps)
    return work.read(lambda c: [len(c.execute(table.select()).all()) for table in every])


def sealed(work):
    return [(r.evidence["first"], r.evidence["last"]) for r in work.read(lambda c: journal.read(c, verb=seals.SEALED))]


# retention


def test_what_ended_long_ago_is_forgotten_but_for_its_key_and_the_newest_stays(work, keeping, clock):
    old = done(work, key="k")
    clock.advance(WEEK + 1)
    newest = done(work, key="n")
    keeping.seal()
    assert keeping.forget() == 1
    assert counts(work) == [1, 2, 6, 1]
    with pytest.raises(NotFound):
        work.get(old)
    assert work.get(newest).number == 2
    assert keeping.forget() == 0
    (gone,) = work.read(lambda c: journal.read(c, verb=seals.FORGOTTEN))
    assert gone.evidence["tasks"] == 1


def test_a_key_outlives_its_task_and_still_means_the_same(work, keeping, clock):
    old = done(work, key="k", payload='{"a": 1}')
    clock.advance(WEEK + 1)
    done(work)
    keeping.seal()
    keeping.forget()
    again = Order(WORKER, '{"a":1}', key="k", priority=3)
    made = work.turn(lambda turn: orders.submit(turn, again, "me"))
    assert (made.created, made.task.id, made.task.state, made.task.reason) == (False, old, "done", orders.FORGOTTEN)
    assert (made.task.number, made.task.target, made.task.key) == (1, WORKER, "k")
    with pytest.raises(Conflict, match=f"is task {old}, which asks for something else"):
        work.submit('{"a": 2}', key="k")
    with pytest.raises(NotFound, match=f"task {old} is done, and its records were dropped"):
        work.read(lambda c: tasks.by_key(c, "s", "k"))
    assert work.read(lambda c: [overview.known_keys(c, system, ("k", "none")) for system in ("s", "other")]) == [{"k"}, set()]


def test_keys_of_effects_stay_without_their_values(work, keeping, clock):
    old = done(work)
    clock.advance(WEEK + 1)
    done(work)
    keeping.seal()
    keeping.forget()
    (kept,) = work.read(lambda c: effects.of_root(c, old))
    assert (kept.key, kept.outcome, kept.value) == ("it", "done", None)
    assert [effect.task for effect in work.read(lambda c: effects.with_outcome(c, "done"))] != [old]


@pytest.mark.parametrize("why", ["too new", "a child is open", "a child is new", "an effect is unknown", "not sealed", "the newest"])
def test_whatever_may_still_be_asked_for_is_kept(work, keeping, clock, why):
    hold = work.running()
    match why:
        case "a child is open":
            work.running(who=OTHER, parent=hold.task)
        case "a child is new":
            child = work.running(who=OTHER, parent=hold.task)
        case "an effect is unknown":
            work.begin(hold)
        case "not sealed":
            keeping.seal()  # what follows is not
    work.done(hold)
    clock.advance(WEEK - 1 if why == "too new" else WEEK + 1)
    if why == "a child is new":
        work.release(child)
    if why != "the newest":
        done(work)
    if why != "not sealed":
        keeping.seal()
    assert keeping.forget() == 0
    assert work.get(hold.task).state == "done"


def test_trees_go_as_a_whole_and_in_pieces(work, keeping, clock, monkeypatch):
    monkeypatch.setattr(retention, "AT_ONCE", 2)
    roots = []
    for _ in range(3):
        hold = work.running()
        child = work.running(who=OTHER, parent=hold.task)
        work.done(child)
        work.done(hold)
        roots.append(hold.task)
    clock.advance(WEEK + 1)
    done(work)
    keeping.seal()
    assert work.turn(lambda turn: retention.forget(turn.tx, clock.now() - WEEK, 2)) == 2
    assert keeping.forget() == 4
    assert counts(work)[0] == 1


def test_numbers_are_never_given_twice(work, keeping, clock):
    for n in range(3):
        done(work, key=f"{n}")
    clock.advance(WEEK + 1)
    keeping.seal()
    keeping.forget()
    last = max(event.seq for event in work.read(events.every))
    assert work.get(done(work)).number == 4
    assert min(e.seq for e in work.read(events.every) if e.seq > last) == last + 1


# seals


def test_seals_follow_one_another_without_a_gap_and_only_when_something_happened(work, keeping):
    assert not keeping.seal()
    done(work)
    assert keeping.seal()
    assert not keeping.seal()
    done(work)
    assert keeping.seal()
    assert sealed(work) == [(1, 6), (7, 12)]


def test_many_events_are_read_in_pieces_and_sealed_as_one(work, keeping):
    for _ in range(seals.PIECE // 6 + 20):
        done(work)
    nothing, newest = work.read(seals.begin)
    assert newest > seals.PIECE
    first = work.read(lambda c: seals.further(c, nothing, newest))
    assert (first.sum.count, first.last) == (seals.PIECE, seals.PIECE)
    whole = work.read(lambda c: seals.further(c, nothing, newest, newest))
    assert work.read(lambda c: seals.further(c, first, newest)) == whole
    done(work)
    assert work.read(lambda c: seals.further(c, whole, newest)) == whole, "what came meanwhile is for the next seal"
    assert keeping.seal()
    assert sealed(work) == [(1, newest + 6)]


def test_two_that_seal_at_once_seal_once(work, store):
    done(work)
    found = work.read(lambda c: seals.further(c, *seals.begin(c)))
    assert store.write_sync(lambda tx: seals.make(tx, found))
    assert not store.write_sync(lambda tx: seals.make(tx, found))


@pytest.fixture
def closed(work, keeping, home, clock):
    """A home with sealed events, some of them forgotten, closed; gives a way to change its database and the verdict then."""
    done(work, key="old")
    keeping.seal()
    clock.advance(WEEK + 1)
    done(work)
    keeping.seal()
    keeping.forget()
    done(work)
    keeping.seal()
    work.store.close()

    def judge(*statements):
        with sqlite3.connect(home.database) as raw:
            for statement in statements:
                assert raw.execute(statement).rowcount != 0
        raw.close()
        return verify_home(home).problems

    yield judge
    Store.open(home, clock).close()


def test_a_home_whose_events_are_as_they_were_sealed_is_sound(closed):
    assert closed() == ()


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE task_events SET actor = 'somebody else' WHERE seq = 8", "event 8 of task"),
        ("DELETE FROM task_events WHERE seq = 9", "events 7 to 12 do not agree with their seal: 5 of 6 are there"),
        ("DELETE FROM task_events WHERE seq > 12", "events 13 to 18 do not agree with their seal: 0 of 6 are there"),
        (
            "INSERT INTO task_events SELECT 3, task, kind, at, actor, fence, detail, row_sum FROM task_events WHERE seq = 8",
            "events 1 to 6 do not agree with their seal: 1 of 0 are there",
        ),
        ("UPDATE task_events SET row_sum = 'ffff' WHERE seq = 8", "events 7 to 12 do not agree with their seal: they are not those"),
    ],
)
def test_events_that_were_changed_removed_or_added_are_found(closed, statement, told):
    assert any(told in problem for problem in closed(statement))


def test_events_that_changed_places_are_found(closed):
    swap = [f"UPDATE task_events SET seq = {new} WHERE seq = {old}" for old, new in ((8, 999), (9, 8), (999, 9))]  # noqa: S608 numbers
    assert any("do not agree with their seal" in problem for problem in closed(*swap))


def test_a_row_made_to_fit_its_checksum_does_not_fit_its_seal(closed, home):
    with sqlite3.connect(home.database) as raw:
        raw.row_factory = sqlite3.Row
        row = dict(raw.execute("SELECT * FROM task_events WHERE seq = 8").fetchone())
        row.pop("row_sum")
        row["actor"] = "somebody else"
        raw.execute("UPDATE task_events SET actor = ?, row_sum = ? WHERE seq = 8", (row["actor"], rows._sum(tables.task_events, row)))
    raw.close()
    assert closed() == ("events 7 to 12 do not agree with their seal: they are not those that were sealed",)


def test_records_that_are_no_seals_are_told_of():
    check = seals.Check()
    assert check.record("task.submit", {"x": 1}) is None
    assert check.record(seals.SEALED, None) is None
    for evidence in ({}, {"first": "x"}, {"first": 1, "last": 2, "sum": [1]}, {"first": 1, "last": 2, "sum": 5}):
        assert "that is none" in check.record(seals.SEALED, evidence)
    for evidence in ({}, {"events": []}, {"events": {"1": [1, "zz"]}}):
        assert "that is none" in check.record(seals.FORGOTTEN, evidence)
    assert seals.evidence_of({"d": {"body": "[1]"}}, "d") is None
    assert seals.evidence_of({}, "d") is None
