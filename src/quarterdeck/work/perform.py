"""What each operation of a replica does to the store. Called inside one write; the holder is who the bus says it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from quarterdeck.bus import subjects
from quarterdeck.errors import Forbidden, UserError
from quarterdeck.model import ops
from quarterdeck.model.blobs import Ref, Use, nowhere
from quarterdeck.model.messages import Letter, Returned
from quarterdeck.model.work import ENDED, EffectOutcome, Hold, Holder, Order, Question, Reach, Semantics, Target, Task, checked_attempts
from quarterdeck.store import claims, effects, forks, orders, outbox, questions, steps, tables, tasks
from quarterdeck.store.rows import Row
from quarterdeck.store.turn import Turn
from quarterdeck.work import breaking
from quarterdeck.work.decide import retry_after
from quarterdeck.work.spending import Spending

Found = Any
"""A JSON value."""
MOST_FREE: Final = 64
"""Tasks that one claim may take."""
MOST_PRIORITY: Final = 100
MOST_TOLD: Final = 20
"""Names in what is written down of a task that waits."""
_BODIES: Final = ("payload", "result", "value")
"""Fields of operations that may be references."""


Held = (
    ops.Done
    | ops.Fail
    | ops.GiveBack
    | ops.Step
    | ops.Steps
    | ops.Begin
    | ops.Finish
    | ops.Delegate
    | ops.AskHuman
    | ops.Wait
    | ops.Reserve
    | ops.Settle
)


@dataclass(slots=True)
class Bench:
    """One request's surroundings: the open turn, who asks, what it may reach, spend and refer to, and a source of chance in [0, 1)."""

    turn: Turn
    holder: Holder
    reach: Reach
    chance: Callable[[], float]
    spending: Spending
    use: Use = nowhere

    def hold(self, op: Held) -> Hold:
        """What the asker says it holds."""
        return Hold(self.holder, op.task, op.fence)

    def pay(self, task: Row) -> None:
        """Take one call from what a task may spend. Raises BudgetExceeded."""
        self.spending.call(self.turn, task)

    def keep(self, op: ops.Op) -> None:
        """See to it that what it refers to stays. Raises NotFound when something is not there."""
        for body in (getattr(op, name, None) for name in _BODIES):
            if body is not None and (ref := Ref.in_body(body)) is not None:
                self.use(self.holder.system, ref)


def perform(bench: Bench, op: ops.Op) -> Found:
    """Do it, and give the answer. Raises a QuarterdeckError with nothing half done."""
    bench.keep(op)
    return _DO[type(op)](bench, op)


def foresee(turn: Turn, asked: Sequence[tuple[Holder, ops.Op]]) -> None:
    """Read at once what these operations will look for."""
    named = [op.task for _, op in asked if isinstance(op, Held)]
    turn.load(tables.tasks, [(task,) for task in named])
    wanted = [(turn.find(tables.tasks, op.task), op.key) for _, op in asked if isinstance(op, ops.Begin | ops.Finish)]
    turn.load(tables.effects, [(row["root"], key) for row, key in wanted if row])
    turn.load(tables.steps, [(op.task, op.name) for _, op in asked if isinstance(op, ops.Step)])


def _done(bench: Bench, op: ops.Done) -> None:
    tasks.done(bench.turn, bench.hold(op), op.result)


def _give_back(bench: Bench, op: ops.GiveBack) -> None:
    tasks.give_back(bench.turn, bench.hold(op), op.why)


def _step(bench: Bench, op: ops.Step) -> str:
    return steps.keep(bench.turn, bench.hold(op), op.name, op.code, op.value, again=op.again)


def _steps(bench: Bench, op: ops.Steps) -> Found:
    tasks.held(bench.turn, bench.hold(op))
    done, more = steps.page(bench.turn.connection, op.task, op.after, ops.ROOM)
    return {"steps": done, "more": more}


def _begin(bench: Bench, op: ops.Begin) -> Found:
    leave = effects.begin(bench.turn, bench.hold(op), op.key, cast("Semantics", op.semantics), op.arguments, pay=bench.pay)
    return {"word": leave.word, "value": leave.value}


def _finish(bench: Bench, op: ops.Finish) -> None:
    came = effects.Came(cast("EffectOutcome", op.outcome), op.value, op.error)
    effects.finish(bench.turn, bench.hold(op), op.key, came)


def _claim(bench: Bench, op: ops.Claim) -> Found:
    """What has no room in the answer is given with the next claim, as what the holder does not know of."""
    room = ops.ROOM
    found: list[Found] = []
    free = 0 if bench.spending.tripped(bench.turn, bench.holder.target) else min(op.free, MOST_FREE)
    for task, payload in claims.claim(bench.turn, bench.holder, free, op.holding, ops.MOST_BODY):
        one = {**_given(bench, task, room - 2 * len(payload.encode()) - 4096), "payload": payload}
        size = _size(one)
        if found and room < size:
            break
        room -= size
        found.append(one)
    return found


def _size(value: Found) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))


def _given(bench: Bench, task: Task, room: int) -> dict[str, Found]:
    done, more = steps.page(bench.turn.connection, task.id, "", room) if task.fence > 1 else ({}, False)
    return {
        "more": more,
        "task": task.id,
        "fence": task.fence,
        "attempt": task.attempts,
        "most": task.most,
        "verb": task.verb,
        "key": forks.key_of(bench.turn, task) if task.fence > 1 else task.key,
        "deadline": task.deadline,
        "root": task.root,
        "parent": task.parent,
        "priority": task.priority,
        "trace": task.trace,
        "path": task.path,
        "steps": done,
        "limited": bench.spending.limited(bench.turn, task),
        "source": _source(bench.turn, task),
        "queued": max((task.started or task.created) - max(task.created, task.after), 0.0),
    }


def _source(turn: Turn, task: Task) -> str:
    """The cluster that delegated it; `qd` for what a user gave."""
    parent = turn.find(tables.tasks, task.parent) if task.parent else None
    return str(parent["cluster"]) if parent else subjects.PLATFORM


def _fail(bench: Bench, op: ops.Fail) -> None:
    row = bench.turn.find(tables.tasks, op.task)
    attempt = cast("int", row["attempts"]) if row else 1
    tasks.fail(bench.turn, bench.hold(op), op.error, again=retry_after(attempt, bench.chance()) if op.again else None)


def _delegate(bench: Bench, op: ops.Delegate) -> Found:
    row = tasks.held(bench.turn, bench.hold(op))
    target = _target(bench, op.to)
    order = Order(
        target,
        op.payload,
        op.verb,
        key=f"{tasks.CHILD}{op.task}/{op.name}",
        tenant=str(row["tenant"]),
        priority=-cast("int", row["rank"]) if op.priority is None else _priority(op.priority),
        lane=op.lane,
        deadline=_sooner(op.deadline, cast("float | None", row["deadline"])),
        attempts=checked_attempts(op.attempts),
        budget=op.budget,
        parent=op.task,
        trace=str(row["trace"]),
        path=op.path,
    )
    made = orders.submit(bench.turn, order, bench.holder.name, lambda: bench.pay(row))
    return {"task": made.task.id, "state": made.task.state}


def _reserve(bench: Bench, op: ops.Reserve) -> None:
    row = tasks.held(bench.turn, bench.hold(op))
    bench.spending.reserve(bench.turn, row, _number(op.n), op.amounts, spend=op.spend)


def _settle(bench: Bench, op: ops.Settle) -> None:
    bench.spending.settle(bench.turn, tasks.held(bench.turn, bench.hold(op)), _number(op.n), op.amounts)


def _number(n: int) -> int:
    if n < 1:
        raise UserError(f"{n} counts no reservation", hint="they are counted from 1 on")
    return n


def _submit(bench: Bench, op: ops.Submit) -> Found:
    target, tenant = _target(bench, op.to), bench.holder.cluster
    order = Order(
        target,
        op.payload,
        op.verb,
        key=tasks.own_key(op.key),
        tenant=tenant,
        priority=_priority(op.priority),
        lane=op.lane,
        deadline=op.deadline,
        attempts=checked_attempts(op.attempts),
        budget=bench.spending.given(target, tenant),
        trace=op.trace,
    )
    made = orders.submit(bench.turn, order, bench.holder.name)
    return {"task": made.task.id, "state": made.task.state, "created": made.created}


def _target(bench: Bench, to: str) -> Target:
    cluster, _, agent = to.partition("/")
    target = Target(bench.holder.system, cluster, agent)
    refused = bench.reach(bench.holder.system, bench.holder.cluster, target)
    if refused:
        raise Forbidden(refused, hint="tasks go where messages may go: the own cluster and along links")
    return target


def _sooner(one: float | None, other: float | None) -> float | None:
    ends = [at for at in (one, other) if at is not None]
    return min(ends, default=None)


def _priority(asked: int) -> int:
    if abs(asked) > MOST_PRIORITY:
        raise UserError(f"priority {asked}", hint=f"from {-MOST_PRIORITY} to {MOST_PRIORITY}")
    return asked


def _ask_human(bench: Bench, op: ops.AskHuman) -> Found:
    until, now = op.until, bench.turn.now
    asked = Question(op.task, op.name, op.question, op.options, op.arguments, op.default, until, "open", None, "", now, None)
    found = questions.ask(bench.turn, bench.hold(op), asked)
    return {"state": found.state, "answer": found.answer}


def _wait(bench: Bench, op: ops.Wait) -> Found:
    turn = bench.turn
    row = tasks.held(turn, bench.hold(op))
    ended = _ended(turn, op)
    asked = {name: turn.find(tables.questions, op.task, name) for name in op.questions}
    answered = {name: {part: q[part] for part in ("state", "answer", "by")} for name, q in asked.items() if q and q["state"] != "open"}
    if ended or answered:
        tasks.resumed(turn, row, bench.holder.name)
    else:
        tasks.wait(turn, row, _told(op), bench.holder.name)
    return {"children": ended, "answers": answered}


def _ended(turn: Turn, op: ops.Wait) -> dict[str, Found]:
    """What came of those children that have ended, as many as there is room for."""
    turn.load(tables.tasks, [(child,) for child in op.children])
    rows = [turn.find(tables.tasks, child) for child in op.children]
    if strange := [child for child, row in zip(op.children, rows, strict=True) if row is None or row["parent"] != op.task]:
        raise Forbidden(f"task {strange[0]} is no child of task {op.task}", hint="a task waits for what it delegated itself")
    over = [row for row in rows if row and row["state"] in ENDED]
    turn.load(tables.task_bodies, [(row["id"], "result") for row in over])
    room, found = ops.ROOM, dict[str, Found]()
    for row in over:
        body = turn.find(tables.task_bodies, row["id"], "result")
        one = {"state": row["state"], "result": None if body is None else body["body"], "error": row["reason"]}
        size = _size(one)
        if found and room < size:
            break
        room -= size
        found[str(row["id"])] = one
    return found


def _told(op: ops.Wait) -> str:
    names = {"tasks": op.children[:MOST_TOLD], "questions": op.questions[:MOST_TOLD]}
    more = len(op.children) + len(op.questions) - sum(map(len, names.values()))
    return json.dumps({**names, **({"more": more} if more else {})}, separators=(",", ":"))


def _publish(bench: Bench, op: ops.Publish) -> Found:
    row = None if op.task is None else tasks.held(bench.turn, Hold(bench.holder, op.task, op.fence))
    letter = Letter(op.id, _target(bench, op.to), op.verb, op.payload, op.key, op.lane, op.headers)
    if len(op.payload) > ops.MOST_BODY or not op.id or not outbox.SENDABLE.match(op.verb):
        raise UserError(f"{op.id!r}, {op.verb!r} with {len(op.payload):,} characters is no message", hint="ctx.publish makes messages")
    kept, created = outbox.publish(bench.turn, bench.holder, letter, lambda: None if row is None else bench.pay(row))
    return {"id": kept.id, "state": kept.state, "created": created, "seq": kept.seq}


def _posted(bench: Bench, op: ops.Posted) -> Found:
    found = outbox.get(bench.turn.connection, op.message)
    if (found.system, found.sender) != (bench.holder.system, bench.holder.target.name):
        raise Forbidden(f"message {op.message} is not yours", hint="a replica settles what it was given")
    return {"state": found.state, "seq": found.seq}


def _take(bench: Bench, op: ops.Take) -> Found:
    return "done" if outbox.taken(bench.turn, bench.holder, op.message) == "done" else "go"


def _handled(bench: Bench, op: ops.Handled) -> None:
    outbox.handled(bench.turn, bench.holder, op.message)


def _bury(bench: Bench, op: ops.Bury) -> None:
    outbox.bury(bench.turn, bench.holder, Returned(op.message, op.sender, op.verb, op.headers, op.body, op.reason, op.deliveries))


def _looped(bench: Bench, op: ops.Looped) -> None:
    breaking.looped(bench.turn, bench.holder, op)


_DO: Final[dict[type[ops.Op], Callable[[Bench, Any], Found]]] = {
    ops.Claim: _claim,
    ops.Done: _done,
    ops.Fail: _fail,
    ops.GiveBack: _give_back,
    ops.Step: _step,
    ops.Steps: _steps,
    ops.Begin: _begin,
    ops.Finish: _finish,
    ops.Delegate: _delegate,
    ops.Reserve: _reserve,
    ops.Settle: _settle,
    ops.Submit: _submit,
    ops.AskHuman: _ask_human,
    ops.Wait: _wait,
    ops.Publish: _publish,
    ops.Posted: _posted,
    ops.Take: _take,
    ops.Handled: _handled,
    ops.Bury: _bury,
    ops.Looped: _looped,
}
"""Everything but a renewal, which is no business of the store."""
