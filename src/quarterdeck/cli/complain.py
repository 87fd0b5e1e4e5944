"""An error in words: what, where, the excerpts, and what to do."""

from __future__ import annotations

import os
import sys

from quarterdeck.cli.screen import Screen, clean
from quarterdeck.errors import QuarterdeckError, SpecError


def complain(error: QuarterdeckError) -> None:
    """Print an error on stderr."""
    screen = Screen.of(sys.stderr, os.environ)
    screen.lines(*told(error, screen))


def told(error: QuarterdeckError, screen: Screen) -> list[str]:
    """The lines of an error."""
    first, *more = error.message.splitlines() or [""]
    code = screen.paint(f"[{clean(error.code)}]", "dim")
    lines = [f"{screen.paint('error:', 'bold', 'red')} {clean(first)} {code}", *map(clean, more)]
    if error.where and error.where not in error.message:
        lines.append(f"  at: {clean(error.where)}")
    for problem in error.problems if isinstance(error, SpecError) else ():
        lines += ["", *map(clean, problem.splitlines())]
    if error.hint:
        lines.append(f"{screen.paint('hint:', 'bold', 'cyan')} {clean(error.hint)}")
    return lines
