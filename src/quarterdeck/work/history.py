"""The history checker: whether what was recorded of tasks keeps the promises of the ledger, told by somebody who counts for himself.

Reads the events of the ledger or the documents of `qd task history`, and the real calls of effects as a *sink* outside the product saw
them. Pure, and independent of the code that it judges.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from quarterdeck.model.work import ENDED, Event

Detail = Mapping[str, object]
_AFTER_AN_END: Final = frozenset({"refused", "retry", "effect.unknown", "effect.failed", "effect.resolved", "forgotten", "forked"})
"""What may be recorded of a task that has ended."""
_BY_ITS_HOLDER: Final = frozenset({"step", "wait", "resume", "done", "given_back", "question", "effect.started", "effect.done"})
"""What only the holder of the newest fence may do."""
_BACK: Final = frozenset({"again", "given_back", "halt", "unknown"})
"""What takes a task away from its holder without ending it."""


@dataclass(frozen=True, slots=True)
class Call:
    """One real call of an effect: which key of which tree of tasks, and a digest of what it was asked to do."""

    root: str
    key: str
    value: str = ""


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken: which one, of what, and how."""

    rule: str
    task: str
    told: str


@dataclass(slots=True)
class _Effect:
    """One key of a tree: how often leave was given and it was done; `open`: a call of it may have happened, and nobody said otherwise."""

    semantics: str = ""
    begun: int = 0
    open: bool = False
    done: int = 0
    told_done: bool = False


@dataclass(slots=True)
class _Task:
    parent: str | None
    lane: tuple[str, str] | None
    place: int
    fence: int = 0
    holder: str | None = None
    ended: str | None = None
    begun: bool = False
    retried: bool = False
    steps: set[object] = field(default_factory=set)


@dataclass(slots=True)
class _Judge:
    tasks: dict[str, _Task] = field(default_factory=dict)
    effects: dict[tuple[str, str], _Effect] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    found: list[Violation] = field(default_factory=list)
    last: int = 0

    def against(self, rule: str, task: str, told: str) -> None:
        self.found.append(Violation(rule, task, told))

    def hear(self, event: Event) -> None:
        if event.seq <= self.last:
            self.against("events in order", event.task, f"event {event.seq} after {self.last}")
        self.last = event.seq
        if event.kind == "submit":
            self._submitted(event)
            return
        task = self.tasks.get(event.task)
        if task is None:
            self.against("no task without a submit", event.task, f"{event.kind} of a task that nobody gave")
            return
        if task.ended is not None and event.kind not in _AFTER_AN_END:
            self.against("nothing after an end", event.task, f"{event.kind} after {task.ended}")
        self._fence(event, task)
        self._moved(event, task)
        if event.kind.startswith("effect."):
            self._effect(event)

    def _submitted(self, event: Event) -> None:
        detail = event.detail
        key = detail.get("key")
        if event.task in self.tasks:
            self.against("each task once", event.task, "submitted twice")
        if key is not None and self.keys.setdefault(str(key), event.task) != event.task:
            self.against("each key once", event.task, f"key {key} is task {self.keys[str(key)]} already")
        lane = detail.get("lane")
        where = None if lane is None else (str(detail.get("target")), str(lane))
        self.tasks[event.task] = _Task(cast("str | None", detail.get("parent")), where, event.seq)

    def _fence(self, event: Event, task: _Task) -> None:
        if event.fence < task.fence:
            self.against("fences only rise", event.task, f"{event.kind} under fence {event.fence} after {task.fence}")
        if event.kind == "claim" and event.fence <= task.fence:
            self.against("fences only rise", event.task, f"claimed under fence {event.fence}, which is not new")
        if event.kind in _BY_ITS_HOLDER and (event.fence, event.actor) != (task.fence, task.holder):
            told = f"{event.kind} by {event.actor} under fence {event.fence}; it is held by {task.holder} under {task.fence}"
            self.against("only the holder acts", event.task, told)
        task.fence = max(task.fence, event.fence)

    def _moved(self, event: Event, task: _Task) -> None:
        match event.kind:
            case "claim":
                if task.holder is not None:
                    self.against("one holder", event.task, f"claimed by {event.actor} while {task.holder} has it")
                self._lane(event, task)
                task.holder, task.begun = event.actor, True
            case "step":
                if event.detail.get("name") in task.steps and not event.detail.get("again"):
                    self.against("a step is kept once", event.task, f"step {event.detail.get('name')} was kept again")
                task.steps.add(event.detail.get("name"))
            case "step.kept":
                task.steps.add(event.detail.get("name"))
            case "retry":
                if task.ended in ("done", "cancelled"):
                    self.against("an end is an end", event.task, f"tried again after {task.ended}")
                task.ended, task.begun, task.retried, task.place = None, False, True, event.seq
            case kind if kind in ENDED:
                task.ended, task.holder = kind, None
            case kind if kind in _BACK:
                task.holder = None

    def _lane(self, event: Event, task: _Task) -> None:
        if task.lane is None:
            return
        for name, other in self.tasks.items():
            if other is task or other.lane != task.lane or other.ended is not None:
                continue
            if other.begun:
                self.against("one at a time in a lane", event.task, f"begun while {name} is")
            elif other.place < task.place and not other.retried and not task.retried:
                self.against("a lane keeps its order", event.task, f"begun before {name}")

    def _effect(self, event: Event) -> None:
        effect = self.effects.setdefault((self.root(event.task), str(event.detail.get("key"))), _Effect())
        match event.kind:
            case "effect.started":
                self._begun(event, effect)
            case "effect.done":
                effect.done += 1
                effect.open = False
                if effect.done > 1 or effect.told_done:
                    self.against("an effect is done once", event.task, f"effect {event.detail.get('key')} was done again")
            case "effect.failed":
                effect.open = False
            case "effect.resolved":
                effect.open = False
                effect.told_done = event.detail.get("said") == "done"
            case "effect.kept":
                effect.told_done = True

    def _begun(self, event: Event, effect: _Effect) -> None:
        effect.semantics = effect.semantics or str(event.detail.get("semantics"))
        effect.begun += 1
        key = event.detail.get("key")
        if effect.done or effect.told_done:
            self.against("an effect is done once", event.task, f"effect {key} was begun after it was done")
        if effect.semantics == "unsafe" and effect.open:
            self.against("unsafe effects are never called twice", event.task, f"effect {key} was begun though one call of it is open")
        effect.open = True

    def root(self, task: str) -> str:
        known = self.tasks.get(task)
        while known is not None and known.parent is not None:
            task, known = known.parent, self.tasks.get(known.parent)
        return task

    def called(self, calls: Iterable[Call]) -> None:
        by_key: dict[tuple[str, str], list[Call]] = {}
        for call in calls:
            by_key.setdefault((call.root, call.key), []).append(call)
        for (root, key), made in by_key.items():
            effect = self.effects.get((root, key))
            if effect is None or len(made) > effect.begun:
                begun = effect.begun if effect else 0
                self.against("no call without leave", root, f"effect {key} was called {len(made)} times and begun {begun} times")
            if len({call.value for call in made}) > 1:
                self.against("one key, one meaning", root, f"effect {key} was called with different arguments")
        for (root, key), effect in self.effects.items():
            if effect.done and (root, key) not in by_key:
                self.against("nothing is done without a call", root, f"effect {key} is done and was never called")

    def acknowledged(self, tasks: Iterable[str], *, over: bool) -> None:
        for name in tasks:
            task = self.tasks.get(name)
            if task is None:
                self.against("no acknowledged task is lost", name, "it was acknowledged, and nobody knows of it")
            elif over and task.ended is None:
                self.against("every task ends", name, f"under fence {task.fence}, held by {task.holder or 'nobody'}")


def check(
    events: Iterable[Event | Mapping[str, Any]], sink: Iterable[Call] | None = None, acknowledged: Iterable[str] = (), *, over: bool = False
) -> tuple[Violation, ...]:
    """Everything that is wrong; empty when all is well. Events of whole trees, in order, from their submit on.

    `sink`: all real calls of their effects; None when nobody counted. `acknowledged`: tasks of which somebody was told that they are kept.
    `over`: by now, all of those must have ended.
    """
    judge = _Judge()
    for event in events:
        judge.hear(event if isinstance(event, Event) else _event(event))
    if sink is not None:
        judge.called(sink)
    judge.acknowledged(acknowledged, over=over)
    return tuple(judge.found)


def _event(document: Mapping[str, Any]) -> Event:
    """An event as `qd task history` shows it."""
    at = document["time"] if isinstance(document["time"], float) else 0.0
    return Event(
        document["sequence"], document["task"], document["event"], at, document["actor"], document["fence"], document.get("detail", {})
    )
