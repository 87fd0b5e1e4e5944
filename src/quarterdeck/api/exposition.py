"""The Prometheus text format, version 0.0.4: families one after the other, each with one HELP and one TYPE, all of its samples together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPED: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_IN_HELP: Final = str.maketrans({"\\": r"\\", "\n": r"\n"})

Labels = Mapping[str, str]


@dataclass(slots=True)
class Family:
    """A metric with all its series; one without a series is left out."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    _lines: list[str] = field(default_factory=list)

    def add(self, value: float, labels: Labels | None = None) -> None:
        """A series of a counter or gauge."""
        self._lines.append(_line(self.name, labels or {}, value))

    def histogram(self, labels: Labels, bounds: Sequence[float], counts: Iterable[int], total: float) -> None:
        """A series of a histogram; `counts` are by bucket, not added up, the last one without a bound."""
        so_far = 0
        for bound, count in zip([*(_number(b) for b in bounds), "+Inf"], counts, strict=True):
            so_far += count
            self._lines.append(_line(f"{self.name}_bucket", {**labels, "le": bound}, so_far))
        self._lines += [_line(f"{self.name}_sum", labels, total), _line(f"{self.name}_count", labels, so_far)]

    def lines(self) -> list[str]:
        """As text."""
        if not self._lines:
            return []
        return [f"# HELP {self.name} {self.help.translate(_IN_HELP)}", f"# TYPE {self.name} {self.kind}", *self._lines]


def text(families: Iterable[Family]) -> str:
    """All of them."""
    return "".join(f"{line}\n" for family in families for line in family.lines())


def _line(name: str, labels: Labels, value: float) -> str:
    told = ",".join(f'{label}="{word.translate(_ESCAPED)}"' for label, word in labels.items())
    return f"{name}{{{told}}} {_number(value)}" if told else f"{name} {_number(value)}"


def _number(value: float) -> str:
    """Whole numbers without a point, others as short as they can be."""
    return str(int(value)) if value == int(value) else repr(value)
