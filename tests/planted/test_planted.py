"""Each known-bad patch, applied to a tree of the source, is caught by the test that is named with it."""

import importlib.util
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


def _bugs():
    spec = importlib.util.spec_from_file_location("planted_bugs", HERE / "bugs.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["planted_bugs"] = module
    spec.loader.exec_module(module)
    return module.BUGS


BUGS = _bugs()
pytestmark = pytest.mark.timeout(150)  # runs have shorter limits of their own: see `forkserver`


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
    argv = [sys.executable, HERE / "forkserver.py"]
    with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:

        def run(folder, *tests):
            print(json.dumps({"folder": str(folder), "tests": tests}), file=server.stdin, flush=True)
            return SimpleNamespace(code=int(server.stdout.readline()), said=(folder / "said").read_text())

        yield run


def test_there_are_at_least_ten_bugs_with_different_names():
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 10


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_the_bug_is_caught(tree, run, bug):
    folder = tree()
    path = folder / "src" / "quarterdeck" / bug.file
    text = path.read_text()
    assert text.count(bug.old) == 1, f"the patch does not apply: {bug.file} has what it replaces {text.count(bug.old)} times"
    path.unlink()
    path.write_text(text.replace(bug.old, bug.new))
    ran = run(folder, bug.test)
    assert ran.code == TESTS_FAILED, ran.said[-2000:]
    assert "FAILED " + bug.test in ran.said


def test_without_a_bug_a_test_of_each_file_passes_so_that_it_is_the_bug_that_is_caught(tree, run):
    folder = tree()
    probe = folder / "test_where.py"
    probe.write_text(f"import quarterdeck\n\ndef test_where():\n    assert quarterdeck.__file__.startswith({str(folder)!r})\n")
    ran = run(folder, str(probe), *{bug.test.partition("::")[0]: bug.test for bug in BUGS}.values())
    assert ran.code == 0, ran.said[-2000:]
