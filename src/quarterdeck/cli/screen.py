"""What the terminal can show, and text made safe for it. What agents say is hostile: nothing of it may steer the terminal."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TextIO

_SGR: Final = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
    "reverse": "7",
}
_ESCAPES: Final = re.compile(r"\x1b\[[0-9;:?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?")
SGR: Final = re.compile(r"(\x1b\[[0-9;]*m)")
"""What changes the colour, as `paint` writes it."""
_NARROWEST: Final = 20
_ROOM: Final = 24
"""Columns that text beside a label needs to be read."""
_BELOW: Final = "   "
"""Before text that stands below its label."""


@dataclass(frozen=True, slots=True)
class Screen:
    """A stream and what it can do. `live` = a terminal that can redraw; `colour` = may be coloured; `width` in columns, 0 = no limit."""

    out: TextIO
    live: bool = False
    colour: bool = False
    width: int = 0
    ascii: bool = False

    @classmethod
    def of(cls, out: TextIO, environ: Mapping[str, str]) -> Screen:
        """No redrawing and no colour unless the stream is a terminal that is not dumb; NO_COLOR (no-color.org) takes colour away."""
        live = out.isatty() and environ.get("TERM", "dumb") != "dumb"
        width = max(shutil.get_terminal_size().columns, _NARROWEST) if out.isatty() else 0
        plain = (out.encoding or "ascii").lower().replace("-", "") not in ("utf8", "utf16", "utf32")
        return cls(out, live, live and not environ.get("NO_COLOR"), width, plain)

    def line(self, text: str = "") -> None:
        """Print one line now: a reader at the other end of a pipe sees it at once."""
        print(self.fit(text), file=self.out, flush=True)

    def lines(self, *texts: str) -> None:
        """Print several."""
        print(self.fit("\n".join(texts)), file=self.out, flush=True)

    def paint(self, text: str, *styles: str) -> str:
        """Coloured where that is possible; colour is never the only sign."""
        if not self.colour or not text or not styles:
            return text
        return f"\x1b[{';'.join(_SGR[style] for style in styles)}m{text}\x1b[0m"

    def wrapped(self, label: str, text: str) -> list[str]:
        """A label and text beside it, broken at words where the terminal ends; on a narrow one the text begins below the label."""
        plain = _ESCAPES.sub("", label)
        indent = len(plain)
        if not self.width or indent + len(_ESCAPES.sub("", text)) <= self.width:
            return [f"{label}{text}".rstrip()]
        import textwrap  # noqa: PLC0415 only where something does not fit

        if not indent or self.width - indent >= _ROOM:
            first, *more = textwrap.wrap(text, self.width - indent, break_on_hyphens=False)
            return [f"{label}{first}", *(" " * indent + line for line in more)]
        fits = len(plain.rstrip()) <= self.width
        above = [label.rstrip()] if fits else textwrap.wrap(plain, self.width, break_on_hyphens=False)
        below = textwrap.wrap(text, self.width - len(_BELOW), break_on_hyphens=False)
        return [*(above if plain.strip() else ()), *(f"{_BELOW}{line}" for line in below)]

    def beside(self, label: str, text: str, below: str) -> list[str]:
        """As `wrapped`, with lines of a drawing (`below`) before what goes on below the label."""
        plain = _ESCAPES.sub("", label)
        if not self.width or len(plain) + len(_ESCAPES.sub("", text)) <= self.width:
            return [f"{label}{text}".rstrip()]
        import textwrap  # noqa: PLC0415 only where something does not fit

        room = max(self.width - len(below), 1)
        if len(plain) + _ROOM > self.width:
            return [label.rstrip(), *(f"{below}{line}" for line in textwrap.wrap(text, room, break_on_hyphens=False))]
        first, *_ = textwrap.wrap(text, self.width - len(plain), break_on_hyphens=False)
        rest = text[len(first) :].strip() if text.startswith(first) else ""
        return [f"{label}{first}", *(f"{below}{line}" for line in textwrap.wrap(rest, room, break_on_hyphens=False))]

    def listed(self, label: str, commands: str) -> list[str]:
        """Commands with ` · ` between them beside a label; where they do not fit each has a line, for one that is copied stays whole."""
        plain = _ESCAPES.sub("", label)
        if not self.width or len(plain) + len(commands) <= self.width:
            return [f"{label}{commands}"]
        first, *more = commands.split(" · ")
        indent = " " * len(plain)
        return [f"{label}{first}", *(f"{indent}{one}" for one in more)]

    def fit(self, text: str) -> str:
        """As the stream's encoding can say it."""
        if not self.ascii:
            return text
        for mark, plain in (("✔", "ok"), ("✘", "FAILED"), ("→", "->"), ("·", "|"), ("…", "...")):
            text = text.replace(mark, plain)
        return text.encode("ascii", "replace").decode()


def clean(text: object) -> str:
    """One line of somebody else's text: escape sequences gone, whatever else a terminal would obey replaced."""
    stripped = _ESCAPES.sub("", str(text)).replace("\t", "    ")
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in stripped)


def cut(text: str, width: int) -> str:
    """No more columns of a line than `width`: colours take none and are kept, wide characters take two (Unicode Standard Annex 11)."""
    parts: list[str] = []
    for part in SGR.split(text):
        if SGR.fullmatch(part):
            parts.append(part)
            continue
        taken = part[: max(width, 0)] if part.isascii() else _first(part, width)
        width -= columns_of(taken)
        parts.append(taken)
    return "".join(parts)


def columns_of(text: str) -> int:
    """How many columns a text without escape sequences takes."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(character: str) -> int:
    import unicodedata  # noqa: PLC0415 only for text that is not ASCII

    return 0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _first(text: str, width: int) -> str:
    for n, character in enumerate(text):
        width -= _columns(character)
        if width < 0:
            return text[:n]
    return text
