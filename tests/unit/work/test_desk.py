"""Whoever follows all work is told which tasks something happened to, and of too many only that there were."""

import asyncio

from quarterdeck.work.desk import MOST_FOLLOWED, Followed


def tasks(*names):
    return frozenset(names)


def test_each_task_is_told_once_and_a_take_begins_anew():
    async def play():
        followed = Followed()
        assert followed.take() == tasks()
        followed.add(tasks("a"))
        followed.add(tasks("a", "b"))
        assert followed.news.is_set()
        assert followed.take() == tasks("a", "b")
        assert not followed.news.is_set()
        assert followed.take() == tasks()

    asyncio.run(play())


def test_of_too_many_none_is_told_and_no_more_is_kept_than_that():
    async def play():
        followed = Followed()
        for n in range(10 * MOST_FOLLOWED):
            followed.add(tasks(str(n)))
        assert len(followed._tasks) == MOST_FOLLOWED + 1
        assert followed.take() is None
        assert followed.take() == tasks()

    asyncio.run(play())


def test_a_follower_that_left_is_told_nothing(office):
    async def play(open_office):
        with open_office.work.follow() as followed:
            open_office.work.stir(tasks("a"))
            assert followed.take() == tasks("a")
        open_office.work.stir(tasks("b"))
        assert followed.take() == tasks()

    office(play)
