"""What each verb says of itself, as data: for the manual page and for docs/reference."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from typer.models import ArgumentInfo, ParameterInfo

from quarterdeck.cli.dispatch import load, own_parameters
from quarterdeck.cli.verbs import Verb


@dataclass(frozen=True, slots=True)
class Option:
    """An argument, or an option with its spellings: how it is written, its default (`required` without one), what it means."""

    written: str
    default: str
    meaning: str
    positional: bool


@dataclass(frozen=True, slots=True)
class Described:
    """A verb with all words before it (`journal head`), its paragraphs, those that begin with `$ ` being commands, and its options."""

    name: str
    summary: str
    paragraphs: tuple[str, ...]
    options: tuple[Option, ...]


def described(verb: Verb, name: str = "") -> Iterator[Described]:
    """A verb and all verbs below it."""
    name = name or verb.name
    text = (inspect.getdoc(load(verb)) or verb.summary).replace("\b\n", "")
    options = tuple(_option(parameter) for parameter in own_parameters(load(verb))) if verb.alone else ()
    yield Described(name, verb.summary, tuple(text.split("\n\n")), options)
    for part in verb.parts:
        yield from described(part, f"{name} {part.name}")


def _option(parameter: inspect.Parameter) -> Option:
    found = next(m for m in parameter.annotation.__metadata__ if isinstance(m, ParameterInfo))
    written = word = found.metavar or parameter.name.upper()
    if not isinstance(found, ArgumentInfo):
        declared = [str(d) for d in (found.default, *(found.param_decls or ())) if str(d).startswith("-")]
        flags = ", ".join(declared) or f"--{parameter.name.replace('_', '-')}"
        written = flags if _is_flag(parameter.annotation) else f"{flags} {word}"
    default = "required" if parameter.default is inspect.Parameter.empty else _shown(parameter.default)
    return Option(written, default, (found.help or "").strip(), isinstance(found, ArgumentInfo))


def _is_flag(annotation: Any) -> bool:
    kind = typing.get_args(annotation)[0]
    arms = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    return bool in arms


def _shown(value: object) -> str:
    return "" if value in (None, False, (), [], "") else str(getattr(value, "value", value))
