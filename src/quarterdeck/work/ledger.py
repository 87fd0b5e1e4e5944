"""The ledger: answers replicas, knows who works on what, and sees to it that every task goes on.

The rows decide; what is remembered here (leases, who is idle, whom to tell) only says when to look, and is made anew at every start. A
word to a replica (`_work`) carries no task: it means "talk to the ledger now", and one that is lost is found by the sweep.
"""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

from quarterdeck.clock import Clock
from quarterdeck.errors import QuarterdeckError, Terminal
from quarterdeck.model import ops
from quarterdeck.model.blobs import Use, nowhere
from quarterdeck.model.measures import Histogram
from quarterdeck.model.records import PLATFORM
from quarterdeck.model.work import Fenced, Holder, Reach, Target
from quarterdeck.store import questions, standing, tasks
from quarterdeck.store.fairness import Fairness
from quarterdeck.store.turn import Turn, turning
from quarterdeck.store.writing import Writing
from quarterdeck.work import breaking
from quarterdeck.work.decide import LOST_RETRY
from quarterdeck.work.gathering import Gathering
from quarterdeck.work.leases import Lease, Leases
from quarterdeck.work.output import Output, Progress
from quarterdeck.work.perform import MOST_FREE, Bench, foresee, perform
from quarterdeck.work.requests import told, unpack
from quarterdeck.work.spending import Allowances, Spending, nothing
from quarterdeck.work.takes import Takes
from quarterdeck.work.waking import Tell, Waking
from quarterdeck.work.watch import Watch

log = logging.getLogger(__name__)

SWEEP_EVERY: Final = 0.25
CANCEL_GRACE: Final = 10.0
"""Seconds a holder has to give up a task that is to be cancelled."""
LOOK_EVERY: Final = 5.0
"""Seconds between looks at the rows for what no memory tells of."""
MOST_AT_ONCE: Final = 256
"""Operations in one write, of however many replicas."""
T = TypeVar("T")
Answer = dict[str, object]


class Writes(Protocol):
    """The store's way to write."""

    async def __call__(self, work: Callable[[Writing], T], /) -> T:  # noqa: D102
        ...


@dataclass(slots=True)
class Ledger:
    """Lives on one event loop. `listeners` hear of every turn after its commit, on that loop."""

    write: Writes
    clock: Clock
    reach: Reach
    tell: Tell
    fairness: Fairness
    chance: Callable[[], float] = random.random
    leases: Leases = field(default_factory=Leases)
    listeners: list[Callable[[Turn], None]] = field(default_factory=list)
    output: Output = field(default_factory=Output)
    takes: Takes = field(default_factory=Takes)
    took: Histogram = field(default_factory=Histogram)
    """How long requests took to be answered, on disk included."""
    allowances: Allowances = nothing
    use: Use = nowhere
    """Of large bodies."""
    spending: Spending = field(init=False)
    watch: Watch = field(init=False)
    _waking: Waking = field(init=False)
    _gathered: Gathering[tuple[Holder, ops.Op], Answer] = field(init=False)
    _news: set[str] = field(default_factory=set)
    _cancelling: dict[str, tuple[int, float]] = field(default_factory=dict)
    """Fence, and since when, of tasks whose holders are to give them up."""
    _looked: float = -1e9

    def __post_init__(self) -> None:
        self._waking = Waking(self.tell)
        self.spending = Spending(self.clock, self.allowances)
        self.watch = Watch(self.clock, self.leases, self.tell)
        self._gathered = Gathering(self._perform, MOST_AT_ONCE)

    async def open(self) -> None:
        """Take up what the rows say: full terms for all holders, and a word to everybody who waits."""

        def look(tx: Writing) -> tuple[list[standing.Held], list[tuple[Target, float]]]:
            standing.fill(tx.connection, self.fairness)
            return standing.held(tx.connection), standing.due(tx.connection, tx.now)

        held, due = await self.write(look)
        self._take_up(held)
        self._news.update(one.task for one in held if one.waiting or one.cancelled)
        await self._written(self.spending.open)
        for target, at in due:
            self._queue(target, at)

    def _take_up(self, held: Iterable[standing.Held]) -> None:
        """Know of whatever the rows say that somebody works on."""
        now = self.clock.monotonic()
        for one in held:
            lease = self.leases.get(one.task)
            if lease is None or lease.fence < one.fence:
                self.leases.grant(one.task, one.fence, Holder.read(one.system, one.owner), now)
            if one.cancelled:
                self._to_give_up(one.task, one.fence, now)

    def _to_give_up(self, task: str, fence: int, now: float) -> None:
        known = self._cancelling.get(task)
        if known is None or known[0] < fence:
            self._cancelling[task] = fence, now

    async def serve(self, holder: Holder, body: bytes) -> bytes:
        """Answer one request. What cannot be written now is answered as an error that says so."""
        began = self.clock.monotonic()
        try:
            return await self._served(holder, body)
        finally:
            self.took.add((self.clock.monotonic() - began) * 1000)

    async def _served(self, holder: Holder, body: bytes) -> bytes:
        try:
            asked = unpack(body)
            answers = await self._answers(holder, asked)
        except QuarterdeckError as error:
            return json.dumps({"error": told(error)}).encode()
        except Exception:  # the fault is ours: whoever asked shall not wait
            log.exception("a request of %s could not be answered", holder.name)
            return json.dumps(_FAULT).encode()
        return _fitting(answers)

    async def _answers(self, holder: Holder, asked: list[ops.Op]) -> list[Answer]:
        for op in asked:
            if isinstance(op, ops.Claim):
                self.watch.serves(holder, op.free + len(op.holding))
        stored = [self._needs_store(holder, op) for op in asked]
        written = [(holder, op) for op, kept in zip(asked, stored, strict=True) if kept]
        found = iter(await self._gathered.ask(written) if written else ())
        return [next(found) if kept else self._from_memory(holder, op) for op, kept in zip(asked, stored, strict=True)]

    def _needs_store(self, holder: Holder, op: ops.Op) -> bool:
        if isinstance(op, ops.Renew | ops.Emit | ops.Waits):
            return False
        if isinstance(op, ops.Looped):
            return self.watch.is_new(holder.system, op)
        if isinstance(op, ops.Claim):
            holding = set(op.holding)
            unknown = any(lease.task not in holding for lease in self.leases.of(holder))
            return unknown or (op.free > 0 and holder.target in self._waking.hungry)
        return True

    def _from_memory(self, holder: Holder, op: ops.Op) -> Answer:
        if isinstance(op, ops.Renew):
            return {"ok": self._renewed(holder, op)}
        if isinstance(op, ops.Emit):
            return self._emitted(holder, op)
        if isinstance(op, ops.Waits):
            return {"ok": self.watch.heard(holder, op)}
        if isinstance(op, ops.Looped):
            return {"ok": None}
        if isinstance(op, ops.Claim):
            self._waking.idle(holder, op.free)
        return {"ok": []}

    def _emitted(self, holder: Holder, op: ops.Emit) -> Answer:
        lease = self.leases.get(op.task)
        if lease is None or (lease.fence, lease.holder) != (op.fence, holder):
            return {"error": told(Fenced(f"task {op.task} is not yours"))}
        self.output.add(op.task, op.fence, op.first, op.values, self.clock.now())
        return {"ok": None}

    def _renewed(self, holder: Holder, op: ops.Renew) -> Answer:
        lost = self.leases.renew(holder, op.holding, self.clock.monotonic())
        mine = {task: fence for task, fence in op.holding if task not in lost}
        for task, fraction, text in op.progress:
            if task in mine:
                self.output.moved(task, Progress(fraction, text))
        cancel = [task for task, fence in mine.items() if task in self._cancelling and self._cancelling[task][0] == fence]
        return {"lost": list(lost), "cancel": cancel, "moved": [task for task in mine if task in self._news]}

    async def _perform(self, asked: Sequence[tuple[Holder, ops.Op]]) -> Sequence[Answer]:
        """What several replicas ask, in one write. One that cannot be done at all takes none of the others with it."""
        marks = [self._waking.mark(holder.target) for holder, _ in asked]
        self._news -= {op.task for _, op in asked if isinstance(op, ops.Wait)}  # what comes from now on, this look may not have seen

        def work(turn: Turn) -> list[Answer]:
            foresee(turn, asked)
            return [_answer(Bench(turn, holder, self.reach, self.chance, self.spending, self.use), op) for holder, op in asked]

        try:
            turn, answers = await self.write(turning(self.fairness, work))
        except QuarterdeckError:
            raise
        except Exception:
            if len(asked) > 1:
                return [answer for one in asked for answer in await self._perform([one])]
            log.exception("a request of %s could not be answered", asked[0][0].name)
            return [_FAULT]
        for (holder, op), mark, answer in zip(asked, marks, answers, strict=True):
            self._performed(holder, op, mark, answer)
        self.heard(turn)
        return answers

    def _performed(self, holder: Holder, op: ops.Op, mark: int, answer: Answer) -> None:
        if isinstance(op, ops.Claim):
            self._claimed(holder, op, mark, answer.get("ok"))
        if isinstance(op, ops.Take) and answer.get("ok") == "go" and not self.takes.take(op.message, holder, self.clock.monotonic()):
            answer["ok"] = "busy"
        if isinstance(op, ops.Handled | ops.Bury):
            self.takes.end(op.message)

    def _claimed(self, holder: Holder, op: ops.Claim, mark: int, given: object) -> None:
        got = len(given) if isinstance(given, list) else 0
        if got < min(op.free, MOST_FREE) and (not got or _little(given)):
            self._waking.empty(holder.target, mark)
            self._waking.idle(holder, op.free - got)
        else:
            self._waking.idle(holder, 0)

    def heard(self, turn: Turn) -> None:
        """Act on what a turn wrote, now that it is on disk."""
        now = self.clock.monotonic()
        for task, (fence, holder) in turn.claimed.items():
            self.leases.grant(task, fence, holder, now)
        for task, fence in turn.freed.items():
            self._freed(task, fence)
        for task in turn.cancelling:
            lease = self.leases.get(task)
            if lease is not None:
                self._to_give_up(task, lease.fence, now)
        for task in {task.parent for task in turn.ended if task.parent} | turn.moved | turn.cancelling:
            self._tell_holder(task)
        for target, at in turn.queued:
            self._queue(target, at)
        self.spending.heard(turn)
        for listener in self.listeners:
            listener(turn)

    def _tell_holder(self, task: str) -> None:
        lease = self.leases.get(task)
        if lease is not None:
            self._news.add(task)
            self.tell(lease.holder.target, lease.holder.n)

    def _freed(self, task: str, fence: int) -> None:
        """Nobody works on a task under that fence; turns are not always heard of in the order of their commits."""
        lease = self.leases.get(task)
        if lease is None or lease.fence <= fence:
            self.leases.drop(task)
            self._news.discard(task)
        if task in self._cancelling and self._cancelling[task][0] <= fence:
            del self._cancelling[task]

    def _queue(self, target: Target, at: float) -> None:
        self._waking.queue(target, self.clock.monotonic(), at - self.clock.now())

    def ready(self, holder: Holder) -> None:
        """A replica began to answer."""
        self._waking.ready(holder)
        self.watch.serves(holder, None)

    async def gone(self, holder: Holder, why: str, *, asked: bool = False) -> None:
        """A replica's process has ended, for certain: its tasks go on elsewhere at once. `asked`: by our own order."""
        self._waking.gone(holder)
        self.watch.gone(holder)
        self.takes.gone(holder)
        told = f"{holder.replica} ended: {why}" if why else f"{holder.replica} ended"
        await self._release(self.leases.of(holder), told, counts=not asked)

    async def outlived(self, holder: Holder) -> None:
        """A replica is ready whose earlier incarnations have all ended, though nobody saw it."""
        for earlier in self.leases.before(holder):
            await self.gone(earlier, "its node ended")

    async def _release(self, leases: Iterable[Lease], why: str, *, counts: bool = True) -> None:
        over = tuple(leases)
        if not over:
            return

        def work(turn: Turn) -> None:
            for lease in over:
                tasks.release(turn, lease.task, lease.fence, why, after=LOST_RETRY, counts=counts)

        turn, _ = await self.write(turning(self.fairness, work))
        for lease in over:
            if self.leases.get(lease.task) == lease:
                self.leases.drop(lease.task)
        self.heard(turn)

    async def sweep(self) -> None:
        """Every `SWEEP_EVERY`: what time brings. Raises Transient when the store cannot write now."""
        now = self.clock.monotonic()
        self._waking.sweep(now)
        await self._release(self.leases.over(now), "its holder did not renew it in time")
        late = {task: fence for task, (fence, since) in self._cancelling.items() if now - since >= CANCEL_GRACE}
        leases = [lease for task, fence in late.items() if (lease := self.leases.get(task)) and lease.fence == fence]
        await self._release(leases, "its holder did not give it up in time")
        for task in late:
            self._cancelling.pop(task, None)
        await self._watch()
        await self._charge()
        if now - self._looked >= LOOK_EVERY:
            self._looked = now
            await self._look()

    async def _watch(self) -> None:
        """Find deadlocks and break them: whoever waits is told at once, the rest is written down as soon as that can be."""
        suspected = self.watch.suspected()
        if suspected is not None:
            self.watch.look(await self.write(lambda tx: breaking.rows(tx.connection, suspected)) if suspected else {})
        found, ended = tuple(self.watch.found), tuple(self.watch.ended)
        if found or ended:
            await self._written(lambda turn: breaking.keep(turn, found, ended))
            del self.watch.found[: len(found)], self.watch.ended[: len(ended)]

    async def _charge(self) -> None:
        """What was worked on costs its time."""
        due = self.spending.due()
        if due is not None:
            await self._written(due)

    async def _written(self, work: Callable[[Turn], None]) -> None:
        turn, _ = await self.write(turning(self.fairness, work))
        self.heard(turn)

    async def _look(self) -> None:
        def work(tx: Writing) -> tuple[Turn, list[standing.Held]]:
            turn = Turn(tx, self.fairness)
            questions.expire(turn, PLATFORM)
            for row in standing.late(turn):
                tasks.too_late(turn, row)
            turn.queued += [(target, at) for target, at in standing.due(turn.connection, turn.now) if at <= turn.now]
            turn.close()
            return turn, standing.held(turn.connection)

        turn, held = await self.write(work)
        self._take_up(held)
        self.heard(turn)


def _answer(bench: Bench, op: ops.Op) -> Answer:
    try:
        return {"ok": perform(bench, op)}
    except QuarterdeckError as error:
        return {"error": told(error)}


def _little(given: Any) -> bool:
    """Whether a claim ended because there was nothing more, rather than because its answer was full."""
    return sum(len(one["payload"]) for one in given) < ops.ROOM // 16


def _fitting(answers: list[Answer]) -> bytes:
    """As many answers as one message carries, the first in any case; the others are to be asked for again, which does nothing twice."""
    found: list[bytes] = []
    room = ops.ROOM
    for answer in answers:
        text = json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        fits = len(text) <= room or not found
        found.append(text if fits else b'{"later":true}')
        room -= len(text) if fits else 0
    return b'{"answers":[' + b",".join(found) + b"]}"


_FAULT: Final[Answer] = {"error": told(Terminal("the ledger failed; its log has the cause"))}
