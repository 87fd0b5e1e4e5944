"""What is typed to an agent: from a line to verb and payload, and what its verbs take, in words. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from quarterdeck.cli.ask import payload_of
from quarterdeck.cli.screen import clean
from quarterdeck.cli.usage import UsageError

_JSON: Final = '{["-0123456789'
_DEEPEST: Final = 3
_MOST: Final = 12
_LONGEST: Final = 500
"""Levels, fields or choices, and characters of a schema that are told: it is an agent's, and may be of any size."""


@dataclass(frozen=True, slots=True)
class Typed:
    """A line that is not empty: a verb, and a payload in JSON."""

    verb: str
    text: str

    @classmethod
    def of(cls, line: str, verbs: Mapping[str, object], before: str) -> Typed:
        """Taken apart; a payload alone is for the verb before. Raises UsageError where there was none."""
        verb, *rest = line.split(maxsplit=1)
        if verb in verbs or not (line[0] in _JSON or line in ("true", "false", "null")):
            return cls(verb, rest[0] if rest else "null")
        if not before:
            raise UsageError("there is no verb before that this could go to", hint=_named(verbs))
        return cls(before, line)

    def payload(self, verbs: Mapping[str, object]) -> object:
        """Its value. Raises UsageError, with what was most likely meant."""
        known = self.verb in verbs or not verbs
        example = f'text goes into quotes, fields into braces: {self.verb} "hello" or {self.verb} {{"name": "Ada"}}'
        return payload_of(self.text, example if known else _named(verbs))


def _named(verbs: Mapping[str, object]) -> str:
    return f"begin with a verb: {', '.join(verbs) or 'VERB PAYLOAD'}"


def signature(verb: str, schema: object) -> str:
    """`triage {"run": string, "speed"?: number}`: a verb, and what it takes as JSON with types for values."""
    text = clean(verb if schema in (None, {"type": "null"}) else f"{verb} {_kind(schema, schema, _DEEPEST)}")
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _kind(part: object, root: object, deep: int) -> str:
    match _resolved(part, root):
        case {"enum": [*values]}:
            return _either([json.dumps(value) for value in values[: _MOST + 1]])
        case {"anyOf": [*arms]} if deep:
            return _either([_kind(arm, root, deep - 1) for arm in arms[: _MOST + 1]])
        case {"type": "object", "properties": dict(fields), **rest} if fields and deep:
            return _fields(fields, rest.get("required"), root, deep)
        case {"type": "array", "items": items} if deep:
            return f"[{_kind(items, root, deep - 1)}, …]"
        case {"type": "object"}:
            return "{…}"
        case {"type": str(name)}:
            return name
        case {"type": [*names]}:
            return _either([str(name) for name in names[: _MOST + 1]])
        case _:
            return "JSON"


def _fields(fields: dict[str, Any], required: object, root: object, deep: int) -> str:
    needed = required if isinstance(required, list) else []
    told = [
        f"{json.dumps(name)}{'' if name in needed else '?'}: {_kind(part, root, deep - 1)}" for name, part in list(fields.items())[:_MOST]
    ]
    return f"{{{', '.join([*told, *(['…'] if len(fields) > _MOST else [])])}}}"


def _either(kinds: list[str]) -> str:
    return " | ".join([*kinds[:_MOST], *(["…"] if len(kinds) > _MOST else [])])


def _resolved(part: object, root: object) -> object:
    """Without a reference to the root's definitions; one that leads to another says nothing."""
    match part, root:
        case {"$ref": str(reference)}, {"$defs": dict(definitions)}:
            return definitions.get(reference.removeprefix("#/$defs/"))
        case _:
            return part
