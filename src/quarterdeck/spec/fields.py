"""The models seen as a tree of named fields, for error messages, `explain` and the schema. Works over models only, never over a spec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from quarterdeck.spec.quantities import Bytes, Cores, Duration
from quarterdeck.spec.system import Model, SystemSpec

Quantity = type[Duration] | type[Bytes] | type[Cores]
_WORDS: dict[object, str] = {
    Duration: "duration",
    Bytes: "size",
    Cores: "cores",
    int: "whole number",
    float: "number",
    bool: "true or false",
    str: "text",
}


@dataclass(frozen=True, slots=True)
class FieldView:
    """One field as written in YAML. `model` is the model of its value or, in a map or list, of each of its items."""

    name: str
    info: FieldInfo
    container: Literal["", "map", "list"]
    leaf: object

    @property
    def model(self) -> type[Model] | None:
        """The model below this field, if it has one."""
        return self.leaf if isinstance(self.leaf, type) and issubclass(self.leaf, Model) else None

    @property
    def quantity(self) -> Quantity | None:
        """The quantity this field holds, if it holds one."""
        return next((kind for kind in (Duration, Bytes, Cores) if self.leaf is kind), None)

    @property
    def type(self) -> str:
        """The type in words, e.g. `map of name to AgentSpec` or `duration`."""
        if get_origin(self.leaf) is Literal:
            return " | ".join(repr(choice) for choice in get_args(self.leaf))
        word = _word(self.leaf)
        match self.container:
            case "map":
                return f"map of name to {word}"
            case "list":
                return f"list of {word}"
            case _:
                return word


def fields_of(model: type[Model]) -> dict[str, FieldView]:
    """The fields of a model by the name written in YAML."""
    views = (_view(info.alias or name, info) for name, info in model.model_fields.items())
    return {view.name: view for view in views}


def model_at(path: tuple[str | int, ...]) -> type[Model] | None:
    """The model that describes the mapping at `path` of a document, or None where there is none."""
    model: type[Model] | None = SystemSpec
    names = iter(path)
    for name in names:
        field = fields_of(model).get(str(name)) if model else None
        if field is None:
            return None
        model = field.model
        if field.container and next(names, None) is None:
            return None
    return model


def field_at(path: tuple[str | int, ...]) -> FieldView | None:
    """The field written at `path` of a document, or None."""
    model = model_at(path[:-1]) if path else None
    return fields_of(model).get(str(path[-1])) if model else None


def _view(name: str, info: FieldInfo) -> FieldView:
    container: Literal["", "map", "list"] = ""
    leaf = _bare(info.annotation)
    match get_origin(leaf):
        case origin if isinstance(origin, type) and issubclass(origin, Mapping):
            container, leaf = "map", _bare(get_args(leaf)[1])
        case origin if origin is tuple:
            container, leaf = "list", _bare(get_args(leaf)[0])
        case _:
            pass
    return FieldView(name, info, container, leaf)


def _word(leaf: object) -> str:
    return leaf.__name__.removesuffix("Spec") if isinstance(leaf, type) and issubclass(leaf, Model) else _WORDS.get(leaf, "value")


def _bare(annotation: object) -> object:
    """Without Annotated and without `| None`."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return _bare(next(arm for arm in get_args(annotation) if arm is not type(None)))
    return annotation
