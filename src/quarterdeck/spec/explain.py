"""`qd explain spec.clusters.agents.replicas`: the documentation of a field, from the models alone."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from quarterdeck.errors import NotFound
from quarterdeck.model.wording import nearest
from quarterdeck.spec.fields import FieldView, fields_of
from quarterdeck.spec.system import Model, SystemSpec


@dataclass(frozen=True, slots=True)
class FieldDoc:
    """One field. `default` is `required` where there is none, else as written in YAML; `children` are the fields one level below."""

    path: str
    type: str
    default: str
    description: str
    children: tuple[FieldDoc, ...]
    example: str


def explain(path: str) -> FieldDoc:
    """The field at a dotted path; names in maps and indexes are left out or written `*`. Raises NotFound with the nearest field."""
    names = [name for name in path.strip(".").split(".") if name not in ("", "*")]
    model: type[Model] | None = SystemSpec
    doc = FieldDoc("", "System", "required", _summary(SystemSpec), _children(SystemSpec, ""), "")
    walked = ""
    for name in names:
        known = fields_of(model) if model else {}
        if name not in known:
            raise _not_found(name, walked, model)
        walked = f"{walked}.{name}" if walked else name
        doc, model = _doc(known[name], walked, deep=True), known[name].model
    return doc


def _not_found(name: str, walked: str, model: type[Model] | None) -> NotFound:
    place = walked or "a spec"
    known = tuple(fields_of(model)) if model else ()
    if model and name in model.later:
        return NotFound(f'{place}: field "{name}" is not in this version', hint=f"fields: {', '.join(known)}")
    near = nearest(name, known)
    guess = f'did you mean "{near}"? ' if near else ""
    return NotFound(
        f'{place} has no field "{name}"', hint=f"{guess}fields: {', '.join(known)}" if known else f"{place} has no fields below"
    )


def _doc(view: FieldView, path: str, *, deep: bool) -> FieldDoc:
    info = view.info
    example = _written(info.examples[0]) if info.examples else ""
    children = _children(view.model, path) if deep and view.model else ()
    return FieldDoc(path, view.type, _default(view), info.description or "", children, example)


def _children(model: type[Model], path: str) -> tuple[FieldDoc, ...]:
    return tuple(_doc(view, f"{path}.{view.name}" if path else view.name, deep=False) for view in fields_of(model).values())


def _default(view: FieldView) -> str:
    if view.info.is_required():
        return "required"
    value = view.info.get_default(call_default_factory=True, validated_data={})
    return "none" if value is None else _written(value)


def _written(value: object) -> str:
    """A value as flow YAML, which for these values is JSON without the quotes."""
    plain = value.model_dump(mode="json", by_alias=True) if isinstance(value, BaseModel) else to_jsonable_python(value)
    match plain:
        case dict():
            return "{" + ", ".join(f"{key}: {_written(item)}" for key, item in plain.items()) + "}"
        case list():
            return "[" + ", ".join(_written(item) for item in plain) + "]"
        case None:
            return "none"
        case _:
            return str(value) if not isinstance(value, BaseModel) else str(plain)


def _summary(model: type[Model]) -> str:
    return inspect.cleandoc(model.__doc__ or "")
