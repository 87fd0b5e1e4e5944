"""Every way an attempt and its task may end, who may end them, and what may come after."""

import pytest

from quarterdeck.errors import Conflict, InvalidTransition
from quarterdeck.model.records import Actor
from quarterdeck.model.work import Fenced, Hold, Holder, Target
from quarterdeck.store import questions, standing, tasks

ME = Actor("uid:0", "socket")
WORKER = Target("s", "core", "worker")
ONE, TWO = Holder("s", "core", "worker", 0, 1), Holder("s", "core", "worker", 1, 1)


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
