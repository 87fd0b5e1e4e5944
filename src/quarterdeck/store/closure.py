"""The digest of what one agent's code is made of, so that a changed file rolls only the agents that can reach it.

Counted: every .py file reachable by `import` statements from the entry module inside the tree (those inside functions and `if` too, and
each package's `__init__`), plus every other file of the tree (configuration, prompts) except `*.md`, what lies in a folder named `data`,
and specs of ours: what a spec says of an agent counts by itself, so that another number of replicas restarts nobody.
Where a reached file imports by a computed name (`import_module`, `__import__`), the whole tree counts: a rollout too many harms nobody.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from quarterdeck.errors import UserError
from quarterdeck.store.chain import canonical
from quarterdeck.store.tree import Leaf, leaves

_SPEC: Final = re.compile(rb"""^apiVersion:\s*["']?quarterdeck\.dev/""", re.MULTILINE)
_DYNAMIC: Final = frozenset({"import_module", "__import__", "exec", "run_path", "run_module"})


def closure_digest(root: Path, module: str, *, without: Iterable[Path] = ()) -> str:
    """Digest for the agent whose entry is in `module` (dotted, from the root). Raises UserError when the tree has no such module."""
    found = leaves(root, without=without)
    paths = frozenset(leaf.path for leaf in found)
    if not _files(module, paths):
        msg = f"there is no module {module!r} in {root}"
        raise UserError(msg, hint="run: names module:attribute, looked up from the code root", where=str(root))
    reached = _reached(root, module, paths)
    counted = [leaf for leaf in found if not _spec(root, leaf) and (reached is None or leaf.path in reached or _other(leaf))]
    lines = (canonical([leaf.path, leaf.kind, leaf.target or _hash(root / leaf.path)]) for leaf in counted)
    return hashlib.sha256("\n".join(("quarterdeck.closure.v1", module, *lines)).encode()).hexdigest()


def _reached(root: Path, module: str, paths: frozenset[str]) -> frozenset[str] | None:
    """Files reached from the module; None when a computed import makes that unknowable."""
    seen: set[str] = set()
    waiting = list(_files(module, paths))
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        tree = _parsed(root / path)
        if any(_dynamic(node) for node in ast.walk(tree)):
            return None
        for name in _imports(tree, path, paths):
            waiting += _files(name, paths)
    return frozenset(seen)


def _files(module: str, paths: frozenset[str]) -> list[str]:
    """The module's own file and the `__init__` of each package above it, as far as they are in the tree."""
    parts = module.split(".")
    above = ["/".join((*parts[:n], "__init__.py")) for n in range(1, len(parts) + 1)]
    own = "/".join(parts) + ".py"
    return [path for path in (*above, own) if path in paths]


def _parsed(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # it will fail when it is imported, with a better message; its bytes count all the same
        return ast.Module(body=[], type_ignores=[])


def _dynamic(node: ast.AST) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return name in _DYNAMIC or (isinstance(node, ast.ImportFrom) and any(one.name in _DYNAMIC for one in node.names))


def _imports(tree: ast.Module, path: str, paths: frozenset[str]) -> Iterator[str]:
    """Dotted names a file may import; attributes of modules are among them and lead nowhere."""
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                yield from (one.name for one in node.names)
            case ast.ImportFrom():
                base = _base(node, path)
                yield base
                for one in node.names:
                    yield from _children(base, paths) if one.name == "*" else (f"{base}.{one.name}".strip("."),)


def _base(node: ast.ImportFrom, path: str) -> str:
    if not node.level:
        return node.module or ""
    package = PurePosixPath(path).parent.parts
    above = package[: len(package) - (node.level - 1)]
    return ".".join((*above, *([node.module] if node.module else [])))


def _children(package: str, paths: frozenset[str]) -> Iterator[str]:
    folder = package.replace(".", "/") + "/"
    for path in paths:
        if path.startswith(folder) and path.endswith(".py") and "/" not in path[len(folder) :]:
            yield path.removesuffix(".py").replace("/", ".")


def _other(leaf: Leaf) -> bool:
    path = PurePosixPath(leaf.path)
    return path.suffix not in {".py", ".md"} and "data" not in path.parts[:-1]


def _spec(root: Path, leaf: Leaf) -> bool:
    named = leaf.path.endswith((".yaml", ".yml")) and not leaf.target
    return named and _SPEC.search((root / leaf.path).read_bytes()) is not None


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
