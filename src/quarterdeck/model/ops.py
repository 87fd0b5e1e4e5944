"""What a replica asks of the ledger: `{"ops": [[word, {field: value}], …]}`, answered `{"answers": [{"ok": …} | {"error": …}, …]}`.

An answer `{"later": true}` had no room beside the others: ask again.
Who asks is the subject of the request, never its body. Every operation may be repeated: the second time says what the first one said.
Payloads, values and results are JSON text inside, or the reference to it (`model.blobs`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Final, Literal, TypedDict

from quarterdeck.model import work
from quarterdeck.model.work import ATTEMPTS

MOST: Final = 256
"""Operations in one request."""
ROOM: Final = 900_000
"""Bytes that one request or answer should not pass: the bus carries a MiB."""
MOST_BODY: Final = work.MOST_BODY
MOST_OUTPUT: Final = 16_000
"""Bytes of one piece of streamed output, as JSON text."""
MOST_KEY: Final = 500
"""Characters of a key or a name."""
MOST_ERROR: Final = 4000
"""Characters of an error that are kept."""
MOST_HELD: Final = 1024
"""Tasks that one replica may name at once."""
MOST_WAITS: Final = 256
"""Asks, and waits, that one report tells of."""
WaitKind = Literal["ask", "delegate", "lane", "human"]
"""What is waited for: an answer, a delegated task, one in a lane of its own, or a human."""
AskOpen = tuple[str, str, float, bool]
"""The name of an attempt at an ask, its verb, when it came in (epoch seconds), and whether it has a place."""
WaitOpen = tuple[str, str, str, str, WaitKind, str, float]
"""Who waits (id, kind and verb of the activity), for which attempt or task, how, of which agent, and since when (epoch seconds)."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Give me up to `free` tasks; I know of `holding`. → `[{task, fence, verb, payload, steps, more, …}]`: `more` steps by `Steps`."""

    free: int
    holding: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Renew:
    """I still work on these (task, fence). → `{lost, cancel, moved}`: not mine any more; to be given up; with news to look for.

    `progress`: how far some of them are (task, fraction, text), where that has changed.
    """

    holding: tuple[tuple[str, int], ...]
    progress: tuple[tuple[str, float, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """The task is done."""

    task: str
    fence: int
    result: str


@dataclass(frozen=True, slots=True)
class Fail:
    """The attempt failed; `again`: another one may succeed."""

    task: str
    fence: int
    error: str
    again: bool


@dataclass(frozen=True, slots=True)
class GiveBack:
    """I have to stop, through no fault of the task: somebody else should take it, and this attempt does not count."""

    task: str
    fence: int
    why: str


@dataclass(frozen=True, slots=True)
class Step:
    """A piece is done: keep what it gave. → the value that is kept, the first one for good.

    `again`: it was done anew on purpose, since its code has changed; only a value of other code gives way.
    """

    task: str
    fence: int
    name: str
    code: str
    value: str
    again: bool = False


@dataclass(frozen=True, slots=True)
class Steps:
    """What was done before, by name, after that name. → `{steps: {name: [code, value]}, more}`."""

    task: str
    fence: int
    after: str


@dataclass(frozen=True, slots=True)
class Emit:
    """Output of the task, as JSON texts numbered from `first` on in this attempt. Kept in memory only. → null."""

    task: str
    fence: int
    first: int
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Begin:
    """I am about to call. → `{word: go | done | unknown, value}`."""

    task: str
    fence: int
    key: str
    semantics: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The call came to this: `outcome` is done, failed or unknown."""

    task: str
    fence: int
    key: str
    outcome: str
    value: str | None
    error: str


@dataclass(frozen=True, slots=True)
class Delegate:
    """Have `to` (`cluster/agent`) do this for me; `name` is unique in the task. → `{task, state}`."""

    task: str
    fence: int
    name: str
    to: str
    verb: str
    payload: str
    priority: int | None = None
    lane: str | None = None
    deadline: float | None = None
    attempts: int = ATTEMPTS
    budget: Mapping[str, float] = field(default_factory=dict)
    path: str = ""


@dataclass(frozen=True, slots=True)
class Reserve:
    """I am about to spend so much; `n` counts the reservations of this attempt. → null, or the error BudgetExceeded.

    `spend`: it is spent with that. Otherwise `Settle` says what was used; what an attempt leaves behind unsettled is spent.
    """

    task: str
    fence: int
    n: int
    amounts: Mapping[str, float]
    spend: bool = False


@dataclass(frozen=True, slots=True)
class Settle:
    """Of reservation `n` so much was used. → null."""

    task: str
    fence: int
    n: int
    amounts: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Submit:
    """A task of its own, which nobody waits for. → `{task, state, created}`."""

    to: str
    verb: str
    payload: str
    key: str
    priority: int = 0
    lane: str | None = None
    deadline: float | None = None
    attempts: int = ATTEMPTS
    trace: str = ""


@dataclass(frozen=True, slots=True)
class AskHuman:
    """Ask a human; `name` is unique in the task, `arguments` JSON text of what the answer is about. → `{state, answer}`."""

    task: str
    fence: int
    name: str
    question: str
    options: tuple[str, ...]
    arguments: str
    default: str | None
    until: float | None


@dataclass(frozen=True, slots=True)
class Wait:
    """I wait for these children and questions. → those that have ended: `{children: {id: {state, result, error}}, answers: {name: …}}`.

    As many of the children as one answer has room for: the next look finds the others.
    """

    task: str
    fence: int
    children: tuple[str, ...]
    questions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Publish:
    """Keep this message for `to` (`cluster/agent`) and see that it gets there; `task` and `fence` when a task sends it.

    → `{id, state, created, seq}`.
    """

    id: str
    to: str
    verb: str
    payload: str
    key: str | None = None
    lane: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    task: str | None = None
    fence: int = 0


@dataclass(frozen=True, slots=True)
class Posted:
    """How far is a message that this agent published? → `{state, seq}`."""

    message: str


@dataclass(frozen=True, slots=True)
class Take:
    """I have a kept message in hand. → `go`; `done`: somebody has handled it; `busy`: somebody is at it."""

    message: str


@dataclass(frozen=True, slots=True)
class Handled:
    """I have handled a kept message."""

    message: str


@dataclass(frozen=True, slots=True)
class Bury:
    """I give a durable message up, after so many deliveries."""

    message: str
    sender: str
    verb: str
    headers: Mapping[str, str]
    body: str
    reason: str
    deliveries: int


@dataclass(frozen=True, slots=True)
class Waits:
    """What is open here for a while, as of now; the answer to the report before was `seen`. → `Verdicts`.

    `n` counts reports, `places` is for tasks; `free` says how many asks could begin at once.
    """

    n: int
    seen: float
    places: int
    free: int
    asks: tuple[AskOpen, ...]
    waits: tuple[WaitOpen, ...]


class Verdicts(TypedDict):
    """The answer to `Waits`: report `again` at once; waits to break (waiter, on, why); queued asks that nobody waits for (name, why)."""

    seen: float
    again: bool
    broken: list[tuple[str, str, str]]
    unwanted: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Looped:
    """I refused a message that had gone round this `cycle` of agents, with this many `messages`."""

    cycle: tuple[str, ...]
    messages: int
    sender: str
    verb: str


Op = (
    Claim
    | Renew
    | Done
    | Fail
    | GiveBack
    | Step
    | Steps
    | Emit
    | Begin
    | Finish
    | Delegate
    | Submit
    | AskHuman
    | Wait
    | Reserve
    | Settle
    | Publish
    | Posted
    | Take
    | Handled
    | Bury
    | Waits
    | Looped
)
WORDS: Final[dict[str, type[Op]]] = {
    "claim": Claim,
    "renew": Renew,
    "done": Done,
    "fail": Fail,
    "give_back": GiveBack,
    "step": Step,
    "steps": Steps,
    "emit": Emit,
    "begin": Begin,
    "finish": Finish,
    "delegate": Delegate,
    "reserve": Reserve,
    "settle": Settle,
    "submit": Submit,
    "ask_human": AskHuman,
    "wait": Wait,
    "publish": Publish,
    "posted": Posted,
    "take": Take,
    "handled": Handled,
    "bury": Bury,
    "waits": Waits,
    "looped": Looped,
}
_WORD_OF: Final = {kind: word for word, kind in WORDS.items()}


def pack(op: Op) -> list[object]:
    """`[word, fields]`, for JSON."""
    return [_WORD_OF[type(op)], asdict(op)]
