"""Somebody at a terminal: a real pseudo-terminal on which `qd` runs, and a fake of the glass that shows what it writes.

The fake knows the sequences that `qd` and readline use and no others; a test of `test_attach.py` compares it with a real one.
"""

import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time
from fcntl import ioctl

QD = [sys.executable, "-m", "quarterdeck.cli.main"]

_TOKENS = re.compile(r"\x1b\[(\??)([\d;]*)([@-~])|\x1b([78D])|(.)", re.DOTALL)


class FakeTerminal:
    def __init__(self, columns, height):
        self.columns, self.height = columns, height
        self.rows = [[] for _ in range(height)]
        self.row = self.column = 0
        self.saved = (0, 0)
        self.wraps = True
        self.gone = []
        """Rows that were scrolled away."""

    def show(self, text):
        for private, numbers, kind, escape, character in _TOKENS.findall(text):
            if kind:
                self._control(private, numbers, kind)
            elif escape:
                self._escape(escape)
            else:
                self._character(character)
        return self

    @property
    def text(self):
        """All that can be read, what was scrolled away too."""
        return "\n".join("".join(row).rstrip() for row in (*self.gone, *self.rows)).rstrip("\n")

    @property
    def line(self):
        """The row of the cursor."""
        return "".join(self.rows[self.row]).rstrip()

    def _control(self, private, numbers, kind):
        if private:
            self.wraps = kind == "h" if numbers == "7" else self.wraps
        elif kind in "ABC":
            self._moves(kind, int(numbers or 1))
        elif kind != "m":
            self._changes(kind, numbers)

    def _moves(self, kind, count):
        down, right = {"A": (-count, 0), "B": (count, 0), "C": (0, count)}[kind]
        self.row = min(max(self.row + down, 0), self.height - 1)
        self.column = min(self.column + right, self.columns - 1)

    def _changes(self, kind, numbers):
        row = self.rows[self.row]
        match kind, numbers:
            case "K", "":
                del row[self.column :]
            case "L", "":
                self.rows.insert(self.row, [])
                self.rows.pop()
                self.column = 0
            case "P", _:
                del row[self.column : self.column + int(numbers or 1)]
            case "@", _:
                row[self.column : self.column] = [" "] * int(numbers or 1)
            case _:
                raise AssertionError(f"unknown: ESC [ {numbers}{kind}")

    def _escape(self, kind):
        match kind:
            case "7":
                self.saved = self.row, self.column
            case "8":
                self.row, self.column = self.saved
            case "D":
                self._down()

    def _character(self, character):
        match character:
            case "\r":
                self.column = 0
            case "\n":
                self._down()
            case "\b":
                self.column = max(self.column - 1, 0)
            case "\a":
                pass
            case _:
                assert character.isprintable(), f"unknown: {character!r}"
                self._put(character)

    def _put(self, character):
        if self.column == self.columns and self.wraps:
            self.column = 0
            self._down()
        row = self.rows[self.row]
        at = min(self.column, self.columns - 1)
        row.extend(" " * (at + 1 - len(row)))
        row[at] = character
        self.column = at + 1

    def _down(self):
        if self.row == self.height - 1:
            self.gone.append(self.rows.pop(0))
            self.rows.append([])
        else:
            self.row += 1


class Typist:
    """Somebody at a terminal: types, and sees what there is to see."""

    def __init__(self, command, columns, height, environ):
        self.ours, theirs = pty.openpty()
        ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", height, columns, 0, 0))
        self.columns, self.height, self.written = columns, height, b""
        self.process = subprocess.Popen(
            ["bash", "-c", 'exec "$@" <>"$0"', os.ttyname(theirs), *command],  # opened by a new session it controls it: Ctrl-C
            env=environ,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        try:
            while more := os.read(self.ours, 65536):
                self.written += more
        except OSError:  # the other end is closed
            pass

    @property
    def raw(self):
        return self.written.decode(errors="replace")

    @property
    def terminal(self):
        return FakeTerminal(self.columns, self.height).show(self.written.decode(errors="ignore"))

    def type(self, text):
        os.write(self.ours, text.encode())

    def sees(self, *texts, within=15.0):
        """Wait until all of these are there, each below the one before."""
        deadline = time.monotonic() + within
        wanted = re.compile(".*".join(map(re.escape, texts)), re.DOTALL)
        while not wanted.search(self.terminal.text):
            assert time.monotonic() < deadline, f"{texts} not in\n{self.terminal.text}"
            time.sleep(0.02)

    def line_is(self, text, *, column=None, within=15.0):
        """Wait until the row of the cursor is this, and the cursor in that column."""
        deadline = time.monotonic() + within
        while (now := self.terminal).line != text.rstrip() or column not in (None, now.column):
            assert time.monotonic() < deadline, f"{text!r} is not the last line of\n{now.text}"
            time.sleep(0.02)

    def ends(self):
        code = self.process.wait(15)
        self.reader.join(15)
        return code
