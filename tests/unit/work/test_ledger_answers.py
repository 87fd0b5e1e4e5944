"""Answers of the ledger: to many at once in one write, again when one was lost, and no more than may be asked or carried."""

import asyncio
import json

import pytest

from quarterdeck.errors import Terminal, Transient, UserError
from quarterdeck.model import ops
from quarterdeck.model.work import Fenced
from quarterdeck.work import ledger as module
from quarterdeck.work.leases import TERM


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
