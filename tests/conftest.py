"""For the whole suite: Hypothesis, the order of folders, Ctrl-C, compiled files, and event loops that nothing may block.

Hypothesis has no deadline (machines are shared). In CI it gives the same examples each run, so that a red run repeats; to planted bugs too,
where it is enough that a test fails: nobody reads the smallest case. A suite started in the background of a script inherits SIGINT as
ignored, and so would every command in which a test presses Ctrl-C. Where Python is told to keep no compiled files, each worker and each of
the commands that tests run would compile anew what it imports: 13 of the 20 processor seconds in which a worker collects the suite.
"""

import asyncio
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

settings.register_profile("usual", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("usual"), derandomize=True)
settings.register_profile("planted", settings.get_profile("ci"), phases=[Phase.explicit, Phase.generate])
settings.load_profile("ci" if os.environ.get("CI") else "usual")

signal.signal(signal.SIGINT, signal.default_int_handler)

sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

HERE = Path(__file__).parent
FIRST = [HERE / name for name in ("scenarios", "docs", "planted", "simulation", "web")]
"""Their files take a minute or more each: begun last, one of them would go on alone when everything else is done."""


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: next((n for n, folder in enumerate(FIRST) if folder in item.path.parents), len(FIRST)))


@dataclass
class Loops:
    """What held an event loop of this process for longer than `limit` seconds: the node ends a control plane that is silent for five.

    Time in which the thread could run and got no processor does not count: beside other tests that may be long.
    """

    limit: float = 4.0
    held: list = field(default_factory=list)


@pytest.fixture(autouse=True)
def loops(monkeypatch):
    """A test that blocks the event loop fails."""
    watch, run, waited = Loops(), asyncio.Handle._run, _waited()

    def timed(handle):
        began = time.monotonic()
        run(handle)
        took = time.monotonic() - began
        if took > watch.limit and (took := took - (_waited() - waited)) > watch.limit:
            watch.held.append(f"{took:.1f} s: {getattr(handle._callback, '__self__', handle)!r}")

    monkeypatch.setattr(asyncio.Handle, "_run", timed)
    yield watch
    assert not watch.held, "blocked the event loop for\n" + "\n".join(watch.held)


def _waited():
    """Seconds this thread has waited for a processor, as the kernel counts them (proc(5), schedstat); too dear to ask for each callback."""
    return int(Path("/proc/thread-self/schedstat").read_bytes().split()[1]) / 1e9
