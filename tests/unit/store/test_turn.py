"""A turn reads a row once and writes it once, remembers what was written, and leaves nothing when it fails."""

import pytest

from quarterdeck.errors import UserError
from quarterdeck.model.work import Order, Target
from quarterdeck.store import orders, tables, tasks, writing

WORKER = Target("s", "core", "worker")


def test_a_turn_reads_a_row_once_and_writes_it_once(work):
    hold = work.running()
    seen = []

    def count(_, __, statement, *___):
        seen.append(statement.split()[0])

    from sqlalchemy import event  # noqa: PLC0415 only here

    def many(turn):
        event.listen(turn.connection.engine, "before_cursor_execute", count)
        for n in range(20):
            row = tasks.held(turn, hold)
            tasks.wait(turn, row, f"{n}", "me")
            tasks.resumed(turn, tasks.held(turn, hold), "me")
        turn.close()
        event.remove(turn._writing.connection.engine, "before_cursor_execute", count)

    work.turn(many)
    assert (seen.count("UPDATE"), seen.count("INSERT"), seen.count("SELECT")) == (1, 1, 1)  # the number of the newest event
    assert work.kinds(hold.task).count("wait") == 20


def test_what_a_write_that_failed_has_changed_is_not_remembered(work):
    hold = work.running()

    def broken(turn):
        tasks.wait(turn, tasks.held(turn, hold), "for nothing", "me")
        assert turn.connection is not None  # written, and taken back with what follows
        raise UserError("no", hint="")

    with pytest.raises(UserError):
        work.turn(broken)
    assert work.turn(lambda turn: tasks.held(turn, hold)["state"]) == "running"


def test_only_so_many_rows_are_remembered_those_written_last(work, monkeypatch):
    monkeypatch.setattr(writing, "KEPT", 3)
    names = [work.turn(lambda turn: orders.submit(turn, Order(WORKER, "1"), "me").task.id) for _ in range(5)]
    known = work.turn(lambda turn: [key for (key,) in turn._writing.known(tables.tasks)])
    assert known == names[2:]
    assert work.turn(lambda turn: turn.find(tables.tasks, names[0])["id"]) == names[0]


def test_what_a_turn_changed_is_there_for_whoever_looks_for_himself(work):
    def both(turn):
        name = orders.submit(turn, Order(WORKER, "1"), "me").task.id
        assert tasks.require(turn.connection, name)["state"] == "queued"
        tasks.cancel(turn, tasks.require(turn.connection, name), "no", "me")
        assert turn.tx is not None
        assert tasks.require(turn.connection, name)["state"] == "cancelled"
        return name

    assert work.states(work.turn(both)) == ["cancelled"]


def test_an_older_copy_of_a_row_undoes_nothing(work):
    hold = work.running()

    def twice(turn):
        old = tasks.held(turn, hold)
        turn.update(tables.tasks, old, reason="first")
        turn.update(tables.tasks, old, cancel="second")

    work.turn(twice)
    assert (work.get(hold.task).reason, work.get(hold.task).cancel) == ("first", "second")


def test_a_turn_that_fails_leaves_nothing(work):
    def broken(turn):
        orders.submit(turn, Order(WORKER, "1"), "me")
        turn.close()
        raise RuntimeError

    with pytest.raises(RuntimeError):
        work.turn(broken)
    assert work.read(tasks.list_) == []
