"""The ledger: what it remembers says when to look, and whatever it forgets, confuses or hears late is put right by the rows."""

import asyncio
import json

import pytest

from quarterdeck.errors import Terminal, Transient, UserError
from quarterdeck.model import ops
from quarterdeck.model.records import Actor
from quarterdeck.model.work import Fenced, Target
from quarterdeck.work import ledger as module
from quarterdeck.work.leases import TERM
from quarterdeck.work.ledger import CANCEL_GRACE, LOOK_EVERY

HUMAN = Actor("uid:0", "socket")


def test_an_idle_replica_is_told_of_work_and_of_nothing_else(office, replica):
    async def play(made):
        before = made.commits
        assert await made.claim(replica()) == []
        assert (made.told, made.commits) == ([], before), "an empty claim costs no write"
        await made.submit()
        assert made.told == [("c/a", 0)]
        await made.submit()
        assert made.told == [("c/a", 0)], "it was told, and is not known to be idle any more"
        assert len(await made.claim(replica(), 5)) == 2

    office(play)


def test_a_word_that_was_lost_is_said_again_to_all(office, replica):
    async def play(made):
        await made.claim(replica())
        await made.submit()
        made.told.clear()
        await made.pass_time(1)
        assert made.told == [("c/a", None)]
        await made.claim(replica(), 5)
        made.told.clear()
        await made.pass_time(3)
        assert made.told == []

    office(play)


def test_a_replica_that_becomes_ready_is_told_of_what_waits(office, replica):
    async def play(made):
        made.ledger.ready(replica())
        assert made.told == []
        await made.submit()
        made.ledger.ready(replica("a", 1))
        assert made.told == [("c/a", 0), ("c/a", 1)]

    office(play)


def test_what_is_queued_while_a_claim_finds_nothing_is_not_forgotten(office, replica):
    """The claim looked before the commit, and is heard of after it."""

    async def play(made):
        await made.submit(to="c/a")
        await made.claim(replica(), 1)
        await made.submit(to="c/a", after=made.clock.now() + 50)
        made.ledger._waking.hungry[Target("s", "c", "a")] = 0.0
        made.held.clear()
        before = made.commits
        looking = asyncio.create_task(made.claim(replica("a", 1)))
        while made.commits == before:  # noqa: ASYNC110 it happens in a thread
            await asyncio.sleep(0.01)
        task = await made.submit()
        made.held.set()
        assert await looking == []
        assert [name for name, _ in await made.claim(replica("a", 1))] == [task]

    office(play)


def test_work_for_later_is_told_of_when_its_time_comes(office, replica):
    async def play(made):
        await made.claim(replica())
        task = await made.submit(after=made.clock.now() + 5)
        assert made.told == []
        await made.pass_time(4)
        assert made.told == []
        await made.pass_time(1)
        assert made.told == [("c/a", 0)]
        assert [name for name, _ in await made.claim(replica())] == [task]

    office(play)


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


def test_the_end_of_a_child_is_news_for_its_parent_until_it_looked(office, replica):
    async def play(made):
        parent, fence = await made.running(replica())
        child = (await made.say(replica(), ops.Delegate(parent, fence, "n#1", "c/b", "", "1")))["task"]
        assert await made.say(replica(), ops.Wait(parent, fence, (child,), ())) == {"children": {}, "answers": {}}
        assert made.get(parent).state == "waiting"
        ((_, its),) = await made.claim(replica("b"))
        made.told.clear()
        await made.say(replica("b"), ops.Done(child, its, '"42"'))
        assert made.told == [("c/a", 0)]
        for _ in range(2):
            assert (await made.say(replica(), ops.Renew(((parent, fence),))))["moved"] == [parent]
        found = await made.say(replica(), ops.Wait(parent, fence, (child,), ()))
        assert found["children"] == {child: {"state": "done", "result": '"42"', "error": ""}}
        assert (await made.say(replica(), ops.Renew(((parent, fence),))))["moved"] == []

    office(play)


def test_news_that_comes_while_a_look_is_under_way_is_kept(office, replica):
    async def play(made):
        parent, fence = await made.running(replica())
        child = (await made.say(replica(), ops.Delegate(parent, fence, "n#1", "c/b", "", "1")))["task"]
        made.held.clear()
        before = made.commits
        looking = asyncio.create_task(made.say(replica(), ops.Wait(parent, fence, (child,), ())))
        while made.commits == before:  # noqa: ASYNC110 it happens in a thread
            await asyncio.sleep(0.01)
        await made.work.cancel(child, HUMAN, "not wanted")
        made.held.set()
        assert (await looking)["children"] == {}
        assert (await made.say(replica(), ops.Renew(((parent, fence),))))["moved"] == [parent]

    office(play)


def test_what_several_replicas_ask_at_once_is_one_write(office, replica):
    async def play(made):
        for n in range(20):
            await made.submit(key=f"{n}")
        before = made.commits
        given = await asyncio.gather(*(made.claim(replica("a", n)) for n in range(20)))
        assert len({task for ((task, _),) in given}) == 20
        assert made.commits - before <= 3
        before = made.commits
        said = [made.say(replica("a", n), ops.Done(task, fence, "1")) for n, ((task, fence),) in enumerate(given)]
        assert await asyncio.gather(*said) == [None] * 20
        assert made.commits - before <= 3

    office(play)


def test_an_operation_that_breaks_takes_no_other_with_it(office, replica, monkeypatch, caplog):
    real = module.perform

    def perform(bench, op):
        if isinstance(op, ops.Step):
            raise ZeroDivisionError
        return real(bench, op)

    async def play(made):
        task, fence = await made.running(replica())
        other, its = await made.running(replica("b"))
        monkeypatch.setattr(module, "perform", perform)
        broken, kept = await asyncio.gather(
            made.say(replica(), ops.Step(task, fence, "s#1", "c", "1")),
            made.say(replica("b"), ops.Done(other, its, "1")),
            return_exceptions=True,
        )
        assert (type(broken), kept) == (Terminal, None)
        assert made.get(other).state == "done"
        answers = await made.say(replica(), ops.Step(task, fence, "s#1", "c", "1"), ops.Done(task, fence, "2"))
        assert (type(answers[0]), answers[1]) == (Terminal, None)
        assert "could not be answered" in caplog.text

    office(play)


def test_a_refusal_among_others_is_an_answer_like_the_others(office, replica):
    async def play(made):
        task, fence = await made.running(replica())
        step, refused, done = await made.say(
            replica(), ops.Step(task, fence, "s#1", "c", "1"), ops.Step("ghost", 1, "s#1", "c", "1"), ops.Done(task, fence, "2")
        )
        assert (step, type(refused), done) == ("1", Fenced, None)

    office(play)


def test_a_store_that_cannot_write_is_said_to_be_so_and_nothing_is_lost(office, replica):
    async def play(made):
        task, fence = await made.running(replica())

        async def full(_):
            raise Transient("the disk is full")

        write, made.ledger.write = made.ledger.write, full
        with pytest.raises(Transient, match="the disk is full"):
            await made.say(replica(), ops.Done(task, fence, "1"))
        assert await made.say(replica(), ops.Renew(((task, fence),))) == {"lost": [], "cancel": [], "moved": []}
        made.clock.advance(TERM + 1)
        with pytest.raises(Transient):
            await made.ledger.sweep()
        made.ledger.write = write
        await made.ledger.sweep()
        assert made.get(task).state == "queued"

    office(play)


def test_what_is_no_request_is_answered_as_such(office, replica):
    async def play(made):
        before = made.commits
        for body in (b"", b"[]", b'{"ops": [["explode", {}]]}', b'{"ops": [["step", {"' + b"x" * 900_000 + b'": 1}]]}'):
            answer = await made.ledger.serve(replica(), body)
            assert json.loads(answer)["error"]["kind"] == "UserError"
            assert len(answer) < 10_000
        assert made.commits == before

    office(play)


def test_answers_that_have_no_room_are_to_be_asked_for_again(office, replica):
    async def play(made):
        for n in range(4):
            await made.submit(f'"{"x" * 440_000}"', key=f"{n}")
        claims = [ops.Claim(1, ())] * 3
        answers = await made.say(replica(), *claims)
        assert answers[2] == "later"
        ((task, fence),) = [(one["task"], one["fence"]) for one in answers[0]]
        given = await made.claim(replica(), 3, [task])
        assert given
        assert fence == 1

    office(play)


def test_every_answer_that_was_lost_is_said_again(office, replica):
    async def play(made):
        task, fence = await made.running(replica())
        asked = [
            ops.Step(task, fence, "s#1", "c", "1"),
            ops.Begin(task, fence, "k", "unsafe", "h"),
            ops.Finish(task, fence, "k", "done", "1", ""),
            ops.Delegate(task, fence, "n#1", "c/b", "", "1"),
            ops.AskHuman(task, fence, "q#1", "?", (), "null", None, None),
            ops.Wait(task, fence, (), ("q#1",)),
            ops.Submit("c/d", "", "1", "own"),
            ops.Done(task, fence, "1"),
        ]
        for op in asked:
            first = await made.say(replica(), op)
            second = await made.say(replica(), op)
            first.pop("created", None) if isinstance(first, dict) else None
            second.pop("created", None) if isinstance(second, dict) else None
            assert first == second, op
        assert made.kinds(task) == [
            "submit", "claim", "step", "effect.started", "effect.done", "question", "wait", "resume", "done",
        ]  # fmt: skip

    office(play)


@pytest.mark.parametrize("op", [ops.Fail("", 0, "no", again=True), ops.Fail("", 0, "no", again=False), ops.GiveBack("", 0, "I stop")])
def test_the_end_of_an_attempt_may_be_said_twice_also_in_one_write(office, replica, op):
    async def play(made):
        task, fence = await made.running(replica())
        mine = type(op)(task, fence, *[getattr(op, name) for name in list(op.__dataclass_fields__)[2:]])
        assert await made.say(replica(), mine, mine) == [None, None]
        assert await made.say(replica(), mine) is None
        assert made.get(task).attempts == (0 if isinstance(op, ops.GiveBack) else 1)

    office(play)


def test_replicas_give_work_only_where_they_reach_and_as_what_they_are(office, replica):
    async def play(made):
        task, fence = await made.running(replica())
        made.reached = lambda system, cluster, target: "" if (system, cluster, target.cluster) == ("s", "c", "c") else "no way there"
        for op in (ops.Delegate(task, fence, "n#1", "d/b", "", "1"), ops.Submit("d/b", "", "1", "k")):
            with pytest.raises(Exception, match="no way there"):
                await made.say(replica(), op)
        for op in (
            ops.Submit("c/b", "", "1", "^child"),
            ops.Submit("c/b", "", "1", "k", priority=101),
            ops.Submit("c/b", "", "1", "k", attempts=0),
            ops.Delegate(task, fence, "n#2", "c/b", "", "1", priority=-101),
        ):
            with pytest.raises(UserError):
                await made.say(replica(), op)

    office(play)


def test_children_take_after_their_parent(office, replica):
    async def play(made):
        task, fence = await made.running(replica(), tenant="x", priority=7, deadline=made.clock.now() + 50)
        child = made.get((await made.say(replica(), ops.Delegate(task, fence, "n#1", "c/b", "", "1", deadline=9e9)))["task"])
        assert (child.tenant, child.priority, child.deadline, child.root, child.depth) == ("x", 7, made.get(task).deadline, task, 1)
        with pytest.raises(Exception, match="asks for something else"):
            await made.say(replica(), ops.Delegate(task, fence, "n#1", "c/b", "", "2"))
        with pytest.raises(Exception, match="no child of task"):
            await made.say(replica(), ops.Wait(task, fence, (task,), ()))

    office(play)


def test_large_results_of_many_children_come_in_pieces(office, replica):
    async def play(made):
        task, fence = await made.running(replica())
        children = []
        for n in range(4):
            child = (await made.say(replica(), ops.Delegate(task, fence, f"n#{n}", "c/b", "", "1")))["task"]
            ((_, its),) = await made.claim(replica("b"))
            await made.say(replica("b"), ops.Done(child, its, f'"{"x" * 400_000}"'))
            children.append(child)
        seen = set()
        while left := [child for child in children if child not in seen]:
            found = (await made.say(replica(), ops.Wait(task, fence, tuple(left), ())))["children"]
            assert found
            seen |= set(found)

    office(play)


def test_what_is_written_down_of_a_task_that_waits_for_many_is_short(office, replica):
    async def play(made):
        task, fence = await made.running(replica())
        asked = [ops.Delegate(task, fence, f"n#{n}", "c/b", "", "1") for n in range(100)]
        children = [one["task"] for one in await made.say(replica(), *asked)]
        await made.say(replica(), ops.Wait(task, fence, tuple(children), ()))
        told = json.loads(made.get(task).reason)
        assert (told["tasks"], told["more"]) == (children[:20], 80)

    office(play)
