"""The seven phases as one live tree, drawn by Rich. Imported only when a terminal shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console
from rich.live import Live as Redrawn
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from quarterdeck.cli.phases import MARKS
from quarterdeck.cli.progress import Stopwatch
from quarterdeck.cli.screen import Screen, clean

_PER_SECOND: Final = 12


@dataclass(frozen=True, slots=True)
class Took:
    """The time of a phase, asked for anew whenever it is drawn."""

    watch: Stopwatch
    phase: Mapping[str, Any]

    def __rich__(self) -> Text:
        seconds = self.watch.seconds(self.phase)
        return Text("" if seconds is None else f"{seconds:.1f} s")


class Live:
    """Redraws all phases in place; the last drawing stays."""

    def __init__(self, screen: Screen, watch: Stopwatch) -> None:
        self._watch = watch
        console = Console(file=screen.out, width=screen.width or 100, no_color=not screen.colour, force_terminal=True, highlight=False)
        self._spinner = Spinner("dots", style="yellow")
        self._redrawn = Redrawn(
            console=console, refresh_per_second=_PER_SECOND, transient=False, redirect_stdout=False, redirect_stderr=False
        )
        self._started = False

    def update(self, status: Mapping[str, Any]) -> None:
        """Draw a status."""
        if not self._started:
            self._redrawn.start()
            self._started = True
        self._watch.look(status)
        self._redrawn.update(self._tree(status), refresh=True)

    def end(self) -> None:
        """Give the terminal back."""
        if self._started:
            self._redrawn.stop()

    def _tree(self, status: Mapping[str, Any]) -> Table:
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_column(width=2, justify="right")
        grid.add_column(no_wrap=False, overflow="fold")
        grid.add_column(justify="right", no_wrap=True)
        grid.add_column(overflow="fold", ratio=1)
        for phase in status["phases"]:
            mark, style = MARKS.get(phase["status"], MARKS["pending"])
            sign = self._spinner if phase["status"] == "running" else Text(mark, style=style)
            name = Text(phase["name"], style="dim" if phase["status"] == "pending" else "")
            grid.add_row(sign, name, Took(self._watch, phase), Text(clean(phase.get("message") or "")))
        return grid
