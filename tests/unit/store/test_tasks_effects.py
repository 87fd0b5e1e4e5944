"""Effects: leave before the call, what came of it after, and what nobody knows; each key of a tree of tasks once."""

import pytest

from quarterdeck.errors import Conflict, InvalidTransition, NotFound, Transient
from quarterdeck.model.records import Actor
from quarterdeck.model.work import Fenced, Hold, Holder
from quarterdeck.store import effects, overview

ME = Actor("uid:0", "socket")
TWO = Holder("s", "core", "worker", 1, 1)
OTHER = Holder("s", "core", "other", 0, 1)
SAFE = ("idempotent", "dedupes")
EVERY = (*SAFE, "unsafe")


def resolve(work, name, said, value='"seen"', key="it"):
    work.turn(lambda turn: effects.resolve(turn, name, key, effects.Said(said, value, ME, "I looked")))


@pytest.mark.parametrize("semantics", EVERY)
def test_a_new_effect_may_be_called_and_a_done_one_gives_its_value_to_every_later_attempt(work, semantics):
    hold = work.running()
    assert work.begin(hold, semantics=semantics).word == "go"
    found = work.effect(hold.task)
    assert (found.outcome, found.fence, found.task, found.semantics, found.ended) == ("started", 1, hold.task, semantics, None)
    work.finish(hold, value='"paid"')
    assert (work.effect(hold.task).outcome, work.effect(hold.task).value) == ("done", '"paid"')
    work.release(hold)
    (again,) = work.claim(TWO)
    assert work.begin(again, semantics=semantics) == effects.Leave("done", '"paid"')
    assert work.kinds(hold.task).count("effect.started") == 1


@pytest.mark.parametrize("semantics", EVERY)
def test_leave_asked_for_twice_is_given_twice_and_written_once(work, semantics):
    hold = work.running()
    assert [work.begin(hold, semantics=semantics).word for _ in range(3)] == ["go", "go", "go"]
    for _ in range(2):
        work.finish(hold)
    assert [kind for kind in work.kinds(hold.task) if "effect" in kind] == ["effect.started", "effect.done"]


@pytest.mark.parametrize("semantics", SAFE)
def test_one_cut_off_in_between_is_called_again_where_that_does_no_harm(work, semantics):
    hold = work.running()
    work.begin(hold, semantics=semantics)
    work.release(hold)
    (again,) = work.claim(TWO)
    assert work.begin(again, semantics=semantics).word == "go"
    assert work.effect(hold.task).fence == 2
    with pytest.raises(Fenced):
        work.finish(hold, value='"late"')
    work.finish(again)
    assert work.effect(hold.task).value == "1"


@pytest.mark.parametrize(("first", "second"), [("unsafe", "unsafe"), ("unsafe", "idempotent"), ("idempotent", "unsafe")])
def test_one_cut_off_in_between_is_unknown_where_it_could_happen_twice_whichever_attempt_says_so(work, first, second):
    hold = work.running()
    work.begin(hold, semantics=first)
    work.release(hold)
    (again,) = work.claim(TWO)
    assert work.begin(again, semantics=second).word == "unknown"
    assert (work.effect(hold.task).outcome, work.states(hold.task)) == ("unknown", ["unknown"])
    assert work.last.freed == {hold.task: 2}
    assert work.claim() == []
    assert [after["effect"] for after in work.journalled("effect.unknown")] == ["it"]
    assert [after["task"] for after in work.journalled("task.unknown")] == [hold.task]
    with pytest.raises(Fenced):
        work.begin(again)


@pytest.mark.parametrize(("said", "word"), [("done", "done"), ("failed", "go"), ("again", "go")])
def test_a_human_says_what_became_of_it_and_the_task_goes_on(work, said, word):
    hold = work.running(attempts=1)
    work.begin(hold)
    work.finish(hold, "unknown", value=None, error="the line broke")
    assert work.states(hold.task) == ["unknown"]
    resolve(work, hold.task, said)
    (again,) = work.claim()
    leave = work.begin(again)
    assert leave.word == word
    assert leave.value == ('"seen"' if word == "done" else None)
    assert [after["said"] for after in work.journalled("effect.resolve")] == [said]


def test_only_what_is_unknown_can_be_resolved_and_only_once(work):
    hold = work.running()
    work.begin(hold)
    for name, key, error in ((hold.task, "it", Conflict), (hold.task, "ghost", NotFound), ("ghost", "it", NotFound)):
        with pytest.raises(error):
            resolve(work, name, "done", key=key)
    work.finish(hold, "unknown")
    resolve(work, hold.task, "done")
    with pytest.raises(Conflict, match="is done, not unknown"):
        resolve(work, hold.task, "failed")


def test_a_failed_call_may_be_repeated_by_the_same_attempt(work):
    hold = work.running()
    work.begin(hold)
    work.finish(hold, "failed", value=None, error="no route")
    assert (work.effect(hold.task).outcome, work.effect(hold.task).error) == ("failed", "no route")
    assert work.begin(hold).word == "go"
    assert (work.effect(hold.task).outcome, work.effect(hold.task).error) == ("started", "")


def test_a_key_means_the_same_arguments_in_the_whole_tree_for_ever(work):
    hold = work.running()
    child = work.running(who=OTHER, parent=hold.task)
    work.begin(hold, arguments="a")
    for asker in (hold, child):
        with pytest.raises(Conflict, match="with other arguments"):
            work.begin(asker, arguments="b")
    work.finish(hold, value='"first"')
    assert work.begin(child, arguments="a") == effects.Leave("done", '"first"')
    stranger = work.running(who=Holder("s", "core", "third", 0, 1))
    assert work.begin(stranger, arguments="b").word == "go", "another tree has its own keys"


@pytest.mark.parametrize("semantics", EVERY)
def test_while_one_task_of_a_tree_calls_another_one_waits_and_neither_is_harmed(work, semantics):
    hold = work.running()
    child = work.running(who=OTHER, parent=hold.task)
    work.begin(hold, semantics=semantics)
    with pytest.raises(Transient, match="is being called by task"):
        work.begin(child, semantics=semantics)
    work.finish(hold, value='"first"')
    assert work.begin(child, semantics=semantics).value == '"first"'
    assert work.states(hold.task, child.task) == ["running", "running"]


def test_tasks_of_a_tree_that_stopped_for_the_same_effect_go_on_together(work):
    hold = work.running()
    child = work.running(who=OTHER, parent=hold.task)
    work.begin(hold)
    work.finish(hold, "unknown")
    assert work.begin(child).word == "unknown"
    assert work.states(hold.task, child.task) == ["unknown", "unknown"]
    resolve(work, child.task, "done")
    assert work.states(hold.task, child.task) == ["queued", "queued"]


def test_only_who_began_a_call_says_what_came_of_it(work):
    hold = work.running()
    child = work.running(who=OTHER, parent=hold.task)
    with pytest.raises(Conflict, match="was not begun by this attempt"):
        work.finish(hold)
    work.begin(hold)
    with pytest.raises(Conflict, match="was not begun by this attempt"):
        work.finish(child)
    with pytest.raises(Fenced):
        work.finish(Hold(TWO, hold.task, 1))
    work.finish(hold)
    with pytest.raises(InvalidTransition):
        work.finish(hold, "failed")
    assert work.effect(hold.task).outcome == "done"


@pytest.mark.parametrize(("semantics", "outcome"), [("unsafe", "unknown"), ("idempotent", "failed"), ("dedupes", "failed")])
@pytest.mark.parametrize("end", ["failed", "dead", "cancelled", "done"])
def test_no_effect_stays_under_way_when_its_task_has_ended(work, semantics, outcome, end):
    hold = work.running(attempts=1)
    work.begin(hold, semantics=semantics)
    match end:
        case "failed":
            work.fail(hold, again=None)
        case "dead":
            work.release(hold)
        case "done":
            work.done(hold)
        case _:
            work.cancel(hold.task)
            work.release(hold)
    assert (work.states(hold.task), work.effect(hold.task).outcome) == ([end], outcome)
    assert len(work.journalled("effect.unknown")) == (semantics == "unsafe")


def test_an_unknown_effect_of_a_dead_letter_stops_its_next_attempt_too(work):
    hold = work.running(attempts=1)
    work.begin(hold)
    work.release(hold)
    work.retry(hold.task)
    (again,) = work.claim()
    assert work.begin(again).word == "unknown"
    resolve(work, hold.task, "done")
    (last,) = work.claim()
    assert work.begin(last).word == "done"


# steps


def test_the_first_value_of_a_step_is_its_value_and_code_that_changed_gives_a_new_one_only_by_choice(work):
    hold = work.running()
    assert work.step(hold, value="1") == "1"
    assert work.step(hold, value="2") == "1"
    work.release(hold)
    (again,) = work.claim(TWO)
    assert work.step(again, value="3", code="other") == "1"
    assert work.step(again, value="4", code="c", again=True) == "1", "the same code is the same step"
    assert work.step(again, value="5", code="other", again=True) == "5"
    assert work.step(again, value="6", code="other", again=True) == "5"
    assert work.kinds(hold.task).count("step") == 2


def test_a_cancelled_task_stops_at_an_unknown_effect_for_good(work):
    hold = work.running()
    work.begin(hold)
    work.release(hold)
    (again,) = work.claim()
    work.cancel(hold.task)
    assert work.begin(again).word == "unknown"
    assert work.states(hold.task) == ["cancelled"]
    assert work.effect(hold.task).outcome == "unknown"
    resolve(work, hold.task, "done")
    assert work.states(hold.task) == ["cancelled"]


def settled(work, system="s"):
    return work.read(lambda connection: overview.settled(connection, system))


def test_what_was_done_once_is_counted_from_tasks_that_are_done(work, clock):
    work.done(work.running())
    assert settled(work) == overview.Settled(0, 0, 0, None, 0)
    plain, tried = work.running(), work.running()
    for hold, key in ((plain, "one"), (plain, "two"), (tried, "one")):
        work.begin(hold, key)
        work.finish(hold, key=key)
    assert settled(work).tasks == 0, "not done yet"
    work.done(plain)
    work.release(tried)
    clock.advance(5)
    (again,) = work.claim(TWO)
    work.done(again)
    assert settled(work) == overview.Settled(tasks=2, again=1, effects=3, at=clock.now(), unknown=0)
    assert settled(work, "elsewhere") == overview.Settled(0, 0, 0, None, 0)


def test_an_effect_of_which_nobody_knows_is_counted_until_somebody_says_what_became_of_it(work):
    hold = work.running()
    work.begin(hold)
    work.release(hold)
    (again,) = work.claim(TWO)
    assert work.begin(again).word == "unknown"
    assert settled(work).unknown == 1
    resolve(work, hold.task, "done")
    assert settled(work).unknown == 0
