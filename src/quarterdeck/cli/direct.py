"""A stop past a control plane that does not answer: straight to the node, into its list where none lives, and proved from the outside."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from quarterdeck import halts, linux
from quarterdeck.cli.leftovers import listener
from quarterdeck.client.wire import Document
from quarterdeck.clock import SystemClock
from quarterdeck.engines.local.living import living, of
from quarterdeck.engines.local.node.lifecycle import MARK
from quarterdeck.errors import Conflict, NotFound, Transient
from quarterdeck.halts import TASK, Halt
from quarterdeck.model.home import Home
from quarterdeck.model.stops import FLEET, Source, StopProof, verdict

if TYPE_CHECKING:
    from sqlalchemy import Connection

T = TypeVar("T")
_ANSWER_WITHIN: Final = 0.7
_TRY_WITHIN: Final = 1.5
_PROVE_WITHIN: Final = 1.2
_EVERY: Final = 0.03
_STOPPED: Final = frozenset({"T", "t"})
_FRAME: Final = 16 << 20
LEDGER: Final = "ledger"


class Silent(Transient):
    """The node is there and says nothing."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What to stop: `system` empty is every one that has the target, `target` empty is everything. Seconds; `began` is monotonic."""

    system: str
    target: str
    reason: str
    actor: str
    drain: float
    began: float


def halt(home: Home, wish: Wish) -> str:
    """Have it halted; gives where that is written down. Raises NotFound for no such target, Transient when nobody can do it."""
    new = Halt(wish.system, wish.target, SystemClock().now(), wish.reason, wish.actor)
    deadline = time.monotonic() + _TRY_WITHIN
    while True:
        try:
            answer = _ask_node(home, "halt", halt=new.to_json(), within=wish.drain)
            return "" if answer["problem"] else "node"
        except Silent as error:  # what it was told is in its socket: it gets to it, should it ever wake up
            _kill(home, new)
            if linux.stat(listener(home.node_socket) or 0)[0] not in _STOPPED:
                return ""
            message = "neither the control plane nor the node answers: what ran of it was killed, but nothing keeps it from coming back"
            hint = "qd down --yes ends everything of this home by the mark that its processes carry"
            raise Transient(message, hint=hint) from error
        except OSError:  # nobody listens there: then nobody keeps the list but us
            if _written(home, new):
                return "list of the node"
            if time.monotonic() > deadline:
                hint = "qd down --yes ends everything of this home by the mark that its processes carry"
                raise Transient("the node neither answers nor ends", hint=hint) from None
        time.sleep(_EVERY)


def _written(home: Home, new: Halt) -> bool:
    """Without a node its list is written by us, and what it left is killed by us."""
    try:
        halts.edit_alone(home, lambda old: halts.with_halt(old, new))
    except Conflict:  # one is just coming up
        return False
    _kill(home, new)
    return True


def _kill(home: Home, new: Halt) -> None:
    if not new.target.startswith(TASK):
        for one in of(living(home, MARK), new.system, new.target):
            linux.kill(one.pid)


def _ask_node(home: Home, verb: str, **fields: Any) -> Document:
    """One request to the node. Raises OSError when none listens, Silent when one does not answer, NotFound."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.settimeout(_ANSWER_WITHIN)
        door.connect(str(home.node_socket))
        try:
            door.sendall(json.dumps({"id": 1, "verb": verb, **fields}).encode() + b"\n")
            answer: Document = json.loads(door.makefile("rb").readline(_FRAME))
        except (TimeoutError, ValueError) as error:
            raise Silent(f"no answer of the node within {_ANSWER_WITHIN:g} s") from error
    if "error" in answer:
        kind, message = answer["error"]["kind"], answer["error"]["message"]
        raise (NotFound if kind == "not_found" else Transient)(message, hint="qd stop fleet stops everything")
    found: Document = answer["ok"]
    return found


def prove(home: Home, wish: Wish, kept: str) -> StopProof:
    """What is left, looked for until nothing is or time is up."""
    deadline = wish.began + wish.drain + _TRY_WITHIN + _PROVE_WITHIN
    while True:
        sources = (*_outside(home, wish), *_rows(home, wish))
        living_ = verdict(tuple(s for s in sources if s.source != LEDGER))
        if living_ == "done" or time.monotonic() > deadline:
            at, ms = SystemClock().now(), 1000 * (time.monotonic() - wish.began)
            return StopProof(wish.system, wish.target or FLEET, at, ms, sources, (kept,) if kept else ())
        time.sleep(_EVERY)


def _outside(home: Home, wish: Wish) -> tuple[Source, ...]:
    from quarterdeck.engines.local import proving  # noqa: PLC0415 the bus's client: not before the halt is out

    connected = asyncio.run(proving.connections(home, SystemClock(), wish.system, wish.target))
    return proving.processes(home, wish.system, wish.target), connected


def _rows(home: Home, wish: Wish) -> tuple[Source, ...]:
    """The ledger's rows, read as a stranger: a control plane that hangs or is gone does not keep us from it."""
    from quarterdeck.store import engine, stops  # noqa: PLC0415 SQLAlchemy: not before the halt is out

    try:
        counts = offline(home, lambda connection: [count(connection, wish.system, wish.target) for count in (stops.in_work, stops.pending)])
    except engine.ERRORS as error:
        return rows_unread(error)
    return rows_told(counts)


def offline(home: Home, look: Callable[[Connection], T]) -> T:
    """Read the store past a control plane. Raises `store.engine.ERRORS`."""
    from quarterdeck.store import engine  # noqa: PLC0415 as above

    readers = engine.offline(home.database)
    try:
        with readers.connect() as connection:
            return look(connection)
    finally:
        readers.dispose()


def rows_told(counts: Sequence[int]) -> tuple[Source, ...]:
    """What the ledger's rows say: tasks that somebody works on, effects under way."""
    from quarterdeck.store import stops  # noqa: PLC0415 as above

    note = "; nobody can fence them while the control plane is away"
    claims = (stops.WORKED_ON, stops.UNDER_WAY)
    return tuple(Source(LEDGER, claim, n, f"{n} rows{note if n else ''}") for claim, n in zip(claims, counts, strict=True))


def rows_unread(error: Exception) -> tuple[Source, ...]:
    """The same where they cannot be read."""
    from quarterdeck.store import stops  # noqa: PLC0415 as above

    return tuple(
        Source(LEDGER, claim, None, f"the store cannot be read: {str(error).partition(chr(10))[0]}")
        for claim in (stops.WORKED_ON, stops.UNDER_WAY)
    )


def comes_to_answer(answers: Callable[[], object], within: float) -> bool:
    """Whether a control plane answers within so many seconds: its node starts one that is lost again."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        with suppress(Transient):
            if answers():
                return True
        time.sleep(10 * _EVERY)
    return False
