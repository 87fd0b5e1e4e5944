"""The ledger: what it remembers says when to look, and whatever it forgets, confuses or hears late is put right by the rows."""

import pytest

from quarterdeck.model import ops
from quarterdeck.model.records import Actor
from quarterdeck.model.work import Fenced
from quarterdeck.work.leases import TERM
from quarterdeck.work.ledger import CANCEL_GRACE, LOOK_EVERY

HUMAN = Actor("uid:0", "socket")


def test_a_lease_that_nobody_renews_is_taken_and_its_holder_refused(office, replica):
    async def play(made):
        task, fence = await made.running(replica())
        await made.pass_time(TERM - 1)
        assert made.get(task).state == "running"
        await made.pass_time(1)
        assert (made.get(task).state, made.get(task).reason) == ("queued", "its holder did not renew it in time")
        assert await made.say(replica(), ops.Renew(((task, fence),))) == {"lost": [task], "cancel": [], "moved": []}
        assert await made.claim(replica("a", 1)) == [(task, fence + 1)]
        with pytest.raises(Fenced):
            await made.say(replica(), ops.Done(task, fence, "1"))
        assert "refused" in made.kinds(task)

    office(play)


def test_the_wall_clock_ends_no_lease(office, replica):
    async def play(made):
        task, _ = await made.running(replica())
        for jump in (3600.0, -7200.0, 1e8):
            made.clock.wall += jump
            await made.ledger.sweep()
        assert made.get(task).state == "running"

    office(play)


def test_renewing_keeps_a_task_as_long_as_it_takes(office, replica):
    async def play(made):
        task, fence = await made.running(replica())
        before = made.commits
        await made.pass_time(60, renewing=[(replica(), task, fence)])
        assert made.get(task).state == "running"
        assert made.commits - before <= 60 / LOOK_EVERY + 1, "renewals are no writes"

    office(play)


def test_a_death_that_was_seen_frees_its_tasks_at_once_and_only_its_own(office, replica):
    async def play(made):
        task, fence = await made.running(replica())
        other, _ = await made.running(replica("a", 1))
        await made.ledger.gone(replica("a", 0, 0), "its predecessor")
        assert made.get(task).state == "running"
        await made.ledger.gone(replica(), "signal 9")
        assert (made.get(task).state, made.get(task).reason) == ("queued", "c/a-0 ended: signal 9")
        assert made.get(other).state == "running"
        assert await made.claim(replica("a", 0, 2)) == [(task, fence + 1)]

    office(play)


def test_of_a_replica_that_outlived_its_earlier_incarnations_these_hold_nothing_any_more(office, replica):
    async def play(made):
        task, fence = await made.running(replica())
        other, _ = await made.running(replica("a", 1))
        later, _ = await made.running(replica("a", 0, 3))
        await made.ledger.outlived(replica("a", 0, 2))
        assert (made.get(task).state, made.get(task).reason) == ("queued", "c/a-0 ended: its node ended")
        assert {made.get(one).state for one in (other, later)} == {"running"}
        assert await made.claim(replica("a", 0, 2)) == [(task, fence + 1)]

    office(play)


def test_the_death_of_one_that_was_replaced_already_takes_nothing_from_its_successor(office, replica):
    async def play(made):
        await made.claim(replica("a", 0, 2))
        await made.ledger.gone(replica("a", 0, 1), "signal 9")
        await made.submit()
        assert made.told == [("c/a", 0)]

    office(play)


def test_a_restarted_ledger_gives_every_holder_a_full_term_and_tells_who_waits(office, replica):
    async def play(made):
        task, fence = await made.running(replica())
        queued = await made.submit(to="c/b")
        await made.pass_time(TERM - 1)
        await made.restart()
        await made.pass_time(TERM - 1)
        assert made.get(task).state == "running"
        assert await made.say(replica(), ops.Renew(((task, fence),))) == {"lost": [], "cancel": [], "moved": []}
        assert [name for name, _ in await made.claim(replica("b"))] == [queued]

    office(play)


def test_a_cancelled_task_is_asked_back_and_taken_when_it_is_not_given(office, replica):
    async def play(made):
        task, fence = await made.running(replica())
        made.told.clear()
        await made.work.cancel(task, HUMAN, "not wanted")
        assert made.told == [("c/a", 0)]
        assert (await made.say(replica(), ops.Renew(((task, fence),))))["cancel"] == [task]
        await made.pass_time(CANCEL_GRACE - 1, renewing=[(replica(), task, fence)])
        assert made.get(task).state == "running"
        await made.pass_time(2, renewing=[(replica(), task, fence)])
        assert (made.get(task).state, made.get(task).reason) == ("cancelled", "not wanted")

    office(play)


def test_a_restarted_ledger_knows_who_was_to_be_cancelled(office, replica):
    async def play(made):
        task, fence = await made.running(replica())
        await made.work.cancel(task, HUMAN, "not wanted")
        await made.restart()
        assert (await made.say(replica(), ops.Renew(((task, fence),))))["cancel"] == [task]

    office(play)


def test_a_cancellation_of_an_older_attempt_is_none_of_a_later_one(office, replica):
    async def play(made):
        task, fence = await made.running(replica(), attempts=1)
        made.ledger._to_give_up(task, fence, 0.0)
        await made.say(replica(), ops.Fail(task, fence, "no", again=False))
        made.ledger._to_give_up(task, fence, 0.0)  # heard of late
        await made.work.retry(task, HUMAN, "once more")
        ((_, newer),) = await made.claim(replica())
        assert (await made.say(replica(), ops.Renew(((task, newer),))))["cancel"] == []
        await made.pass_time(CANCEL_GRACE + 1, renewing=[(replica(), task, newer)])
        assert made.get(task).state == "running"

    office(play)


def test_turns_heard_of_in_the_wrong_order_lose_no_lease(office, replica):
    async def play(made):
        task, fence = await made.running(replica())
        await made.say(replica(), ops.GiveBack(task, fence, "I stop"))
        ((_, newer),) = await made.claim(replica("a", 1))
        made.ledger._freed(task, fence)
        assert made.ledger.leases.get(task).fence == newer

    office(play)


def test_whatever_memory_missed_is_found_in_the_rows(office, replica):
    async def play(made):
        task, _ = await made.running(replica())
        cancelled, its = await made.running(replica("b"))
        queued = await made.submit(to="c/d")
        await made.work.cancel(cancelled, HUMAN, "not wanted")
        for name in (task, cancelled):
            made.ledger.leases.drop(name)
        made.ledger._cancelling.clear()
        made.ledger._waking.hungry.clear()
        made.told.clear()
        await made.pass_time(LOOK_EVERY + 1)
        assert ("c/d", None) in made.told
        assert [name for name, _ in await made.claim(replica("d"))] == [queued]
        assert (await made.say(replica("b"), ops.Renew(((cancelled, its),))))["cancel"] == [cancelled]
        await made.pass_time(TERM + 1)
        assert made.get(task).state == "queued", "one whose lease nobody remembered ends like any other"

    office(play)


def test_deadlines_and_questions_end_though_nobody_asks(office, replica):
    async def play(made):
        now = made.clock.now()
        late = await made.submit(deadline=now + 3)
        task, fence = await made.running(replica("b"), deadline=now + 3)
        asking, its = await made.running(replica("d"))
        asked = ops.AskHuman(asking, its, "q#1", "go on?", ("yes", "no"), "null", "no", now + 3)
        assert await made.say(replica("d"), asked) == {"state": "open", "answer": None}
        renewing = [(replica("b"), task, fence), (replica("d"), asking, its)]
        await made.pass_time(LOOK_EVERY + 1, renewing=renewing)
        assert made.get(late).state == "failed"
        assert (await made.say(replica("b"), ops.Renew(((task, fence),))))["cancel"] == [task]
        assert (await made.say(replica("d"), ops.Renew(((asking, its),))))["moved"] == [asking]
        found = await made.say(replica("d"), ops.Wait(asking, its, (), ("q#1",)))
        assert found["answers"] == {"q#1": {"state": "expired", "answer": "no", "by": "platform"}}
        assert (await made.say(replica("d"), ops.Renew(((asking, its),))))["moved"] == []

    office(play)
