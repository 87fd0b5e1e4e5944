"""Every subject on the bus is built and read here.

The sender comes first, right after the kind, so that one wildcard at the end carries a message through an account export, and an allow
list pins the sender: a subject is an identity, a body never is.

Inside the account of the receiving cluster::

    ask.<from cluster>.<from agent>.<from n>.<to agent>.<verb>      core request-reply, one of the agent's replicas answers
    ask.<from cluster>.<from agent>.<from n>.<to agent>-<n>.<verb>  the same, one certain replica
    in.<from cluster>.<from agent>.<from n>.<to agent>.<verb>       captured by the agent's stream, answered with a PubAck
    ledger.<own cluster>.<own agent>.<own n>.<own incarnation>      request to the control plane's ledger of tasks
    blobs.<own cluster>.<own agent>.<own n>.<own incarnation>       a piece of a large payload, to the control plane or from it

A replica sends to its own cluster on exactly these; to a linked cluster C it sends on `to.C.<the same>`: its account imports
`ask.<own cluster>.>` and `in.<own cluster>.>` from C as `to.C.…`. The control plane's account imports `ask.qd.>` and `in.qd.>` of every
cluster as `to.<system>.<cluster>.…`, and exports the ledger and the blobs, which a cluster imports under its own name only. Asks and stream
subjects are disjoint, or a request would get a PubAck for an answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from quarterdeck.model.work import Holder

Kind = Literal["ask", "in"]
PLATFORM: Final = "qd"
"""The sender's cluster name that only the control plane may use; a spec cannot name a cluster so."""
LEDGER: Final = "ledger.*.*.>"
"""What the ledger listens on, in the control plane's account."""
BLOBS: Final = "blobs.*.*.>"
"""The same of whoever takes and gives large payloads."""
TOKEN: Final = re.compile(r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?\Z")
"""One subject token: names of clusters, agents and verbs."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends: a replica's cluster, agent and number; the control plane is `qd.<door>.0`."""

    cluster: str
    agent: str
    n: int

    @property
    def prefix(self) -> str:
        """Three tokens."""
        return f"{self.cluster}.{self.agent}.{self.n}"


@dataclass(frozen=True, slots=True)
class Address:
    """A subject taken apart. `to` is an agent or `agent-n`."""

    kind: Kind
    sender: Sender
    to: str
    verb: str


LEDGER_SENDER: Final = Sender(PLATFORM, "ledger", 0)
"""It passes on what others had it keep: on an `in.` subject of this sender, the envelope says who sent the message."""
LEDGER_WORD: Final = "_work"
"""The verb of the ledger's one message to replicas: "talk to me now"."""


def subject(kind: Kind, sender: Sender, cluster: str, to: str, verb: str) -> str:
    """The subject on which `sender` reaches agent (or replica) `to` of `cluster` with `verb`, as seen from the sender's account."""
    inner = f"{kind}.{sender.prefix}.{to}.{verb}"
    return inner if cluster == sender.cluster else f"to.{cluster}.{inner}"


def parse(text: str) -> Address:
    """Read a subject as the receiver sees it; raises ValueError when it is none of ours."""
    parts = text.split(".")
    if len(parts) != 6 or parts[0] not in ("ask", "in") or not parts[3].isdecimal():  # noqa: PLR2004 six tokens, see the module
        msg = f"not a subject of ours: {text!r}"
        raise ValueError(msg)
    kind: Kind = "ask" if parts[0] == "ask" else "in"
    return Address(kind, Sender(parts[1], parts[2], int(parts[3])), parts[4], parts[5])


def ledger(sender: Sender, incarnation: int) -> str:
    """Where one incarnation of a replica reaches the ledger; nobody else may publish there, so it says who asks."""
    return f"ledger.{sender.prefix}.{incarnation}"


def blobs(sender: Sender, incarnation: int) -> str:
    """Where it puts and gets large payloads; the same holds."""
    return f"blobs.{sender.prefix}.{incarnation}"


def ledger_of(account: str) -> str:
    """What a cluster's account (`<system>.<cluster>`) may reach of it, as the ledger hears it."""
    return f"ledger.{account}.>"


def blobs_of(account: str) -> str:
    """The same of the blobs."""
    return f"blobs.{account}.>"


def ledger_holder(subject: str) -> Holder:
    """Who asks the ledger; raises ValueError when it is no subject of the ledger."""
    return _holder("ledger", subject)


def blobs_holder(subject: str) -> Holder:
    """Who puts or gets a blob; raises ValueError for another subject."""
    return _holder("blobs", subject)


def _holder(first: str, subject: str) -> Holder:
    parts = subject.split(".")
    if len(parts) != 6 or parts[0] != first:  # noqa: PLR2004 first, system, cluster, agent, n, incarnation
        msg = f"not a subject of the {first}: {subject!r}"
        raise ValueError(msg)
    return Holder(parts[1], parts[2], parts[3], int(parts[4]), int(parts[5]))


def receives(agent: str, n: int) -> tuple[str, str]:
    """What a replica subscribes for asks: (shared with its siblings through a queue group, its own)."""
    return f"ask.*.*.*.{agent}.*", f"ask.*.*.*.{agent}-{n}.*"


def stream_subject(agent: str) -> str:
    """What an agent's stream captures."""
    return f"in.*.*.*.{agent}.*"


def stream(agent: str) -> str:
    """The name of an agent's stream; its one durable consumer has the same name."""
    return f"IN_{agent}"


def inbox(agent: str, n: int, incarnation: int) -> str:
    """The private inbox prefix of one incarnation."""
    return f"_INBOX.{agent}-{n}-{incarnation}"


def publish_allowed(sender: Sender, incarnation: int, peers: tuple[str, ...], linked: tuple[str, ...]) -> tuple[str, ...]:
    """The exact allow list of a replica's user: agents of its own cluster, linked clusters, its own consumer; ledger, blobs as itself."""
    own = (f"ask.{sender.prefix}.>", *(f"in.{sender.prefix}.{peer}.*" for peer in peers))
    away = tuple(f"to.{cluster}.{kind}.{sender.prefix}.>" for cluster in linked for kind in ("ask", "in"))
    name = stream(sender.agent)
    consumer = (f"$JS.API.CONSUMER.MSG.NEXT.{name}.{name}", f"$JS.ACK.{name}.{name}.>")
    return (*own, *away, *consumer, ledger(sender, incarnation), blobs(sender, incarnation))


def subscribe_allowed(sender: Sender, incarnation: int) -> tuple[str, ...]:
    """The exact list of what a replica may subscribe."""
    return (*receives(sender.agent, sender.n), f"{inbox(sender.agent, sender.n, incarnation)}.>")
