"""Each known-bad patch, applied to a copy of the source, is caught by the test that is named with it."""

import importlib.util
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WITHOUT_SHRINKING = """
from hypothesis import Phase, settings
settings.register_profile("quick", phases=[Phase.explicit, Phase.generate], database=None)
settings.load_profile("quick")
"""
TESTS_FAILED = 1
"""pytest's exit code; 2 and above mean that it could not run them."""


def _bugs():
    spec = importlib.util.spec_from_file_location("planted_bugs", Path(__file__).with_name("bugs.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules["planted_bugs"] = module
    spec.loader.exec_module(module)
    return module.BUGS


BUGS = _bugs()


def run(copy: Path, tests: list[str]) -> subprocess.CompletedProcess:
    """Run tests of this tree against the copy of the source; that a test fails is enough, Hypothesis need not find the smallest case."""
    (copy / "without_shrinking.py").write_text(WITHOUT_SHRINKING)
    env = {**os.environ, "PYTHONPATH": str(copy), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    plugins = [word for name in ("no:cacheprovider", "pytest_timeout", "without_shrinking") for word in ("-p", name)]
    argv = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", *plugins, "--timeout", "40", *tests]
    return subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def copied(folder: Path) -> Path:
    shutil.copytree(ROOT / "src", folder)  # compiled files too: they carry the times of their sources
    return folder


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What the named test said to each bug; two at a time."""
    base = tmp_path_factory.mktemp("planted")

    def plant(number: int) -> subprocess.CompletedProcess:
        bug = BUGS[number]
        copy = copied(base / str(number))
        path = copy / "quarterdeck" / bug.file
        path.write_text(path.read_text().replace(bug.old, bug.new))
        return run(copy, [bug.test])

    with ThreadPoolExecutor(2) as pool:
        return dict(zip((bug.name for bug in BUGS), pool.map(plant, range(len(BUGS))), strict=True))


def test_there_are_at_least_ten_bugs_with_different_names():
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 10


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_the_place_of_the_bug_exists_once(bug):
    assert (ROOT / "src" / "quarterdeck" / bug.file).read_text().count(bug.old) == 1


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_the_bug_is_caught(outcomes, bug):
    ran = outcomes[bug.name]
    assert ran.returncode == TESTS_FAILED, ran.stdout[-2000:] + ran.stderr[-2000:]
    assert "FAILED " + bug.test in ran.stdout


def test_a_copy_without_a_bug_passes_so_that_it_is_the_bug_that_is_caught(tmp_path):
    probe = tmp_path / "test_where.py"
    copy = copied(tmp_path / "src")
    probe.write_text(f"import quarterdeck\n\ndef test_where():\n    assert quarterdeck.__file__.startswith({str(copy)!r})\n")
    ran = run(copy, [str(probe), "tests/unit/deploy/test_readiness.py", "tests/unit/bus/test_links.py"])
    assert ran.returncode == 0, ran.stdout[-2000:]
