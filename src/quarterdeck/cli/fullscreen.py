"""A whole terminal for a while: what is drawn on it, and one key at a time. Whatever ends it, the terminal is as it was before."""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any, Final, Self

from quarterdeck.cli.screen import Screen

_BEGIN: Final = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
"""The alternate screen, without a cursor, empty; a line that is wider than thought is cut and moves no other."""
_END: Final = "\x1b[?7h\x1b[?25h\x1b[?1049l"
_TERMINATED: Final = 143
_REST: Final = 0.05
"""Seconds within which the rest of what a key sends comes; an Escape that nothing follows was the key of that name."""
_SEQUENCES: Final = {
    "[A": "up", "[B": "down", "[C": "right", "[D": "left", "OA": "up", "OB": "down", "OC": "right", "OD": "left",
    "[5~": "page up", "[6~": "page down", "[H": "home", "[F": "end", "OH": "home", "OF": "end", "[1~": "home", "[4~": "end",
}  # fmt: skip
_NAMES: Final = {"\r": "enter", "\n": "enter", "\x7f": "backspace", "\x08": "backspace", "\t": "tab", "\x1b": "escape", "\x15": "clear"}
_LONGEST: Final = 8
"""Bytes of the longest sequence that a key sends, and then some: more at once was pasted."""


@dataclass(slots=True)
class FullScreen:
    """The terminal behind `screen` and stdin, both of which must be one, in a `with`."""

    screen: Screen
    _before: Any = None
    _pending: str = ""

    def __enter__(self) -> Self:
        descriptor = sys.stdin.fileno()
        self._before = termios.tcgetattr(descriptor)
        tty.setcbreak(descriptor, termios.TCSADRAIN)  # what was typed before counts
        signal.signal(signal.SIGTERM, _terminated)
        self._write(_BEGIN)
        return self

    def __exit__(self, *_: object) -> None:
        self._write(_END)
        termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, self._before)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    @property
    def height(self) -> int:
        """Lines there are now."""
        return shutil.get_terminal_size().lines

    def sized(self) -> Screen:
        """The screen as wide as it is now."""
        return replace(self.screen, width=shutil.get_terminal_size().columns)

    def draw(self, lines: Sequence[str]) -> None:
        """Show these lines, each of which fits, and nothing else; what is as before does not flicker."""
        shown = self.screen.fit("\x1b[K\n".join(lines[: self.height]))
        self._write(f"\x1b[H{shown}\x1b[K\x1b[J")

    def key(self, within: float) -> str:
        """The next key: a character, or a name such as `up`, `enter`, `page down`; empty when none comes within so many seconds."""
        if not self._pending and not self._more(within):
            return ""
        character, self._pending = self._pending[0], self._pending[1:]
        if character != "\x1b":
            return _NAMES.get(character, character)
        if not self._pending and not self._more(_REST):
            return "escape"
        for length in range(_LONGEST, 0, -1):
            if found := _SEQUENCES.get(self._pending[:length]):
                self._pending = self._pending[length:]
                return found
        if self._pending[0] not in "[O":
            return "escape"
        self._pending = ""  # a key without a meaning here
        return "unknown"

    def _more(self, within: float) -> bool:
        """Take what was typed; whether there was anything."""
        try:
            ready = select.select([sys.stdin], [], [], within)[0]
        except InterruptedError:
            return False
        if not ready:
            return False
        data = os.read(sys.stdin.fileno(), 1024)
        if not data:
            raise KeyboardInterrupt  # the terminal is gone
        self._pending += data.decode("utf-8", "replace")
        return True

    def _write(self, text: str) -> None:
        self.screen.out.write(text)
        self.screen.out.flush()


def _terminated(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(_TERMINATED)
