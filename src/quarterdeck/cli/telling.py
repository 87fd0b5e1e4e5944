"""Names that tell of the value beside them that it is a secret, and how far that value goes. Pure.

The names and what is spared follow what gitleaks and detect-secrets have learned of false alarms. All of it takes time in proportion
to the text, whatever the text: every repetition is bounded, possessive, or of what is then taken away.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

GONE: Final = "[redacted]"
_NAME: Final = re.compile(
    r"(?i)(?:passw|passphrase|passcode|pass|pwd|secret|token|credential|authorization|cookie|key|sess(?:ion)?id)[\w.-]{0,40}+"
    r"(?:\\{0,7}+[\"'`]?\]?[ \t]{0,4}+(?P<sign>:=|=>|={1,3}|:|>)[ \t]{0,4}+|(?P<space>[ \t]{1,4}+))"
)
"""Where a name may end and a value begin: with a sign, in JSON that was escaped any number of times, or as an option of a command."""
_BEFORE: Final = string.ascii_letters + string.digits + "_-."
_LONGEST: Final = 64
"""Characters of a name looked at before the word that tells."""
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SECRET: Final = re.compile(
    r"passw(?:or)?d|passphrase|passcode|secret(?!ar)|token(?!i[sz])|credential|authorization|cookie(?!cutter)|apikey|sess(?:ion)?id$"
    r"|^(?:account|app|auth|client|encryption|license|master|private|secret|service|signing|ssh|access)keys?$"
)
_HARMLESS: Final = re.compile(
    r"age|algorithm|at|bucket|budget|bytes|class|counts?|dir|endpoint|env|errors?|expir(?:es|y|ation)|file|format|ids?|in|index|issuer|kind"
    r"|length|limits?|names?|path|policy|prefix|rate|ref|scope|size|state|status|stdin|ttl|type|ur[il]|usage|used|validity|version|window"
)
"""Last words of names that tell about a secret and do not hold it: `token_url`, `--password-file`, `secretName`."""
_NO_SECRET_KEYS: Final = re.compile(
    r"cache|dedup|dict|foreign|group|hash|host|hot|idempotency|index|lookup|message|object|order|partition|primary|public|range|routing|row"
    r"|shard|sort|task|unique"
)
_HAVE_PASS: Final = re.compile(
    r"admin|auth|basic|db|ftp|git|http|ldap|login|mail|mongo|mysql|pg|postgres|proxy|redis|root|smtp|sql|ssh|user"
)
_REFERENCE: Final = re.compile(r"(?:env|file):\S*")
_COUNTED: Final = re.compile(r"[\"']?\d+(?:[.,]\d+)*(?![\w-])|\[\s{0,4}+\d")
_SPARED: Final = re.compile(
    r"(?i)[\"']?(?:env|file):|[\"']{2}(?![\"'])|\$\{\w{1,64}\}|\{\w{0,32}\}|<[\w -]{1,32}>|%[sdr]\b|\*{3,}"
    r"|(?P<q>[\"']?)(?:null|none|nil|true|false|undefined|unset|empty|missing|required|denied|granted|expired|expires|expected|invalid|revoked"
    r"|unknown|wrong|must|may|is|was|has|not|no|yes|cannot|could)(?P=q)(?![\w!@#$%^&*-])"
)
"""References, places to be filled, and the words that follow a colon in a sentence."""
_QUOTED: Final = re.compile(
    r"(?i)[bruf@]{0,2}+(?:\"(?:[^\"\\\n]|\\.)*+\"|'(?:[^'\\\n]|\\.)*+'|`[^`\n]*+`|(?P<q>\\{1,7}+[\"'])(?:(?!(?<!\\)(?P=q))[^\n])*+(?P=q))"
)
_OPENED: Final = re.compile(r"(?i)[bruf@]{0,2}+\\{0,7}+[\"'`][^\n]*")
"""A text whose end was cut off: all of the line."""
_CALLED: Final = re.compile(r"[A-Za-z_][\w.]{0,64}\((?=[bru]?[\"'])")
_BARE: Final = re.compile(
    r"(?:[^\s,;&\"'`\]})>\\]"
    r"|[,;&](?!\s|$|[\"']?[\w.-]{1,40}+[\"']?[ \t]?[:=])"
    r"|[\]})>](?![\s,;.\]})>\"'`\\]|$)"
    r"|\\(?!\\{0,7}[\"']))++"
)
"""A value without quotes: separators and brackets end it where something else begins behind them, and belong to it elsewhere."""
_LISTED: Final = re.compile(r"\[[^\]\n]*+\]?|\{[^}\n]*+\}?")
_MANY: Final = re.compile(r"(?:cookies?|credentials?|passwords|tokens|keys)$")
_PIECE: Final = r"[^\s=;,\"'\\]++(?:=(?:\"[^\"\n]*+\"|[^\s;,\"'\\]*+))?"
_COOKIES: Final = re.compile(rf"{_PIECE}(?:[ \t]*+;[ \t]*+{_PIECE})*+;?")
"""The pairs of a Cookie or Set-Cookie header, RFC 6265, section 4."""
_PAIRED: Final = re.compile(
    r"(?i)(?:digest|hawk|oauth|signature|aws4-\S{1,20}|hmac\S{0,20})[ \t]++(?:[\w-]++=(?:\"[^\"\n]*+\"|[^\s,\"']*+),?[ \t]*+)++"
)
_SCHEME: Final = re.compile(
    r"(?i)(?:basic|bearer|token|negotiate|ntlm|api-?key|key|jwt)[ \t]{1,4}+(?=\S)"
    r"|[a-z][\w-]{0,30}+[ \t]{1,4}+(?=[\w.~+/-]{0,80}[\d=])(?=\S{8})"
)
"""What an Authorization header begins with, RFC 9110, section 11.6.2: a scheme, then one word, or pairs."""
_WITHIN_TAG: Final = re.compile(r"[^<\n]++(?=</)")


def values(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of each secret that a name beside it tells of, in the order of the text; they do not overlap."""
    past = 0
    for found in _NAME.finditer(text):
        if found.start() < past:
            continue
        before = text[max(0, found.start() - _LONGEST) : found.start()]
        begin = found.start("sign") if found["sign"] else found.start("space")
        prefix = before[len(before.rstrip(_BEFORE)) :]
        name = prefix + text[found.start() : begin].rstrip(" \t]\"'`\\")
        end = _end(text, found, name)
        if end > found.end():
            yield found.end(), end
            past = end


@lru_cache(4096)
def telling(name: str) -> bool:
    """Whether a name says that its value is a secret."""
    words = _words(name)
    last, before = words[-1] if words else "", words[-2] if len(words) > 1 else ""
    if _HARMLESS.fullmatch(last):
        return (before, last) == ("secret", "id")  # what HashiCorp Vault calls half of a login
    if last in ("key", "keys") and before and not _NO_SECRET_KEYS.fullmatch(before):
        return True
    return (last == "pass" and _HAVE_PASS.fullmatch(before) is not None) or last == "pwd" or any(_SECRET.search(word) for word in words)


def holds_many(name: str) -> bool:
    """Whether what stands below a name, in braces or brackets, is all secret."""
    return _MANY.search(name.lower()) is not None


def spared(name: str, value: str) -> bool:
    """Whether a value is none, though its name tells: a reference, a place to be filled, or a count of tokens."""
    whole = _REFERENCE.fullmatch(value) or _SPARED.fullmatch(value)
    return whole is not None or _is_counted(name, value, 0) or _is_folder(name, value, 0)


def _words(name: str) -> tuple[str, ...]:
    return tuple(word.lower() for word in _WORD.findall(name))


def _is_counted(name: str, text: str, at: int) -> bool:
    return "token" in name.lower() and "tokens" in _words(name) and _COUNTED.match(text, at) is not None


def _is_folder(name: str, text: str, at: int) -> bool:
    return _words(name) == ("pwd",) and text[at : at + 1] in ("/", "~")


def _end(text: str, found: re.Match[str], name: str) -> int:
    """Where the value ends that begins at the end of `found`; there, when there is none to hide."""
    at = found.end()
    if found["space"] and not _by_space(text, name, at):
        return at
    if not telling(name.lstrip("-")) or _SPARED.match(text, at) or _is_counted(name, text, at) or _is_folder(name, text, at):
        return at
    if found["sign"] == ">":
        tag = text[max(0, found.start() - _LONGEST) : found.start()].rstrip(_BEFORE + ":").endswith("<")
        return _to(_WITHIN_TAG, text, at) if tag else at
    if name.lower().endswith("authorization"):
        at = _to(_PAIRED, text, at)
        return at if at > found.end() else _value(text, _to(_SCHEME, text, at), name)
    if name.lower().endswith("cookie") and _COOKIES.match(text, at):
        end = _to(_COOKIES, text, at)
        return at if text[at:end] == GONE else end
    return _value(text, at, name)


def _by_space(text: str, name: str, at: int) -> bool:
    """Whether a blank says as much as a sign: behind an option of a command, and in SQL before a text in quotes."""
    if name.startswith("-"):
        return text[at : at + 1] not in ("", "-", "\n")
    return name.lower() in ("password", "passwd") and text[at : at + 1] == "'"


def _value(text: str, at: int, name: str) -> int:
    if text.startswith(GONE, at):
        return at
    if text[at : at + 1] in ("[", "{"):
        return _to(_LISTED, text, at) if holds_many(name) else at
    called = _to(_CALLED, text, at)
    for pattern in (_QUOTED, _OPENED):
        if found := pattern.match(text, called):
            return found.end()
    return _to(_BARE, text, at)


def _to(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at
