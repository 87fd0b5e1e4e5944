"""All bugs together: they differ, and without them the tests that are named with them pass."""

import importlib
from pathlib import Path

FILES = [path for path in sorted(Path(__file__).parent.glob("test_*.py")) if path.name != Path(__file__).name]
BUGS = [bug for path in FILES for bug in importlib.import_module(f"tests.planted.{path.stem}").BUGS]


def test_there_are_at_least_ten_bugs_with_different_names():
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 10


def test_without_a_bug_a_test_of_each_file_passes_so_that_it_is_the_bug_that_is_caught(tree, run):
    folder = tree()
    probe = folder / "test_where.py"
    probe.write_text(f"import quarterdeck\n\ndef test_where():\n    assert quarterdeck.__file__.startswith({str(folder)!r})\n")
    ran = run(folder, str(probe), *{bug.test.partition("::")[0]: bug.test for bug in BUGS}.values())
    assert ran.code == 0, ran.said[-2000:]
