"""A well-formed command line read without building Typer's commands, which load pydantic: 0.25 s that no `qd status` should take.

Typer stays the authority: it declares what a verb takes, and whatever is not plainly right here (help, completion, an unknown option, a
value that does not convert) gives None and goes to Typer. A test holds that both understand the same lines in the same way.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from typer.models import ArgumentInfo, OptionInfo

from quarterdeck.cli.dispatch import REFUSED, SHARED, choices_of, load, own_parameters
from quarterdeck.cli.session import Choices
from quarterdeck.cli.verbs import VERBS, Verb, find

_SIMPLE: Final = (str, int, Path, bool)
Given = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A verb's function with all it takes, and the shared options."""

    verb: Verb
    function: Callable[..., Any]
    given: Given
    choices: Choices


@dataclass(frozen=True, slots=True)
class _Field:
    """One parameter: its option names (none for a positional one), its type and default."""

    name: str
    kind: Any
    names: tuple[str, ...]
    default: Any
    bounds: tuple[float | None, float | None]

    def value(self, text: str) -> Any:
        """The text converted; raises ValueError."""
        try:
            converted = self.kind(text)
        except REFUSED as error:  # by a parser of ours, which Typer is to show
            raise ValueError(text) from error
        least, most = self.bounds
        if (least is not None and converted < least) or (most is not None and converted > most):
            raise ValueError(text)
        return converted


class _NotPlain(Exception):
    """Not plainly right."""


def read(arguments: Sequence[str]) -> Call | None:
    """The call that a command line means, or None when Typer has to look at it."""
    try:
        given, rest = _take([*_fields(SHARED)], list(arguments), stop=True)
        return _descend(VERBS, rest, choices_of(given))
    except (_NotPlain, ValueError):
        return None


def begun(arguments: Sequence[str]) -> Verb | None:
    """The verb that a command line begins with, whatever is wrong behind it; None when what stands before it is wrong already."""
    try:
        _, rest = _take([*_fields(SHARED)], list(arguments), stop=True)
    except (_NotPlain, ValueError):
        return None
    return find(rest[0]) if rest else None


def _descend(verbs: tuple[Verb, ...], words: list[str], outer: Choices) -> Call:
    verb = find(words[0], verbs) if words else None
    if verb is None:
        raise _NotPlain
    function = load(verb)
    fields = [*_fields({p.name: (p.annotation, p.default) for p in own_parameters(function)}), *_fields(SHARED)]
    given, rest = _take(fields, words[1:], stop=bool(verb.parts))
    choices = choices_of(given).over(outer)
    if rest:
        return _descend(verb.parts, rest, choices)
    if not verb.alone:
        raise _NotPlain
    return Call(verb, function, given, choices)


def _take(fields: Sequence[_Field], words: list[str], *, stop: bool) -> tuple[Given, list[str]]:
    """Values for all fields; with `stop` the first positional word ends it and is given back with what follows."""
    options = {name: field for field in fields for name in field.names}
    places = [field for field in fields if not field.names]
    given: Given = {field.name: field.default for field in fields}
    while words:
        word = words.pop(0)
        if not word.startswith("-") or word == "-":
            if stop:
                return given, [word, *words]
            field = places.pop(0) if places else None
            given.update({_known(field).name: _known(field).value(word)})
            continue
        name, mark, text = word.partition("=")
        field = _known(options.get(name))
        given[field.name] = (
            field.value(text) if mark and field.kind is not bool and name.startswith("--") else _next(field, words, attached=mark)
        )
    if any(value is inspect.Parameter.empty for value in given.values()):
        raise _NotPlain
    return given, []


def _next(field: _Field, words: list[str], *, attached: str) -> Any:
    """The value of an option that stands in the next word; a flag has none."""
    if attached:
        raise _NotPlain
    if field.kind is bool:
        return True
    if not words or (words[0].startswith("-") and words[0] != "-"):
        raise _NotPlain
    return field.value(words.pop(0))


def _known(field: _Field | None) -> _Field:
    if field is None:
        raise _NotPlain
    return field


def _fields(parameters: Mapping[str, tuple[Any, Any]]) -> Iterator[_Field]:
    for name, (annotation, default) in parameters.items():
        if get_origin(annotation) is not Annotated:
            raise _NotPlain
        kind, info = get_args(annotation)[:2]
        bare = info.parser or _bare(kind)
        yield _Field(name, bare, _names(name, bare, info), default, (info.min, info.max))


def _names(name: str, kind: Any, info: Any) -> tuple[str, ...]:
    match info:
        case ArgumentInfo():
            return ()
        case OptionInfo():
            names = tuple(str(one) for one in ((info.default,) if info.default is not ... else ()) + tuple(info.param_decls or ()))
            if not names and kind is bool:  # Typer would add --no-…
                raise _NotPlain
            return names or (f"--{name.replace('_', '-')}",)
        case _:
            raise _NotPlain


def _bare(kind: Any) -> Any:
    if get_origin(kind) in (Union, UnionType):
        kind = next(arm for arm in get_args(kind) if arm is not type(None))
    if kind in _SIMPLE or (isinstance(kind, type) and issubclass(kind, Enum)):
        return kind
    raise _NotPlain
