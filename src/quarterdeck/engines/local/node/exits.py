"""Why a process ended, from its wait status and what the node knows besides."""

from __future__ import annotations

import os

from quarterdeck.model.world import Exit


def understand(status: int | None, *, at: float, oom: bool, hang: bool, detail: str) -> Exit:
    """`status` is a wait status, None when nobody could tell; `at` is epoch seconds."""
    if status is None:
        return Exit(None, None, oom, hang, at, detail)
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
    code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
    return Exit(code, number, oom, hang, at, detail)
