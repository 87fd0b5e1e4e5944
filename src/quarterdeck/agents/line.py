"""A replica's line to the ledger: operations that are asked for at the same time travel together, and are repeated until answered.

Every operation says the same when it is repeated, so an answer that was lost costs time only. A body that is too large for one travels
beside it, as a blob: what the operation carries is the reference.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from quarterdeck.agents.payload import encode, loads
from quarterdeck.bus.chores import Chores
from quarterdeck.bus.envelope import MAX_PAYLOAD
from quarterdeck.errors import Conflict, Forbidden, NotFound, QuarterdeckError, Terminal, Transient, UserError
from quarterdeck.model import ops
from quarterdeck.model.blobs import MOST_BLOB, Ref
from quarterdeck.model.work import MOST_BODY, BudgetExceeded, Fenced, Overloaded

log = logging.getLogger(__name__)

Ask = Callable[[bytes, float], Awaitable[bytes]]
"""(body, seconds) → the ledger's answer; raises Transient when there is none."""
PATIENCE: Final = 600.0
"""Seconds for an operation to be answered. Nothing is lost by waiting: a task that somebody else has meanwhile is refused."""
ATTEMPT: Final = 2.0
"""Seconds to wait for one answer before asking again."""
PAUSE_FIRST: Final = 0.1
PAUSE_MOST: Final = 1.0
"""Seconds between attempts when the ledger is silent: doubling from the first to the most."""
MOST_ALONE: Final = MAX_PAYLOAD - 64
"""Bytes of one operation with what is around it."""
_KINDS: Final[dict[str, type[QuarterdeckError]]] = {
    kind.__name__: kind for kind in (Fenced, Conflict, Forbidden, NotFound, UserError, Terminal, Transient, Overloaded)
}


class Keeps(Protocol):
    """Where large bodies are kept; `quarterdeck.agents.blobs.Blobs` says what it promises."""

    async def put(self, content: bytes) -> Ref: ...  # noqa: D102

    async def get(self, ref: Ref) -> bytes: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class _Asked:
    text: bytes
    answer: asyncio.Future[Any]


class Line:
    """Made once for a replica; `chores` runs its sending, `blobs` has what is too large for it."""

    def __init__(self, ask: Ask, chores: Chores, blobs: Keeps) -> None:
        self._ask = ask
        self._chores = chores
        self._blobs = blobs
        self._waiting: list[_Asked] = []

    async def body(self, value: object, what: str, within: float = PATIENCE) -> str:
        """A value as an operation carries it: JSON text, or the reference to it once it is on disk. Raises UserError, Transient."""
        text = encode(value)
        if len(text) <= MOST_BODY:
            return text.decode()
        if len(text) > MOST_BLOB:
            hint = "keep it where its reader can reach it too, and pass its name"
            raise UserError(f"{what} is {len(text):,} bytes; at most {MOST_BLOB:,} are kept", hint=hint)
        try:
            async with asyncio.timeout(within):
                return (await self._blobs.put(text)).body
        except TimeoutError:
            raise Transient(f"{what} was not kept within {within:.0f} s") from None

    async def value(self, body: str, within: float = PATIENCE) -> Any:
        """The opposite of `body`. Raises NotFound, Terminal, Transient, PayloadError."""
        ref = Ref.in_body(body)
        if ref is None:
            return loads(body.encode())
        try:
            async with asyncio.timeout(within):
                return loads(await self._blobs.get(ref))
        except TimeoutError:
            raise Transient(f"blob {ref} did not come within {within:.0f} s") from None

    async def call(self, op: ops.Op, within: float) -> Any:
        """Do it, and give the answer; asked again until there is one. Raises what the ledger says, or Transient after `within` seconds."""
        text = json.dumps(ops.pack(op), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        if len(text) > MOST_ALONE:
            raise UserError(f"this is {len(text):,} bytes for the ledger", hint=f"at most {MOST_ALONE:,}: keep it in a file, pass its name")
        asked = _Asked(text, asyncio.get_running_loop().create_future())
        if not self._waiting:
            self._chores.start(self._send())
        self._waiting.append(asked)
        try:
            async with asyncio.timeout(within):
                return await asked.answer
        except TimeoutError:
            raise Transient(f"the ledger did not answer within {within:.0f} s: whether it heard us is unknown") from None

    async def _send(self) -> None:
        """What gathers during one round of the loop goes out as one request, or as several where it is much."""
        await asyncio.sleep(0)
        waiting, self._waiting = self._waiting, []
        for batch in _batches(waiting):
            self._chores.start(self._deliver(batch))

    async def _deliver(self, batch: list[_Asked]) -> None:
        pause = PAUSE_FIRST
        while batch := [each for each in batch if not each.answer.done()]:
            try:
                found = json.loads(await self._ask(b'{"ops":[' + b",".join(each.text for each in batch) + b"]}", ATTEMPT))
            except Transient as error:
                log.debug("the ledger is silent: %s", error.message)
                await asyncio.sleep(pause)
                pause = min(PAUSE_MOST, 2 * pause)
                continue
            if "answers" in found:
                for each, said in zip(batch, found["answers"], strict=True):
                    _settle(each.answer, said)
            elif found["error"]["again"]:  # it cannot write at the moment
                await asyncio.sleep(ATTEMPT)
            else:
                self._refused(batch, found)
                return

    def _refused(self, batch: list[_Asked], found: dict[str, Any]) -> None:
        """One of a request's operations cannot be read, or failed so badly that it took the others with it: each tries alone."""
        if len(batch) == 1:
            _settle(batch[0].answer, found)
            return
        for each in batch:
            self._chores.start(self._deliver([each]))


def _batches(waiting: list[_Asked]) -> list[list[_Asked]]:
    found: list[list[_Asked]] = [[]]
    room = ops.ROOM
    for each in waiting:
        size = len(each.text)
        if found[-1] and (size > room or len(found[-1]) >= ops.MOST):
            found.append([])
            room = ops.ROOM
        found[-1].append(each)
        room -= size
    return found


def _settle(answer: asyncio.Future[Any], said: dict[str, Any]) -> None:
    if answer.done() or "later" in said:
        return
    error = said.get("error")
    if error is None:
        answer.set_result(said["ok"])
    else:
        answer.set_exception(raised(error))


def raised(error: dict[str, Any]) -> QuarterdeckError:
    """The error that an answer tells of."""
    if error["kind"] == BudgetExceeded.__name__:
        budget, account = error.get("budget", ("", ""))
        return BudgetExceeded(error["message"], kind=budget, account=account, hint=error["hint"])
    kind = _KINDS.get(error["kind"]) or (Transient if error["again"] else Terminal)
    return kind(error["message"], hint=error["hint"])
