"""What is wrong with a file, where, and what to do: a `Finding` names a place in the document, a `Problem` a line and a column."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from quarterdeck.errors import SpecError
from quarterdeck.model.wording import nearest

_WIDEST: Final = 120
_LONGEST_NAME: Final = 60
_MOST_ALLOWED: Final = 16

Path = tuple[str | int, ...]


START: Final = "qd init writes a project with one; qd explain spec tells what belongs into it"
"""The hint for somebody who has no spec yet."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault at a path of the document. `wrong` is the misspelt word that the nearest of `allowed` is looked up for.

    `code` names the kind of fault, e.g. E1201.
    """

    path: Path
    message: str
    at: Literal["key", "value"] = "value"
    wrong: str = ""
    allowed: tuple[str, ...] = ()
    hint: str = ""
    warning: bool = False
    code: str = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of a file, ready for people. `line` and `column` count from 1; `str()` is the whole rendered text."""

    file: str
    line: int
    column: int
    message: str
    excerpt: str = ""
    allowed: tuple[str, ...] = ()
    suggestion: str = ""
    hint: str = ""
    code: str = ""

    @property
    def where(self) -> str:
        """`file:line:column`."""
        return f"{self.file}:{self.line}:{self.column}"

    def __str__(self) -> str:
        advice = " ".join(part for part in (self._nearest(), self._choices()) if part)
        coded = f" [{self.code}]" if self.code else ""
        lines = (f"{self.where}: {self.message}{coded}", *self._picture(), *(f"    {text}" for text in (advice, self.hint) if text))
        return "\n".join(lines)

    def _nearest(self) -> str:
        return f'did you mean "{shown(self.suggestion)}"?' if self.suggestion else ""

    def _choices(self) -> str:
        if not self.allowed:
            return ""
        more = f", and {len(self.allowed) - _MOST_ALLOWED} more" if len(self.allowed) > _MOST_ALLOWED else ""
        return "allowed: " + ", ".join(shown(name) for name in self.allowed[:_MOST_ALLOWED]) + more

    def _picture(self) -> tuple[str, ...]:
        """The line with a caret below; a long line is cut around the column."""
        if not self.excerpt:
            return ()
        start = max(0, self.column - 1 - _WIDEST // 2) if len(self.excerpt) > _WIDEST else 0
        gutter = f"{self.line:5} | "
        return gutter + shown(self.excerpt[start : start + _WIDEST], _WIDEST), " " * (len(gutter) - 2) + "| " + " " * (
            self.column - 1 - start
        ) + "^"


@dataclass(frozen=True, slots=True)
class Source:
    """The text of a file and its name, so that places can be shown."""

    filename: str
    lines: tuple[str, ...]

    @classmethod
    def of(cls, text: str, filename: str) -> Source:
        """Split at YAML's line breaks only (LF, CR LF, CR), so that line numbers agree with every editor."""
        return cls(filename, tuple(text.replace("\r\n", "\n").replace("\r", "\n").split("\n")))

    def problem(self, line: int, column: int, finding: Finding) -> Problem:
        """A Problem at a place; `line` and `column` count from 0."""
        return Problem(
            file=self.filename,
            line=line + 1,
            column=column + 1,
            message=finding.message,
            excerpt=self.lines[line] if line < len(self.lines) else "",
            allowed=finding.allowed,
            suggestion=nearest(finding.wrong, finding.allowed),
            hint=finding.hint,
            code=finding.code,
        )


def refusal(filename: str, problems: tuple[Problem, ...]) -> SpecError:
    """The one error of a refused file, with every problem rendered."""
    count = f"{len(problems)} problems" if len(problems) > 1 else "1 problem"
    return SpecError(f"{filename}: {count}, nothing applied", problems=tuple(map(str, problems)), where=problems[0].where)


def shown(text: str, most: int = _LONGEST_NAME) -> str:
    """Text of a file as it may be printed: cut, and without anything a terminal would obey."""
    safe = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" if c != "\t" else " " for c in text[:most])
    return safe if len(text) <= most else safe[:-1] + "…"
