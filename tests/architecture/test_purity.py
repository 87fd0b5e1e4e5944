"""Decisions take no clock and do no I/O; nothing swallows an error."""

import ast

PURE = (
    "deploy/plan.py",
    "deploy/converged.py",
    "deploy/evidence.py",
    "deploy/phases.py",
    "deploy/readiness.py",
    "spec/compose.py",
    "engines/local/node/decide.py",
    "states.py",
)
EFFECTS = {"asyncio", "time", "logging", "datetime", "random", "socket", "subprocess", "threading"}
DOORS_TO_TIME = ("clock.py", "engines/local/node/")
CLOCKS = {"time.time", "time.time_ns", "datetime.now", "datetime.datetime.now", "datetime.utcnow", "datetime.today", "date.today"}


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_decisions_and_values_import_no_effects(sources):
    pure = [name for name in sources if name.startswith("model/") or name in PURE]
    assert set(PURE) <= set(pure)
    found = {name: {module.split(".")[0] for module in imported(sources[name])} & EFFECTS for name in pure}
    assert {name: modules for name, modules in found.items() if modules} == {}


def test_decisions_await_nothing(sources):
    waits = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    assert [name for name in PURE if any(isinstance(node, waits) for node in ast.walk(sources[name]))] == []


def test_the_time_of_day_is_read_only_where_the_clock_lives(sources):
    def reads(tree):
        return {ast.unparse(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)} & CLOCKS

    found = {name: reads(tree) for name, tree in sources.items() if not name.startswith(DOORS_TO_TIME)}
    assert {name: calls for name, calls in found.items() if calls} == {}
    assert "time.time" in reads(sources["clock.py"])


def test_no_handler_swallows_an_error(root, everything):
    code = [name for name in everything if name.endswith(".py") and not name.startswith("tests/")]
    trees = {name: ast.parse((root / name).read_text()) for name in code}
    handlers = [(name, n) for name, tree in trees.items() for n in ast.walk(tree) if isinstance(n, ast.ExceptHandler)]
    assert [f"{name}:{n.lineno}" for name, n in handlers if all(_does_nothing(part) for part in n.body)] == []


def _does_nothing(statement):
    if isinstance(statement, ast.Pass | ast.Continue):
        return True
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def test_no_async_handler_catches_everything_without_a_word(sources):
    bare = [f"{n}:{x.lineno}" for n, t in sources.items() for x in ast.walk(t) if isinstance(x, ast.ExceptHandler) and x.type is None]
    assert bare == []
