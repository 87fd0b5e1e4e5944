"""A terminal on which somebody types while lines arrive: each is put above the line that is typed, which stays as it is.

Editing is readline's. It tells nobody where its cursor is, so nothing of the typed line is drawn again here: on a terminal that can, rows
are inserted above the one that the cursor is in, which for that is one row however much is typed. A dumb terminal gets the line typed so
far once more, below what arrived.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from quarterdeck.cli.screen import Screen, columns_of
from quarterdeck.cli.usage import UsageError

_PARTS: Final = re.compile(r"\x1b\[[0-9;]*m|.")
_INSERTED: Final = "\x1bD\x1b[A\x1b7\x1b[L\r\x1b[?7l{row}\x1b8\x1b[?7h\x1b[B"
"""One row above the cursor's (ECMA-48, DEC VT102): make sure of one below, remember the place, insert, write, and return one row lower."""


class Console:
    """`words` are what Tab completes at the beginning of a line, asked for anew each time. Only one thread at a time may call `line`."""

    def __init__(self, screen: Screen, prompt: str, words: Callable[[], Iterable[str]]) -> None:
        self._screen, self._prompt, self._words = screen, screen.fit(prompt), words
        self._typing = False
        self._typed: Callable[[], str] = str  # nothing
        try:
            import readline  # noqa: PLC0415 takes over the terminal's input
        except ImportError:  # a Python that was built without it: one edits as the terminal lets one
            return
        self._typed, self._begins = readline.get_line_buffer, readline.get_begidx
        readline.set_completer(self._completed)
        readline.set_completer_delims(" \t\n")
        readline.parse_and_bind("bind ^I rl_complete" if "libedit" in (readline.__doc__ or "") else "tab: complete")
        readline.parse_and_bind("set horizontal-scroll-mode on")

    def line(self, text: str) -> None:
        """Put a line above what is typed; of text that is not ours, only what `clean` lets through."""
        text = self._screen.fit(text)
        if self._screen.live:
            self._write("".join(_INSERTED.format(row=row) for row in rows(text, shutil.get_terminal_size().columns)))
        elif self._typing:
            typed = f"{self._prompt}{self._typed()}"
            self._write(f"\r{text:<{len(typed)}}\n{typed}")
        else:
            self._write(f"{text}\n")

    def typed(self) -> str:
        """The next line; "" for one that Ctrl-C took back. Raises EOFError at Ctrl-D, UsageError for what is no text."""
        if self._screen.live:
            self._write("\r\x1b[K")  # what was typed while nobody read is shown by readline
        self._typing = True
        try:
            return input(self._prompt).strip()
        except KeyboardInterrupt:
            self._write("\n")
            return ""
        except UnicodeDecodeError as error:
            raise UsageError("what was typed is not UTF-8", hint="nothing was sent; type it again") from error
        except BaseException:  # Ctrl-D, or whatever else ends it
            self._write("\n")
            raise
        finally:
            self._typing = False

    def _completed(self, text: str, state: int) -> str | None:
        """For readline, which counts `state` up until there is no more."""
        found = [word for word in self._words() if word.startswith(text)] if self._begins() == 0 else []
        return f"{found[state]} " if state < len(found) else None

    def _write(self, text: str) -> None:
        self._screen.out.write(text)
        self._screen.out.flush()


def rows(text: str, width: int) -> Iterator[str]:
    """A line as rows of a terminal; colours take no room, wide characters that of two (Unicode Standard Annex 11)."""
    row, used = "", 0
    for part in _PARTS.findall(text):
        room = 0 if part[0] == "\x1b" else columns_of(part)
        if row and used + room > width:
            yield row
            row, used = "", 0
        row, used = row + part, used + room
    yield row
