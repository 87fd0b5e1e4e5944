"""An error that somebody can mend says how: every one carries a hint."""

import ast

FOR_THE_USER = {"UserError", "UsageError", "SpecError", "NotFound", "Conflict", "Forbidden", "TooLarge"}


def made(tree):
    """Each place where an error for the user is made, raised there or not."""
    for node in ast.walk(tree):
        name = getattr(node.func, "id", getattr(node.func, "attr", "")) if isinstance(node, ast.Call) else ""
        if name in FOR_THE_USER:
            yield node


def silent(tree):
    """Lines of those whose hint is missing or a constant without text."""
    for node in made(tree):
        given = {k.arg: k.value for k in node.keywords}
        hint = given.get("hint", given.get("problems"))  # each problem of a spec has a hint of its own
        if hint is None or (isinstance(hint, ast.Constant) and not hint.value):
            yield node.lineno


def test_every_error_of_the_user_says_what_to_do(sources):
    assert sum(1 for tree in sources.values() for _ in made(tree)) > 80
    assert [f"{name}:{line}" for name, tree in sources.items() for line in silent(tree)] == []
