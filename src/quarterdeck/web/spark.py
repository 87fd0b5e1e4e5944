"""Sparklines as SVG paths: pure, gaps drawn as gaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 120.0
HEIGHT: Final = 24.0


@dataclass(frozen=True, slots=True)
class Spark:
    """A line in a box of WIDTH by HEIGHT, with what a reader of its label wants to know."""

    path: str
    last: float | None
    least: float
    most: float

    @property
    def words(self) -> str:
        """The same without a picture: what it is now, and between what it was."""
        if not self.path:
            return "no data"
        now = "no data now" if self.last is None else f"now {self.last:.3g}"
        return f"{now}; from {self.least:.3g} to {self.most:.3g}"


def spark(values: Sequence[float | None], *, top: float | None = None) -> Spark:
    """A line through `values`, evenly spaced, oldest first; None breaks it. Its scale is 0 to `top` or the largest value."""
    known = [value for value in values if value is not None]
    if not known:
        return Spark("", None, 0.0, 0.0)
    high = max(top or 0.0, *known, 1e-9)
    step = WIDTH / max(len(values) - 1, 1)
    parts: list[str] = []
    drawn = False
    for index, value in enumerate(values):
        if value is None:
            drawn = False
            continue
        x, y = index * step, HEIGHT - 1 - (HEIGHT - 2) * max(value, 0.0) / high
        parts.append(f"{'L' if drawn else 'M'}{x:.1f} {y:.1f}")
        if not drawn and (index + 1 == len(values) or values[index + 1] is None):
            parts.append("h0.1")  # a single point between gaps is to be seen
        drawn = True
    return Spark("".join(parts), values[-1], min(known), max(known))
