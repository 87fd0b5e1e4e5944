"""A seeded event loop on virtual time, and processes on it that can be killed or stopped between any two of their steps.

Nothing waits: when no callback is ready, time jumps to the next timer. The same seed gives the same run. Every callback belongs to the
process in whose context it was made; those of a dead process are dropped, as SIGKILL would, and no `finally` of it runs; those of a stopped
one are kept until it goes on, as between SIGSTOP and SIGCONT. After FoundationDB's simulation and the loops that "deterministic simulation
testing" of asyncio code uses elsewhere; our own, since none of the packages is old enough to be trusted with this.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import warnings
from contextvars import ContextVar, copy_context
from functools import partial

JITTER = 1e-3
"""Seconds by which a timer may be late."""
PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


class StuckError(Exception):
    """Nothing can happen any more."""


class Process:
    """Callbacks that live and die together."""

    def __init__(self, loop: Loop, name: str) -> None:
        self.loop, self.name = loop, name
        self.alive, self.stopped = True, False
        self._kept: list = []
        self.tasks: list[asyncio.Task] = []

    def start(self, work) -> asyncio.Task:
        """Run a coroutine as the process's."""
        context = copy_context()
        context.run(PROCESS.set, self)
        return self.loop.create_task(work, context=context)

    def kill(self) -> None:
        self.alive = False
        self._kept.clear()

    def stop(self) -> None:
        self.stopped = True

    def go_on(self) -> None:
        self.stopped = False
        kept, self._kept = self._kept, []
        for run in kept:
            self.loop.call_soon(run)

    def step(self, handle, callback, args) -> None:
        """One callback of ours, if we are there to run it; one that was kept may have been cancelled by another one before it."""
        if not self.alive or handle[0].cancelled():
            return
        if self.stopped:
            self._kept.append(lambda: self.step(handle, callback, args))
            return
        callback(*args)


class _Time:
    """What the loop takes for its selector: waiting is the passing of time."""

    def __init__(self) -> None:
        self.now = 0.0

    def select(self, timeout):
        if timeout is None:
            raise StuckError
        self.now += max(0.0, timeout)
        return []

    def close(self) -> None: ...


class Loop(asyncio.BaseEventLoop):
    """`chance` is all the randomness there is."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._selector = _Time()
        self._clock_resolution = 1e-9
        self.chance = random.Random(seed)  # noqa: S311 a seed is the point
        self.set_task_factory(self._task)
        self.set_exception_handler(self._failed)
        self.failures: list[dict] = []
        self._made: list[asyncio.Task] = []

    def time(self) -> float:
        return self._selector.now

    def call_soon(self, callback, *args, context=None):
        return self._owned(super().call_soon, callback, args, context)

    def call_at(self, when, callback, *args, context=None):
        late = self.chance.random() * JITTER
        return self._owned(partial(super().call_at, when + late), callback, args, context)

    def call_soon_threadsafe(self, callback, *args, context=None):
        return self.call_soon(callback, *args, context=context)

    def process(self, name: str) -> Process:
        return Process(self, name)

    def run(self, main) -> None:
        """To its end. What is left of killed processes is thrown away without running."""
        asyncio.set_event_loop(self)
        try:
            self.run_until_complete(main)
        finally:
            self._throw_away()
            asyncio.set_event_loop(None)
            self.close()

    def _owned(self, plan, callback, args, context):
        owner = PROCESS.get() if context is None else context.get(PROCESS)
        if owner is None:
            return plan(callback, *args, context=context)
        handle = []
        handle.append(plan(owner.step, handle, callback, args, context=context))
        return handle[0]

    def _task(self, loop, work, context=None):
        task = asyncio.Task(work, loop=loop, context=context)
        self._made.append(task)
        if len(self._made) > 10_000:
            self._made = [one for one in self._made if not one.done()]
        return task

    def _failed(self, loop, context) -> None:
        self.failures.append(context)

    def _throw_away(self) -> None:
        self.set_exception_handler(lambda *_: None)
        self.call_soon = self.call_at = lambda *_, **__: asyncio.Handle(lambda: None, (), self)  # type: ignore[assignment]
        for task in self._made:
            task._log_destroy_pending = False
            if not task.done():
                with contextlib.suppress(BaseException), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    task.get_coro().close()

    def _process_events(self, events) -> None: ...

    def _write_to_self(self) -> None: ...
