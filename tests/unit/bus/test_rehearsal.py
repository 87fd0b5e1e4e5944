"""What a fork server goes through before it forks."""

import asyncio
import threading
from pathlib import Path

from quarterdeck.bus import rehearsal


def opened():
    """Descriptors and threads of this process."""
    return sorted(p.name for p in Path("/proc/self/fd").iterdir()), threading.active_count()


def test_a_rehearsal_goes_through_whole_sessions_and_leaves_nothing_open(monkeypatch):
    greeted = []
    stand_in = rehearsal._stand_in

    async def counted(reader, writer):
        greeted.append(writer)
        await stand_in(reader, writer)

    monkeypatch.setattr(rehearsal, "_stand_in", counted)
    asyncio.run(asyncio.sleep(0))  # what a first loop opens for good is open now
    before = opened()
    asyncio.run(rehearsal._rehearse())
    assert len(greeted) == rehearsal.TIMES
    assert opened() == before


def test_a_machine_that_has_no_loopback_only_goes_without(monkeypatch):
    async def refused(*_args):
        raise OSError("no loopback")

    monkeypatch.setattr(asyncio, "start_server", refused)
    rehearsal.rehearse()
