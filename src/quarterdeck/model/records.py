"""What is kept: journal records, Changes, Conditions, revisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Outcome = Literal["begun", "done", "failed", "unknown"]
Status = Literal["true", "false", "unknown"]
Author = Literal["human", "drill", "heal", "tune", "scale"]
RANK: Final[dict[str, int]] = {"human": 0, "drill": 1, "heal": 2, "tune": 3, "scale": 4}
"""Lower wins: human > drill > heal > tune > scale."""


def storable(text: str) -> str:
    """Text that every database can hold: agents' words may carry lone surrogates and NUL."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


@dataclass(frozen=True, slots=True)
class Actor:
    """Who: `uid:0` of a unix socket peer, `token:ab12` of the API, `loop` or `node` of the platform itself. `via` is the door."""

    name: str
    via: str
    on_behalf_of: str = ""

    @property
    def told(self) -> str:
        """`alice (token:ab12)`, or the name alone."""
        return f"{self.on_behalf_of} ({self.name})" if self.on_behalf_of else self.name


PLATFORM: Final = Actor("platform", "loop")


@dataclass(frozen=True, slots=True)
class Entry:
    """A fact to be journalled; the store adds sequence, time and the hash chain. `before`, `after`, `evidence` are JSON values or None."""

    actor: Actor
    verb: str
    target: str
    reason: str = ""
    before: object = None
    after: object = None
    outcome: Outcome = "done"
    evidence: object = None
    system: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """A journalled fact. `prev` and `hash` are hex SHA-256; the chain covers the digests of before, after and evidence."""

    seq: int
    at: float
    actor: str
    via: str
    on_behalf_of: str
    verb: str
    target: str
    reason: str
    before: object
    after: object
    outcome: Outcome
    evidence: object
    prev: str
    hash: str
    system: str = ""


@dataclass(frozen=True, slots=True)
class Patch:
    """One field of one target and the value it should have.

    field: replicas (int) | restart_before (epoch seconds) | quarantined (bool, target `cluster/agent-n`) | hold (bool) |
    stopped (true: nothing of it may run; the target is `system:`, a cluster or `cluster/agent`).
    """

    field: Literal["replicas", "restart_before", "quarantined", "hold", "stopped"]
    value: object


@dataclass(frozen=True, slots=True)
class Change:
    """The only way desired state moves besides a new revision. `until` is epoch seconds or None for "until reverted"."""

    id: int
    system: str
    author: Author
    actor: str
    target: str
    patch: Patch
    reason: str
    at: float
    until: float | None
    state: str = "live"


@dataclass(frozen=True, slots=True)
class Condition:
    """The result of looking: kind, on what, status, why, since when (epoch seconds), and when it was last looked at.

    `evidence` is a short text that a person can check; `generation` is what it was observed at.
    """

    kind: str
    target: str
    status: Status
    reason: str
    message: str
    since: float
    observed: float
    evidence: str
    generation: int = 0
    phase: str = ""


@dataclass(frozen=True, slots=True)
class Revision:
    """Spec plus digest of the code tree and lock file. `number` counts per system; `digest` names the content.

    `templates` is JSON: for each `cluster/agent` the Template its replicas were made from, so that a rollback needs nothing else.
    """

    system: str
    number: int
    digest: str
    spec: str
    code: str
    lock: str
    at: float
    actor: str
    reason: str = ""
    templates: str = "{}"
