"""The durable streams of agents: made once, checked against the inventory, never silently made again.

One stream per agent with one durable consumer of the same name. Retention is work-queue: a message is there until one replica has
acknowledged it, so the disk holds the backlog and nothing else, "discard new" then is honest back-pressure, and a consumer that was
lost can be made again without replaying what was done. Only an acknowledgement removes a message: delete and purge are denied.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from quarterdeck.bus import subjects
from quarterdeck.bus.accounts import STREAM_BYTES, is_cluster
from quarterdeck.bus.envelope import HEADROOM
from quarterdeck.errors import Terminal, Transient
from quarterdeck.model.ops import MOST_BODY
from quarterdeck.model.world import StreamSeen

Json = dict[str, Any]
DEDUPE_WINDOW: Final = 120.0
"""Seconds in which a second message of the same `Nats-Msg-Id` is acknowledged as a duplicate: for a publisher's retries."""
GAP: Final = 1 << 20
"""Numbers left free between a stream and the one that follows it."""
_EPOCH: Final = "quarterdeck-epoch"
_NOT_FOUND: Final = frozenset({10059, 10014})
"""Stream and consumer not found (nats-server, errors.json)."""
_SECOND: Final = 1_000_000_000


class StreamLost(Terminal):
    """A stream that was made is missing, was replaced, or has gone backwards: acknowledged messages are gone. Never mended by itself."""


class Requests(Protocol):
    """Asks the server on behalf of one account; raises Transient when there is no answer."""

    async def __call__(self, subject: str, body: bytes) -> bytes:
        """The answer's body."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How much an agent's stream holds and how its messages are handed out.

    `ack_wait` is seconds: under load nats-server takes two to work off acknowledgements, and handing out again what is done costs more.

    A message is handed out until it is acknowledged: its receiver counts, and gives it up into the outbox (`model.messages.DELIVERIES`);
    a limit of the server's would leave it in the stream, where nobody hears of it.
    """

    max_bytes: int = STREAM_BYTES
    max_messages: int = 100_000
    ack_wait: float = 5.0
    unacknowledged: int = 1000


USUAL: Final = Shape()


def lost(made: StreamSeen, seen: StreamSeen | None) -> str:
    """Why `made`, as the inventory has it, is lost given what the server has now; empty when it is not."""
    if seen is None:
        return f"stream {made.name} of {made.account} is gone; it had {made.messages} messages, the last one number {made.last}"
    if made.epoch != seen.epoch:
        return f"stream {made.name} of {made.account} was replaced: it is of epoch {seen.epoch}, not {made.epoch}"
    if seen.last < made.last:
        return f"stream {made.name} of {made.account} went back from message {made.last} to {seen.last}"
    return ""


def check(inventory: Iterable[StreamSeen], seen: Iterable[StreamSeen]) -> tuple[str, ...]:
    """Everything lost, one sentence each: for every start, before anything else touches the bus."""
    there = {(stream.account, stream.name): stream for stream in seen}
    reasons = (lost(made, there.get((made.account, made.name))) for made in inventory)
    return tuple(reason for reason in reasons if reason)


async def ensure(
    ask: Requests, account: str, agent: str, shape: Shape, inventory: Iterable[StreamSeen], *, epoch: int, after: int = 0
) -> StreamSeen:
    """Make the agent's stream and consumer, or bring their limits up to date; gives what to write into the inventory.

    Raises StreamLost when the inventory says it was made and it is not as it was. A stream that is there but not in the inventory was
    made by a control plane that died before it could write it down, or is written down as lost: it is taken over with all it holds, under
    `epoch`; when that was another one, its consumer, which may be ahead of what is left, begins again. `after`: how far the one before had
    come: a stream that is made anew begins far beyond it, or late acknowledgements of its messages would remove new ones of that number.
    """
    name = subjects.stream(agent)
    info = await call(ask, f"STREAM.INFO.{name}")
    seen = stream_seen(account, info) if info is not None else None
    made = next((one for one in inventory if (one.account, one.name) == (account, name)), None)
    reason = lost(made, seen) if made else ""
    if reason:
        hint = f"see `qd explain {account.partition('.')[2]}/{agent}`; restore from a backup or give up what is lost by a new epoch"
        raise StreamLost(reason, hint=hint, where=f"{account}/{name}")
    wanted = stream_config(agent, shape, made.epoch if made else epoch)
    if seen is not None and made is None and seen.epoch != epoch:
        info = await call(ask, f"STREAM.UPDATE.{name}", wanted)
        await call(ask, f"CONSUMER.DELETE.{name}.{name}")
    elif info is None:
        begin = {"first_seq": after + GAP} if after else {}
        info = await call(ask, f"STREAM.CREATE.{name}", {**wanted, **begin})
    elif any(info["config"].get(field) != value for field, value in wanted.items() if field != "metadata"):
        info = await call(ask, f"STREAM.UPDATE.{name}", wanted)
    await call(ask, f"CONSUMER.CREATE.{name}.{name}", {"stream_name": name, "config": consumer_config(name, shape)})
    if info is None:
        raise Transient(f"stream {name} of {account} vanished while it was being made")
    return stream_seen(account, info)


def stream_config(agent: str, shape: Shape, epoch: int) -> Json:
    """What the stream should be (nats-server's StreamConfig)."""
    return {
        "name": subjects.stream(agent),
        "subjects": [subjects.stream_subject(agent)],
        "storage": "file",
        "retention": "workqueue",
        "discard": "new",
        "num_replicas": 1,
        "max_bytes": shape.max_bytes,
        "max_msgs": shape.max_messages,
        "max_msg_size": MOST_BODY + HEADROOM,
        "allow_atomic": True,
        "duplicate_window": int(DEDUPE_WINDOW * _SECOND),
        "deny_delete": True,
        "deny_purge": True,
        "metadata": {_EPOCH: str(epoch)},
    }


def consumer_config(name: str, shape: Shape) -> Json:
    """What the durable consumer should be (nats-server's ConsumerConfig)."""
    return {
        "name": name,
        "durable_name": name,
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "ack_wait": int(shape.ack_wait * _SECOND),
        "max_deliver": -1,
        "max_ack_pending": shape.unacknowledged,
        "replay_policy": "instant",
    }


def stream_seen(account: str, info: Json) -> StreamSeen:
    """Read what STREAM.INFO and JSZ both tell about a stream."""
    config, state = info["config"], info["state"]
    epoch = int((config.get("metadata") or {}).get(_EPOCH, 0))
    floor = max((c["ack_floor"]["stream_seq"] for c in info.get("consumer_detail") or ()), default=0)
    first = state["first_seq"]
    return StreamSeen(account, config["name"], first, state["last_seq"], state["messages"], state["bytes"], epoch, max(floor, first - 1, 0))


def streams_seen(jsz: Json) -> tuple[StreamSeen, ...]:
    """All streams of all clusters out of one answer to `$SYS.REQ.SERVER.PING.JSZ`, in the order of account and name."""
    found = [
        stream_seen(account["name"], stream)
        for account in jsz.get("account_details") or ()
        if is_cluster(account["name"])
        for stream in account.get("stream_detail") or ()
    ]
    return tuple(sorted(found, key=lambda stream: (stream.account, stream.name)))


async def call(ask: Requests, verb: str, body: Json | None = None) -> Json | None:
    """One request of the JetStream API; None when what it is about does not exist. Raises Transient (5xx) and Terminal."""
    answer: Json = json.loads(await ask(f"$JS.API.{verb}", json.dumps(body).encode() if body else b""))
    error = answer.get("error")
    if error is None:
        return answer
    if error.get("err_code") in _NOT_FOUND:
        return None
    kind = Transient if error.get("code", 500) >= 500 else Terminal  # noqa: PLR2004 as in HTTP
    raise kind(f"the bus refused {verb}: {error.get('description', 'no reason given')}", where=verb)
