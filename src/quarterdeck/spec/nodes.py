"""The tree of a YAML document: values that know their line and column, and what plain scalars mean."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from quarterdeck.spec.problems import Finding, Path, Problem, Source, shown

_NULL: Final = re.compile(r"~|null|Null|NULL|")
_TRUE: Final = re.compile(r"true|True|TRUE")
_FALSE: Final = re.compile(r"false|False|FALSE")
_INT: Final = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


@dataclass(slots=True)
class Node:
    """A value of the document: `pairs` of a mapping are (key, value), `items` of a sequence nodes; else `value`, and `text` as written.

    `line` and `column` count from 0. `weight` is the number of nodes below, aliases unfolded; `height` how deep it goes.
    """

    kind: str
    line: int
    column: int
    value: object = None
    text: str = ""
    pairs: list[tuple[Node, Node]] = field(default_factory=list)
    items: list[Node] = field(default_factory=list)
    weight: int = 1
    height: int = 1
    anchor: str | None = None
    waiting: Node | None = None

    def child(self, name: str | int) -> tuple[Node, Node] | None:
        """(key, value) of a mapping's entry, (item, item) of a sequence; a name in a sequence finds the item with that text."""
        if self.kind == "mapping":
            return next(((key, value) for key, value in self.pairs if key.value == name), None)
        if isinstance(name, int):
            return (self.items[name], self.items[name]) if name < len(self.items) else None
        return next(((item, item) for item in self.items if item.kind == "scalar" and item.value == name), None)

    def at(self, path: Path) -> Node | None:
        """The node below at `path`, if it is written."""
        node = self
        for name in path:
            found = node.child(name)
            if found is None:
                return None
            node = found[1]
        return node

    def names(self) -> tuple[str, ...]:
        """The names of a mapping."""
        return tuple(dict.fromkeys(str(key.value) for key, _ in self.pairs))


def plain(text: str) -> object:
    """An unquoted scalar by the YAML 1.2 core schema (section 10.3.2): null, true and false, numbers; everything else is text."""
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text) or _FALSE.fullmatch(text):
        return text[0] in "tT"
    if _INT.fullmatch(text):
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def duplicates(root: Node, source: Source) -> Iterator[Problem]:
    """Names written twice in one mapping; the first one counts for everything else that is checked."""
    todo, seen = [root], set[int]()
    while todo:
        node = todo.pop()
        if id(node) in seen:  # reached through an alias before
            continue
        seen.add(id(node))
        first: dict[object, Node] = {}
        for key, _ in node.pairs:
            if first.setdefault(key.value, key) is not key:
                message = f'"{shown(str(key.value))}" is written twice (first in line {first[key.value].line + 1})'
                yield source.problem(key.line, key.column, Finding((), message, code="E1116"))
        todo.extend((*(value for _, value in node.pairs), *node.items))
