"""What the node must not let run, whatever its table says: on disk before anything is killed for it, and looked at for every start."""

from __future__ import annotations

import contextlib
import sys
from typing import Any, Final

from quarterdeck import halts
from quarterdeck.clock import Clock
from quarterdeck.errors import UserError
from quarterdeck.halts import Halt
from quarterdeck.model.home import Home

_LONG_AGO: Final = float("-inf")


class Halts:
    """`now` is the list in force. While `damaged` nobody knows what may run, so nothing may, until somebody says what the list is."""

    def __init__(self, home: Home, clock: Clock) -> None:
        self._home = home
        self._clock = clock
        self._ends: dict[tuple[str, str], float] = {}
        found = halts.read(home)
        with contextlib.suppress(OSError):  # a full disk: the room is asked for again when it is needed
            halts.prepare(home)
        self.damaged = found is None
        self.now: tuple[Halt, ...] = found or ()
        if self.damaged:
            sys.stderr.write(f"{home.halts} cannot be read: nothing runs until the control plane says what may\n")

    def order(self, halt: Halt, within: float | None) -> str:
        """Let nothing of a target run from `within` seconds on, and nothing be started from now on.

        A second order can only shorten the time; None leaves it as it was, or means at once. Gives why it could not be written down, or
        nothing; it holds all the same, as long as this node lives.
        """
        old = self._ends.get(halt.key, _LONG_AGO if halt.key in {each.key for each in self.now} else None)
        new = self._clock.monotonic() + within if within else _LONG_AGO
        self._ends[halt.key] = new if old is None else old if within is None else min(old, new)
        return self._keep(halts.with_halt(self.now, halt))

    def lift(self, system: str, target: str) -> str:
        """Let it run again; gives why that could not be written down, or nothing."""
        self._ends.pop((system, target), None)
        return self._keep(halts.without(self.now, (system, target)))

    def reset(self, whole: tuple[Halt, ...]) -> str:
        """Take this list for the whole truth, after the one on disk could not be read."""
        self.damaged, self._ends = False, {}
        return self._keep(whole, always=True)

    def _keep(self, new: tuple[Halt, ...], *, always: bool = False) -> str:
        if new == self.now and not always:
            return ""
        self.now = new
        try:
            halts.write(self._home, new)
        except (OSError, UserError) as error:
            return str(error)
        return ""

    def end_by(self, system: str, agent: str) -> float | None:
        """By when (monotonic seconds) everything of `cluster/agent` must have ended; None when it may run."""
        if self.damaged:
            return _LONG_AGO
        return min((self._ends.get(halt.key, _LONG_AGO) for halt in self.now if halt.covers(system, agent)), default=None)

    def over(self) -> tuple[Halt, ...]:
        """Those whose time to drain is over: nothing of them may be alive. A task is no process: who ordered its end killed what ran."""
        now = self._clock.monotonic()
        about = (halt for halt in self.now if not halt.target.startswith(halts.TASK))
        return tuple(halt for halt in about if self._ends.get(halt.key, _LONG_AGO) <= now)

    def to_json(self) -> dict[str, Any]:
        """For the protocol."""
        return {"damaged": self.damaged, "halts": [halt.to_json() for halt in self.now]}
