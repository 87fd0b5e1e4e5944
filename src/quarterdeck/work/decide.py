"""What the ledger decides, without doing anything: values in, values out; time and chance are arguments."""

from __future__ import annotations

from typing import Final

RETRY_FIRST: Final = 0.5
RETRY_MOST: Final = 60.0
"""Seconds until a failed attempt is tried again: doubling from the first to the most, half of it by chance."""
LOST_RETRY: Final = 0.0
"""Seconds until a task whose holder ended is tried again: it did nothing wrong."""


def retry_after(attempt: int, chance: float) -> float:
    """Seconds to wait after the `attempt`-th failure (from 1); `chance` is uniform in [0, 1)."""
    whole = min(RETRY_MOST, RETRY_FIRST * 2.0 ** min(attempt - 1, 16))
    return whole * (0.5 + chance / 2)
