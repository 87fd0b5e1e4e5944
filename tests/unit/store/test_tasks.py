"""Every way a task may go, who may make it go there, and what it leaves behind; the same said twice is the same."""

import itertools

import pytest

from quarterdeck.errors import Conflict, InvalidTransition, NotFound, UserError
from quarterdeck.model.records import Actor
from quarterdeck.model.work import MOST_DEPTH, Fenced, Hold, Holder, Order, Target
from quarterdeck.store import claims, effects, orders, overview, questions, standing, tables, tasks, writing
from quarterdeck.store.fairness import Fairness

ME = Actor("uid:0", "socket")
WORKER = Target("s", "core", "worker")
ONE, TWO = Holder("s", "core", "worker", 0, 1), Holder("s", "core", "worker", 1, 1)


# submit


def test_an_order_is_a_queued_task_with_its_payload_and_a_word_for_the_agent(work):
    name = work.submit('{"a": 1}', key="k", tenant="x", priority=3, attempts=2, deadline=2e9)
    found = work.get(name)
    assert (found.state, found.key, found.tenant, found.priority, found.most, found.deadline, found.fence) == (
        "queued",
        "k",
        "x",
        3,
        2,
        2e9,
        0,
    )
    assert (found.root, found.depth, found.parent, found.number) == (name, 0, None, 1)
    assert work.body(name, "input") == '{"a": 1}'
    assert work.last.queued == [(WORKER, 0.0)]
    assert work.kinds(name) == ["submit"]
    assert work.last.touched == {name}


def test_the_same_key_is_the_same_task_whatever_its_json_looks_like_and_something_else_is_a_conflict(work):
    name = work.submit('{"a":1,"b":2}', key="k")
    again = work.turn(lambda turn: orders.submit(turn, Order(WORKER, '{"b": 2, "a": 1}', key="k"), "me"))
    assert (again.task.id, again.created) == (name, False)
    assert work.last.queued == []
    for other in (
        Order(WORKER, '{"a":2}', key="k"),
        Order(WORKER, '{"a":1,"b":2}', "verb", key="k"),
        Order(Target("s", "core", "x"), key="k"),
    ):
        with pytest.raises(Conflict, match="asks for something else"):
            work.turn(lambda turn, other=other: orders.submit(turn, other, "me"))
    assert work.turn(lambda turn: orders.submit(turn, Order(Target("t", "core", "x"), key="k"), "me")).created, (
        "another system's keys are its own"
    )


def test_many_at_once_keep_their_order_and_one_that_is_refused_stops_no_other(work):
    def many(turn):
        wanted = [
            Order(WORKER, "1", key="a"),
            Order(WORKER, "2", key="a"),
            Order(WORKER, "1", key="a"),
            Order(WORKER, "3"),
            Order(WORKER, "4", key="b"),
        ]
        return orders.submit_all(turn, [(order, "me") for order in wanted])

    first, refused, same, plain, last = work.turn(many)
    assert isinstance(refused, Conflict)
    assert (same.created, same.task.id) == (False, first.task.id)
    assert [made.task.number for made in (first, plain, last)] == [1, 2, 3]
    assert [made.created for made in work.turn(many) if not isinstance(made, UserError)] == [False, False, True, False]


@pytest.mark.parametrize("key", ["", "^child", "a\nb", "x" * 301])
def test_what_cannot_be_a_key_is_refused(key):
    with pytest.raises(UserError, match="cannot be a key"):
        tasks.own_key(key)


def test_delegations_have_a_most_depth(work):
    name = work.submit()
    for _ in range(MOST_DEPTH):
        name = work.submit(parent=name)
    assert work.get(name).depth == MOST_DEPTH
    with pytest.raises(UserError, match="delegations deep"):
        work.submit(parent=name)
    with pytest.raises(NotFound):
        work.submit(parent="ghost")


# claim


def test_each_claim_raises_the_fence_and_counts_an_attempt(work):
    hold = work.running()
    assert (hold.fence, work.get(hold.task).attempts, work.get(hold.task).owner) == (1, 1, "core/worker-0#1")
    assert work.last.claimed == {hold.task: (1, ONE)}
    work.fail(hold)
    (again,) = work.claim(TWO)
    assert (again.task, again.fence, work.get(hold.task).attempts) == (hold.task, 2, 2)
    assert [(e.kind, e.fence, e.actor) for e in work.events(hold.task)] == [
        ("submit", 0, "me"), ("claim", 1, "core/worker-0#1"), ("again", 1, "core/worker-0#1"), ("claim", 2, "core/worker-1#1"),
    ]  # fmt: skip


def test_a_claim_whose_answer_was_lost_is_answered_again_without_a_new_attempt(work):
    hold = work.running()
    assert work.claim() == [hold]
    assert work.claim(holding=(hold.task,)) == []
    assert work.claim(TWO) == []
    assert work.claim(Holder("s", "core", "worker", 0, 2)) == [], "its successor is somebody else"
    assert work.kinds(hold.task) == ["submit", "claim"]


def test_replicas_of_the_same_name_in_another_system_are_others(work):
    hold = work.running()
    stranger = Holder("t", "core", "worker", 0, 1)
    assert work.claim(stranger) == []
    for op in (
        lambda turn: tasks.held(turn, Hold(stranger, hold.task, hold.fence)),
        lambda turn: tasks.done(turn, Hold(stranger, hold.task, 1), "1"),
    ):
        with pytest.raises(Fenced, match="none of yours"):
            work.turn(op)
    assert work.kinds(hold.task) == ["submit", "claim"], "strangers leave no trace in a history that is not theirs"


def test_higher_priority_first_then_turn_and_number(work):
    low, plain, high = work.submit(priority=-1), work.submit(), work.submit(priority=1)
    assert [hold.task for hold in work.claim(free=9)] == [high, plain, low]


def test_nobody_begins_before_its_time_or_after_its_deadline(work, clock):
    later, late, never = work.submit(after=clock.now() + 5), work.submit(deadline=clock.now() + 5), work.submit(deadline=clock.now() + 5)
    assert [hold.task for hold in work.claim()] == [late]
    clock.advance(6)
    assert [hold.task for hold in work.claim(holding=(late,), free=5)] == [later]
    assert work.states(never) == ["failed"]
    assert "deadline" in work.get(never).reason


def test_payloads_that_are_too_much_come_with_the_next_claim_but_one_comes_always(work):
    big, small = work.submit('"' + "x" * 100 + '"'), work.submit("1")
    assert [hold.task for hold in work.claim(free=5, room=50)] == [big]
    assert [hold.task for hold in work.claim(free=5, holding=(big,), room=50)] == [small]


def test_a_claim_of_nothing_gives_nothing(work):
    work.submit()
    assert work.claim(free=0) == []
    assert work.claim(free=-3) == []


# the ends of an attempt


def test_done_keeps_the_result_and_is_the_end(work):
    hold = work.running()
    work.done(hold, '"42"')
    assert (work.states(hold.task), work.body(hold.task)) == (["done"], '"42"')
    assert work.last.freed == {hold.task: 1}
    work.done(hold, '"42"')
    assert work.kinds(hold.task) == ["submit", "claim", "done"]


def test_a_failure_is_tried_again_until_the_last_which_is_a_dead_letter(work, clock):
    name = work.submit(attempts=2)
    (hold,) = work.claim()
    work.fail(hold, "first", again=3.0)
    assert (work.states(name), work.get(name).owner, work.get(name).after) == (["queued"], None, clock.now() + 3)
    assert work.last.queued == [(WORKER, clock.now() + 3)]
    assert work.claim() == []
    clock.advance(3)
    (hold,) = work.claim()
    work.fail(hold, "second")
    assert (work.states(name), work.get(name).reason) == (["dead"], "attempt 2 of 2: second")
    assert work.body(name, "error") == "second"
    assert [after["task"] for after in work.journalled("task.dead")] == [name]


def test_a_hopeless_failure_is_an_end_and_so_is_one_whose_deadline_leaves_no_time(work, clock):
    hold = work.running()
    work.fail(hold, "never", again=None)
    assert work.states(hold.task) == ["failed"]
    late = work.running(deadline=clock.now() + 5)
    work.fail(late, "later", again=10.0)
    assert (work.states(late.task), "leaves no time" in work.get(late.task).reason) == (["failed"], True)


def test_what_is_given_back_counts_no_attempt(work):
    hold = work.running(attempts=1)
    work.turn(lambda turn: tasks.give_back(turn, hold, "I stop"))
    assert (work.states(hold.task), work.get(hold.task).attempts) == (["queued"], 0)
    (again,) = work.claim(TWO)
    work.done(again)
    assert work.states(hold.task) == ["done"]


def test_a_release_takes_a_task_from_its_holder_once_and_never_from_a_later_one(work):
    hold = work.running()
    assert work.release(hold)
    assert not work.release(hold)
    (again,) = work.claim(TWO)
    assert not work.release(hold)
    assert work.get(hold.task).owner == TWO.name
    work.done(again)
    assert not work.release(again)
    assert work.states(hold.task) == ["done"]


@pytest.mark.parametrize(
    "say",
    [
        lambda work, hold: work.done(hold),
        lambda work, hold: work.fail(hold),
        lambda work, hold: work.fail(hold, again=None),
        lambda work, hold: work.turn(lambda turn: tasks.give_back(turn, hold, "I stop")),
        lambda work, hold: work.step(hold),
        lambda work, hold: work.begin(hold),
        lambda work, hold: work.finish(hold, key="other"),
        lambda work, hold: work.turn(lambda turn: tasks.held(turn, hold)),
    ],
)
def test_whoever_holds_an_older_fence_can_change_nothing_and_is_noted_once(work, say):
    hold = work.running()
    work.release(hold)
    (newer,) = work.claim(TWO)
    before = work.get(hold.task)
    for _ in range(3):
        with pytest.raises(Fenced, match=r"not yours any more: it is running under fence 2 of core/worker-1#1"):
            say(work, hold)
    with pytest.raises(Fenced):
        say(work, Hold(ONE, hold.task, newer.fence))
    with pytest.raises(Fenced):
        say(work, Hold(TWO, hold.task, 7))
    assert work.get(hold.task) == before
    assert work.read(lambda c: tasks.body(c, hold.task, "result")) is None


def test_refusals_are_noted_for_the_history_once_each(work):
    hold = work.running()
    work.release(hold)
    (newer,) = work.claim(TWO)
    for _ in range(3):

        def say(turn):
            with pytest.raises(Fenced):
                tasks.done(turn, hold, "1")

        work.turn(say)
    refused = [event for event in work.events(hold.task) if event.kind == "refused"]
    assert [(e.actor, e.fence, e.detail) for e in refused] == [(ONE.name, newer.fence, {"stale": 1})]


@pytest.mark.parametrize(
    ("say", "state"),
    [
        (lambda work, hold: work.done(hold), "done"),
        (lambda work, hold: work.fail(hold), "queued"),
        (lambda work, hold: work.fail(hold, again=None), "failed"),
        (lambda work, hold: work.turn(lambda turn: tasks.give_back(turn, hold, "I stop")), "queued"),
    ],
)
def test_the_end_of_an_attempt_said_twice_is_said_once(work, say, state):
    hold = work.running()
    say(work, hold)
    before = work.kinds(hold.task)
    say(work, hold)
    assert (work.states(hold.task), work.kinds(hold.task)) == ([state], before)


def test_a_failure_that_comes_after_the_lease_was_taken_is_not_taken_for_an_answer_that_was_lost(work):
    hold = work.running()
    work.release(hold)
    with pytest.raises(Fenced):
        work.fail(hold, "never", again=None)
    assert work.states(hold.task) == ["queued"]


# cancel, retry, deadline


def test_cancel_ends_what_nobody_works_on_and_asks_whoever_does(work):
    queued, hold = work.submit(), work.running(who=Holder("s", "core", "other", 0, 1))
    work.cancel(queued)
    assert (work.states(queued), work.get(queued).reason) == (["cancelled"], "not wanted")
    work.cancel(hold.task)
    assert (work.states(hold.task), work.last.cancelling, work.get(hold.task).cancel) == (["running"], {hold.task}, "not wanted")
    work.cancel(hold.task, "twice")
    work.cancel(queued, "twice")
    assert (work.get(hold.task).cancel, work.last.cancelling) == ("not wanted", set())


@pytest.mark.parametrize(
    "end",
    [
        lambda work, hold: work.fail(hold, "cancelled", again=None),
        lambda work, hold: work.fail(hold, "whatever"),
        lambda work, hold: work.release(hold),
        lambda work, hold: work.turn(lambda turn: tasks.give_back(turn, hold, "I stop")),
        lambda work, hold: (work.begin(hold), work.finish(hold, "unknown")),
    ],
)
def test_however_the_holder_of_a_cancelled_task_ends_it_is_cancelled(work, end):
    hold = work.running()
    work.cancel(hold.task)
    end(work, hold)
    assert (work.states(hold.task), work.get(hold.task).reason) == (["cancelled"], "not wanted")


def test_a_task_that_is_done_before_it_heard_of_its_cancellation_is_done(work):
    hold = work.running()
    work.cancel(hold.task)
    work.done(hold)
    assert work.states(hold.task) == ["done"]


def test_the_end_of_a_task_cancels_everything_below_it(work):
    hold = work.running()
    queued = work.child(hold)
    held = work.running(who=Holder("s", "core", "other", 0, 1), parent=hold.task)
    below = work.submit(parent=queued)
    work.fail(hold, again=None)
    assert work.states(queued, below, held.task) == ["cancelled", "cancelled", "running"]
    assert work.get(held.task).cancel == f"task {hold.task} ended"
    assert work.last.cancelling == {held.task}
    assert {task.id for task in work.last.ended} == {hold.task, queued, below}


def test_a_dead_letter_or_failed_task_may_be_tried_again_and_nothing_else(work, clock):
    hold = work.running(attempts=1, deadline=clock.now() + 5)
    work.fail(hold)
    assert work.states(hold.task) == ["dead"]
    clock.advance(10)
    work.retry(hold.task)
    found = work.get(hold.task)
    assert (found.state, found.attempts, found.deadline, found.ended, found.fence) == ("queued", 0, None, None, 1)
    (again,) = work.claim()
    assert again.fence == 2
    work.done(again)
    for name in (hold.task, work.submit()):
        with pytest.raises(Conflict, match=r"is (done|queued)"):
            work.retry(name)


def test_deadlines_pass_wherever_the_task_is_but_not_while_a_human_is_asked_what_happened(work, clock):
    running, unknown = (work.running(deadline=clock.now() + 5) for _ in range(2))
    queued = work.submit(deadline=clock.now() + 5)
    work.begin(unknown)
    work.finish(unknown, "unknown")

    def late(turn):
        for row in standing.late(turn):
            tasks.too_late(turn, row)

    work.turn(late)
    assert work.states(running.task, unknown.task, queued) == ["running", "unknown", "queued"]
    clock.advance(5)
    work.turn(late)
    assert work.states(running.task, unknown.task, queued) == ["running", "unknown", "failed"]
    assert work.last.cancelling == {running.task}
    work.turn(late)
    assert work.last.cancelling == set()


def test_moves_that_no_table_allows_are_refused(work):
    hold = work.running()
    work.done(hold)
    with pytest.raises(InvalidTransition):
        work.turn(lambda turn: tasks.moved(turn, tasks.require(turn.connection, hold.task), "running"))


# waiting


def test_whoever_waits_may_be_told_and_goes_on_with_whatever_it_does_next(work):
    hold = work.running()
    for _ in range(2):
        work.turn(lambda turn: tasks.wait(turn, tasks.held(turn, hold), "for a child", "me"))
    assert (work.states(hold.task), work.get(hold.task).reason) == (["waiting"], "for a child")
    work.step(hold)
    assert work.states(hold.task) == ["running"]
    assert work.kinds(hold.task) == ["submit", "claim", "wait", "resume", "step"]


@pytest.mark.parametrize("end", ["done", "failed", "dead", "cancelled"])
def test_a_task_may_come_to_any_end_while_it_waits(work, end):
    hold = work.running(attempts=1)
    work.turn(lambda turn: tasks.wait(turn, tasks.held(turn, hold), "", "me"))
    match end:
        case "done":
            work.done(hold)
        case "failed":
            work.fail(hold, again=None)
        case "dead":
            work.release(hold)
        case _:
            work.cancel(hold.task)
            work.release(hold)
    assert work.states(hold.task) == [end]


# lanes


def test_a_lane_has_one_task_at_a_time_in_the_order_in_which_they_came(work):
    first, second, third = (work.submit(lane="l") for _ in range(3))
    other = work.submit(lane="m")
    assert [hold.task for hold in work.claim(free=9)] == [first, other]
    assert [work.get(name).behind for name in (first, second, third)] == [None, first, second]
    work.fail(Hold(ONE, first, 1), again=None)
    assert [hold.task for hold in work.claim(free=9, holding=(other,))] == [second]


def test_one_that_leaves_the_middle_of_a_lane_lets_nobody_pass(work):
    names = [work.submit(lane="l") for _ in range(5)]
    (hold,) = work.claim(free=9)
    work.cancel(names[1])
    work.cancel(names[3])
    assert work.claim(free=9, holding=(names[0],)) == []
    assert [work.get(name).behind for name in (names[2], names[4])] == [names[0], names[2]]
    work.done(hold)
    assert [each.task for each in work.claim(free=9)] == [names[2]]


def test_tasks_that_left_a_lane_early_do_not_come_back_into_it(work):
    """Seeds 53 and 198 of the simulation: those behind the first waited for one that had been cancelled."""
    names = [work.submit(lane="l") for _ in range(4)]
    (hold,) = work.claim(free=9)
    work.cancel(names[1])
    work.cancel(names[2])
    work.done(hold)
    assert [each.task for each in work.claim(free=9)] == [names[3]]


def test_one_that_is_tried_again_takes_its_place_at_the_end_of_its_lane(work):
    first, second, third = (work.submit(lane="l", attempts=1) for _ in range(3))
    for name in (first, second):
        work.fail(Hold(ONE, name, work.claim()[0].fence))
    work.retry(first)
    work.retry(second)
    fourth = work.submit(lane="l")
    done = []
    while given := work.claim(free=9):
        (hold,) = given
        work.done(hold)
        done.append(hold.task)
    assert sorted(done) == sorted([first, second, third, fourth])
    assert done[0] == third


def test_lanes_of_other_agents_are_others(work):
    work.submit(lane="l")
    other = work.submit(target=Target("s", "core", "other"), lane="l")
    assert work.get(other).behind is None


# fairness


def test_tenants_take_turns_however_much_each_of_them_wants(work):
    many = [work.submit(tenant="big") for _ in range(5)]
    few = [work.submit(tenant="small") for _ in range(2)]
    assert [hold.task for hold in work.claim(free=9)] == [many[0], few[0], many[1], few[1], *many[2:]]


def test_a_new_process_knows_who_stands_in_line(work):
    [work.submit(tenant="big") for _ in range(4)]
    work.claim(free=2)
    work.fairness = Fairness()
    work.turn(lambda turn: standing.fill(turn.connection, work.fairness))
    small = work.submit(tenant="small")
    big = work.submit(tenant="big")
    order = [hold.task for hold in work.claim(TWO, free=9)]
    assert order.index(small) <= 1
    assert order[-1] == big


def test_tenants_whose_turn_is_over_are_forgotten(monkeypatch):
    monkeypatch.setattr("quarterdeck.store.fairness.MOST_TENANTS", 3)
    fairness, line = Fairness(), (WORKER, 0)
    for n in range(3):
        fairness.take(line, fairness.tag(line, f"t{n}"))
    fairness.take(line, 5.0)
    assert fairness.tag(line, "t9") == 5.0
    assert set(fairness.last) == {(line, "t9")}


# what a turn is


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


# lists


def test_lists_page_and_filter(work):
    names = [work.submit(key=f"K{n}", target=Target("s", "core" if n % 2 else "edge", "worker")) for n in range(5)]
    small = work.submit(key="k9")
    child = work.submit(parent=names[0])

    def listed(**how):
        return [task.id for task in work.read(lambda c: tasks.list_(c, **how))]

    assert listed() == [child, small, *reversed(names)]
    assert listed(limit=2, before=work.get(small).number) == [names[4], names[3]]
    assert listed(key="K") == list(reversed(names)), "a prefix is what it says, capitals too"
    assert listed(key="K%") == []
    assert listed(cluster="edge", tops=True) == [names[4], names[2], names[0]]
    assert listed(target="core/worker", states_=("queued",), root=names[0]) == [child]
    assert listed(states_=("done",)) == []
    assert [task.id for task in work.read(lambda c: tasks.tree(c, names[0]))] == [names[0], child]
    assert [task.id for task in work.read(lambda c: tasks.children(c, names[0]))] == [child]
    assert work.read(lambda c: tasks.by_key(c, "s", "K1")).id == names[1]
    with pytest.raises(NotFound):
        work.read(lambda c: tasks.by_key(c, "s", "ghost"))
    with pytest.raises(NotFound):
        work.get("ghost")


def test_who_begins_later_comes_like_one_that_comes_then_and_who_is_tried_again_keeps_its_place(work, clock):
    later = work.submit(tenant="a", after=clock.now() + 5)
    first, second = work.submit(tenant="a"), work.submit(tenant="a")
    (hold,) = work.claim()
    work.turn(lambda turn: tasks.fail(turn, hold, "no", again=5.0))
    other = work.submit(tenant="b")
    assert [one.task for one in work.claim(free=1)] == [other]
    clock.advance(6)
    assert [one.task for one in work.claim(free=9, holding=(other,))] == [first, second, later]


def effort(work, op):
    """How many hundred steps SQLite takes for what a turn does."""
    count = itertools.count()

    def counted(turn):
        counting = turn.connection.connection.dbapi_connection
        counting.set_progress_handler(lambda: next(count) < 0, 100)
        try:
            op(turn)
            turn.close()
        finally:
            counting.set_progress_handler(None, 0)

    work.turn(counted)
    return next(count)


@pytest.mark.parametrize(
    ("others", "over"), [({"after": 2e9, "priority": 99}, False), ({"lane": "l"}, False), ({}, False), ({"lane": "other"}, True)]
)
def test_what_a_task_costs_does_not_grow_with_what_waits_beside_it_or_is_over(work, others, over):
    def costs():
        claiming = [work.submit(priority=9) for _ in range(20)]
        held = []
        taking = effort(work, lambda turn: held.extend(claims.claim(turn, ONE, 20, (), 1 << 20)))
        holds = [Hold(ONE, task.id, task.fence) for task, _ in held]
        assert {hold.task for hold in holds} == set(claiming)
        ending = effort(work, lambda turn: [tasks.done(turn, hold, "1") for hold in holds])
        adding = effort(work, lambda turn: orders.submit(turn, Order(WORKER, "1", priority=-9, lane="other"), "me"))
        return taking, ending, adding

    few = costs()
    made = work.turn(lambda turn: [orders.submit(turn, Order(WORKER, "1", **others), "me").task.id for _ in range(2_000)])
    if over:
        work.turn(lambda turn: [tasks.cancel(turn, turn.find(tables.tasks, name), "", "me") for name in reversed(made)])
    for before, now in zip(few, costs(), strict=True):
        assert now <= 1.5 * before + 10


def test_tasks_in_line_from_an_earlier_version_begin_when_their_time_has_come(work, clock):
    name = work.submit(after=clock.now() + 5)
    work.turn(lambda turn: turn.update(tables.tasks, turn.find(tables.tasks, name), turn=1.0))
    assert work.claim() == []
    clock.advance(6)
    assert [hold.task for hold in work.claim()] == [name]


def test_what_stands_is_read_from_the_rows(work, clock):
    hold = work.running()
    behind = [work.submit(lane="l"), work.submit(lane="l")]
    later = work.submit(target=Target("s", "core", "other"), after=clock.now() + 9)
    assert work.read(standing.held) == [(hold.task, "s", ONE.name, 1, False, False)]
    due = dict(work.read(lambda c: standing.due(c, clock.now())))
    assert due == {WORKER: clock.now(), Target("s", "core", "other"): clock.now() + 9}
    work.cancel(hold.task)
    assert work.read(standing.held)[0].cancelled
    assert behind
    assert later


def test_who_may_see_one_cluster_is_not_shown_less_of_it_for_what_waits_in_others(work):
    from quarterdeck.model.work import Question  # noqa: PLC0415 only here

    for n in range(4):
        hold = work.running()
        asked = Question(hold.task, "q#1", "go on?", (), "hash", None, work.clock.now() + n, "open", None, "", 0.0, None)
        work.turn(lambda turn, asked=asked, hold=hold: questions.ask(turn, hold, asked))
        work.turn(lambda turn, hold=hold, n=n: effects.begin(turn, hold, f"e{n}", "idempotent", "hash"))
    mine, others = overview.Scope("s", WORKER.cluster), overview.Scope("s", "other")
    assert [q.until for q in work.read(lambda c: questions.open_(c, mine, limit=2))] == [work.clock.now(), work.clock.now() + 1]
    assert [e.key for e in work.read(lambda c: effects.with_outcome(c, "started", mine, limit=2))] == ["e0", "e1"]
    assert work.read(lambda c: questions.open_(c, others)) == work.read(lambda c: effects.with_outcome(c, "started", others)) == []


def test_questions_of_a_task_that_ended_are_withdrawn(work):
    from quarterdeck.model.work import Question  # noqa: PLC0415 only here

    hold = work.running()
    asked = Question(hold.task, "q#1", "go on?", ("yes", "no"), "hash", "no", work.clock.now() + 5, "open", None, "", 0.0, None)
    work.turn(lambda turn: questions.ask(turn, hold, asked))
    work.fail(hold, again=None)
    assert work.read(questions.open_) == []
    assert [q.state for q in work.read(lambda c: questions.of(c, hold.task))] == ["withdrawn"]
    with pytest.raises(Conflict, match="withdrawn"):
        work.turn(lambda turn: questions.answer(turn, hold.task, "q#1", "yes", actor=ME, reason=""))
    work.clock.advance(9)
    assert work.turn(lambda turn: questions.expire(turn, ME)) == []
