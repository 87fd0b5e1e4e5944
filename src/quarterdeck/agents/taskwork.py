"""A replica's work on tasks: claims what it has places for, runs it, renews what it holds, and hands back what it cannot finish."""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from quarterdeck.agents.activity import Activity, NoProgress
from quarterdeck.agents.agent import Agent
from quarterdeck.agents.calls import cancellations
from quarterdeck.agents.context import TASK_VERB, Context, Place
from quarterdeck.agents.desk import refused, run
from quarterdeck.agents.line import PATIENCE, Line
from quarterdeck.agents.part import Part
from quarterdeck.agents.payload import decode
from quarterdeck.agents.tasks import EffectUnknown, TaskInfo
from quarterdeck.bus.envelope import Trace
from quarterdeck.errors import QuarterdeckError, Terminal, UserError, named
from quarterdeck.model import loops, ops
from quarterdeck.model.work import Fenced

log = logging.getLogger(__name__)

RENEW_EVERY: Final = 3.0
ASK_WITHIN: Final = 12.0
"""Seconds for the ledger to answer a claim or a renewal."""
LOOK_EVERY: Final = 30.0
"""Seconds between claims of an idle replica that hears nothing: the ledger wakes it when there is work."""
HAND_BACK: Final = 5.0
"""Seconds for the ledger to hear that a task is given up."""
HAND_BACK_SHARE: Final = 0.25
"""Part of a drain's time that is kept for handing back what has not ended by itself."""


@dataclass(slots=True)
class _Run:
    """An attempt: why it was told to stop, if it was, and whether its handler has ended and only the ledger is to hear of it."""

    part: Part
    given: dict[str, Any]
    why: Literal["", "lost", "cancelled", "stopping"] = ""
    telling: bool = False
    task: asyncio.Task[None] = field(init=False)

    def stop(self, why: Literal["lost", "cancelled", "stopping"]) -> None:
        """Have it stop, once."""
        if not self.why and not self.telling:
            self.why = why
            self.task.cancel()


class Taskwork:
    """Made once for a replica; `tasks` runs the handlers and outlives it."""

    def __init__(self, agent: Agent, place: Place, line: Line, tasks: asyncio.TaskGroup) -> None:
        self._agent = agent
        self._place = place
        self._line = line
        self._tasks = tasks
        self._runs: dict[str, _Run] = {}
        self._past: dict[str, int] = {}
        self._word = asyncio.Event()
        self._open = False
        self._claiming = asyncio.Lock()
        self._loops: list[asyncio.Task[None]] = []

    @property
    def busy(self) -> int:
        """Tasks being worked on."""
        return len(self._runs)

    def word(self) -> None:
        """The ledger has something to say."""
        self._word.set()

    def open(self) -> None:
        """Take tasks from now on."""
        self._open = True
        self._word.set()
        if not self._loops:
            self._loops = [self._tasks.create_task(self._listen_on()), self._tasks.create_task(self._renew_on())]

    def pause(self) -> None:
        """Take no further ones; those that run go on."""
        self._open = False

    async def close(self, within: float) -> None:
        """End within so many seconds: what only waits is handed back at once, what works may finish, what is late is handed back too.

        Whoever takes over a task that was handed back finds its steps, effects and children as they are, and no attempt was used up.
        """
        self.pause()
        kept = min(HAND_BACK, within * HAND_BACK_SHARE)
        for run_ in list(self._runs.values()):
            run_.part.grace = kept
            run_.part.idle = lambda run_=run_: run_.stop("stopping")  # type: ignore[misc]
            if run_.part.waiting:
                run_.stop("stopping")
        await self._ended(within - kept)
        for run_ in list(self._runs.values()):
            run_.stop("stopping")
        await self._ended(max(kept, 0.5))
        try:
            async with asyncio.timeout(max(kept, 0.5)), self._claiming:  # what was asked for may still come, and is given back
                pass
        except TimeoutError:
            log.warning("the ledger did not answer the last claim")
        for loop in self._loops:
            loop.cancel()

    def abandon(self) -> None:
        """Stop at once and tell nobody, as if the process had ended."""
        self.pause()
        for run_ in self._runs.values():
            run_.part.grace = 0.0
            run_.stop("lost")
        for loop in self._loops:
            loop.cancel()

    async def _ended(self, within: float) -> None:
        running = [run_.task for run_ in self._runs.values()]
        if running:
            await asyncio.wait(running, timeout=within)

    async def _listen_on(self) -> None:
        while True:
            try:
                async with asyncio.timeout(LOOK_EVERY * (0.5 + random.random() / 2)):  # noqa: S311 spreads replicas over time
                    await self._word.wait()
            except TimeoutError:
                log.debug("no word for a while: looking for tasks")
            self._word.clear()
            await asyncio.gather(self._renew(), self._claim())  # they travel together

    async def _claim(self) -> None:
        """Fill the places there are."""
        async with self._claiming:
            while self._open and (free := min(self._agent.concurrency, ops.MOST_HELD) - len(self._runs)) > 0:
                asked = self._place.clock.monotonic()
                try:
                    given = await self._line.call(ops.Claim(free, tuple(self._runs)), ASK_WITHIN)
                except QuarterdeckError as error:
                    log.warning("no tasks: %s", error.message)
                    return
                if not given:
                    return
                for one in given:
                    await self._take(one, asked)

    async def _take(self, given: dict[str, Any], asked: float) -> None:
        known = self._runs.get(given["task"])
        if known is not None and known.part.info.fence == given["fence"]:
            return
        if not self._open:  # paused meanwhile
            await self._tell(ops.GiveBack(given["task"], given["fence"], f"{self._place.name} takes no tasks"), HAND_BACK)
            return
        if self._past.get(given["task"]) == given["fence"]:  # the ledger never heard of its end; what it began is for another fence to find
            await self._tell(ops.GiveBack(given["task"], given["fence"], f"{self._place.name} ended it, and nobody heard of it"), HAND_BACK)
            return
        if known is not None:
            known.stop("lost")
        self._begin(given, asked)

    def _begin(self, given: dict[str, Any], asked: float) -> None:
        names = ("task", "key", "root", "parent", "fence", "attempt", "most", "deadline")
        info = TaskInfo(*(given[name] for name in names))
        steps = {name: (code, value) for name, (code, value) in given["steps"].items()}
        limited = given.get("limited", ())
        place = self._place
        part = Part(info, self._line, place.clock, steps, asked=asked, waits=place.waits, limited=limited, mask=place.mask)
        running = _Run(part, given)
        running.task = self._tasks.create_task(self._attempt(running))
        running.task.add_done_callback(lambda _: self._over(running))
        self._runs[info.id] = running

    def _over(self, ended: _Run) -> None:
        task = ended.part.info.id
        if self._runs.get(task) is ended:
            del self._runs[task]
        self._past.pop(task, None)
        self._past[task] = ended.part.info.fence
        if len(self._past) > ops.MOST_HELD:
            del self._past[next(iter(self._past))]
        self._place.progressed()
        if self._open:
            self._word.set()  # a place is free

    async def _renew_on(self) -> None:
        while True:
            await asyncio.sleep(RENEW_EVERY)
            await self._renew()

    async def _renew(self) -> None:
        held = {task: run_ for task, run_ in self._runs.items() if run_.why in ("", "stopping")}
        if not held:
            return
        asked, news = self._place.clock.monotonic(), _news(held)
        holding = tuple((task, run_.part.info.fence) for task, run_ in held.items())
        try:
            said = await self._line.call(ops.Renew(holding, tuple((task, *told) for task, told in news.items())), ASK_WITHIN)
        except QuarterdeckError as error:
            log.warning("not renewed: %s", error.message)
            return
        for task, told in news.items():
            if held[task].part.progress == told:
                held[task].part.progress = None
        for task, run_ in held.items():
            if task in said["lost"]:
                run_.stop("lost")
                continue
            run_.part.confirm(asked)
            if task in said["cancel"]:
                run_.stop("cancelled")
            if task in said["moved"]:
                run_.part.moved.set()

    async def _attempt(self, running: _Run) -> None:
        """One attempt, to its end as the ledger knows it; raises nothing but cancellation."""
        part = running.part
        try:
            outcome = await self._outcome(running)
            running.telling = not running.why
            await part.calm()
        except asyncio.CancelledError:
            await part.calm()
            await self._interrupted(running)
            raise
        finally:
            part.close()
        if running.why and isinstance(outcome, ops.Fail):  # how it failed says nothing: it was told to stop
            await self._interrupted(running)
        elif outcome is not None:
            if self._place.worked is not None:
                self._place.worked.note(well=isinstance(outcome, ops.Done))
            await self._tell(outcome, PATIENCE)

    async def _outcome(self, running: _Run) -> ops.Op | None:
        """Run the handler; what the ledger is to hear of it, None when it knows already."""
        info, given, before = running.part.info, running.given, cancellations()
        trace = Trace.read(given["trace"])
        path = loops.read(given.get("path", "")).then(f"{self._place.cluster}/{self._place.agent}", given["verb"])
        working = Activity(info.id, "task", given["verb"])
        context = Context(self._place, deadline=info.deadline, trace=trace, id=info.id, part=running.part, activity=working, path=path)
        measures = self._place.measures
        if measures is not None and info.fence == 1 and "queued" in given:  # later attempts waited for their retry
            measures.took(given["source"], "task", given["queued"] * 1000)
        try:
            self._check(path, info, given["verb"])
            if given["more"]:
                await running.part.recall()
            with nullcontext() if measures is None else measures.working(given["verb"] or TASK_VERB, "task"):
                result = await self._result(given, context)
            return ops.Done(info.id, info.fence, result)
        except (EffectUnknown, Fenced) as error:
            log.warning("task %s stops here: %s", info.id, error.message)
            return None
        except asyncio.CancelledError:
            if running.why or cancellations() > before:
                raise
            return ops.Fail(info.id, info.fence, "CancelledError: the handler cancelled itself", again=True)
        except Exception as error:  # the boundary to user code: whatever it raises becomes the attempt's end
            context.log.exception("task failed", task=info.id, attempt=info.attempt)
            again = not isinstance(error, Terminal | UserError) or isinstance(error, _UnknownVerb)
            told = self._place.mask.text(named(error))
            await running.part.output.drained()  # what it said last tells most of why
            return ops.Fail(info.id, info.fence, told[: ops.MOST_ERROR], again)

    def _check(self, path: loops.Path, info: TaskInfo, verb: str) -> None:
        """Refuse a task that was delegated round and round."""
        if found := loops.loop(path):
            raise NoProgress(refused(self._place, found, f"task {info.parent}", verb))

    async def _result(self, given: dict[str, Any], context: Context) -> str:
        try:
            found = self._agent.task_handler(given["verb"])
        except Terminal as error:
            raise _UnknownVerb(error.message, hint=error.hint) from None
        payload = decode(await self._line.value(given["payload"]), found.takes) if found.takes is not None else None
        result = await self._line.body(await run(found, payload, context), "the result")
        await context.part.output.drained()
        return result

    async def _interrupted(self, running: _Run) -> None:
        """It is not ours any more, or should be given up, or we have to stop."""
        info = running.part.info
        if running.why == "cancelled":
            await self._tell(ops.Fail(info.id, info.fence, "cancelled", again=False), HAND_BACK)
        elif running.why != "lost":
            await self._tell(ops.GiveBack(info.id, info.fence, f"{self._place.name} stops"), HAND_BACK)

    async def _tell(self, op: ops.Op, within: float) -> None:
        try:
            await self._line.call(op, within)
        except Fenced as error:
            log.warning("%s", error.message)
        except QuarterdeckError as error:
            log.error("the ledger did not take it: %s", error.message)  # noqa: TRY400 the trace says nothing more


class _UnknownVerb(Terminal):
    """During a rollout a task may be meant for a newer revision than ours: somebody else may know its verb."""


def _news(held: dict[str, _Run]) -> dict[str, tuple[float, str]]:
    return {task: run_.part.progress for task, run_ in held.items() if run_.part.progress is not None}
