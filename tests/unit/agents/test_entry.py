import sys
import textwrap

import pytest

from quarterdeck.agents.entry import EntryError, load, read_ahead


@pytest.fixture
def tree(tmp_path):
    """A code root; what was imported from it is forgotten afterwards."""
    before = set(sys.modules)

    def write(text, name="entry_under_test.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return str(tmp_path)

    yield write
    sys.path[:] = [one for one in sys.path if one != str(tmp_path)]
    for name in set(sys.modules) - before:
        del sys.modules[name]


def failure(code, run="entry_under_test:agent"):
    with pytest.raises(EntryError) as caught:
        load(run, code)
    return caught.value


def test_agents_and_functions_are_found(tree):
    code = tree(
        """
        from quarterdeck import Agent
        agent = Agent("a")
        class Group: inner = agent
        def function(payload): return payload
        """
    )
    assert load("entry_under_test:agent", code).name == "a"
    assert load("entry_under_test:Group.inner", code).name == "a"
    assert list(load("entry_under_test:function", code).handlers) == ["call"]


def test_a_missing_dependency_is_told_with_its_line(tree):
    found = failure(tree("\n\n\nimport no_such_package_anywhere\nagent = 1\n"))
    assert (found.error, found.where) == ("ImportError: No module named 'no_such_package_anywhere'", "entry_under_test.py:4")
    assert "Traceback" in found.trace


def test_the_innermost_line_of_the_users_code_counts(tree):
    tree("import json\ndef read():\n    return json.loads('{')\n", "package/deep.py")
    found = failure(tree("from package.deep import read\nagent = read()\n"))
    assert found.where == "package/deep.py:3"
    assert found.error.startswith("JSONDecodeError: ")


def test_a_syntax_error_is_told_with_its_line(tree):
    found = failure(tree("x = 1\ndef broken(:\n"))
    assert found.where == "entry_under_test.py:2"
    assert found.error.startswith("SyntaxError: invalid syntax")


def test_a_wrong_handler_is_told_with_its_line(tree):
    found = failure(tree('from quarterdeck import Agent\nagent = Agent()\n@agent.on("v")\ndef v(a, b): ...\n'))
    assert found.where == "entry_under_test.py:3"
    assert found.error == "UserError: v takes a, b; a handler takes a payload and ctx, both optional"


def test_names_that_are_not_there_and_code_that_exits(tree):
    code = tree("agent = 1\n")
    assert "has no attribute 'ghost'" in failure(code, "entry_under_test:ghost").error
    assert failure(code).error == "UserError: entry_under_test:agent is a int; an entry point is an Agent or a function"
    assert failure(code, "no_such_module_here:x").error == "ImportError: No module named 'no_such_module_here'"
    tree("import sys\nsys.exit(3)\n", "leaves.py")
    assert (failure(code, "leaves:x").error, failure(code, "leaves:x").where) == ("SystemExit: 3", "leaves.py:2")


def test_what_is_read_ahead_is_not_read_again_and_a_fault_in_it_is_left_to_the_replica(tree):
    code = tree(
        "from quarterdeck import Agent\n"
        "good, faulty = Agent(), Agent()\n"
        '@good.on("v")\ndef v(a: int): ...\n'
        '@faulty.on("w")\ndef w(a, b): ...\n'
    )
    good = load("entry_under_test:good", code)
    good._handlers = None
    read_ahead(sys.modules["entry_under_test"])
    known = good._handlers
    assert set(known) == {"v"}
    assert load("entry_under_test:good", code).handlers is known
    assert failure(code, "entry_under_test:faulty").where == "entry_under_test.py:5"
