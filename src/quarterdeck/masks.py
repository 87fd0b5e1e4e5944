"""Secrets taken out of what is kept or shown, by their value: for the node, the runtime and the command line. Standard library only."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote

_LINE: Final = 8
_SHORTEST: Final = 6
"""Characters from which on a value can be told from words that are no secret."""


def written(value: str) -> frozenset[str]:
    """The ways in which a value may stand in a text: as it is, its longer lines, quoted for JSON, Python or a URL, in hex and base64.

    In base64 (RFC 4648, both alphabets) it is found wherever it begins in what was encoded, e.g. behind `user:`.
    """
    data = value.encode("utf-8", "replace")
    lines = {line.strip() for line in value.splitlines() if len(line.strip()) >= _LINE}
    quoted = {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], repr(value)[1:-1], quote(value, safe=""), data.hex()}
    return frozenset({value, value.strip(), *lines, *quoted, *_encoded(data)})


def _encoded(data: bytes) -> Iterable[str]:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(data).decode()
        for before in range(3):
            whole = encode(b"\0" * before + data).decode().rstrip("=")
            bits = 8 * (before + len(data))
            inner = whole[-(-8 * before // 6) : bits // 6]  # the characters that only the value decides
            if len(inner) >= _LINE:
                yield inner


class Mask:
    """Puts `[secret NAME]` in place of each value of `secrets` (name, value) that is long enough to be told from other text."""

    def __init__(self, secrets: Iterable[tuple[str, str]] = ()) -> None:
        self._names = {form: name for name, value in secrets if len(value.strip()) >= _SHORTEST for form in written(value)}
        alternatives = "|".join(re.escape(form) for form in sorted(self._names, key=len, reverse=True))
        self._text = re.compile(alternatives) if alternatives else None
        self._data = re.compile(alternatives.encode("utf-8", "surrogateescape")) if alternatives else None
        self.longest = max((len(form.encode("utf-8", "replace")) for form in self._names), default=0)
        """Bytes of the longest form: what is read piece by piece must keep so many, less one, until more has come."""

    def __bool__(self) -> bool:
        return self._text is not None

    def text(self, text: str) -> str:
        """Text without secrets."""
        return self._text.sub(lambda found: f"[secret {self._names[found[0]]}]", text) if self._text else text

    def data(self, data: bytes) -> bytes:
        """UTF-8, or whatever it is, without secrets."""
        return self._data.sub(lambda found: f"[secret {self._names[found[0].decode()]}]".encode(), data) if self._data else data

    def within(self, value: Any) -> Any:
        """A JSON value whose texts are without secrets; its keys stay."""
        if self._text is None:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self.within(one) for key, one in value.items()}
        return [self.within(one) for one in value] if isinstance(value, list) else value


OPEN: Final = Mask()
"""Takes nothing out."""
