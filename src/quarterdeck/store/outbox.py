"""The outbox: durable messages the database answers for, from the moment their sender is told so until their receiver has handled them.

A message is *waiting* until the stream has confirmed it, *sent* until its receiver says that it is done, and is sent again when the stream
lost it; one that nobody could handle is kept as *dead*. The row, not the stream's duplicate window, says whether a message was there
before, and whether it was handled: keys outlive bodies, for ever.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any, Final, cast

from sqlalchemy import ColumnElement, Connection, bindparam, func, select

from quarterdeck import states
from quarterdeck.errors import Conflict, Forbidden, NotFound
from quarterdeck.model.messages import MOST_WAITING, MOST_WAITING_BYTES, OPEN, Letter, Message, Returned
from quarterdeck.model.records import Actor, Entry
from quarterdeck.model.work import Holder, Overloaded, Target
from quarterdeck.store import rows, tables
from quarterdeck.store.rows import Row
from quarterdeck.store.turn import Turn, target_of
from quarterdeck.store.writing import Writing

LEDGER: Final = "ledger"
STREAM: Final = "stream"
RETRY_AFTER: Final = 1.0
SENDABLE: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\Z")
"""Verbs that fit into a subject."""
_O: Final = tables.outbox.c
_FOR: Final = (_O.system == bindparam("system"), _O.cluster == bindparam("cluster"), _O.agent == bindparam("agent"))
_NEWEST: Final = select(func.max(_O.number))
_BY_KEY: Final = select(tables.outbox).where(
    *_FOR, _O.sender == bindparam("sender"), _O.verb == bindparam("verb"), _O.key == bindparam("key")
)
_SOME: Final = select(_O.size).where(*_FOR, _O.state.in_(("behind", "waiting"))).limit(bindparam("most")).subquery()
_WAITING: Final = select(func.count(), func.coalesce(func.sum(_SOME.c.size), 0)).select_from(_SOME)
_IN_LANE: Final = (
    select(tables.outbox)
    .where(*_FOR, _O.lane == bindparam("lane"), _O.state.in_(bindparam("among", expanding=True)))
    .order_by(_O.number)
    .limit(1)
)
_NAMES: Final = tuple(f.name for f in fields(Message) if f.name != "headers")


def publish(turn: Turn, holder: Holder, letter: Letter, pay: Callable[[], None] = lambda: None) -> tuple[Message, bool]:
    """Keep a message of a replica, or find the one it repeats; whether it is new.

    Raises Conflict for a known key (or id) with another body, Overloaded when too much waits for its target already,
    and what `pay` raises, which is called for a new one, before it is kept.
    """
    sender = holder.target.name
    known = _known(turn, holder.system, sender, letter)
    if known is not None:
        if (known["request"], known["sender"]) != (letter.digest, sender):
            named = f"key {letter.key!r}" if letter.key else f"id {letter.id}"
            raise Conflict(f"{named} was published to {letter.target.name} with another body", hint="another message needs another key")
        return _message(known), False
    _take_room(turn, letter.target, len(letter.body))
    pay()
    target = {"system": letter.target.system, "cluster": letter.target.cluster, "agent": letter.target.agent}
    behind = letter.lane is not None and _in_lane(turn, target, letter.lane, OPEN) is not None
    row = turn.insert(
        tables.outbox,
        **_fresh(turn, letter.id, letter.verb, letter.body, letter.headers),
        **target,
        sender=sender,
        source=holder.replica,
        key=letter.key,
        request=letter.digest,
        lane=letter.lane,
        state="behind" if behind else states.MESSAGE.first,
    )
    turn.posted.add(letter.target)
    return _message(row), True


def _fresh(turn: Turn, id_: str, verb: str, body: str, headers: Mapping[str, str]) -> Row:
    if not turn.letters:
        turn.letters = int(turn.connection.execute(_NEWEST).scalar() or 0)
    turn.letters += 1
    told = json.dumps(dict(headers), separators=(",", ":"))
    given = {"id": id_, "number": turn.letters, "verb": verb, "body": body, "headers": told, "size": len(body), "created": turn.now}
    return {**given, "reason": "", "attempt": 1, "deliveries": 0, "seq": 0, "epoch": 0, "sent": None, "ended": None}


def _known(turn: Turn, system: str, sender: str, letter: Letter) -> Row | None:
    if letter.key is not None:
        to = letter.target
        where = {"system": system, "sender": sender, "cluster": to.cluster, "agent": to.agent, "verb": letter.verb, "key": letter.key}
        found = turn.select(tables.outbox, _BY_KEY, **where)
        if found:
            return found[0]
    return turn.find(tables.outbox, letter.id)


def _take_room(turn: Turn, target: Target, size: int) -> None:
    if target not in turn.rooms:
        of = {"system": target.system, "cluster": target.cluster, "agent": target.agent, "most": MOST_WAITING}
        turn.rooms[target] = cast("tuple[int, int]", tuple(turn.connection.execute(_WAITING, of).one()))
    count, total = turn.rooms[target]
    if count >= MOST_WAITING or total >= MOST_WAITING_BYTES:
        raise Overloaded(
            f"{count:,} messages ({total:,} characters) wait for {target.name} already",
            after=RETRY_AFTER,
            hint=f"it takes in less than it is sent: publish later, or qd scale {target.name}",
        )
    turn.rooms[target] = (count + 1, total + size)


def due(connection: Connection, limit: int, apart: Iterable[Target] = ()) -> list[Message]:
    """The oldest messages that should go to their streams, but for those of targets that take nothing at the moment."""
    o = tables.outbox
    query = select(o).where(o.c.state == "waiting").order_by(o.c.number).limit(limit)
    for target in apart:
        query = query.where(~((o.c.system == target.system) & (o.c.cluster == target.cluster) & (o.c.agent == target.agent)))
    return [_message(row) for row in rows.many(connection, o, query)]


def epoch(turn: Turn, target: Target) -> int:
    """Of a target's stream as it is now: it rises when the stream is made anew; 0 when there is none."""
    found = turn.find(tables.inventory, target.system, STREAM, stream_name(target))
    return 0 if found is None or found["gone"] is not None else cast("int", found["epoch"])


def stream_name(target: Target) -> str:
    """A target's stream, as the inventory names it."""
    return f"{target.system}.{target.cluster}/IN_{target.agent}"


def sent(turn: Turn, message: Message, seq: int, at_epoch: int) -> bool:
    """The stream confirmed this attempt. False when the stream has been made anew since it was read: then it is sent again."""
    row = turn.find(tables.outbox, message.id)
    if row is None or row["state"] != "waiting" or row["attempt"] != message.attempt or epoch(turn, message.target) != at_epoch:
        return False
    _move(turn, row, "sent", seq=seq, epoch=at_epoch, sent=turn.now)
    return True


def refused(turn: Turn, message: Message, reason: str) -> None:
    """The stream will never take it, whatever the reason: it is dead."""
    row = turn.find(tables.outbox, message.id)
    if row is not None and row["state"] == "waiting":
        _die(turn, row, f"refused by the stream: {reason}", 0, Actor(LEDGER, LEDGER))


def taken(turn: Turn, holder: Holder, message: str) -> str:
    """The state of a message that a receiver has in hand. Raises NotFound, and Forbidden for one that is not its own."""
    return str(_mine(turn, holder, message)["state"])


def handled(turn: Turn, holder: Holder, message: str) -> None:
    """Its receiver has handled it: it is never handed to a handler again."""
    row = _mine(turn, holder, message)
    if row["state"] != "done":
        _end(turn, row, "done", body=None, reason="")


def bury(turn: Turn, holder: Holder, returned: Returned) -> None:
    """Its receiver gives it up: it is kept for a human. A message the outbox does not know yet went straight to the stream."""
    row = turn.find(tables.outbox, returned.id)
    if row is not None and target_of(row) != holder.target:
        raise Forbidden(f"message {returned.id} is not for {holder.target.name}", hint="a replica settles what its own agent was sent")
    if row is not None and row["state"] in ("dead", "done"):
        return
    if row is None:
        row = turn.insert(
            tables.outbox,
            **_fresh(turn, returned.id, returned.verb, returned.body, returned.headers),
            system=holder.system,
            cluster=holder.cluster,
            agent=holder.agent,
            sender=returned.sender.rpartition("-")[0],
            source=returned.sender,
            key=None,
            request="",
            lane=None,
            state="sent",
        )
    _die(turn, row, returned.reason, returned.deliveries, Actor(holder.name, LEDGER))


def _die(turn: Turn, row: Row, reason: str, deliveries: int, actor: Actor) -> None:
    _end(turn, row, "dead", reason=reason, deliveries=deliveries)
    after = {"message": row["id"], "verb": row["verb"], "from": row["source"], "deliveries": deliveries}
    system = str(row["system"])
    turn.journal(Entry(actor, "message.dead", target_of(row).name, reason, after=after, outcome="failed", system=system))


def retry(turn: Turn, message: str, actor: Actor, reason: str) -> Message:
    """Send a dead message again. Raises NotFound, Conflict."""
    row = _require(turn, message)
    if row["state"] != "dead":
        raise Conflict(f"message {row['id']} is {row['state']}, not dead", hint="qd message list --state dead lists those that are")
    if not SENDABLE.match(str(row["verb"])):
        raise Conflict(f"message {row['id']} has no verb that can be sent again", hint="it was no message of an agent of ours")
    again = _move(turn, row, "waiting", attempt=cast("int", row["attempt"]) + 1, deliveries=0, reason="", ended=None)
    turn.posted.add(target_of(row))
    after = {"message": row["id"], "attempt": again["attempt"]}
    turn.journal(Entry(actor, "message.retry", target_of(row).name, reason, after=after, system=str(row["system"])))
    return _message(again)


def under_way(connection: Connection) -> set[Target]:
    """Targets with a message that was sent and is not known to be handled."""
    return {Target(*row) for row in connection.execute(select(_O.system, _O.cluster, _O.agent).where(_O.state == "sent").distinct())}


def swallowed(tx: Writing, target: Target, epoch: int, until: int, after: float) -> int:
    """Send again what was sent so many seconds ago under this epoch with a number up to `until`; how many that are."""
    where = (*_of(target), _O.state == "sent", _O.epoch == epoch, _O.seq <= until, _O.sent < tx.now - after)
    return _again(tx, rows.many(tx.connection, tables.outbox, select(tables.outbox).where(*where)))


def lost(tx: Writing, target: Target) -> int:
    """The target's stream lost messages: whatever was sent and is not known to be handled is sent again; how many that are."""
    return _again(tx, rows.many(tx.connection, tables.outbox, select(tables.outbox).where(*_of(target), _O.state == "sent")))


def _of(target: Target) -> tuple[ColumnElement[bool], ...]:
    return (_O.system == target.system, _O.cluster == target.cluster, _O.agent == target.agent)


def _again(tx: Writing, found: list[Row]) -> int:
    for row in found:
        again = {"attempt": cast("int", row["attempt"]) + 1, "seq": 0, "sent": None}
        rows.update(tx, tables.outbox, row, state=states.MESSAGE.step("sent", "waiting"), **again)
    return len(found)


def get(connection: Connection, message: str) -> Message:
    """One by id; raises NotFound."""
    return _message(_there(rows.one(connection, tables.outbox, id=message), message))


def list_(
    connection: Connection,
    system: str | None,
    *,
    cluster: str | None = None,
    target: str | None = None,
    states_: Iterable[str] = (),
    key: str = "",
    before: int | None = None,
    limit: int = 100,
) -> list[Message]:
    """The newest first. `cluster` narrows to what its agents receive, `target` is `cluster/agent`, `key` what a key begins with."""
    o = tables.outbox
    query = select(o).order_by(o.c.number.desc()).limit(limit)
    query = query if system is None else query.where(o.c.system == system)
    query = query if cluster is None else query.where(o.c.cluster == cluster)
    query = query if target is None else query.where(o.c.cluster + "/" + o.c.agent == target)
    wanted = tuple(states_)
    query = query.where(o.c.state.in_(wanted)) if wanted else query
    query = query.where(o.c.key.startswith(key, autoescape=True)) if key else query
    query = query if before is None else query.where(o.c.number < before)
    return [_message(row) for row in rows.many(connection, o, query)]


def _end(turn: Turn, row: Row, state: str, **values: object) -> None:
    """An end, and the way is free for the next one of its lane."""
    _move(turn, row, state, ended=turn.now, **values)
    if row["lane"] is None:
        return
    target = {name: row[name] for name in ("system", "cluster", "agent")}
    following = _in_lane(turn, target, str(row["lane"]), ("behind",))
    if following is not None and _in_lane(turn, target, str(row["lane"]), ("waiting", "sent")) is None:
        _move(turn, following, "waiting")
        turn.posted.add(target_of(row))


def _in_lane(turn: Turn, target: Mapping[str, object], lane: str, among: Iterable[str]) -> Row | None:
    found = turn.select(tables.outbox, _IN_LANE, **target, lane=lane, among=list(among))
    return found[0] if found else None


def _move(turn: Turn, row: Row, state: str, **values: object) -> Row:
    return turn.update(tables.outbox, row, state=states.MESSAGE.step(str(row["state"]), state), **values)


def _require(turn: Turn, message: str) -> Row:
    return _there(turn.find(tables.outbox, message), message)


def _there(row: Row | None, message: str) -> Row:
    if row is None:
        raise NotFound(f"there is no message {message}", hint="qd message list shows those the database keeps")
    return row


def _mine(turn: Turn, holder: Holder, message: str) -> Row:
    row = _require(turn, message)
    if target_of(row) != holder.target:
        raise Forbidden(f"message {message} is not for {holder.target.name}", hint="a replica settles what its own agent was sent")
    return row


def _message(row: Row) -> Message:
    values: dict[str, Any] = {name: row[name] for name in _NAMES}
    return Message(**values, headers=json.loads(str(row["headers"])))
