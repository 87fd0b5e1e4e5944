"""`ctx.spend`: what a task is about to spend is reserved at the ledger before it is spent, and settled after."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from types import TracebackType
from typing import Final, Self

from quarterdeck.agents.line import PATIENCE, Line
from quarterdeck.errors import QuarterdeckError, UserError
from quarterdeck.model import ops
from quarterdeck.model.budgets import Budget
from quarterdeck.model.work import BudgetExceeded

log = logging.getLogger(__name__)

_ONE_CALL: Final = {"calls": 1.0}
_SETTLE: Final = 5.0
"""Seconds for the ledger to hear what was used by a handler that failed or is to stop."""


class Purse:
    """What one attempt at a task spends. `limited` are the kinds that something limits; without any, nothing is asked of the ledger."""

    def __init__(self, task: str, fence: int, line: Line, limited: Collection[str] = ()) -> None:
        self.limited = frozenset(limited)
        self._task = task
        self._fence = fence
        self._line = line
        self._last = 0
        self._spare: list[int] = []

    async def call(self) -> None:
        """Take one call. Raises BudgetExceeded."""
        if "calls" in self.limited:
            await self.reserve(_ONE_CALL, spend=True)

    async def reserve(self, amounts: Mapping[str, float], *, spend: bool = False) -> int:
        """The number under which it is reserved. Raises BudgetExceeded."""
        n = self._spare.pop() if self._spare else self._next()
        try:
            await self._line.call(ops.Reserve(self._task, self._fence, n, dict(amounts), spend), PATIENCE)
        except BudgetExceeded:
            self._spare.append(n)  # it was not used
            raise
        return n

    async def settle(self, n: int, used: Mapping[str, float], within: float = PATIENCE) -> None:
        """Say what was used of what is reserved under `n`."""
        await self._line.call(ops.Settle(self._task, self._fence, n, dict(used)), within)

    def _next(self) -> int:
        self._last += 1
        return self._last


class Spent:
    """Around something that costs: `async with ctx.spend(tokens=2000) as spent: …; spent.used(tokens=1500)`.

    What `used` never spoke of counts as used up, since nobody knows better.
    """

    def __init__(self, purse: Purse | None, amounts: Mapping[str, float]) -> None:
        if "depth" in amounts or not amounts:
            raise UserError("nothing that can be spent", hint="calls, tokens, seconds or money: ctx.spend(tokens=2000)")
        self._amounts = dict(Budget(amounts).limits)
        self._purse = purse if purse is not None and purse.limited else None
        self._used: dict[str, float] = {}
        self._n = 0

    def used(self, **amounts: float) -> None:
        """So much was used of what was reserved, in all; the last word on each kind counts. It may be more."""
        if "depth" in amounts:
            raise UserError("depth cannot be used", hint="it counts delegations by itself")
        self._used |= Budget(amounts).limits

    async def __aenter__(self) -> Self:
        """Reserve. Raises BudgetExceeded, with nothing reserved; Transient while money is spent too fast."""
        if self._purse is not None:
            self._n = await self._purse.reserve(self._amounts)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Settle."""
        if self._purse is None:
            return
        used = {**self._amounts, **self._used}
        if kind is None:
            await self._purse.settle(self._n, used)
            return
        try:
            await asyncio.shield(asyncio.ensure_future(self._purse.settle(self._n, used, _SETTLE)))
        except QuarterdeckError as problem:
            log.info("a reservation is left as it is, which counts as used up: %s", problem.message)
