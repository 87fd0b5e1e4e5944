"""Runs tests against trees of the source, each in a fork of a process that has imported what is slow to import and is not ours.

A line of JSON on standard input is a run: its folder, with the tree in `src`, and the tests. The answer is a line: pytest's exit code, or
the signal that ended it, below zero. What it said is in the folder's `said`. Nothing of `quarterdeck` may be imported before the fork.
"""

import gc
import importlib
import json
import os
import select
import signal
import sys
from pathlib import Path

import pytest

SLOW = (
    "alembic.command",
    "fastapi",
    "httpx",
    "hypothesis",
    "jinja2",
    "nats",
    "nkeys",
    "pydantic",
    "ruamel.yaml",
    "sqlalchemy.dialects.sqlite",
    "uvicorn",
)
PLUGINS = ("no:cacheprovider", "pytest_timeout", "_hypothesis_pytestplugin")
TEST_SECONDS, RUN_SECONDS = 40, 100


def serve() -> None:
    for name in SLOW:
        importlib.import_module(name)
    assert len([*Path("/proc/self/task").iterdir()]) == 1, "an import started a thread, and a fork would not have it"
    gc.freeze()  # no child looks for garbage in what all share
    for line in sys.stdin:
        run = json.loads(line)
        child = os.fork()
        if not child:
            os._exit(tested(Path(run["folder"]), run["tests"]))
        print(code(child), flush=True)


def tested(folder: Path, tests: list[str]) -> int:
    """In the child: nothing is shared with other runs but what was imported."""
    os.setsid()
    said = os.open(folder / "said", os.O_CREAT | os.O_WRONLY)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(said, 1)
    os.dup2(said, 2)
    tree, home = folder / "src", folder / "home"
    home.mkdir()
    os.environ |= dict.fromkeys(("HOME", "QUARTERDECK_HOME", "TMPDIR"), str(home))
    os.environ |= {"PYTHONPATH": str(tree), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    sys.path.insert(0, str(tree))
    options = ["-x", "--no-header", f"--timeout={TEST_SECONDS}", "--hypothesis-profile=planted", f"--basetemp={folder / 'tmp'}"]
    ended = pytest.main([*(word for name in PLUGINS for word in ("-p", name)), *options, *tests])
    sys.stdout.flush()
    return ended


def code(child: int) -> int:
    ended = os.pidfd_open(child)
    if not select.select([ended], [], [], RUN_SECONDS)[0]:
        os.kill(child, signal.SIGKILL)
    os.close(ended)
    os.killpg(child, signal.SIGKILL)  # whatever it left
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    serve()
