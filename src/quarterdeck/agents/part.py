"""A task as its handler sees it: `ctx.task`, and what `ctx.step`, `ctx.effect`, `ctx.delegate` and `ctx.ask_human` do.

What was done before is known from the claim or from the ledger, so that a handler which is run again from its beginning does nothing twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

from quarterdeck.agents.activity import Activity
from quarterdeck.agents.calls import GRACE, called, cancellations, code, fits, given, stopped
from quarterdeck.agents.line import PATIENCE, Line
from quarterdeck.agents.output import Output
from quarterdeck.agents.payload import PayloadError, body, decode, encode, loads
from quarterdeck.agents.spend import Purse
from quarterdeck.agents.tasks import Denied, EffectUnknown, TaskInfo, Wish
from quarterdeck.agents.waits import Waits
from quarterdeck.clock import Clock
from quarterdeck.errors import QuarterdeckError, Terminal, Transient, UserError, named
from quarterdeck.masks import OPEN, Mask
from quarterdeck.model import ops
from quarterdeck.model.work import SEMANTICS, Semantics, TaskFailed

log = logging.getLogger(__name__)

STOP_AFTER: Final = 12.0
"""Seconds after the last confirmed renewal in which an effect may still be begun; the ledger waits longer before it gives the task away."""
LOOK_EVERY: Final = 30.0
"""Seconds after which what is waited for is looked at though no word came."""
MOST_NAMES: Final = 1000
"""Children and questions in one look."""
KEPT: Final = "^"
"""Begins the code of a step of a fork that was none of its origin: what came of a part, or the key of what was given to others."""
Kind = Literal["child", "question"]
Outcome = Literal["done", "failed", "unknown"]


@dataclass(frozen=True, slots=True)
class _Call:
    """An effect about to be called."""

    key: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    semantics: Semantics
    named: Mapping[str, Any]


class Part:
    """One attempt at one task. `confirmed` (monotonic seconds) is when we last asked and the ledger said that it is ours.

    `progress` (fraction, text) goes out with the next renewal. `idle` is called whenever nothing goes on here but waiting for others.
    """

    def __init__(
        self,
        info: TaskInfo,
        line: Line,
        clock: Clock,
        steps: Mapping[str, tuple[str, str]],
        *,
        asked: float | None = None,
        waits: Waits | None = None,
        limited: Collection[str] = (),
        mask: Mask = OPEN,
    ) -> None:
        self.info = info
        self._mask = mask
        self.confirmed = clock.monotonic() if asked is None else asked
        self.moved = asyncio.Event()
        self.grace = GRACE
        self.output = Output(info.id, info.fence, line)
        self.purse = Purse(info.id, info.fence, line, limited)
        self.progress: tuple[float, str] | None = None
        self.idle: Callable[[], None] = lambda: None
        self._renewed = asyncio.Event()
        self._line = line
        self._clock = clock
        self._waits = waits or Waits(clock)
        self._steps = dict(steps)
        self._named: Counter[str] = Counter()
        self._calling: set[str] = set()
        self._working = 0
        self._calm = asyncio.Event()
        self._calm.set()
        self._awaited: dict[tuple[Kind, str], asyncio.Future[dict[str, Any]]] = {}
        self._looking: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> bool:
        """Whether it only waits for other tasks or for humans, as far as can be told."""
        return bool(self._awaited) and not self._working

    def confirm(self, asked: float) -> None:
        """The ledger said that the task is ours, to a question of that time (monotonic seconds)."""
        self.confirmed = max(self.confirmed, asked)
        self._renewed.set()

    async def recall(self) -> None:
        """Fetch the steps that had no room in the claim."""
        after, more = next(reversed(self._steps), ""), True
        while more:
            found = await self._line.call(ops.Steps(self.info.id, self.info.fence, after), PATIENCE)
            self._steps |= {name: (digest, value) for name, (digest, value) in found["steps"].items()}
            after, more = next(reversed(found["steps"]), after), found["more"]

    async def step(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], into: Any, *, changed: str) -> Any:
        """See `Context.step`."""
        full, digest, wanted = self.next(name), code(function), given(function) if into is None else into
        known = self._steps.get(full)
        other = known is not None and known[0] != digest
        if other:
            doing = "doing it again" if changed == "again" else "kept"
            log.warning("step %s of task %s was done by other code: %s", full, self.info.id, doing)
        if known is not None and not (other and changed == "again"):
            return decode(await self._line.value(known[1]), wanted)
        before = cancellations()
        with self._work():
            value = await called(function, args, {}, self.grace)
            within = self.grace if stopped(before) else PATIENCE
            text = await self._line.body(value, f"what step {name!r} gave", within)
            kept = await self._line.call(ops.Step(self.info.id, self.info.fence, full, digest, text, again=other), within)
        if stopped(before):
            raise asyncio.CancelledError
        self._steps[full] = (digest, kept)
        return decode(await self._line.value(kept), wanted)

    async def effect(self, key: str, function: Callable[..., Any], args: tuple[Any, ...], semantics: Semantics, into: Any) -> Any:
        """See `Context.effect`."""
        if semantics not in SEMANTICS:
            raise UserError(f"{semantics!r} is no semantics of an effect", hint=f"one of {', '.join(SEMANTICS)}")
        if not key or len(key) > ops.MOST_KEY:
            raise UserError("an effect has a key", hint=f"1 to {ops.MOST_KEY} characters that name what it does, e.g. the invoice it pays")
        if key in self._calling:
            raise UserError(f"effect {key!r} is being called already", hint="another effect needs another key")
        named = {"key": f"{self.info.root}/{key}"} if semantics == "dedupes" else {}
        fits(function, args, named)
        arguments = hashlib.sha256(encode(list(args))).hexdigest()
        wanted = given(function) if into is None else into
        self._calling.add(key)
        try:
            with self._work():
                text = await self._once(_Call(key, function, args, semantics, named), arguments)
        finally:
            self._calling.discard(key)
        return decode(await self._line.value(text), wanted)

    async def _once(self, call: _Call, arguments: str) -> str:
        """Ask for leave, and call if it is given."""
        await self._still_ours()
        try:
            leave = await self._line.call(ops.Begin(self.info.id, self.info.fence, call.key, call.semantics, arguments), PATIENCE)
            if leave["word"] == "go":
                await self._still_ours()
        except asyncio.CancelledError:
            await self._last(call.key, "failed", "not called: told to stop before")
            raise
        if leave["word"] == "unknown":
            hint = f"qd task resolve {self.info.id} says what became of it"
            raise EffectUnknown(f"the outcome of effect {call.key!r} is unknown", hint=hint)
        return str(leave["value"] or "null") if leave["word"] == "done" else await self._call(call)

    async def _call(self, call: _Call) -> str:
        """The call itself, and what came of it for the ledger, whatever happens to this attempt meanwhile."""
        before = cancellations()
        try:
            value = await called(call.function, call.args, call.named, self.grace)
        except asyncio.CancelledError:
            await self._last(call.key, "unknown" if call.semantics == "unsafe" else "failed", "cut off in the middle: told to stop")
            raise
        except Exception as error:  # the boundary to user code
            await self._failed(call, error)
            raise
        within = self.grace if stopped(before) else PATIENCE
        try:  # should we be cut off while a large value is being kept, the effect stays begun, as if we had died
            text, problem = await self._line.body(value, f"what effect {call.key!r} gave", within), None
        except UserError as error:  # it happened all the same
            text, problem = "null", error
        told = "" if problem is None else f"its value is not kept: {problem.message}"
        if stopped(before):  # a thread that ended in time
            await self._last(call.key, "done", told, text)
            raise asyncio.CancelledError
        await self._finish(call.key, "done", told, text)
        if problem is not None:
            raise problem
        return text

    async def _failed(self, call: _Call, error: Exception) -> None:
        """Of an unsafe call only Terminal and UserError say for sure that nothing happened; a value that cannot be read does not."""
        sure = call.semantics != "unsafe" or (isinstance(error, Terminal | UserError) and not isinstance(error, PayloadError))
        told = self._mask.text(named(error))
        await self._finish(call.key, "failed" if sure else "unknown", told, None)
        if not sure:
            raise EffectUnknown(f"effect {call.key!r}: {told}") from error

    async def _finish(self, key: str, outcome: Outcome, error: str, value: str | None, within: float = PATIENCE) -> None:
        await self._line.call(ops.Finish(self.info.id, self.info.fence, key, outcome, value, error[: ops.MOST_ERROR]), within)

    async def _last(self, key: str, outcome: Outcome, error: str, value: str | None = None) -> None:
        """What is known of an effect when we have to stop. If the ledger does not hear it, the next attempt finds the effect begun."""
        try:
            await self._finish(key, outcome, error, value, self.grace)
        except QuarterdeckError as problem:
            log.info("effect %r of task %s is left as it is: %s", key, self.info.id, problem.message)

    async def _still_ours(self) -> None:
        """No effect begins on a lease that may be over. A new confirmation of the same fence is enough to go on."""
        try:
            async with asyncio.timeout(PATIENCE):
                while self._clock.monotonic() - self.confirmed > STOP_AFTER:
                    self._renewed.clear()
                    await self._renewed.wait()
        except TimeoutError:
            raise Transient(f"the ledger did not say within {PATIENCE:.0f} s that task {self.info.id} is still ours") from None

    async def delegate(self, to: str, verb: str, payload: object, into: Any, wish: Wish) -> Any:
        """See `Context.delegate`."""
        name = self.next(wish.name or f"{to}:{verb}")  # at once: its number follows from the order of the calls
        found = self._kept(name) or await self._delegated(name, to, verb, payload, wish)
        if found["state"] != "done":
            told = f"task {found['task']} of {to} is {found['state']}: {found['error']}"
            raise TaskFailed(told, task=found["task"], state=found["state"])
        return decode(await self._line.value(found["result"] or "null"), into)

    def _kept(self, name: str) -> dict[str, Any] | None:
        """What came of a part when the task was run of which this one is a fork: see `store.forks`."""
        told, value = self._steps.get(name, ("", ""))
        if not told.startswith(KEPT):
            return None
        task, _, state = told.removeprefix(KEPT).partition(" ")
        return {"task": task, "state": state, "result": value, "error": "" if state == "done" else loads(value.encode())}

    async def _delegated(self, name: str, to: str, verb: str, payload: object, wish: Wish) -> dict[str, Any]:
        text = await self._line.body(payload, "the payload")
        details = (wish.priority, wish.lane, wish.deadline, wish.attempts, dict(wish.budget), wish.path)
        child = (await self._line.call(ops.Delegate(self.info.id, self.info.fence, name, to, verb, text, *details), PATIENCE))["task"]
        with self._waits.on(Activity(self.info.id, "task"), "delegate" if wish.lane is None else "lane", to) as wait:
            wait.begin(child)
            return {"task": child, **await self._await("child", child)}

    async def ask_human(self, question: str, options: tuple[str, ...], until: float | None, default: str | None, arguments: object) -> str:
        """See `Context.ask_human`."""
        if not question or len(question) > ops.MOST_ERROR:
            raise UserError(f"a question has 1 to {ops.MOST_ERROR} characters", hint="hand over what is to be decided on as arguments=")
        if default is not None and options and default not in options:
            raise UserError(f"the default {default!r} is none of the options", hint=f"one of {', '.join(options)}")
        name, about = self.next("question"), body(arguments, "what a question is about", ops.MOST_OUTPUT)
        asked = ops.AskHuman(self.info.id, self.info.fence, name, question, options, about, default, until)
        found = await self._line.call(asked, PATIENCE)
        if found["state"] == "open":
            with self._waits.on(Activity(self.info.id, "task"), "human", "") as wait:
                wait.begin(name)
                found = await self._await("question", name)
        if found["answer"] is None:
            raise Denied(f"nobody answered in time: {question}")
        return str(found["answer"])

    def next(self, name: str) -> str:
        """A step's identity is its name and how often the name was used before in this task."""
        if not name or len(name) > ops.MOST_KEY - 10:
            raise UserError(f"{name[:80]!r} is no name", hint=f"1 to {ops.MOST_KEY - 10} characters")
        self._named[name] += 1
        return f"{name}#{self._named[name]}"

    def own_key(self, what: str, kind: str = "") -> str:
        """Of something that is given to others without a key: the same in each attempt, and in a fork for what its origin gave before."""
        name = self.next(what)
        told, value = self._steps.get(name, ("", ""))
        return str(loads(value.encode())) if told.startswith(KEPT) else f"{kind}{self.info.id}/{name}"

    @contextmanager
    def _work(self) -> Iterator[None]:
        """Around what this attempt does itself."""
        self._working += 1
        self._calm.clear()
        try:
            yield
        finally:
            self._working -= 1
            if not self._working:
                self._calm.set()
            self._rest()

    def _rest(self) -> None:
        if self.waiting:
            self.idle()

    async def calm(self) -> None:
        """Until no step or effect is under way, for a while: a handler may leave some behind when it ends."""
        try:
            async with asyncio.timeout(self.grace):
                await self._calm.wait()
        except TimeoutError:
            log.warning("task %s ends while steps or effects of it are under way", self.info.id)

    async def _await(self, kind: Kind, name: str) -> dict[str, Any]:
        found: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._awaited[kind, name] = found
        self.moved.set()  # what is waited for is another thing now
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        self._rest()
        try:
            return await found
        finally:
            self._awaited.pop((kind, name), None)

    async def _look(self) -> None:
        """One look for all that this task waits for; again after each word of the ledger. Those who wait hear of whatever goes wrong."""
        try:
            while self._awaited:
                await asyncio.sleep(0)  # a gather asks for all of its children first
                self.moved.clear()
                if not await self._looked():
                    await self._word()
        except Exception as error:  # noqa: BLE001 nobody else would
            for waiting in self._awaited.values():
                if not waiting.done():
                    waiting.set_exception(error)

    async def _looked(self) -> bool:
        """Look at everything once; whether something of it has come to an end."""
        every, ended = list(self._awaited), False
        for at in range(0, len(every), MOST_NAMES):
            some = every[at : at + MOST_NAMES]
            children, questions = (tuple(name for kind, name in some if kind == wanted) for wanted in ("child", "question"))
            try:
                found = await self._line.call(ops.Wait(self.info.id, self.info.fence, children, questions), PATIENCE)
            except Transient as error:  # it goes on waiting: while the ledger is away, nothing can come to an end
                log.warning("task %s waits without the ledger: %s", self.info.id, error.message)
                continue
            for name, outcome in found["children"].items():
                ended |= self._ended("child", name, outcome)
            for name, outcome in found["answers"].items():
                ended |= self._ended("question", name, outcome)
        return ended

    def _ended(self, kind: Kind, name: str, outcome: dict[str, Any]) -> bool:
        waiting = self._awaited.pop((kind, name), None)
        if waiting is not None and not waiting.done():
            waiting.set_result(outcome)
        return waiting is not None

    async def _word(self) -> None:
        """Until there is news, or for a while."""
        try:
            async with asyncio.timeout(LOOK_EVERY):
                await self.moved.wait()
        except TimeoutError:
            log.debug("task %s looks without having been told to", self.info.id)

    def close(self) -> None:
        """The attempt is over."""
        self.output.close()
        if self._looking is not None:
            self._looking.cancel()
