"""Pieces of a picture of who waits for whom."""

from quarterdeck.work.waiting import Activity, Wait


def running(name, at="", **more):
    return Activity(name, at or f"c/{name}-0", "task", **{"since": 0.0, **more})


def waits(waiter, *on, kind="ask", since=0.0):
    return Wait(waiter, on, kind, since)
