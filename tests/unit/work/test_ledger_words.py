"""Words of the ledger: who waits for work or news is told once, again when the word may be lost, and of nothing else."""

import asyncio

from quarterdeck.model import ops
from quarterdeck.model.records import Actor
from quarterdeck.model.work import Target

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
