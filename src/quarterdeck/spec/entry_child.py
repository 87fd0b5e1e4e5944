"""The throw-away child that imports a user's code to see whether its entry points are there. Standard library only; run as a script.

Reads one JSON object from stdin: {"code": folder, "entries": [{"name", "run", "env", "secrets"}], "memory": bytes, "seconds": CPU}, and
writes one JSON line for each entry: first {"begin": name}, then {"name", "found", "kind", "error", "names"}. Kind is `missing` (the tree
lacks it: the spec is wrong), `broken` (the tree's own code cannot be imported) or `other` (the reason may lie outside the tree).
Whatever the code prints goes to /dev/null; a fork of it cannot write results, because the pipe is closed in every child.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import resource
import signal
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

_PR_SET_PDEATHSIG = 1
_VALUES = (str, bytes, int, float, list, tuple, dict, set, frozenset, type(None), ModuleType)


def main() -> None:
    """Answer the one request on stdin."""
    request = json.load(sys.stdin)
    results = os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    _limit(request["memory"], request["seconds"])
    os.register_at_fork(after_in_child=lambda: os.close(results))
    code = Path(request["code"])
    sys.path.insert(0, str(code))
    for entry in request["entries"]:
        _write(results, {"begin": entry["name"]})
        _write(results, {"name": entry["name"], **_look(entry, code)})
    os._exit(0)  # no atexit handlers or threads of the user's code


def _limit(memory: int, seconds: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _write(results: int, line: dict[str, object]) -> None:
    os.write(results, json.dumps(line).encode() + b"\n")


def _look(entry: dict[str, Any], code: Path) -> dict[str, object]:
    """Find one entry point. The agent's own variables are set, its secrets are present but empty."""
    os.environ.update(dict.fromkeys(entry["secrets"], ""))
    os.environ.update(entry["env"])
    module, _, attribute = entry["run"].partition(":")
    try:
        found: object = importlib.import_module(module)
        for name in attribute.split("."):
            if not hasattr(found, name):
                return _refusal("missing", f"{module} has no {name!r}", [n for n in dir(found) if not n.startswith("_")])
            found = getattr(found, name)
    except ModuleNotFoundError as error:
        return _not_found(error, module, code)
    except BaseException as error:  # noqa: BLE001 whatever a user's module raises on import, SystemExit included, is the answer
        own = isinstance(error, SyntaxError) or (isinstance(error, ImportError) and _within(getattr(error, "path", None), code))
        return _refusal("broken" if own else "other", f"{type(error).__name__}: {error}{_place(error, code)}", [])
    if isinstance(found, _VALUES):
        return _refusal("missing", f"{entry['run']} is of type {type(found).__name__}, neither an Agent nor a function", [])
    return {"found": True, "kind": "", "error": "", "names": []}


def _not_found(error: ModuleNotFoundError, module: str, code: Path) -> dict[str, object]:
    """A module of the tree that is not there is the spec's or the tree's fault; any other is a requirement to be installed."""
    missing = error.name or ""
    if module == missing or module.startswith(missing + "."):
        package = code.joinpath(*missing.split(".")[:-1])
        prefix = missing.rpartition(".")[0]
        return _refusal("missing", f"there is no module {missing!r}", [f"{prefix}.{n}" if prefix else n for n in _modules(package)])
    kind = "broken" if missing.partition(".")[0] in _modules(code) else "other"
    return _refusal(kind, f"{type(error).__name__}: {error}{_place(error, code)}".replace("ModuleNotFoundError", "ImportError"), [])


def _modules(folder: Path) -> list[str]:
    """The names that can be imported from a folder."""
    if not folder.is_dir():
        return []
    files = (path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    packages = (path.name for path in folder.iterdir() if path.name.isidentifier() and path.is_dir() and any(path.glob("*.py")))
    return sorted({*files, *packages})


def _place(error: BaseException, code: Path) -> str:
    """` (agents.py:4)`: the last line of the user's own tree that was running."""
    if isinstance(error, SyntaxError) and error.filename and _within(error.filename, code):
        return f" ({Path(error.filename).relative_to(code)}:{error.lineno})"
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if _within(frame.filename, code)]
    return f" ({Path(own[-1].filename).relative_to(code)}:{own[-1].lineno})" if own else ""


def _within(path: str | None, code: Path) -> bool:
    with contextlib.suppress(OSError, ValueError):  # a file name such as <frozen importlib> is not a path of the tree
        return path is not None and path.endswith(".py") and Path(path).is_relative_to(code)
    return False


def _refusal(kind: str, error: str, names: list[str]) -> dict[str, object]:
    return {"found": False, "kind": kind, "error": error[:500], "names": names[:500]}


if __name__ == "__main__":
    main()
