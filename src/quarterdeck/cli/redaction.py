"""Secrets taken out of text and documents: by value where the value is known, by the name beside it, and by their shape."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from quarterdeck.masks import written
from quarterdeck.model.home import Home

GONE: Final = "[redacted]"
_WORDS: Final = r"(?:passw(?:or)?d|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential|authorization|cookie)"
NAMED: Final = re.compile(rf"(?i){_WORDS}|(?:^|[_\-.])keys?(?:$|[_\-.])|[_\-.]pwd$")
"""Names whose value is nobody's business."""
_VALUE: Final = r"(?!\[|\{|env:|file:)(\"[^\"]*\"|'[^']*'|(?:bearer\s+)?[^\s,;\]}\"']+)"
_BESIDE: Final = re.compile(rf"(?i)([\w.-]*{_WORDS}[\w-]*[\"']?\s*[:=]\s*){_VALUE}")
_REFERENCE: Final = re.compile(r"(?:env|file):\S*")
SHAPES: Final = (
    re.compile(r"\bqdr?_[0-9a-f]{8}_[\w-]{16,}"),  # our tokens and login codes
    re.compile(r"\bS[OANUCX][A-Z2-7]{48,}\b"),  # seeds of NATS keys
    re.compile(r"\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*"),  # JSON Web Tokens
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"(?i)\bbearer\s+[\w.~+/=-]{8,}"),
    re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"),  # user:password@ in a URL
    re.compile(r"\b(?:sk|pk|rk)[-_][\w-]{16,}|\bgh[pousr]_\w{20,}|\bxox[abprs]-[\w-]{10,}|\bAKIA[A-Z0-9]{16}\b"),  # well-known services
)
_SHORTEST: Final = 3
_VARIABLE: Final = 6
"""Characters from which on the value of a variable counts: `USE_TOKEN=true` must not take every `true` away."""


@dataclass(slots=True)
class Redactor:
    """Takes secrets out and counts how many places it touched. Values shorter than three characters cannot be told from text."""

    values: tuple[str, ...] = ()
    count: int = 0
    _known: re.Pattern[str] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        forms = {form for value in self.values for form in written(value) if len(form) >= _SHORTEST}
        alternatives = "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))
        self._known = re.compile(alternatives) if alternatives else None

    def text(self, text: str) -> str:
        """Text without secrets."""
        return self._sub(_BESIDE, self._by_value(text), rf"\g<1>{GONE}")

    def document(self, value: Any, name: str = "") -> Any:
        """A JSON document without secrets; a field named like one loses its value, unless it only refers to where the secret is."""
        match value:
            case Mapping():
                return {self._by_value(str(key)): self.document(one, str(key)) for key, one in value.items()}
            case list() | tuple():
                return [self.document(one, name) for one in value]
            case str() if value and NAMED.search(name) and not _REFERENCE.fullmatch(value):
                self.count += 1
                return GONE
            case str():
                return self.text(value)
            case _:
                return value

    def _by_value(self, text: str) -> str:
        for pattern in (self._known, *SHAPES):
            text = self._sub(pattern, text, GONE) if pattern else text
        return text

    def _sub(self, pattern: re.Pattern[str], text: str, replacement: str) -> str:
        made, count = pattern.subn(replacement, text)
        self.count += count
        return made


def known(home: Home | None, environ: Mapping[str, str], specs: Iterable[str] = ()) -> tuple[str, ...]:
    """Every secret value this user could leak.

    Those handed to agents, the platform's keys, and variables named like one: of this environment, and of `specs`, the texts of specs.
    """
    kept = _contents(folder for folder in (home.secrets, home.keys) if folder.exists()) if home else ()
    pairs = (*environ.items(), *(pair for text in specs for pair in variables(text)))
    return (*kept, *dict.fromkeys(value for name, value in pairs if _secret(name, value)))


def variables(text: str) -> Iterator[tuple[str, str]]:
    """(name, value) of what a spec gives its agents as `env`; nothing of a text that is no YAML."""
    from ruamel.yaml import YAML  # noqa: PLC0415 for this alone
    from ruamel.yaml.error import YAMLError  # noqa: PLC0415

    try:
        yield from _variables(YAML(typ="safe", pure=True).load(text))
    except (YAMLError, ValueError, RecursionError):
        return


def _variables(value: Any) -> Iterator[tuple[str, str]]:
    match value:
        case {"env": dict(given), **rest}:
            yield from ((str(name), str(one)) for name, one in given.items())
            yield from _variables(rest)
        case dict():
            yield from (pair for one in value.values() for pair in _variables(one))
        case list():
            yield from (pair for one in value for pair in _variables(one))


def _secret(name: str, value: str) -> bool:
    return len(value) >= _VARIABLE and NAMED.search(name) is not None and not _REFERENCE.fullmatch(value)


def _contents(folders: Iterable[Path]) -> tuple[str, ...]:
    files = (path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".pub")
    return tuple(path.read_bytes().decode("utf-8", "replace").rstrip("\r\n") for path in files)
