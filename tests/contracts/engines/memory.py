"""The memory engine under the contract suite: nothing to start, nothing to stop."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from quarterdeck.clock import VirtualClock
from quarterdeck.engines.memory import MemoryEngine


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[MemoryEngine]:
    """An engine that serves nothing yet."""
    yield MemoryEngine(VirtualClock())


async def crash(engine: MemoryEngine, system: str, replica: str) -> None:
    """End a replica as SIGKILL would."""
    engine.crash(system, replica)
