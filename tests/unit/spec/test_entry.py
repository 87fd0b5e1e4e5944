from __future__ import annotations

import os
import subprocess
import tempfile
import textwrap
import time
from pathlib import Path

import pytest

from quarterdeck.errors import UserError
from quarterdeck.spec.entry import look_up
from quarterdeck.spec.system import AgentSpec


def agents(**runs):
    return {name: AgentSpec(run=run) for name, run in runs.items()}


def one(code: Path, run: str, **more):
    return look_up({"c/a": AgentSpec(run=run, **more)}, code)[0]


def test_all_agents_of_a_tree_are_found_in_one_go(tree):
    (tree / "pack").mkdir()
    (tree / "pack" / "deep.py").write_text("class Box:\n    @staticmethod\n    def work(): ...\n")
    found = look_up(agents(a="agents:collector", b="agents:intake", c="pack.deep:Box.work"), tree)
    assert [(result.name, result.found) for result in found] == [("a", True), ("b", True), ("c", True)]


@pytest.mark.parametrize(
    ("run", "error", "names"),
    [
        ("agents:colector", "agents has no 'colector'", ("NUMBER", "analyst", "collector", "intake", "reporter")),
        ("agnts:collector", "there is no module 'agnts'", ("agents",)),
        ("agents:NUMBER", "agents:NUMBER is of type int, neither an Agent nor a function", ()),
        ("agents.sub:x", "there is no module 'agents.sub'", ()),
    ],
)
def test_what_the_tree_lacks_is_wrong(tree, run, error, names):
    result = one(tree, run)
    assert (result.found, result.wrong, result.error, result.names) == (False, True, error, names)


def test_a_missing_requirement_is_reported_with_its_line_but_is_not_the_specs_fault(tree):
    (tree / "agents.py").write_text("import os\n\n\nimport pandas\n")
    result = one(tree, "agents:collector")
    assert (result.found, result.wrong) == (False, False)
    assert result.error == "ImportError: No module named 'pandas' (agents.py:4)"


def test_a_missing_requirement_leaves_a_warning_and_a_system(look, good, tree):
    (tree / "agents.py").write_text("import pandas\n")
    loaded, problems = look(good, check_entries=True)
    assert problems == ()
    assert len(loaded.warnings) == 4
    assert loaded.warnings[0].message == "collectors/collector: ImportError: No module named 'pandas' (agents.py:1)"


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("import agents_two\nfrom agents_two import gone\n", "ImportError: cannot import name 'gone' from 'agents_two'"),
        ("import agents_two.more\n", "ImportError: No module named 'agents_two.more'"),
        ("def broken(:\n", "SyntaxError: invalid syntax (agents.py, line 1) (agents.py:1)"),
    ],
)
def test_the_trees_own_broken_code_is_wrong(tree, source, error):
    (tree / "agents_two.py").write_text("")
    (tree / "agents.py").write_text(source)
    result = one(tree, "agents:collector")
    assert (result.found, result.wrong) == (False, True)
    assert result.error.startswith(error)


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("raise KeyError('X')\n", "KeyError: 'X' (agents.py:1)"),
        ("raise SystemExit(3)\n", "SystemExit: 3 (agents.py:1)"),
        ("import os\nos._exit(7)\n", "importing agents ended the process with exit code 7"),
        ("import os\nos.kill(os.getpid(), 9)\n", "importing agents ended the process with SIGKILL"),
        ("x = bytearray(8 << 30)\n", "MemoryError:"),
    ],
)
def test_code_that_cannot_be_imported_here_is_a_warning(tree, source, error):
    (tree / "agents.py").write_text(source)
    result = one(tree, "agents:collector")
    assert (result.found, result.wrong) == (False, False)
    assert result.error.startswith(error)


def test_code_that_ends_the_child_does_not_hide_the_other_agents(tree):
    (tree / "evil.py").write_text("import os\nos._exit(0)\n")
    found = look_up(agents(a="evil:x", b="agents:intake", c="agents:gone"), tree)
    assert [(result.found, result.wrong) for result in found] == [(False, False), (True, False), (False, True)]


def test_an_import_that_never_ends_is_given_up_and_its_children_with_it(tree):
    mark = tree / "pid"
    (tree / "slow.py").write_text(
        f"import subprocess, time\np = subprocess.Popen(['sleep', '60'])\nopen({str(mark)!r}, 'w').write(str(p.pid))\ntime.sleep(60)\n"
    )
    start = time.monotonic()
    found = look_up(agents(a="slow:x", b="agents:intake"), tree, limit=2)
    assert time.monotonic() - start < 8
    assert [result.error for result in found] == ["importing slow took too long", "was not looked up: no time was left"]
    assert not any(result.wrong for result in found)
    assert gone(int(mark.read_text()))


def test_what_a_killed_parent_left_is_removed_and_nothing_of_one_that_lives(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ended = subprocess.Popen(["true"])
    ended.wait()
    left, in_use = tmp_path / f"qd-entry-{ended.pid}-x", tmp_path / f"qd-entry-{os.getppid()}-x"
    left.mkdir()
    in_use.mkdir()
    assert look_up(agents(b="agents:intake"), tree)[0].found
    assert sorted(path.name for path in tmp_path.glob("qd-entry-*")) == [in_use.name]


def test_without_a_place_for_temporary_files_it_is_said(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "not there"))
    with pytest.raises(UserError, match="the code of agents cannot be looked at: No such file or directory") as raised:
        look_up(agents(b="agents:intake"), tree)
    assert "TMPDIR" in raised.value.hint


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        os.sched_yield()
    return False


def test_the_child_sees_the_agents_own_variables_and_nothing_of_ours(tree, monkeypatch):
    monkeypatch.setenv("OUR_TOKEN", "t")
    source = """
        import os
        assert os.environ["WINDOW"] == "60s"
        assert os.environ["KEY"] == ""
        assert "OUR_TOKEN" not in os.environ
        def f(): ...
    """
    (tree / "agents.py").write_text(textwrap.dedent(source))
    assert one(tree, "agents:f", env={"WINDOW": "60s"}, secrets={"KEY": "env:OUR_TOKEN"}).found


def test_looking_leaves_no_trace_and_printing_does_not_matter(tree):
    (tree / "agents.py").write_text("print('{\"name\": \"c/a\", \"found\": false}' * 3)\nopen('scratch', 'w').close()\ndef f(): ...\n")
    assert one(tree, "agents:f").found
    assert sorted(path.name for path in tree.iterdir()) == ["agents.py"]


def test_the_users_code_is_not_imported_here(tree):
    (tree / "only_in_the_child.py").write_text("def f(): ...\n")
    assert one(tree, "only_in_the_child:f").found
    assert "only_in_the_child" not in __import__("sys").modules


def test_a_process_forked_on_import_can_neither_answer_nor_hold_the_answer_up(tree):
    source = """
        import os, time
        if os.fork() == 0:
            for fd in range(3, 20):
                try:
                    os.write(fd, b'{"name": "c/a", "found": false, "kind": "missing", "error": "forged", "names": []}\\n')
                except OSError:
                    continue
            time.sleep(60)
            os._exit(0)
        def f(): ...
    """
    (tree / "agents.py").write_text(textwrap.dedent(source))
    start = time.monotonic()
    assert one(tree, "agents:f").found
    assert time.monotonic() - start < 8
