"""The suite sees what blocks an event loop."""

import asyncio
import time


def test_what_blocks_an_event_loop_is_seen(loops):
    loops.limit = 0.05

    async def sluggish():
        await asyncio.sleep(0.06)
        time.sleep(0.06)  # noqa: ASYNC251 it is what must be seen
        await asyncio.sleep(0)

    asyncio.run(sluggish())
    (held,) = loops.held
    assert "sluggish" in held
    loops.held.clear()
