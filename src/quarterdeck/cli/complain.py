"""An error in words: what, where, the excerpts, and what to do."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from typing import Final

from quarterdeck.cli.screen import Screen, clean
from quarterdeck.errors import QuarterdeckError, SpecError

_CODE: Final = re.compile(r"\[(E\d{4})\]")
_GUTTER: Final = re.compile(r" *\d+ \| ")


def complain(error: QuarterdeckError) -> None:
    """Print an error on stderr."""
    screen = Screen.of(sys.stderr, os.environ)
    screen.lines(*told(error, screen))


def told(error: QuarterdeckError, screen: Screen) -> list[str]:
    """The lines of an error."""
    first, *more = error.message.splitlines() or [""]
    code = screen.paint(f"[{clean(error.code)}]", "dim")
    lines = screen.wrapped(f"{screen.paint('error:', 'bold', 'red')} ", f"{clean(first)} {code}")
    lines += [line for one in more for line in screen.wrapped("", clean(one))]
    if error.where and error.where not in error.message:
        lines.append(f"  at: {clean(error.where)}")
    problems = error.problems if isinstance(error, SpecError) else ()
    for problem in problems:
        lines += ["", *fitted([clean(line) for line in problem.splitlines()], screen)]
    if hint := error.hint or _more(problems):
        lines.append(f"{screen.paint('hint:', 'bold', 'cyan')} {clean(hint)}")
    return lines


def _more(problems: Sequence[str]) -> str:
    """Where the code of a problem is explained."""
    codes = dict.fromkeys(code for problem in problems for code in _CODE.findall(problem.partition("\n")[0])[-1:])
    return f"qd explain {next(iter(codes))} tells what is meant, and what to do" if codes else ""


def fitted(lines: list[str], screen: Screen) -> list[str]:
    """A problem of a file on a narrow terminal: words fold, and the excerpt is scrolled so that the caret stays below its column."""
    if not screen.width or max(map(len, lines), default=0) <= screen.width:
        return lines
    made: list[str] = []
    rest = iter(lines)
    for line in rest:
        gutter = _GUTTER.match(line)
        if gutter is None:
            made += screen.wrapped(re.match(r" *", line)[0], line.strip())  # type: ignore[index] # it always matches
            continue
        caret, room, begin = next(rest, ""), screen.width - gutter.end(), gutter.end()
        column = max(0, caret.find("^") - begin)
        shift = max(0, min(column - room // 2, len(line) - begin - room))
        made += [f"{gutter[0]}{line[begin + shift : begin + shift + room]}", f"{caret[:begin]}{' ' * (column - shift)}^"]
    return made
