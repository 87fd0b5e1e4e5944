"""A known-bad patch: what somebody might write one day, and the test that must then fail. Kept small and about promises."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Bug:
    """In `file` (below src/quarterdeck) the text `old`, found exactly once, becomes `new`; then `test` must fail."""

    name: str
    file: str
    old: str
    new: str
    test: str

    def __str__(self):
        return self.name
