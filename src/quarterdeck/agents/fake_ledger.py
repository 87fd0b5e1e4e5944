"""A ledger in memory, for tests of agents: it answers operations as the real one does, and forgets everything when the test ends.

It is a fake: nothing is on disk, a lease ends only with its holder, a failed attempt is tried again at once, and whoever asks is trusted.
That its answers are the real ledger's is checked by one contract test that runs over both.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, cast

from quarterdeck.clock import Clock
from quarterdeck.errors import Conflict, Forbidden, NotFound, QuarterdeckError, Terminal, Transient
from quarterdeck.model import ops
from quarterdeck.model.blobs import told
from quarterdeck.model.work import ENDED, Fenced, task_id

Found = Any
"""A JSON value."""
Answering = Callable[["FakeQuestion"], "str | None"]
"""Gives the answer to a question; None when nobody answers in time."""


@dataclass(slots=True)
class FakeEffect:
    """An effect of a tree of tasks; `value` is JSON text."""

    key: str
    task: str
    semantics: str
    arguments: str
    outcome: str
    fence: int
    value: str | None = None
    error: str = ""


@dataclass(slots=True)
class FakeQuestion:
    """What a task asked a human, and what it was answered."""

    task: str
    name: str
    question: str
    options: tuple[str, ...]
    arguments: str
    default: str | None
    state: str = "open"
    answer: str | None = None


@dataclass(slots=True)
class FakeTask:
    """A task; `payload` and `result` are JSON text, `said` what it emitted."""

    id: str
    to: str
    verb: str
    payload: str
    key: str
    request: str
    priority: int
    lane: str | None
    deadline: float | None
    most: int
    parent: str | None
    root: str
    trace: str
    state: str = "queued"
    reason: str = ""
    attempts: int = 0
    fence: int = 0
    owner: str | None = None
    result: str | None = None
    cancel: str | None = None
    progress: tuple[float, str] | None = None
    steps: dict[str, list[str]] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)


@dataclass(slots=True)
class FakeLedger:
    """`agents` are the names there are; `tell` hears the name of an agent that should talk to the ledger, `answering` is the human."""

    clock: Clock
    agents: frozenset[str]
    tell: Callable[[str], None]
    answering: Answering = lambda question: None  # noqa: ARG005 nobody is there
    tasks: dict[str, FakeTask] = field(default_factory=dict)
    effects: dict[tuple[str, str], FakeEffect] = field(default_factory=dict)
    questions: dict[tuple[str, str], FakeQuestion] = field(default_factory=dict)
    ended: Callable[[FakeTask], None] = lambda task: None  # noqa: ARG005 nobody to tell
    post: Callable[[str, ops.Publish], int] = lambda holder, letter: 0  # noqa: ARG005 nobody takes messages
    """Takes a message of a holder; gives its number."""
    letters: dict[tuple[str, ...], tuple[ops.Publish, int]] = field(default_factory=dict)
    _news: set[str] = field(default_factory=set)
    _said: dict[str, tuple[int, int]] = field(default_factory=dict)

    def serve(self, holder: str, body: bytes) -> bytes:
        """Answer a request of `cluster/agent-n#incarnation`."""
        return json.dumps({"answers": [self._answer(holder, _op(*asked)) for asked in json.loads(body)["ops"]]}).encode()

    def gone(self, holder: str) -> None:
        """A replica's process has ended."""
        for task in self._of(holder):
            self._end(task, "cancelled", task.cancel) if task.cancel else self._again(task, f"{holder.partition('#')[0]} ended")

    def cancel(self, task: FakeTask, reason: str) -> None:
        """Have it and all below it given up."""
        if task.state in ENDED or task.cancel is not None:
            return
        if task.state not in ("running", "waiting"):
            self._end(task, "cancelled", reason)
            return
        task.cancel = reason
        self._tell(task)

    def _answer(self, holder: str, op: ops.Op) -> dict[str, Found]:
        try:
            if type(op) not in _DO:
                raise Terminal(f"a ledger of tests has no {type(op).__name__}")
            return {"ok": _DO[type(op)](self, holder, op)}
        except QuarterdeckError as error:
            told = {"kind": type(error).__name__, "message": error.message, "hint": error.hint, "again": isinstance(error, Transient)}
            return {"error": told}

    def claim(self, holder: str, op: ops.Claim) -> Found:
        """See `ops.Claim`."""
        again = [task for task in self._of(holder) if task.id not in op.holding]
        mine = _agent(holder)
        waiting = [task for task in self.tasks.values() if task.state == "queued" and task.to == mine and not self._behind(task)]
        found = again
        for task in sorted(waiting, key=lambda task: -task.priority):  # else in the order in which they came
            if len(found) >= op.free:
                break
            if task.deadline is not None and task.deadline <= self.clock.now():
                self._end(task, "failed", "its deadline passed before anybody could begin")
                continue
            task.state, task.owner, task.reason = "running", holder, ""
            task.fence, task.attempts = task.fence + 1, task.attempts + 1
            found.append(task)
        return [_given(task) for task in found]

    def renew(self, holder: str, op: ops.Renew) -> Found:
        """See `ops.Renew`."""
        known = {task.id: task for task in self._of(holder)}
        mine = [task for task, fence in op.holding if task in known and known[task].fence == fence]
        for task, fraction, text in op.progress:
            if task in mine:
                known[task].progress = (fraction, text)
        lost = [task for task, _ in op.holding if task not in mine]
        return {"lost": lost, "cancel": [t for t in mine if known[t].cancel], "moved": [t for t in mine if t in self._news]}

    def done(self, holder: str, op: ops.Done) -> Found:
        """See `ops.Done`."""
        task = self.tasks.get(op.task)
        if task is None or (task.state, task.owner, task.fence) != ("done", holder, op.fence):
            task = self._held(holder, op)
            task.result = op.result
            self._end(task, "done", "")

    def fail(self, holder: str, op: ops.Fail) -> Found:
        """See `ops.Fail`."""
        task = self._held(holder, op)
        if task.cancel is not None:
            self._end(task, "cancelled", task.cancel)
        elif op.again:
            self._again(task, op.error)
        else:
            self._end(task, "failed", op.error)

    def give_back(self, holder: str, op: ops.GiveBack) -> Found:
        """See `ops.GiveBack`."""
        task = self._held(holder, op)
        if task.cancel is not None:
            self._end(task, "cancelled", task.cancel)
            return
        task.attempts -= 1
        self._queue(task, op.why)

    def step(self, holder: str, op: ops.Step) -> Found:
        """See `ops.Step`."""
        task = self._working(holder, op)
        known = task.steps.get(op.name)
        if known is None or (op.again and known[0] != op.code):
            known = task.steps[op.name] = [op.code, op.value]
        return known[1]

    def steps(self, holder: str, op: ops.Steps) -> Found:
        """See `ops.Steps`."""
        task = self._held(holder, op)
        return {"steps": {name: done for name, done in sorted(task.steps.items()) if name > op.after}, "more": False}

    def emit(self, holder: str, op: ops.Emit) -> Found:
        """See `ops.Emit`."""
        task = self._held(holder, op)
        fence, last = self._said.get(op.task, (op.fence, 0))
        known = last if fence == op.fence else 0
        task.said += [value for number, value in enumerate(op.values, op.first) if number > known]
        self._said[op.task] = (op.fence, max(known, op.first + len(op.values) - 1))

    def begin(self, holder: str, op: ops.Begin) -> Found:
        """See `ops.Begin`."""
        task = self._working(holder, op)
        known = self.effects.get((task.root, op.key))
        if known is None:
            self.effects[task.root, op.key] = FakeEffect(op.key, op.task, op.semantics, op.arguments, "started", op.fence)
            return _leave("go")
        if known.arguments != op.arguments:
            raise Conflict(f"effect {op.key!r} was begun with other arguments", hint="another effect needs another key")
        if known.outcome == "done":
            return _leave("done", known.value)
        if known.outcome == "started" and (known.task, known.fence) == (op.task, op.fence):
            return _leave("go")
        if known.outcome == "unknown" or (known.outcome == "started" and op.semantics == "unsafe"):
            known.outcome = "unknown"
            self._suspend(task, f"the outcome of effect {op.key!r} is unknown")
            return _leave("unknown")
        known.outcome, known.task, known.fence, known.error = "started", op.task, op.fence, ""
        return _leave("go")

    def finish(self, holder: str, op: ops.Finish) -> Found:
        """See `ops.Finish`."""
        task = self.tasks.get(op.task)
        known = self.effects.get((task.root, op.key)) if task else None
        ours = (op.task, op.fence)
        if known and (known.task, known.fence, known.outcome, known.value) == (*ours, op.outcome, op.value):
            return
        task = self._held(holder, op)
        if known is None or (known.task, known.fence) != ours:
            raise Conflict(f"effect {op.key!r} was not begun by this attempt", hint="ctx.effect begins and ends one")
        known.outcome, known.value, known.error = op.outcome, op.value, op.error
        if op.outcome == "unknown":
            self._suspend(task, f"effect {op.key!r}: {op.error}")

    def delegate(self, holder: str, op: ops.Delegate) -> Found:
        """See `ops.Delegate`."""
        task = self._held(holder, op)
        priority = task.priority if op.priority is None else op.priority
        ends = [at for at in (op.deadline, task.deadline) if at is not None]
        key = f"^{op.task}/{op.name}"
        child, _ = self._made(op, key, priority=priority, deadline=min(ends, default=None), parent=task, trace=task.trace)
        return {"task": child.id, "state": child.state}

    def submit(self, holder: str, op: ops.Submit) -> Found:
        """See `ops.Submit`."""
        task, created = self._made(op, op.key, priority=op.priority, deadline=op.deadline, parent=None, trace=op.trace)
        return {"task": task.id, "state": task.state, "created": created}

    def _made(
        self, op: ops.Delegate | ops.Submit, key: str, *, priority: int, deadline: float | None, parent: FakeTask | None, trace: str
    ) -> tuple[FakeTask, bool]:
        if op.to not in self.agents:
            raise Forbidden(f"there is no agent {op.to}", hint=f"this fleet has {', '.join(sorted(self.agents))}")
        request = json.dumps([op.to, op.verb, op.lane, *told(op.payload)], sort_keys=True)
        known = next((task for task in self.tasks.values() if task.key == key), None)
        if known is not None:
            if known.request != request:
                raise Conflict(f"key {key!r} is task {known.id}, which asks for something else", hint="another payload needs another key")
            return known, False
        name = task_id(self.clock.now(), os.urandom(10))
        root, above = (parent.root, parent.id) if parent else (name, None)
        task = FakeTask(
            name, op.to, op.verb, op.payload, key, request, priority, op.lane, deadline, op.attempts, above, root, trace
        )  # fmt: skip
        self.tasks[name] = task
        self.tell(op.to)
        return task, True

    def publish(self, holder: str, op: ops.Publish) -> Found:
        """See `ops.Publish`."""
        if op.task is not None:
            self._held(holder, op)
        unique = (_agent(holder), op.to, op.verb, op.key or op.id)
        first, seq = self.letters.get(unique, (op, 0))
        if first.payload != op.payload:
            raise Conflict(f"key {op.key!r} was used for another message", hint="another payload needs another key")
        if first is op:
            seq = self.post(holder, op)
            self.letters[unique] = (op, seq)
        return {"id": first.id, "state": "sent", "created": first is op, "seq": seq}

    def ask_human(self, holder: str, op: ops.AskHuman) -> Found:
        """See `ops.AskHuman`."""
        self._held(holder, op)
        known = self.questions.get((op.task, op.name))
        if known is None:
            known = FakeQuestion(op.task, op.name, op.question, op.options, op.arguments, op.default)
            self.questions[op.task, op.name] = known
            self._put(known)
        elif (known.question, known.options, known.arguments) != (op.question, op.options, op.arguments):
            raise Conflict(f"question {op.name!r} was asked in other words before", hint="ask another question under another name")
        return {"state": known.state, "answer": known.answer}

    def _put(self, question: FakeQuestion) -> None:
        """A human answers at once, or else its time is over at once."""
        said = self.answering(question)
        question.state, question.answer = ("expired", question.default) if said is None else ("answered", said)

    def wait(self, holder: str, op: ops.Wait) -> Found:
        """See `ops.Wait`."""
        task = self._held(holder, op)
        self._news.discard(op.task)
        every = [self._require(name) for name in op.children]
        if any(child.parent != op.task for child in every):
            raise Forbidden(f"not all of these are children of task {op.task}", hint="wait for what ctx.delegate gave")
        children = {c.id: {"state": c.state, "result": c.result, "error": c.reason} for c in every if c.state in ENDED}
        mine = [q for q in self.questions.values() if q.task == op.task and q.name in op.questions]
        answers = {q.name: {"state": q.state, "answer": q.answer, "by": "test"} for q in mine if q.state != "open"}
        task.state = "running" if children or answers else "waiting"
        return {"children": children, "answers": answers}

    def _require(self, name: str) -> FakeTask:
        if name not in self.tasks:
            raise NotFound(f"there is no task {name}", hint="fleet.tasks has them all")
        return self.tasks[name]

    def _of(self, holder: str) -> list[FakeTask]:
        return [task for task in self.tasks.values() if task.owner == holder and task.state in ("running", "waiting")]

    def _held(self, holder: str, op: Any) -> FakeTask:
        task = self.tasks.get(op.task)
        if task is None or (task.owner, task.fence) != (holder, op.fence) or task.state not in ("running", "waiting"):
            raise Fenced(f"task {op.task} is not yours any more", hint="stop working on it")
        return task

    def _working(self, holder: str, op: Any) -> FakeTask:
        task = self._held(holder, op)
        task.state = "running"
        return task

    def _behind(self, task: FakeTask) -> bool:
        before = self.tasks.values() if task.lane is not None else ()
        for other in before:
            if other is task:
                return False
            if (other.to, other.lane) == (task.to, task.lane) and other.state not in ENDED:
                return True
        return False

    def _queue(self, task: FakeTask, reason: str) -> None:
        task.state, task.owner, task.reason = "queued", None, reason
        self.tell(task.to)

    def _again(self, task: FakeTask, why: str) -> None:
        if task.attempts >= task.most:
            self._end(task, "dead", f"attempt {task.attempts} of {task.most}: {why}")
        else:
            self._queue(task, why)

    def _suspend(self, task: FakeTask, reason: str) -> None:
        task.state, task.reason = "unknown", reason
        self.ended(task)

    def _end(self, task: FakeTask, state: str, reason: str) -> None:
        task.state, task.reason = state, reason
        for child in list(self.tasks.values()):
            if child.parent == task.id:
                self.cancel(child, f"task {task.id} ended")
        if task.parent is not None:
            self._tell(self.tasks[task.parent])
        self.tell(task.to)  # what was behind it in its lane
        self.ended(task)

    def _tell(self, task: FakeTask) -> None:
        if task.owner is not None:
            self._news.add(task.id)
            self.tell(task.to)


_DO: Final[dict[type[ops.Op], Callable[[FakeLedger, str, Any], Found]]] = {
    kind: getattr(FakeLedger, word) for word, kind in ops.WORDS.items() if hasattr(FakeLedger, word)
}


def _op(word: str, values: dict[str, Found]) -> ops.Op:
    kind: Any = ops.WORDS[word]
    return cast("ops.Op", kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}))


def _agent(holder: str) -> str:
    return holder.partition("#")[0].rpartition("-")[0]


def _given(task: FakeTask) -> Found:
    names = ("fence", "verb", "key", "deadline", "root", "parent", "priority", "trace", "payload", "most")
    done = dict(sorted(task.steps.items()))
    return {name: getattr(task, name) for name in names} | {"task": task.id, "attempt": task.attempts, "steps": done, "more": False}


def _leave(word: str, value: str | None = None) -> Found:
    return {"word": word, "value": value}
