"""Secrets taken out of text and documents: by value where the value is known, by the name beside it, and by their shape."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from quarterdeck.cli.telling import GONE, holds_many, spared, telling, values
from quarterdeck.masks import written
from quarterdeck.model.home import Home

SHAPES: Final = (
    re.compile(r"\bqdr?_[0-9a-f]{8}_[\w-]{16,}"),  # our tokens and login codes
    re.compile(r"\bS[OANUCX][A-Z2-7]{48,}\b"),  # seeds of NATS keys
    re.compile(r"(?<![\w-])eyJ[\w-]{8,}+(?:\.[\w-]*+){1,4}"),  # JSON Web Tokens, signed or encrypted, and signed cookies
    re.compile(
        r"-----BEGIN [A-Z ]{0,32}PRIVATE KEY(?: BLOCK)?-----(?:.{0,32768}?-----END [A-Z ]{0,32}PRIVATE KEY(?: BLOCK)?-----|.{0,32768})",
        re.DOTALL,
    ),
    re.compile(r"\A.{0,8192}?-----END [A-Z ]{0,32}PRIVATE KEY(?: BLOCK)?-----", re.DOTALL),  # the beginning was cut off
    re.compile(r"(?i:\bbearer\s{1,4})(?=[A-Za-z.~+/=_-]{0,80}\d|[a-z.]{0,80}[A-Z]|\S{24})[\w.~+/-]{8,}+={0,2}+(?![\w=])"),
    re.compile(r"(?<=://)[^/\s:@\"'<>\[]{0,256}:(?!\d{1,5}(?:[/?#]|$))(?:[^/\s\"'<>]{1,256}|[^\s@\"'<>]{1,256}?)(?=@)"),  # user:password@
    re.compile(r"(?<=://)[\w-]{20,256}+(?=@)"),  # a token in the place of a user
    re.compile(r"(?i)(?<=[?&]sig=)[^&\s\"'<>]+|(?<=[?&]signature=)[^&\s\"'<>]+|(?<=-signature=)[0-9a-f]{16,}"),  # of signed URLs
    re.compile(r"\bhooks\.slack\.com/services/[\w/]+|\bdiscord(?:app)?\.com/api/webhooks/\d+/[\w-]+"),  # addresses that are passwords
    re.compile(r"\bAGE-SECRET-KEY-1[A-Z0-9]{20,}|\bsshpass\s{1,4}-p\s{0,4}\S+"),
    re.compile(
        r"\b(?:gh[pousr]_|github_pat_|hf_|npm_|glpat-|gl[a-z]{2,5}-|dckr_pat_|pypi-|sbp_|lin_api_|ntn_|gsk_|xai-|pplx-|r8_)[\w-]{20,}"
    ),
    re.compile(r"\b(?:sk|pk|rk|whsec|glsa|glc|figd|tskey|shp[a-z]{2}|do[opr]_v1|dapi|xox[abeoprs]|xapp)[-_](?=[\w-]{0,80}\d)[\w-]{10,}"),
    re.compile(r"\b(?:AKIA|ASIA|ABIA|ACCA|A3T[A-Z0-9])[A-Z0-9]{16}\b|\bAIza[\w-]{30,}|\bya29\.[\w-]{20,}|\bGOCSPX-[\w-]{20,}"),
    re.compile(r"\bSG\.[\w-]{16,}\.[\w-]{16,}|\bSK[0-9a-f]{32}\b|\bkey-[0-9a-f]{32}\b|\bhv[sbr]\.[\w-]{20,}|\b\d{8,10}:AA[\w-]{32,}"),
)
"""What is a secret wherever it stands: of known services by their prefixes (as gitleaks has them), and of protocols."""
_BASIC: Final = re.compile(r"(?i:\bbasic\s{1,4})([A-Za-z0-9+/_-]{4,4096}={0,2})")
_USER: Final = re.compile(r"(?:-u|--user|--proxy-user)[ \t=]{1,4}[\"']?(?!\d+:\d+\b)[^\s:\"'/]{1,128}:([^\s\"']{1,256})")
_COMMAND: Final = 256
"""Characters before an option in which the command is looked for."""
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
        return self._beside(self._by_value(text))

    def document(self, value: Any, name: str = "") -> Any:
        """A JSON document without secrets; a field named like one loses its value, unless it only refers to where the secret is."""
        match value:
            case Mapping():
                below = name if holds_many(name) else ""
                return {self._by_value(str(key)): self.document(one, below or str(key)) for key, one in value.items()}
            case list() | tuple():
                return [self.document(one, name) for one in value]
            case str() if value and _tells(name) and not spared(name, value):
                self.count += 1
                return GONE
            case str():
                return self.text(value)
            case _:
                return value

    def _by_value(self, text: str) -> str:
        for pattern in (self._known, *SHAPES):
            text = self._sub(pattern, text, lambda _: GONE) if pattern else text
        return self._sub(_USER, self._sub(_BASIC, text, _without_login), _without_password)

    def _beside(self, text: str) -> str:
        made: list[str] = []
        past = 0
        for start, end in values(text):
            made += text[past:start], GONE
            past = end
            self.count += 1
        return "".join([*made, text[past:]])

    def _sub(self, pattern: re.Pattern[str], text: str, replaced: Callable[[re.Match[str]], str]) -> str:
        """`replaced` gives the same text for a place that is left as it is."""

        def counted(found: re.Match[str]) -> str:
            made = replaced(found)
            self.count += made != found[0]
            return made

        return pattern.sub(counted, text)


def _without_login(found: re.Match[str]) -> str:
    """`Basic` with what decodes to user:password (RFC 7617), not the words behind it in a sentence."""
    try:
        login = base64.b64decode(found[1], altchars=b"-_" if set("-_") & set(found[1]) else None, validate=True)
    except ValueError:
        return found[0]
    return GONE if b":" in login else found[0]


def _without_password(found: re.Match[str]) -> str:
    """`--user name:password` of curl and wget; of others it may be a group."""
    command = found.string[max(0, found.start() - _COMMAND) : found.start()]
    return found[0].removesuffix(found[1]) + GONE if "curl" in command or "wget" in command else found[0]


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
    return len(value) >= _VARIABLE and _tells(name) and not spared(name, value)


def _tells(name: str) -> bool:
    """Of fields and variables `key` alone tells too; in a sentence it does not."""
    return telling(name) or name.lower() in ("key", "keys")


def _contents(folders: Iterable[Path]) -> tuple[str, ...]:
    files = (path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".pub")
    return tuple(path.read_bytes().decode("utf-8", "replace").rstrip("\r\n") for path in files)
