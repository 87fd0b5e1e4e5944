"""Numbers that callers name things by."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Path

COUNTABLE: Final = 2**63 - 1
"""What the databases can count to (INTEGER of SQLite, bigint of PostgreSQL): a greater one is refused before it gets there."""
Number = Annotated[int, Path(ge=0, le=COUNTABLE)]
"""The number of a revision or change, in a path."""
