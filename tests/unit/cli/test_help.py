"""`qd --help`: examples first, a dozen verbs, quick, and true."""

import inspect
import os
import subprocess
import sys
import time

import pytest

from quarterdeck.cli.dispatch import load
from quarterdeck.cli.main import main
from quarterdeck.cli.verbs import FIRST, VERBS, overview

ALL = [verb for top in VERBS for verb in (top, *top.parts)]


def test_examples_come_first_then_a_dozen_verbs_then_groups():
    text = overview()
    assert text.index("Examples:") < text.index(f"{FIRST}:") < text.index("Deploy:") < text.index("Options of every verb:")
    assert sum(verb.group == FIRST for verb in VERBS) == 12
    assert max(map(len, text.splitlines())) <= 100
    assert all(f"\n  {verb.name} " in text for verb in VERBS)


def test_examples_name_verbs_that_exist():
    words = [line.split()[2] for line in overview().splitlines() if line.startswith("  $ qd ")]
    assert words
    assert set(words) <= {verb.name for verb in VERBS}


@pytest.mark.parametrize("verb", ALL, ids=lambda verb: verb.place)
def test_every_verb_loads_and_its_help_shows_an_example(verb):
    text = inspect.getdoc(load(verb))
    assert text
    if verb.name != "openapi":
        assert "\n\n$ " in text


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",), ("help",)])
def test_it_is_the_same_page_however_asked_for(capsys, arguments):
    assert main(list(arguments)) == 0
    assert capsys.readouterr().out == f"{overview()}\n"


@pytest.mark.parametrize("verb", ["up", "journal", "ask"])
def test_help_of_a_verb(capsys, verb):
    assert main([verb, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"Usage: qd {verb}" in text
    assert f"\n  $ qd {verb}" in text
    assert "--home DIR" in text


@pytest.mark.parametrize("words", [[top.name, *part] for top in VERBS for part in ([], *([one.name] for one in top.parts))], ids=" ".join)
def test_the_help_of_every_verb_ends_with_where_to_go_on(capsys, words):
    assert main([*words, "--help"]) == 0
    last = capsys.readouterr().out.rstrip().splitlines()[-1]
    assert last.startswith("  Next: qd ")
    assert last.endswith(f"qd man {' '.join(words)} · qd --help")


def test_help_imports_neither_typer_nor_rich_nor_http():
    code = "import sys; from quarterdeck.cli.main import main; main(['--help']); print(*sys.modules, file=sys.stderr)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"typer", "rich", "http.client", "pydantic", "json"} & set(ran.stderr.split())


def test_a_plain_verb_imports_no_pydantic_no_rich_and_no_server(tmp_path):
    code = "import sys; from quarterdeck.cli.main import main; main(['get', 'replicas']); print(*sys.modules, file=sys.stderr)"
    environ = {**os.environ, "QUARTERDECK_HOME": str(tmp_path)}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ)
    assert not {"pydantic", "rich", "fastapi", "sqlalchemy", "nats", "quarterdeck.app", "argparse"} & set(ran.stderr.split())


def test_help_is_quick():
    """Against the import of Typer alone in the same minute: a busy machine slows both."""

    def best(argv):
        times = []
        for _ in range(5):
            begun = time.monotonic()
            subprocess.run([sys.executable, *argv], stdout=subprocess.DEVNULL, check=True)
            times.append(time.monotonic() - begun)
        return min(times)

    assert best(["-m", "quarterdeck.cli.main", "--help"]) < best(["-c", "import typer"])


def test_an_unknown_verb_is_refused_with_the_nearest(capsys):
    assert main(["statu"]) == 2
    assert "did you mean 'status'" in capsys.readouterr().err
