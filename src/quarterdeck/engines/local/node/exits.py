"""Why a process ended, from its wait status and what the node knows besides."""

from __future__ import annotations

import os
import signal

from quarterdeck.model.world import Exit


def understand(status: int | None, *, at: float, oom: bool, hang: bool, detail: str) -> Exit:
    """`status` is a wait status, None when nobody could tell; `at` is epoch seconds."""
    if status is None:
        return Exit(None, None, oom, hang, at, detail)
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
    code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
    return Exit(code, number, oom, hang, at, detail)


def cause(ending: Exit) -> str:
    """One line for people."""
    if ending.hang:
        return "hung: no beat"
    if ending.oom:
        return "killed for want of memory"
    if ending.signal is not None:
        return f"killed by {_signal_name(ending.signal)}"
    if ending.code is not None:
        return f"exit code {ending.code}"
    return "ended, cause unknown"


def _signal_name(number: int) -> str:
    known = {member.value: member.name for member in signal.Signals}
    return known.get(number, f"signal {number}")
