"""From a tree of nodes to the models: pydantic's errors become Findings in the words of this format, and what is wrong is cut out.

Cutting out lets the cross-checks look at the rest of a file that has faults, so that one run shows all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from quarterdeck.model.wording import nearest
from quarterdeck.spec.fields import field_at, fields_of, model_at
from quarterdeck.spec.problems import Finding, Path, shown
from quarterdeck.spec.quantities import Bytes
from quarterdeck.spec.system import SystemSpec
from quarterdeck.version import API_VERSION

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from quarterdeck.spec.nodes import Node

_ROUNDS: Final = 8
_KEY: Final = "[key]"
_SHAPES: Final = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a smaller number",
    "string_type": "text",
    "dict_type": "a mapping (name: value)",
    "model_type": "a mapping (name: value)",
    "model_attributes_type": "a mapping (name: value)",
    "tuple_type": "a list",
    "bool_type": "true or false",
}
_BOUNDS: Final = {
    "greater_than_equal": ("ge", "must be at least"),
    "less_than_equal": ("le", "must be at most"),
    "greater_than": ("gt", "must be more than"),
    "less_than": ("lt", "must be less than"),
}


_STAND_IN: Final = {"apiVersion": API_VERSION, "kind": "System", "metadata": {"name": "unnamed"}}
"""Takes the place of a faulty head, so that the rest is looked at all the same."""


@dataclass(frozen=True, slots=True)
class Validated:
    """The system as far as it is right (None when too little is) with the tree it was made from, and what was wrong.

    `cut` holds the paths that were left out; places of later findings are looked up in `tree`, because items of lists have moved.
    """

    system: SystemSpec | None
    tree: Node
    findings: tuple[Finding, ...]
    cut: tuple[Path, ...]


def validate(root: Node) -> Validated:
    """Check a document against the models. The findings are those of the whole document; later rounds only cut out."""
    tree, findings, cut = root, tuple[Finding, ...](), tuple[Path, ...]()
    for attempt in range(_ROUNDS):
        try:
            return Validated(_model(tree, whole=attempt == 0), tree, findings, cut)
        except ValidationError as error:
            details = error.errors(include_url=False, include_input=False)
            findings = findings or tuple(_finding(detail, root) for detail in details)
            gone = frozenset(_reach(tree, _path(detail, tree)) for detail in details)
            if () in gone:
                break
            cut = (*cut, *gone)
            tree = without(tree, gone)
    return Validated(None, tree, findings, cut)


def _model(tree: Node, *, whole: bool) -> SystemSpec:
    written = data(tree, ())
    return SystemSpec.model_validate(written if whole or not isinstance(written, dict) else {**_STAND_IN, **written})


def data(node: Node, path: Path) -> object:
    """Plain values of a tree; the first of two equal names counts. Values below `env` are taken as written: `8080` and `1.10` stay text."""
    match node.kind:
        case "mapping":
            values: dict[str, object] = {}
            for key, value in node.pairs:
                name = str(key.value)
                if name not in values:
                    values[name] = data(value, (*path, name))
            return values
        case "sequence":
            return tuple(data(item, (*path, index)) for index, item in enumerate(node.items))
        case _:
            return node.text if is_environment(path) and node.value is not None else node.value


def is_environment(path: Path) -> bool:
    """Whether `path` is spec.clusters.<c>.agents.<a>.env.<NAME>."""
    return len(path) == 7 and (path[1], path[3], path[5]) == ("clusters", "agents", "env")  # noqa: PLR2004 the seven names of the docstring


def without(node: Node, paths: frozenset[Path]) -> Node:
    """A copy of the tree without the values at `paths`; items of lists keep their order but not their index."""
    here = {path[0] for path in paths if len(path) == 1}
    below: dict[str | int, set[Path]] = {}
    for path in paths:
        below.setdefault(path[0], set()).add(path[1:])

    def kept(name: str | int, value: Node) -> Node:
        return without(value, frozenset(below[name])) if name in below else value

    return replace(
        node,
        pairs=[(key, kept(str(key.value), value)) for key, value in node.pairs if key.value not in here],
        items=[kept(index, item) for index, item in enumerate(node.items) if index not in here],
    )


def locate(root: Node, finding: Finding) -> tuple[int, int]:
    """Line and column (from 0) of the deepest part of the path that is written."""
    node, place = root, root
    for depth, name in enumerate(finding.path):
        found = node.child(name)
        if found is None:
            break
        key, node = found
        last = depth == len(finding.path) - 1
        place = key if node.kind != "scalar" or (last and finding.at == "key") else node
    return place.line, place.column


def _path(detail: ErrorDetails, tree: Node) -> Path:
    return detail["loc"][:-1] if _is_key(detail, tree) else detail["loc"]


def _is_key(detail: ErrorDetails, tree: Node) -> bool:
    """Whether the name itself is at fault: pydantic marks it by a last element, which a file may also write as a name."""
    return bool(detail["loc"]) and detail["loc"][-1] == _KEY and tree.at(detail["loc"]) is None


def _reach(root: Node, path: Path) -> Path:
    """The deepest part of the path that is written; where something is missing that is the mapping that lacks it."""
    node = root
    for depth, name in enumerate(path):
        found = node.child(name)
        if found is None or (node.kind == "sequence" and isinstance(name, str)):
            return path[:depth]
        node = found[1]
    return path


def _finding(detail: ErrorDetails, root: Node) -> Finding:
    path = _path(detail, root)
    path = path if detail["type"] == "missing" else _reach(root, path) or path
    name = shown(str(path[-1])) if path else "document"
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown(path)
    if kind == "missing":
        return _missing(path, name)
    if _is_key(detail, root):
        return Finding(path, f'"{name}" cannot be a name here: {detail["msg"]}', at="key", code="E1204")
    if kind == "literal_error":
        return _choice(path, name, root)
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return Finding(path, f"{name} {words} {_limit(path, context[key])}", code="E1206")
    if kind in _SHAPES:
        return _shape(path, name, _SHAPES[kind], root)
    message = detail["msg"]
    words = f"{name} {message}" if message.startswith(("must", "names")) else f"{name}: {message}"
    return Finding(path, words, at="value", code="E1209")


def _unknown(path: Path) -> Finding:
    model, name = model_at(path[:-1]), str(path[-1])
    if model is None:
        return Finding(path, f'unknown field "{shown(name)}"', at="key", code="E1201")
    allowed = tuple(fields_of(model))
    if name in model.later:
        return Finding(
            path,
            f'field "{name}" is not in this version',
            at="key",
            allowed=allowed,
            hint="take it out; nothing of it would be carried out",
            code="E1202",
        )
    wrong = name if nearest(name, allowed) else name.lower()
    return Finding(path, f'unknown field "{shown(name)}"', at="key", wrong=wrong, allowed=allowed, code="E1201")


def _missing(path: Path, name: str) -> Finding:
    field = field_at(path)
    example = f"e.g. {name}: {field.info.examples[0]}" if field and field.info.examples else ""
    return Finding(path, f'required field "{name}" is missing', at="key", hint=example, code="E1203")


def _choice(path: Path, name: str, root: Node) -> Finding:
    field = field_at(path)
    allowed = tuple(text.strip("'") for text in field.type.split(" | ")) if field else ()
    written = _written(root, path)
    return Finding(path, f'{name} cannot be "{shown(written)}"', wrong=written, allowed=allowed, code="E1205")


def _shape(path: Path, name: str, shape: str, root: Node) -> Finding:
    written = _written(root, path)
    got = f", not {shown(written)}" if written else ""
    if shape == "text" and is_environment(path):
        return Finding(path, f"{name} has no value", hint='write "" for an empty one', code="E1208")
    quote = f'write "{shown(written)}" in quotes' if shape == "text" and written else ""
    return Finding(path, f"{name} must be {shape}{got}", hint=quote, code="E1207")


def _written(root: Node, path: Path) -> str:
    node = root.at(path)
    return node.text if node else ""


def _limit(path: Path, number: float) -> str:
    """A bound in the field's own unit."""
    field = field_at(path)
    return str(field.quantity(int(number) if field.quantity is Bytes else number)) if field and field.quantity else f"{number:,}"
