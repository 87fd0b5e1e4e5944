"""Two texts beside each other, line by line, in the form that `diff -u` and git give. Pure, and bounded: a text may be anybody's."""

from __future__ import annotations

from difflib import unified_diff
from typing import Final

UNENDED: Final = "\n\\ No newline at end of file"
"""What follows a last line without a line break, as git writes it."""


def unified(before: str, after: str) -> str:
    """The hunks, each line with its sign (` `, `+`, `-`; a hunk begins with `@@`), joined by line breaks; "" for equal texts.

    Time grows with the product of the lines where many are alike: the caller bounds both texts.
    """
    found = list(unified_diff(lines(before), lines(after), lineterm="", n=3))
    return "\n".join(found[2:])  # without the names of the files, of which there are none


def lines(text: str) -> list[str]:
    """Its lines by line feeds alone: whatever else some call a line break stays in its line, and is a difference like any other."""
    found = text.split("\n")
    if found[-1]:
        found[-1] += UNENDED
        return found
    return found[:-1]
