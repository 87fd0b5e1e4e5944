"""Work: tasks, their effects, questions and recorded events. What a user submits is a Task; the database alone owns it.

A task is claimed under a *fence*, a number that only rises: whoever holds an older one can change nothing any more. Times are epoch
seconds; payloads, results and values are JSON text, or the reference to it (`model.blobs`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from quarterdeck.errors import Conflict, Terminal, Transient, UserError
from quarterdeck.model.blobs import told
from quarterdeck.model.records import Actor

Semantics = Literal["idempotent", "dedupes", "unsafe"]
"""What a second call with the same arguments does.

idempotent: nothing more than the first. dedupes: nothing, if the same key is handed over. unsafe: it would happen twice.
"""
SEMANTICS: Final[tuple[Semantics, ...]] = ("idempotent", "dedupes", "unsafe")
EffectOutcome = Literal["started", "done", "failed", "unknown"]
MOST_BODY: Final = 450_000
"""Bytes of a payload, result or value as JSON text; a larger one is kept as a file. Inside another JSON text it may take twice as many,
and the bus carries a MiB."""
BUDGETS: Final = ("calls", "tokens", "seconds", "money", "depth")
ATTEMPTS: Final = 5
"""How often a task is tried unless told otherwise; the last failure makes it a dead letter."""
MOST_ATTEMPTS: Final = 1000
MOST_DEPTH: Final = 32
"""Delegations below one another, whatever the budget says."""
OPEN: Final = ("queued", "running", "waiting", "unknown")
"""States that are not an end."""
ENDED: Final = ("done", "failed", "dead", "cancelled")
RETRYABLE: Final = ("dead", "failed")
"""Ended states from which a human may send a task back into the queue."""
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ID_LENGTH: Final = 26


class Fenced(Conflict):
    """Somebody else holds the task now: nothing of this attempt counts any more."""


class TooLarge(UserError):
    """More bytes than are kept."""

    http_status = 413


class TaskFailed(Terminal):
    """A task that somebody waited for came to another end than done: `state` is failed, dead or cancelled; `task` its id."""

    def __init__(self, message: str, *, task: str, state: str) -> None:
        super().__init__(message, hint=f"qd task get {task} --tree")
        self.task = task
        self.state = state


class BudgetExceeded(UserError):
    """The next call would pass a budget; `account` and `kind` say which."""

    def __init__(self, message: str, *, kind: str = "", account: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.kind = kind
        self.account = account


class Overloaded(Transient):
    """Too much is waiting already; `after` says in how many seconds it is worth coming again."""

    http_status = 429

    def __init__(self, message: str, *, after: float = 1.0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.after = after


ENTROPY: Final = 10
"""Random bytes in the id of a task."""


def task_id(now: float, entropy: bytes) -> str:
    """A ULID (github.com/ulid/spec): 26 characters that sort by time; `now` is epoch seconds, `entropy` ten random bytes."""
    number = int(now * 1000) << 80 | int.from_bytes(entropy[:ENTROPY], "big")
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


def is_task_id(text: str) -> bool:
    """Whether it looks like one."""
    return len(text) == _ID_LENGTH and set(text) <= set(_ALPHABET)


@dataclass(frozen=True, slots=True)
class Target:
    """An agent of a system."""

    system: str
    cluster: str
    agent: str

    @property
    def name(self) -> str:
        """`cluster/agent`."""
        return f"{self.cluster}/{self.agent}"


Reach = Callable[[str, str, Target], str]
"""(system, from cluster, target) → why an agent of that cluster may not give the target work; empty when it may.

A person comes from the cluster "".
"""


def checked_attempts(asked: int) -> int:
    """How often a task may be tried; raises UserError for a number out of bounds."""
    if not 1 <= asked <= MOST_ATTEMPTS:
        raise UserError(f"{asked} attempts", hint=f"1 to {MOST_ATTEMPTS}")
    return asked


@dataclass(frozen=True, slots=True)
class Holder:
    """One incarnation of one replica, as the subject of its requests names it."""

    system: str
    cluster: str
    agent: str
    n: int
    incarnation: int

    @classmethod
    def read(cls, system: str, name: str) -> Holder:
        """From its name; raises ValueError for what is none."""
        replica, _, incarnation = name.partition("#")
        cluster, _, rest = replica.partition("/")
        agent, _, n = rest.rpartition("-")
        return cls(system, cluster, agent, int(n), int(incarnation))

    @property
    def name(self) -> str:
        """`cluster/agent-n#incarnation`."""
        return f"{self.replica}#{self.incarnation}"

    @property
    def replica(self) -> str:
        """`cluster/agent-n`."""
        return f"{self.cluster}/{self.agent}-{self.n}"

    @property
    def target(self) -> Target:
        """The agent it is a replica of."""
        return Target(self.system, self.cluster, self.agent)


@dataclass(frozen=True, slots=True)
class Hold:
    """What entitles a holder to change a task: the fence under which it was given to it."""

    holder: Holder
    task: str
    fence: int


@dataclass(frozen=True, slots=True)
class Fork:
    """Somebody wants a task that has ended run again, as another one: what it recorded before `step` is kept. None: nothing of it."""

    task: str
    step: str | None
    actor: Actor
    reason: str


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody wants done.

    `key`: the same order again is the same task, another one is a conflict. Of one `lane` an agent works on one task at a time, in the
    order in which they came. Higher `priority` first. `after`: not before that time. `verb` empty = the agent's own choice.
    """

    target: Target
    payload: str = "null"
    verb: str = ""
    key: str | None = None
    tenant: str = ""
    priority: int = 0
    lane: str | None = None
    after: float = 0.0
    deadline: float | None = None
    attempts: int = ATTEMPTS
    budget: Mapping[str, float] = field(default_factory=dict)
    parent: str | None = None
    trace: str = ""
    path: str = ""
    """What led to it since something changed, see `model.loops`."""
    fork: Fork | None = None

    @property
    def digest(self) -> str:
        """Equal for orders that ask for the same."""
        asked = [self.target.system, self.target.name, self.verb, self.lane, *told(self.payload)]
        if self.fork is not None:
            asked += ["fork", self.fork.task, self.fork.step]
        text = json.dumps(asked, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(f"quarterdeck.order.v1\n{text}".encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Task:
    """A unit of work that is accounted for. `number` counts the tasks of the home; `owner` is the last holder (`cluster/agent-n#k`)."""

    id: str
    number: int
    target: Target
    verb: str
    key: str | None
    tenant: str
    priority: int
    lane: str | None
    behind: str | None
    state: str
    reason: str
    attempts: int
    most: int
    fence: int
    owner: str | None
    after: float
    deadline: float | None
    parent: str | None
    root: str
    depth: int
    cancel: str | None
    budget: Mapping[str, float]
    trace: str
    path: str
    created: float
    started: float | None
    ended: float | None


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of an order: the task, and whether it is new."""

    task: Task
    created: bool


@dataclass(frozen=True, slots=True)
class Effect:
    """Something done to the world outside by a task, counted once for each (root task, key). `arguments` is their hash."""

    root: str
    key: str
    task: str
    semantics: Semantics
    arguments: str
    outcome: EffectOutcome
    fence: int
    value: str | None
    error: str
    started: float
    ended: float | None


@dataclass(frozen=True, slots=True)
class StepDone:
    """A checkpoint: a piece of a task that is not repeated. `name` is `name#occurrence`, `code` the digest of what computed it."""

    task: str
    name: str
    code: str
    value: str
    at: float
    fence: int


@dataclass(frozen=True, slots=True)
class Question:
    """Something a task asks a human. The answer is one of `options` (any text when there are none); `default` holds at `until`."""

    task: str
    name: str
    question: str
    options: tuple[str, ...]
    arguments: str
    default: str | None
    until: float | None
    state: str
    answer: str | None
    by: str
    asked: float
    ended: float | None


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a task; `seq` counts the events of the home."""

    seq: int
    task: str
    kind: str
    at: float
    actor: str
    fence: int
    detail: Mapping[str, object]
