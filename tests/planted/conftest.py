"""Plants a bug in a tree of the source, and runs the test that must catch it: see `forkserver`. Each file has the bugs of an area."""

import json
import os
import shutil
import subprocess
import sys
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TESTS_FAILED = 1
"""pytest's exit code; 2 and above mean that it could not run them, below zero that it was killed."""


def pytest_collection_modifyitems(items):
    """Runs have shorter limits of their own: see `forkserver`."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(150))


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Makes folders with a tree of links to the source in `src`: to plant a bug is to replace one of them."""
    base, number = tmp_path_factory.mktemp("planted"), count()

    def make():
        folder = base / str(next(number))
        shutil.copytree(ROOT / "src", folder / "src", copy_function=os.symlink)  # compiled files too
        return folder

    return make


@pytest.fixture(scope="module")
def run():
    """Runs tests of this checkout against a folder's tree, in a process of their own: see `forkserver`."""
    argv = [sys.executable, "-m", "tests.planted.forkserver"]
    with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:

        def run(folder, *tests):
            print(json.dumps({"folder": str(folder), "tests": tests}), file=server.stdin, flush=True)
            return SimpleNamespace(code=int(server.stdout.readline()), said=(folder / "said").read_text())

        yield run


@pytest.fixture
def plant(tree, run):
    """Plants a bug; its test has to fail."""

    def plant(bug):
        folder = tree()
        path = folder / "src" / "quarterdeck" / bug.file
        text = path.read_text()
        assert text.count(bug.old) == 1, f"the patch does not apply: {bug.file} has what it replaces {text.count(bug.old)} times"
        path.unlink()
        path.write_text(text.replace(bug.old, bug.new))
        ran = run(folder, bug.test)
        assert ran.code == TESTS_FAILED, ran.said[-2000:]
        assert "FAILED " + bug.test in ran.said

    return plant
