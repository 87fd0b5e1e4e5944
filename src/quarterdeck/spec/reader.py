"""YAML text to a tree of nodes that know their line and column, within limits that keep hostile text cheap.

ruamel.yaml's parser gives the events; the tree is built here without recursion into the library, so that depth, aliases and size are
checked before anything is built. Scalars follow the YAML 1.2 core schema (`no` and `yes` are text). Refused: tags, directives, several
documents, names that are not text, names written twice, NaN and infinity, control characters, more than `MOST_ALIASES` aliases, and an
alias inside its own anchor. The size limit follows from the pure-Python parser: 1 MiB of the worst text takes it up to 2 s of CPU.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from quarterdeck.spec.nodes import Node, duplicates, plain
from quarterdeck.spec.problems import START, Finding, Problem, Source, shown

MOST_BYTES: Final = 256 * 1024
MOST_NODES: Final = 5_000
MOST_DEPTH: Final = 50
MOST_ALIASES: Final = 100
MOST_PROBLEMS: Final = 50
_MOST_DIGITS: Final = 300
_FORBIDDEN: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")
_NOT_FINITE: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


class _Stopped(Exception):
    """Reading cannot go on; the builder holds the problem. Never leaves this file."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The root mapping (None when the text could not be read to its end) and what was wrong so far."""

    root: Node | None
    problems: tuple[Problem, ...]


def read(text: str, source: Source) -> Reading:
    """Read one document within the limits. Never raises; faults that allow it (tags, names twice) do not end the reading."""
    problem = too_big(len(text), source) or _forbidden_character(text, source)
    if problem:
        return Reading(None, (problem,))
    builder = _Builder(source)
    try:
        for event in _events(text, builder):
            builder.feed(event)
    except _Stopped:
        return Reading(None, tuple(builder.problems))
    root = builder.root
    if root is None or (root.kind == "scalar" and root.value is None):
        return Reading(
            None,
            (
                *builder.problems,
                source.problem(0, 0, Finding((), "the file is empty", hint=START, code="E1104")),
            ),
        )
    if root.kind != "mapping":
        finding = Finding((), "a spec is a mapping (name: value)", code="E1105")
        return Reading(None, (*builder.problems, source.problem(root.line, root.column, finding)))
    return Reading(root, (*builder.problems, *islice(duplicates(root, source), MOST_PROBLEMS)))


def too_big(size: int, source: Source) -> Problem | None:
    """A file over the size limit."""
    if size <= MOST_BYTES:
        return None
    message, hint = f"the file is larger than {MOST_BYTES // 1024} KiB", "a spec of 1,000 agents needs about 150 KiB"
    return Problem(source.filename, 1, 1, message, hint=hint, code="E1101")


def _forbidden_character(text: str, source: Source) -> Problem | None:
    found = _FORBIDDEN.search(text)
    if found is None:
        return None
    before = text[: found.start()].replace("\r\n", "\n").replace("\r", "\n")
    line, column = before.count("\n"), len(before) - (before.rfind("\n") + 1)
    return source.problem(line, column, Finding((), f"character U+{ord(found.group()):04X} is not allowed in a spec", code="E1102"))


def _events(text: str, builder: _Builder) -> Iterator[Any]:
    """The parser's events. Whatever a third-party parser raises on hostile text is a problem with a place, never a crash."""
    from ruamel.yaml import YAML  # noqa: PLC0415 the parser costs 60 ms and only this needs it
    from ruamel.yaml.error import MarkedYAMLError  # noqa: PLC0415 the same

    parsed = YAML(typ="safe", pure=True).parse(io.StringIO(text))
    while True:
        try:
            event = next(parsed, None)
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            said = shown(str(error.problem or error.context), 200)
            finding = Finding((), f"not YAML: {said}", hint=_syntax_hint(str(error.problem)), code="E1103")
            raise builder.stop(mark.line if mark else 0, mark.column if mark else 0, finding) from error
        except Exception as error:
            raise builder.stop(0, 0, Finding((), f"not YAML: {shown(str(error), 200)}", code="E1103")) from error
        if event is None:
            return
        yield event


def _syntax_hint(problem: str) -> str:
    if "'\\t'" in problem:
        return "indent with spaces, not tabs"
    if "mapping values are not allowed" in problem:
        return "a colon inside a value needs quotes; otherwise look at the indentation"
    if "expected <block end>" in problem:
        return "the indentation does not match the lines above"
    return ""


class _Builder:
    """Builds the tree from events, checking the limits as it goes."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.root: Node | None = None
        self.problems: list[Problem] = []
        self._open: list[Node] = []
        self._anchors: dict[str, Node] = {}
        self._nodes = self._aliases = self._documents = 0

    def feed(self, event: Any) -> None:
        """Take one event."""
        match type(event).__name__:
            case "DocumentStartEvent":
                self._document(event)
            case "AliasEvent":
                self._alias(event)
            case "ScalarEvent":
                self._place(self._scalar(event))
            case "MappingStartEvent" | "SequenceStartEvent" as name:
                self._start(event, "mapping" if name.startswith("Mapping") else "sequence")
            case "MappingEndEvent" | "SequenceEndEvent":
                self._end()
            case _:
                pass  # starts and ends of stream and document carry nothing

    def _document(self, event: Any) -> None:
        self._documents += 1
        if self._documents > 1:
            raise self._stop(event, "a second document begins here; one file describes one system", "E1106")
        if event.version not in (None, (1, 2)) or event.tags:
            raise self._stop(event, "directives are not allowed; a spec is YAML 1.2", "E1107")

    def _start(self, event: Any, kind: str) -> None:
        node = self._node(event, kind)
        self._open.append(node)
        if len(self._open) > MOST_DEPTH:
            raise self._stop(event, f"nested deeper than {MOST_DEPTH} levels", "E1108")

    def _end(self) -> None:
        node = self._open.pop()
        if node.anchor:
            self._anchors[node.anchor] = node
        self._place(node)

    def _alias(self, event: Any) -> None:
        self._aliases += 1
        name = str(event.anchor)
        if self._aliases > MOST_ALIASES:
            raise self._stop(event, f"more than {MOST_ALIASES} aliases", "E1109")
        if any(node.anchor == name for node in self._open):
            raise self._stop(event, f"alias *{shown(name)} contains itself", "E1110")
        node = self._anchors.get(name)
        if node is None:
            raise self._stop(event, f"alias *{shown(name)} has no anchor before it", "E1111")
        if len(self._open) + node.height > MOST_DEPTH:
            raise self._stop(event, f"nested deeper than {MOST_DEPTH} levels", "E1108")
        self._count(event, node.weight)
        self._place(node)

    def _scalar(self, event: Any) -> Node:
        node = self._node(event, "scalar")
        node.text = event.value
        node.value = event.value if event.style else self._plain(event)
        if node.anchor:
            self._anchors[node.anchor] = node
        if isinstance(node.value, str) and _FORBIDDEN.search(node.value):
            self._note(event.start_mark, "an escaped control character is not allowed in a spec", "E1102")
            node.value = ""
        return node

    def _plain(self, event: Any) -> object:
        """The value of an unquoted scalar in the YAML 1.2 core schema."""
        text = event.value
        if len(text) > _MOST_DIGITS:
            return text
        if _NOT_FINITE.fullmatch(text):
            self._note(event.start_mark, f"{text} is not a finite number", "E1113")
            return None
        value = plain(text)
        if isinstance(value, float) and not math.isfinite(value):
            self._note(event.start_mark, f"{shown(text)} is not a finite number", "E1113")
            return None
        return value

    def _node(self, event: Any, kind: str) -> Node:
        self._count(event, 1)
        if event.tag is not None:
            self._note(event.start_mark, f"tag {shown(str(event.tag))} is not allowed", "E1112")
        return Node(kind, event.start_mark.line, event.start_mark.column, anchor=event.anchor)

    def _count(self, event: Any, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MOST_NODES:
            raise self._stop(event, f"more than {MOST_NODES:,} values", "E1117")

    def _place(self, node: Node) -> None:
        if not self._open:
            self.root = node
            return
        parent = self._open[-1]
        parent.weight += node.weight
        parent.height = max(parent.height, node.height + 1)
        if parent.kind == "sequence":
            parent.items.append(node)
        elif parent.waiting is None:
            parent.waiting = node
        else:
            key, parent.waiting = parent.waiting, None
            self._pair(parent, key, node)

    def _pair(self, parent: Node, key: Node, value: Node) -> None:
        fault = code = hint = ""
        if key.kind != "scalar" or not isinstance(key.value, str):
            fault, code, hint = "a name must be text", "E1114", f'write "{shown(key.text)}" in quotes' if key.text else ""
        elif key.value == "<<":
            fault, code, hint = "merge keys (<<) are not part of YAML 1.2", "E1115", "write an alias as a whole value: rollout: *slow"
        if fault:
            self._note(key, fault, code, hint)
        else:
            parent.pairs.append((key, value))

    def stop(self, line: int, column: int, finding: Finding) -> _Stopped:
        """Note what ends the reading."""
        self.problems.append(self.source.problem(line, column, finding))
        return _Stopped()

    def _note(self, place: Any, message: str, code: str, hint: str = "") -> None:
        """A fault that does not end the reading, unless there are too many. `place` is an event's mark or a node."""
        self.problems.append(self.source.problem(place.line, place.column, Finding((), message, hint=hint, code=code)))
        if len(self.problems) > MOST_PROBLEMS:
            raise _Stopped

    def _stop(self, event: Any, message: str, code: str) -> _Stopped:
        return self.stop(event.start_mark.line, event.start_mark.column, Finding((), message, code=code))
