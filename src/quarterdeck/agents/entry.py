"""Importing what a spec names as `run: "module:attribute"`, and saying where in the user's code it failed."""

from __future__ import annotations

import contextlib
import importlib
import sys
import traceback
from pathlib import Path

from quarterdeck.agents.agent import Agent, as_agent
from quarterdeck.errors import QuarterdeckError


class EntryError(Exception):
    """An entry point that cannot run: `error` in one line, `where` as file:line below the code root, and the whole traceback."""

    def __init__(self, cause: BaseException, code: str) -> None:
        self.error = f"{type(cause).__name__}: {cause.message}" if isinstance(cause, QuarterdeckError) else _one_line(cause)
        self.where = place(cause, code)
        self.trace = "".join(traceback.format_exception(cause))
        super().__init__(self.error)


def load(run: str, code: str) -> Agent:
    """The agent behind `run`, imported from the folder `code`; raises EntryError."""
    if code not in sys.path:
        sys.path.insert(0, code)
    module, _, attribute = run.partition(":")
    try:
        found: object = importlib.import_module(module)
        for name in attribute.split("."):
            found = getattr(found, name)
        agent = as_agent(found, run)
        agent.check()
    except (Exception, SystemExit) as error:
        raise EntryError(error, code) from error
    return agent


def read_ahead(module: object) -> None:
    """Read the signatures of a module's agents before the fork, so that replicas need not; each reports for itself what is wrong."""
    for found in tuple(vars(module).values()):
        if isinstance(found, Agent):
            with contextlib.suppress(Exception):
                found.check()


def place(error: BaseException, code: str) -> str:
    """`agents.py:4`: the innermost line of the user's code that took part; empty when none did."""
    named = getattr(error, "where", "")
    if isinstance(error, SyntaxError) and error.filename:
        named = f"{error.filename}:{error.lineno}"
    lines = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
    root = Path(code).resolve()
    for line in [*lines, named][::-1]:
        file, _, number = line.rpartition(":")
        if file and Path(file).resolve().is_relative_to(root):
            return f"{Path(file).resolve().relative_to(root)}:{number}"
    return ""


def _one_line(error: BaseException) -> str:
    name = "ImportError" if isinstance(error, ModuleNotFoundError) else type(error).__name__
    return f"{name}: {str(error).partition(chr(10))[0]}"
