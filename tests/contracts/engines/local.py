"""The local engine under the contract suite: a real store, node and nats-server in a home of the test's own."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from quarterdeck import linux, stop_order
from quarterdeck.bus.keys import Keys
from quarterdeck.clock import SystemClock
from quarterdeck.engines.local.client import NodeClient
from quarterdeck.engines.local.engine import LocalEngine
from quarterdeck.model.home import Home
from quarterdeck.store.store import Store

CODE = """\
from quarterdeck import Agent

reader = Agent("reader")
writer = Agent("writer")
"""


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[LocalEngine]:
    """An engine that serves nothing yet, beside the code tree of the suite's templates; nothing of it is left afterwards."""
    home, clock = _home(folder), SystemClock()
    store = Store.open(home, clock)
    argv = (sys.executable, "-m", "quarterdeck.engines.local.node", "--home", str(home.root))
    engine = LocalEngine(home, store, clock, NodeClient(home, argv, clock), Keys(home.keys), os.environ)
    try:
        async with _attached(engine):
            yield engine
    finally:
        store.close()


async def crash(engine: LocalEngine, system: str, replica: str) -> None:
    """End a replica by SIGKILL."""
    seen = await engine.observe(system)
    os.kill(next(r.pid for w in seen.workloads for r in w.replicas if r.name == replica and r.pid is not None), signal.SIGKILL)


def _home(folder: Path) -> Home:
    home = Home(folder / "home")
    for place in (home.root, home.run, home.keys, home.logs, home.bus, home.revisions / "tree"):
        place.mkdir(mode=0o700, parents=True)
    (home.revisions / "tree" / "agents.py").write_text(CODE)
    return home


@asynccontextmanager
async def _attached(engine: LocalEngine) -> AsyncIterator[None]:
    running = asyncio.create_task(engine.node.run())
    try:
        async with asyncio.timeout(10):
            await engine.node.attached.wait()
        yield
    finally:
        left = await _stopped(engine)
        running.cancel()
        await asyncio.wait([running])
        engine.node._detach()
        await _ended(engine.node.pid)
        for pid in linux.marked("QD_NODE", engine.home.mark + ":.*"):
            linux.kill(pid, signal.SIGKILL)
    assert not any(left.values()), left


async def _stopped(engine: LocalEngine) -> dict[str, object]:
    """As `qd down` does it, but first off the bus: a client whose server goes away tries to reconnect until its process ends."""
    await engine.close()
    stop_order.write(engine.home, stay_down=True)
    answer = await engine.node.stop(1.0)
    return dict(answer["left"])


async def _ended(pid: int) -> None:
    """A node that has answered its stop still gives back its sockets and groups."""
    deadline = time.monotonic() + 10
    while pid and linux.stat(pid)[0] not in ("", "Z"):
        assert time.monotonic() < deadline, f"the node, pid {pid}, does not end"
        await asyncio.sleep(0.005)
