"""Durable messages that the database keeps: under a key, in an order, from inside a task, or because nobody could handle them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from quarterdeck.model.blobs import told
from quarterdeck.model.work import Target

DELIVERIES: Final = 20
"""How often a durable message is handed out before it becomes a dead message."""
MOST_WAITING: Final = 10_000
"""Messages for one agent that may wait to go to its stream; a further one is refused."""
MOST_WAITING_BYTES: Final = 256 * 1024 * 1024
OPEN: Final = ("behind", "waiting", "sent")
"""States that are not an end."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A message as its sender hands it in. `key` is unique among what the sending agent sends to this target with this verb, for ever.

    Of one `lane` the target handles one message after the other. `headers` are those of its envelope that are not made anew.
    """

    id: str
    target: Target
    verb: str
    body: str
    key: str | None = None
    lane: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Equal for letters that say the same."""
        text = json.dumps([self.lane, *told(self.body)], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(f"quarterdeck.letter.v1\n{text}".encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Returned:
    """A message that its receiver could not handle, as it arrived, after so many deliveries. `sender` is `cluster/agent-n`."""

    id: str
    sender: str
    verb: str
    headers: Mapping[str, str]
    body: str
    reason: str
    deliveries: int


@dataclass(frozen=True, slots=True)
class Message:
    """A message that the database keeps. `source` is the replica that sent it; `seq` its place in the stream of that `epoch`, if any.

    `attempt` counts the copies that went to the stream: another one goes there when the stream lost it, or a human wants it.
    """

    number: int
    id: str
    system: str
    sender: str
    source: str
    cluster: str
    agent: str
    verb: str
    key: str | None
    lane: str | None
    headers: Mapping[str, str]
    body: str | None
    state: str
    reason: str
    attempt: int
    deliveries: int
    seq: int
    epoch: int
    created: float
    sent: float | None
    ended: float | None

    @property
    def target(self) -> Target:
        """Who is to handle it."""
        return Target(self.system, self.cluster, self.agent)

    @property
    def unique(self) -> str:
        """What the stream takes once: a repeat of the same attempt is dropped there, a new attempt is not."""
        return f"{self.id}.{self.attempt}"
