"""`qd serve` and `qd node`: the platform's own processes, started by `qd up` and by each other. Nothing is imported before it is needed."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from quarterdeck.errors import Conflict
from quarterdeck.model.home import Home
from quarterdeck.store import lock

_LIGHT: Final = frozenset({"serve", "node"})


def find(arguments: Sequence[str]) -> tuple[str, list[str]] | None:
    """(daemon, its arguments) when the verb is one; `--home DIR` may stand before it."""
    before: list[str] = []
    rest = list(arguments)
    while rest and rest[0].startswith("--home"):
        size = 1 if "=" in rest[0] else 2
        before, rest = before + rest[:size], rest[size:]
    return (rest[0], [*before, *rest[1:]]) if rest and rest[0] in _LIGHT else None


def run(name: str, arguments: Sequence[str]) -> int:
    """Be that daemon; gives the exit code."""
    return {"serve": serve, "node": node}[name](arguments)


def serve(arguments: Sequence[str]) -> int:
    """Be the control plane of a home until told to stop; without `--port` the server chooses as its documentation says."""
    import argparse  # noqa: PLC0415 every other verb passes through this module

    parser = argparse.ArgumentParser(prog="qd serve", description="The control plane; qd up starts it.")
    parser.add_argument("--home", type=Path)
    parser.add_argument("--port", type=int)
    given = parser.parse_args(arguments)
    home = Home.from_environment({**os.environ, "QUARTERDECK_HOME": str(given.home)} if given.home else os.environ)
    try:
        lock.look(home.store_lock)  # a second one is told at once, not after all that is imported
    except Conflict as error:
        sys.stderr.write(error.told)
        return error.exit_code
    gc.disable()  # until all is there: imports leave nothing to collect, and looking for it is a fifth of their time
    from quarterdeck.app import serve as control_plane  # noqa: PLC0415 the whole server

    return control_plane(home, given.port)


def node(arguments: Sequence[str]) -> int:
    """Be the node."""
    from quarterdeck.engines.local.node.main import main  # noqa: PLC0415 the node's own imports, and only they

    return main(arguments)
