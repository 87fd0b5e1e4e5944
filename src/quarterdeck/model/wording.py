"""What is wrong with a value, and what was meant by a name that nothing has: in words, wherever it was given.

The API and the command line both check what they take by pydantic, whose own sentences speak of inputs and patterns: its kinds of errors
are told of here as people are. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Final

_SHORT: Final = 100
"""Characters of what was given that are said again."""
_LONGEST: Final = 100
"""Characters of a name up to which others are compared with it: the comparison is quadratic."""
_MOST: Final = 1000
"""Names that one is compared with."""
_KINDS: Final = {
    "missing": "this is needed, and was not given",
    "extra_forbidden": "there is no such field",
    "list_type": "this must be a list",
    "dict_type": "this must be a mapping of names to values",
    "model_type": "this must be a mapping of names to values",
    "model_attributes_type": "this must be a mapping of names to values",
    "json_invalid": "this is not JSON",
    "json_type": "this is not JSON",
}
_NOT: Final = {
    "int_parsing": "is no whole number",
    "int_type": "is no whole number",
    "int_from_float": "is no whole number",
    "int_parsing_size": "is too large",
    "float_parsing": "is no number",
    "float_type": "is no number",
    "finite_number": "is no finite number",
    "bool_parsing": "is neither true nor false",
    "bool_type": "is neither true nor false",
    "string_type": "is no text",
}
_BOUNDS: Final = {
    "greater_than_equal": ("ge", "is too small: at least"),
    "greater_than": ("gt", "is too small: more than"),
    "less_than_equal": ("le", "is too large: at most"),
    "less_than": ("lt", "is too large: less than"),
}
_LENGTHS: Final = {
    "string_too_long": ("max_length", "at most", "characters"),
    "string_too_short": ("min_length", "at least", "characters"),
    "too_long": ("max_length", "at most", "items"),
    "too_short": ("min_length", "at least", "items"),
}


def nearest(wrong: str, allowed: Iterable[str], alike: float = 0.6) -> str:
    """The allowed name most like a wrong one, or nothing. `alike`: how much two must have in common, from 0 to 1 (difflib's ratio)."""
    if not wrong or len(wrong) > _LONGEST:
        return ""
    import difflib  # noqa: PLC0415 only needed once something is wrong

    return next(iter(difflib.get_close_matches(wrong, list(islice(allowed, _MOST)), n=1, cutoff=alike)), "")


def wrong(problem: Mapping[str, Any]) -> str:
    """One entry of pydantic's `errors()` as half a sentence that stands behind the name of the field."""
    kind, given, limits = str(problem["type"]), problem.get("input"), problem.get("ctx") or {}
    if kind in _KINDS:
        return _KINDS[kind]
    if kind in _NOT:
        return f"{_said(given)} {_NOT[kind]}"
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        return f"{_said(given)} {words} {_number(limits[name])}"
    if kind in _LENGTHS:
        name, words, things = _LENGTHS[kind]
        most = limits[name]
        if kind == "string_too_short" and not given:
            return "this is empty"
        have = f", this has {len(given)}" if isinstance(given, str | list) else ""
        return f"{words} {most:,} {things if most != 1 else things.removesuffix('s')}{have}"
    match kind:
        case "string_pattern_mismatch":
            return f"{_said(given)} is not written as this must be: {_written(str(limits.get('pattern', '')))}"
        case "literal_error" | "enum":
            return f"{_said(given)} is none of {limits.get('expected', 'those allowed')}"
        case _:
            message = str(problem["msg"]).removeprefix("Value error, ").removesuffix(".")
            return f"{message[:1].lower()}{message[1:]}"


def _said(given: object) -> str:
    """What was given, where it is short enough to be recognized."""
    if not isinstance(given, str | int | float):
        return "this"
    text = str(given)
    return repr(given if len(text) <= _SHORT else f"{text[:_SHORT]}…")


def _number(limit: object) -> str:
    return f"{limit:g}" if isinstance(limit, float) else str(limit)


def _written(pattern: str) -> str:
    """What a pattern of ours asks for; those that are not here name only letters and digits of the kinds that they show."""
    if "/" in pattern:
        return "cluster/agent, in small letters, digits, - and _"
    if "0-9a-f" in pattern:
        return "digits and the letters a to f"
    if "a-z0-9" in pattern:
        return "small letters, digits, - and _, with a letter or digit at both ends"
    return f"it does not match {pattern}"
