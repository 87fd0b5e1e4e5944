"""What a claim hands over, and that what is asked together is read together."""

import pytest
from sqlalchemy import event

from quarterdeck.errors import Forbidden
from quarterdeck.model import ops


def test_a_claim_hands_over_all_that_an_attempt_has_to_know(office, replica):
    async def play(made):
        task = await made.submit('{"a": 1}', key="k", priority=2, attempts=3, deadline=made.clock.now() + 60)
        (one,) = await made.say(replica(), ops.Claim(1, ()))
        told = {"task": task, "fence": 1, "attempt": 1, "most": 3, "key": "k", "root": task, "parent": None, "priority": 2}
        assert {name: one[name] for name in told} == told
        assert (one["payload"], one["steps"], one["more"], one["deadline"]) == ('{"a": 1}', {}, False, made.clock.now() + 60)

    office(play)


def test_steps_come_with_the_claim_as_far_as_there_is_room_and_the_others_when_asked_for(office, replica):
    async def play(made):
        task, fence = await made.running(replica())
        wanted = {f"s#{n:03}": f'"{"x" * 200_000}"' for n in range(6)}
        for name, value in wanted.items():
            await made.say(replica(), ops.Step(task, fence, name, "c", value))
        await made.say(replica(), ops.GiveBack(task, fence, "I stop"))
        (one,) = await made.say(replica("a", 1), ops.Claim(1, ()))
        found, more = dict(one["steps"]), one["more"]
        assert found
        while more:
            page = await made.say(replica("a", 1), ops.Steps(task, one["fence"], max(found)))
            assert page["steps"]
            found, more = found | page["steps"], page["more"]
        assert {name: value for name, (_, value) in found.items()} == wanted

    office(play)


def test_a_claim_takes_no_more_than_it_may(office, replica):
    async def play(made):
        for n in range(80):
            await made.submit(key=f"{n}")
        given = await made.claim(replica(), 1000)
        assert len(given) == 64
        assert len(await made.claim(replica(), 1000, [task for task, _ in given])) == 16

    office(play)


def test_what_many_ask_at_once_costs_no_more_statements_than_what_few_ask(office, replica):
    async def play(made):
        seen = []
        engine = made.store._open.writing

        async def cost(count):
            for n in range(count):
                await made.submit(key=f"{count}-{n}")
            given = await made.claim(replica(), count)
            seen.clear()
            event.listen(engine, "before_cursor_execute", note)
            await made.say(replica(), *(ops.Begin(task, fence, "k", "unsafe", "h") for task, fence in given))
            await made.say(replica(), *(ops.Finish(task, fence, "k", "done", "1", "") for task, fence in given))
            await made.say(replica(), *(ops.Done(task, fence, "1") for task, fence in given))
            event.remove(engine, "before_cursor_execute", note)
            return len(seen)

        def note(_, __, statement, *___):
            seen.append(statement)

        few = await cost(5)
        assert await cost(60) <= few + 3

    office(play)


def test_nobody_waits_for_the_children_of_another(office, replica):
    async def play(made):
        mine, fence = await made.running(replica())
        other, its = await made.running(replica("b"))
        child = (await made.say(replica("b"), ops.Delegate(other, its, "n#1", "c/d", "", "1")))["task"]
        for name in (child, "ghost"):
            with pytest.raises(Forbidden, match="no child of task"):
                await made.say(replica(), ops.Wait(mine, fence, (name,), ()))
        assert made.get(mine).state == "running"

    office(play)
