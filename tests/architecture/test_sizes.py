"""A file fits a few screens, a function one."""

import ast
from statistics import median

import pytest

MOST_LINES_OF_A_FILE = 400
MOST_LINES_OF_A_FUNCTION = 50
FOLDERS = ("src", "bench", "tools", "examples", "tests")
LISTS = {"store/migrations/versions/0001_first.py"}
"""A migration is one list of tables, frozen once it has shipped."""


def functions(sources):
    for name, tree in sources.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{name}:{node.lineno} {node.name}", node.end_lineno - node.lineno + 1


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_file_is_longer_than_400_lines(everything, folder):
    names = [name for name in everything if name.startswith(f"{folder}/") and name.endswith(".py")]
    lengths = {name: len(everything[name].splitlines()) for name in names}
    assert lengths
    assert {name: n for name, n in lengths.items() if n > MOST_LINES_OF_A_FILE} == {}


def test_no_function_is_longer_than_50_lines(sources):
    long = {where: n for where, n in functions(sources) if n > MOST_LINES_OF_A_FUNCTION}
    assert {where: n for where, n in long.items() if where.split(":")[0] not in LISTS} == {}


def test_most_functions_are_short(sources):
    assert median(n for _, n in functions(sources)) <= 10


def test_no_module_is_named_after_nothing(sources):
    empty = {"utils", "helpers", "common", "manager", "core", "misc", "types", "interfaces", "services_util"}
    assert not {name for name in sources if empty & set(name.removesuffix(".py").split("/"))}


def test_every_module_says_what_it_is_for(sources):
    assert [name for name, tree in sources.items() if not ast.get_docstring(tree)] == []
