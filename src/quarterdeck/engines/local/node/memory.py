"""What the node remembers of a replica slot between its processes: ends, back-off, failure. Pure values; time and jitter are arguments.

The budget counts every end that nobody asked for; the back-off only those of processes that never worked, so that a replica which was
killed while working is back at once. Defaults after Erlang/OTP's restart intensity.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from quarterdeck.model.desired import Restart
from quarterdeck.model.table import Row

FIRST_BACKOFF: Final = 0.1
LONGEST_BACKOFF: Final = 10.0
WORKED_AFTER: Final = 0.5
"""Seconds of life from which a service or a control plane that was up counts as having worked."""


@dataclass(frozen=True, slots=True)
class Memory:
    """All times are monotonic seconds. `trying` is the template now being attempted and since when, until one becomes ready."""

    deaths: tuple[float, ...] = ()
    quick: int = 0
    wait_until: float = 0.0
    failed_at: float | None = None
    reason: str = ""
    trying: tuple[str, float] | None = None


FRESH: Final = Memory()


def died(memory: Memory, restart: Restart, now: float, *, worked: bool, jitter: float, reason: str) -> Memory:
    """After an end that nobody asked for. `jitter` in [0, 1) spreads the back-off between half and all of it."""
    deaths = (*(at for at in memory.deaths if at > now - restart.within), now)
    quick = 0 if worked else memory.quick + 1
    back_off = min(FIRST_BACKOFF * 2 ** (quick - 2), LONGEST_BACKOFF) * (0.5 + jitter / 2) if quick > 1 else 0.0
    failed_at = now if len(deaths) > restart.budget else None
    return replace(memory, deaths=deaths, quick=quick, wait_until=now + back_off, failed_at=failed_at, reason=reason)


def failed(memory: Memory, now: float, reason: str) -> Memory:
    """After something that the next attempt would meet as well, e.g. code that cannot be imported."""
    return replace(memory, failed_at=now, reason=reason)


def began(memory: Memory, template: str, now: float) -> Memory:
    """A process of `template` is being started. Out of failure it has what the budget gives back by then: deaths grow old, as others do."""
    kept = replace(memory, quick=0, failed_at=None) if memory.failed_at is not None else memory
    trying = kept.trying if kept.trying and kept.trying[0] == template else (template, now)
    return replace(kept, trying=trying)


def ready(memory: Memory) -> Memory:
    """The process answers."""
    return replace(memory, trying=None, reason="")


def may_start_at(memory: Memory, restart: Restart) -> float:
    """The earliest monotonic time of the next start."""
    return memory.wait_until if memory.failed_at is None else memory.failed_at + restart.retry_after


def asked(row: Row) -> object:
    """A row but for what is renewed by itself: when this changes, somebody has changed something, and what failed is tried again."""
    return replace(row, slots=()), tuple(slot.n for slot in row.slots)
