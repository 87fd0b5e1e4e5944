"""What a user's code sees of tasks beside `Context`: values and errors. Light to import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from quarterdeck.errors import QuarterdeckError, Terminal
from quarterdeck.model.work import ATTEMPTS


class EffectUnknown(QuarterdeckError):
    """Nobody knows whether a call happened that must not happen twice: the task stops until a human says so. Let it pass."""


class Denied(Terminal):
    """Nobody answered a question in time, and it has no default: that is a no."""


@dataclass(frozen=True, slots=True)
class Wish:
    """How a delegated or submitted task should be done; see `Context.delegate`."""

    name: str | None = None
    priority: int | None = None
    lane: str | None = None
    deadline: float | None = None
    attempts: int = ATTEMPTS
    budget: Mapping[str, float] = field(default_factory=dict)
    path: str = ""


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """What a handler may know of its task: `fence` rises with every claim, `attempt` counts from 1 up to `attempts`.

    A task that was forked from another one has that one's `key`: the work is the same.
    """

    id: str
    key: str | None
    root: str
    parent: str | None
    fence: int
    attempt: int
    attempts: int
    deadline: float | None


@dataclass(frozen=True, slots=True)
class TaskRef:
    """A task that was submitted; `created` is False when its key was known, and it is the task there was."""

    id: str
    state: str
    created: bool
