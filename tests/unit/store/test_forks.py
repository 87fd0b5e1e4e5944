"""Forks: a task that has ended is run again as a new one, which keeps what was recorded before a step and carries none of it out again."""

import json
from dataclasses import replace

import pytest

from quarterdeck.errors import Conflict, NotFound
from quarterdeck.model.records import Actor
from quarterdeck.model.work import Fork, Hold, Holder, Question, Target
from quarterdeck.store import effects, events, forks, orders, outbox, overview, questions, rows, steps, tables, tasks
from quarterdeck.work.history import check

ME = Actor("uid:0", "socket")
OTHER = Target("s", "core", "other")
TWO = Holder("s", "core", "worker", 1, 1)


def story(work):
    """A task that ended after a step, an effect, two parts, a question, something given to others, a step and an effect."""
    hold = work.running(key="k", deadline=work.clock.now() + 60, lane="l", tenant="x", attempts=3, budget={"calls": 9.0})
    work.step(hold, "first#1", '"one"')
    paid(work, hold, "early")
    ended(work, hold, "core/other:#1", lambda part: work.done(part, '"part"'))
    ended(work, hold, "core/other:#2", lambda part: work.fail(part, "no use", again=None))
    asked(work, hold, "question#1", "yes")
    work.clock.advance(1)
    work.submit("5", key=f"{hold.task}/core/other:#3", target=OTHER)
    work.clock.advance(1)
    work.step(hold, "second#1", '"two"')
    paid(work, hold, "late")
    work.step(hold, "third#1", '"three"')
    work.done(hold)
    return hold.task


def paid(work, hold, key):
    work.begin(hold, key)
    work.finish(hold, key=key, value='"paid"')


def ended(work, hold, name, how):
    work.child(hold, target=OTHER, key=f"{tasks.CHILD}{hold.task}/{name}")
    (part,) = work.claim(Holder("s", "core", "other", 0, 1))
    how(part)


def asked(work, hold, name, answer):
    question = Question(hold.task, name, "Sell?", ("yes", "no"), "null", None, None, "open", None, "", 0.0, None)
    work.turn(lambda turn: questions.ask(turn, hold, question))
    if answer:
        work.turn(lambda turn: questions.answer(turn, hold.task, name, answer, actor=ME, reason=""))


def fork(work, task, step=None, key=None, reason="mended"):
    def ordered(turn):
        order = forks.order(turn.connection, Fork(task, step, ME, reason), key, turn.now)
        return orders.submit(turn, order, ME.name)

    return work.turn(ordered)


def steps_of(work, task):
    return {step.name: step.value for step in work.read(lambda connection: steps.of(connection, task))}


def planned(work, task, step=None):
    plan = work.read(lambda connection: forks.plan(connection, Fork(task, step, ME, "")))
    return [piece.name for piece in plan.kept], [piece.name for piece in plan.again]


def test_what_was_recorded_before_the_step_is_kept_and_the_rest_is_not(work):
    origin = story(work)
    made = fork(work, origin, "second#1").task
    kept = ["first#1", "early", "core/other:#1", "core/other:#2", "question#1", "core/other:#3"]
    assert planned(work, origin, "second#1") == (kept, ["second#1", "late", "third#1"])
    assert steps_of(work, made.id) == {
        "first#1": '"one"',
        "core/other:#1": '"part"',
        "core/other:#2": '"no use"',
        "core/other:#3": json.dumps(f"{origin}/core/other:#3"),
    }
    assert [(e.key, e.outcome, e.value, e.root) for e in work.read(lambda c: effects.of_task(c, made.id))] == [
        ("early", "done", '"paid"', made.id)
    ]
    assert [(q.name, q.answer, q.by) for q in work.read(lambda c: questions.of(c, made.id))] == [("question#1", "yes", "uid:0")]
    assert work.read(lambda c: tasks.tree(c, made.id)) == [made], "nothing of it is a task again"


def test_it_asks_for_the_same_within_the_same_limits_counted_from_now(work):
    origin = work.get(story(work))
    work.clock.advance(1000)
    made = fork(work, origin.id, "second#1").task
    same = ("target", "verb", "tenant", "priority", "lane", "most", "budget")
    assert [getattr(made, name) for name in same] == [getattr(origin, name) for name in same]
    assert made.deadline - made.created == origin.deadline - origin.created == 60
    assert (made.state, made.attempts, made.parent, made.root, made.key) == ("queued", 0, None, made.id, "k~fork-1")
    assert work.body(made.id, "input") == work.body(origin.id, "input")


def test_an_effect_that_was_kept_is_never_called_again_and_a_later_one_is_with_an_identity_of_its_own(work):
    origin = story(work)
    fork(work, origin, "second#1")
    (hold,) = work.claim(TWO)
    assert work.begin(hold, "early") == effects.Leave("done", '"paid"')
    assert work.begin(hold, "late").word == "go"
    assert work.effect(origin, "late").outcome == "done", "that of the old task is another one"
    assert work.begin(hold, "early", arguments="those of the fork, which name it").word == "done"
    with pytest.raises(Conflict, match="with other arguments"):
        work.begin(hold, "late", arguments="others")


def test_the_first_claim_is_given_the_steps_and_is_no_redelivery(work):
    origin = story(work)
    made = fork(work, origin, "second#1").task
    (hold,) = work.claim(TWO)
    assert (hold.task, hold.fence, work.get(made.id).attempts) == (made.id, 2, 1)
    assert work.last.tally["s", "core", "redelivery"] == 0
    assert work.step(hold, "first#1", '"another"') == '"one"'
    work.release(hold)
    work.claim(TWO)
    assert work.last.tally["s", "core", "redelivery"] == 1


def test_without_a_step_nothing_is_kept(work):
    origin = story(work)
    made = fork(work, origin).task
    assert steps_of(work, made.id) == {}
    assert planned(work, origin)[0] == []
    (hold,) = work.claim(TWO)
    assert work.begin(hold, "early").word == "go"


def test_both_tasks_and_the_journal_tell_of_it_and_the_old_one_stays_as_it_was(work):
    origin = story(work)
    before = work.get(origin)
    made = fork(work, origin, "second#1").task
    assert work.get(origin) == before
    assert work.events(origin)[-1].detail == {"into": made.id, "step": "second#1"}
    assert work.read(lambda c: forks.of(c, origin)) == [made.id]
    assert work.read(lambda c: forks.origin_of(c, made.id)) == {"task": origin, "step": "second#1"}
    (told,) = work.journalled("task.fork")
    assert told == {"task": made.id, "key": "k~fork-1", "from": origin, "step": "second#1", "kept": 6, "again": 3}
    assert check(work.read(events.every)) == ()


def test_the_same_key_is_the_same_fork_and_something_else_is_a_conflict(work):
    origin = story(work)
    made = fork(work, origin, "second#1", "mine")
    again = fork(work, origin, "second", "mine", "another reason")
    assert (again.task.id, again.created) == (made.task.id, False)
    assert len(work.journalled("task.fork")) == 1
    for step, key in (("third#1", "mine"), (None, "mine"), ("second#1", "k")):
        with pytest.raises(Conflict, match="asks for something else"):
            fork(work, origin, step, key)
    with pytest.raises(Conflict, match="asks for something else"):
        work.submit(key="mine", lane="l")


def test_the_same_fork_is_known_though_its_origin_goes_on_meanwhile(work):
    hold = work.running()
    work.step(hold, "first#1")
    work.fail(hold, again=None)
    made = fork(work, hold.task, "first#1", "mine")
    work.retry(hold.task)
    assert fork(work, hold.task, "first#1", "mine").task.id == made.task.id
    with pytest.raises(Conflict, match="is still queued"):
        fork(work, hold.task, "first#1", "another")


def test_what_was_named_after_the_task_is_found_under_the_name_that_it_has_now(work):
    hold = work.running(key="k")
    work.step(hold, f"pack {hold.task}#1", '"box"')
    paid(work, hold, f"charge:{hold.task}")
    work.step(hold, "then#1")
    work.done(hold)
    made = fork(work, hold.task, "then#1").task
    (again,) = work.claim(TWO)
    for task in (hold.task, made.id):
        assert work.begin(again, f"charge:{task}") == effects.Leave("done", '"paid"')
        assert steps_of(work, made.id)[f"pack {task}#1"] == '"box"'
    assert [effect.key for effect in work.read(lambda c: effects.of_task(c, made.id))] == [f"charge:{hold.task}"]
    work.done(again)
    assert check(work.read(events.every)) == ()


def test_without_a_key_each_is_another_one(work):
    origin = story(work)
    work.submit(key="k~fork-2")
    assert [fork(work, origin, "second#1").task.key for _ in range(2)] == ["k~fork-1", "k~fork-3"]
    part = work.read(lambda c: tasks.children(c, origin))[0]
    assert fork(work, part.id).task.key == f"{part.id}~fork-1", "the key of a part is the ledger's own"


@pytest.mark.parametrize("state", ["queued", "running", "unknown"])
def test_one_that_has_not_ended_is_refused_with_what_to_do(work, state):
    name = work.submit() if state == "queued" else work.running().task
    if state == "unknown":
        hold = Hold(Holder("s", "core", "worker", 0, 1), name, 1)
        work.begin(hold)
        work.finish(hold, "unknown", value=None, error="?")
    with pytest.raises(Conflict, match=f"is still {state}") as caught:
        fork(work, name)
    assert ("qd task resolve" if state == "unknown" else f"qd task cancel {name}, or wait") in caught.value.hint


def test_an_effect_nobody_knows_of_keeps_from_beginning_after_it_and_not_before_it(work):
    hold = work.running()
    work.step(hold, "before#1")
    work.begin(hold, "pay:1")
    work.step(hold, "after#1")
    work.fail(hold, again=None)
    assert work.effect(hold.task, "pay:1").outcome == "unknown"
    with pytest.raises(Conflict, match=r"'pay:1', which was begun before 'after#1', is unknown") as caught:
        fork(work, hold.task, "after#1")
    assert f"qd task resolve {hold.task} pay:1" in caught.value.hint
    assert fork(work, hold.task, "before#1").created
    assert fork(work, hold.task).created


def test_an_effect_that_failed_is_called_again(work):
    hold = work.running()
    work.begin(hold)
    work.finish(hold, "failed", value=None, error="refused")
    work.step(hold, "after#1")
    work.done(hold)
    made = fork(work, hold.task, "after#1").task
    assert work.read(lambda c: effects.of_task(c, made.id)) == []


def test_a_step_that_is_none_is_refused_with_the_nearest_and_all_there_are(work):
    origin = story(work)
    with pytest.raises(NotFound, match="has no step 'secnod#1'") as caught:
        fork(work, origin, "secnod#1")
    names = "first#1, core/other:#1, core/other:#2, question#1, second#1, third#1"
    assert caught.value.hint == f"did you mean 'second#1'? its steps are {names}"
    with pytest.raises(NotFound, match="has 2 steps 'core/other:'"):
        fork(work, origin, "core/other:")
    with pytest.raises(NotFound, match="has no step 'x'") as caught:
        fork(work, work.read(lambda c: tasks.children(c, origin))[0].id, "x")
    assert caught.value.hint == "without a step all of it is run again"
    with pytest.raises(NotFound, match="there is no task"):
        fork(work, "x" * 26)
    assert work.read(lambda c: overview.counts(c, overview.EVERYBODY)) == {"done": 2, "failed": 1, "queued": 1}


def test_what_was_under_way_at_the_step_is_begun_again(work):
    hold = work.running()
    part = work.child(hold, target=OTHER, key=f"{tasks.CHILD}{hold.task}/core/other:#1")
    asked(work, hold, "question#1", None)
    work.step(hold, "middle#1")
    (given,) = work.claim(Holder("s", "core", "other", 0, 1))
    paid(work, given, "by the part")
    work.done(given)
    work.turn(lambda turn: questions.answer(turn, hold.task, "question#1", "no", actor=ME, reason=""))
    work.step(hold, "last#1")
    work.done(hold)
    assert given.task == part
    assert planned(work, hold.task, "middle#1") == ([], ["core/other:#1", "question#1", "middle#1", "by the part", "last#1"])
    assert planned(work, hold.task, "last#1")[0] == ["core/other:#1", "question#1", "middle#1", "by the part"]
    made = fork(work, hold.task, "last#1").task
    assert work.effect(made.id, "by the part").root == made.id, "an effect is counted once in the whole tree"


def test_a_part_or_a_question_can_be_run_again_too(work):
    origin = story(work)
    assert planned(work, origin, "core/other:#2")[0] == ["first#1", "early", "core/other:#1"]
    assert planned(work, origin, "question")[0] == ["first#1", "early", "core/other:#1", "core/other:#2"]


def test_a_part_is_forked_without_what_others_of_its_tree_would_do_and_with_what_they_have_done(work):
    hold = work.running()
    for key in ("before it", f"x:{hold.task}"):
        paid(work, hold, key)
    work.child(hold, target=OTHER, key=f"{tasks.CHILD}{hold.task}/core/other:#1")
    (part,) = work.claim(Holder("s", "core", "other", 0, 1))
    work.step(part, "one#1")
    paid(work, part, "its own")
    paid(work, part, f"x:{part.task}")
    work.step(part, "two#1")
    work.done(part)
    paid(work, hold, "after it")
    others, own = ["before it", f"x:{hold.task}"], ["its own", f"x:{part.task}"]
    assert planned(work, part.task, "one#1") == (others, ["one#1", *own, "two#1"])
    assert planned(work, part.task, "two#1") == ([*others, "one#1", *own], ["two#1"])
    made = fork(work, part.task, "two#1").task
    assert (made.root, made.parent, made.depth) == (made.id, None, 0)
    assert [effect.key for effect in work.read(lambda c: effects.of_task(c, made.id))] == ["its own", f"x:{part.task}"]
    (hold,) = work.claim(Holder("s", "core", "other", 0, 1))
    for key in ("before it", f"x:{made.id}"):
        assert work.begin(hold, key) == effects.Leave("done", '"paid"')
    work.step(hold, "two#1")
    work.done(hold)
    assert {*others, "one#1", *own} < {*planned(work, made.id, "two#1")[0]}
    assert check(work.read(events.every)) == ()


def test_a_fork_of_a_fork_keeps_what_that_one_had_kept(work):
    origin = story(work)
    first = fork(work, origin, "third#1").task
    (hold,) = work.claim(TWO)
    work.step(hold, "third#1", '"3"')
    work.done(hold)
    assert planned(work, first.id, "third")[0] == planned(work, origin, "third#1")[0]
    kept, again = planned(work, first.id, "question#1")
    assert (kept, again[0]) == (["first#1", "early", "core/other:#1", "core/other:#2"], "question#1")
    second = fork(work, first.id, "question#1").task
    assert steps_of(work, second.id) == {"first#1": '"one"', "core/other:#1": '"part"', "core/other:#2": '"no use"'}
    assert check(work.read(events.every)) == ()


def test_messages_without_a_key_are_not_sent_again_and_later_ones_are(work):
    hold = work.running()

    def publish(n, task=hold.task):
        letter = outbox.Letter(f"m{n}-{task}", OTHER, "x", "1", f"task/{task}/publish:core/other:x#{n}", None, {})
        return work.turn(lambda turn: outbox.publish(turn, hold.holder, letter))

    publish(1)
    work.clock.advance(1)
    work.step(hold, "middle#1")
    work.clock.advance(1)
    publish(2)
    work.done(hold)
    made = fork(work, hold.task, "middle#1").task
    assert steps_of(work, made.id) == {"publish:core/other:x#1": json.dumps(f"task/{hold.task}/publish:core/other:x#1")}


def test_a_clock_that_was_put_back_has_nothing_done_again(work):
    hold = work.running()
    paid(work, hold, "early")
    work.clock.advance(1)
    work.submit("5", key=f"{hold.task}/core/other:#1", target=OTHER)
    work.clock.advance(-3600)
    work.step(hold, "after#1")
    work.step(hold, "then#1")
    work.done(hold)
    assert sorted(planned(work, hold.task, "after#1")[0]) == ["core/other:#1", "early"]


def test_the_key_of_a_task_it_gave_away_is_kept_though_that_one_is_forgotten(work):
    hold = work.running()
    names = {"system": "s", "key": f"{hold.task}/core/other:#1", "request": "r", "task": "x", "number": 0, "state": "done"}
    work.store.write_sync(lambda tx: rows.insert(tx, tables.forgotten, **names, created=tx.now, ended=tx.now))
    work.clock.advance(1)
    work.step(hold, "after#1")
    work.done(hold)
    assert planned(work, hold.task, "after#1")[0] == ["core/other:#1"]


def test_many_forks_in_one_write_refuse_each_for_itself(work):
    origin = story(work)

    def several(turn):
        good = forks.order(turn.connection, Fork(origin, "second#1", ME, ""), "a", turn.now)
        bad = replace(good, key="b", fork=Fork(origin, "nothing", ME, ""))
        return orders.submit_all(turn, [(bad, "me"), (good, "me")])

    refused, made = work.turn(several)
    assert isinstance(refused, NotFound)
    assert made.created
    assert work.read(lambda c: tasks.list_(c, key="b")) == []
