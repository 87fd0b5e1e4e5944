import shutil
import socket
import stat

import pytest

from quarterdeck.errors import UserError
from quarterdeck.model.home import Home
from quarterdeck.store import code
from quarterdeck.store import tree as trees
from quarterdeck.store.closure import closure_digest

FILES = {"agents.py": "import lib.parse\n", "lib/__init__.py": "", "lib/parse.py": "x = 1\n", "prompt.txt": "be kind", "data/a.csv": "1"}


def test_a_snapshot_is_a_read_only_copy_named_by_its_content(tree, home):
    root = tree(FILES)
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    (root / "link.txt").symlink_to("prompt.txt")
    made = code.snapshot(root, home)
    place = home.revisions / made.digest
    assert made.files == 7
    assert {path.relative_to(place).as_posix() for path in place.rglob("*") if not path.is_dir()} == {*FILES, "run.sh", "link.txt"}
    assert (place / "lib/parse.py").read_text() == "x = 1\n"
    assert stat.S_IMODE((place / "agents.py").stat().st_mode) == 0o444
    assert stat.S_IMODE((place / "run.sh").stat().st_mode) == 0o555
    assert (place / "link.txt").readlink().as_posix() == "prompt.txt"
    assert code.snapshot(root, home) == made
    assert code.tree_digest(place) == made.digest
    assert [path.name for path in home.revisions.iterdir()] == [made.digest], "nothing half made is left"


def test_what_is_to_be_left_out_is_in_no_snapshot(tree, home):
    root = tree({**FILES, "secret.txt": "s3cret", "keys/k": "s3cret"})
    made = code.snapshot(root, home, without=[root / "secret.txt", root / "data" / ".." / "keys" / "k"])
    place = home.revisions / made.digest
    assert {path.relative_to(place).as_posix() for path in place.rglob("*") if not path.is_dir()} == set(FILES)
    assert code.tree_digest(place) == made.digest


def test_what_does_not_count_changes_nothing(tree, home):
    root = tree(FILES)
    first = code.snapshot(root, home)
    noise = [
        ".git/config",
        "__pycache__/a.py",
        "lib/x.pyc",
        ".venv/a.py",
        "node_modules/a.js",
        ".env",
        "out.log",
        "build/x.o",
        "raw/big.csv",
    ]
    tree(dict.fromkeys(noise, "noise"))
    tree({".quarterdeckignore": "# comment\n*.log\nbuild/\n\nraw/*.csv\n"})
    assert code.snapshot(root, home).digest == first.digest
    tree({"lib/raw/small.csv": "counts: the pattern is a path from the root"})
    assert code.snapshot(root, home).digest != first.digest


@pytest.mark.parametrize("change", ["content", "name", "mode"])
def test_every_difference_is_another_digest(tree, change):
    root = tree(FILES)
    before = code.tree_digest(root)
    if change == "content":
        (root / "prompt.txt").write_text("be quick")
    elif change == "name":
        (root / "prompt.txt").rename(root / "prompts.txt")
    else:
        (root / "prompt.txt").chmod(0o755)
    assert code.tree_digest(root) != before


@pytest.mark.parametrize("damage", ["content", "missing", "extra"])
def test_a_damaged_snapshot_is_made_anew(tree, home, damage):
    root = tree(FILES)
    made = code.snapshot(root, home)
    place = home.revisions / made.digest
    if damage == "content":
        (place / "agents.py").chmod(0o644)
        (place / "agents.py").write_text("evil = 1\n")
    elif damage == "missing":
        place.chmod(0o755)
        (place / "agents.py").unlink()
    else:
        place.chmod(0o755)
        (place / "extra.py").write_text("")
    assert code.snapshot(root, home) == made
    assert code.tree_digest(place) == made.digest
    assert [path.name for path in home.revisions.iterdir()] == [made.digest]


def test_a_link_out_of_the_tree_is_refused(tree, home, tmp_path):
    root = tree(FILES)
    for target in ("/etc/passwd", "../outside", str(tmp_path)):
        (root / "bad").symlink_to(target)
        with pytest.raises(UserError, match="the link bad leaves the code tree"):
            code.snapshot(root, home)
        (root / "bad").unlink()
    assert not home.revisions.exists()


def test_a_socket_in_the_tree_is_refused(tree, home, monkeypatch):
    root = tree(FILES)
    monkeypatch.chdir(root)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("s")
        with pytest.raises(UserError, match="s is neither a file"):
            code.snapshot(root, home)


def test_limits(tree, home, monkeypatch):
    root = tree(FILES)
    monkeypatch.setattr(trees, "MAX_FILES", 4)
    with pytest.raises(UserError, match="more than 4 files") as caught:
        code.snapshot(root, home)
    assert ".quarterdeckignore" in caught.value.hint
    monkeypatch.undo()
    with (root / "big.bin").open("wb") as file:
        file.truncate(trees.MAX_BYTES + 1)
    with pytest.raises(UserError, match="more than 64 MiB"):
        code.snapshot(root, home)
    with pytest.raises(UserError, match="is not a folder"):
        code.snapshot(root / "none", home)


def test_a_home_inside_the_tree_is_left_out(tree):
    root = tree(FILES)
    before = code.tree_digest(root)
    inside = Home(root / "state")
    assert code.snapshot(root, inside).digest == before
    assert code.snapshot(root, inside).digest == before


def test_a_tree_that_changes_while_it_is_copied_is_refused(tree, home, monkeypatch):
    root = tree(FILES)
    real = code._copy

    def racing(*args):
        (root / "agents.py").write_text("changed = 1\n")
        return real(*args)

    monkeypatch.setattr(code, "_copy", racing)
    with pytest.raises(UserError, match="changed while it was copied"):
        code.snapshot(root, home)
    assert list(home.revisions.iterdir()) == []


def test_retain_deletes_what_nobody_names_and_what_a_crash_left(tree, home):
    root = tree(FILES)
    old = code.snapshot(root, home)
    tree({"agents.py": "new = 1\n"})
    new = code.snapshot(root, home)
    shutil.copytree(home.revisions / new.digest, home.revisions / ".making-dead")
    assert code.retain(home, frozenset({new.digest})) == (old.digest,)
    assert [path.name for path in home.revisions.iterdir()] == [new.digest]
    assert code.retain(Home(home.root / "other"), frozenset()) == ()


def test_lock_digest(tree):
    root = tree(FILES)
    assert code.lock_digest(root) == ""
    tree({"requirements.txt": "nats-py==2.16.0\n"})
    first = code.lock_digest(root)
    tree({"uv.lock": "x"})
    assert len({first, code.lock_digest(root), ""}) == 3


APP = {
    "collect.py": "from lib import parse\n\ndef late():\n    import lib.deep.late as late\n",
    "report.py": "import json\n",
    "lib/__init__.py": "",
    "lib/parse.py": "from .deep import one\nfrom . import sibling\n",
    "lib/sibling.py": "",
    "lib/deep/__init__.py": "",
    "lib/deep/one.py": "",
    "lib/deep/late.py": "",
    "lib/unused.py": "",
    "prompt.txt": "be kind",
    "README.md": "# hello",
    "data/train.csv": "1",
}


@pytest.mark.parametrize(
    ("path", "reaches"),
    [
        ("collect.py", True),
        ("lib/__init__.py", True),
        ("lib/parse.py", True),
        ("lib/sibling.py", True),
        ("lib/deep/one.py", True),
        ("lib/deep/__init__.py", True),
        ("lib/deep/late.py", True),
        ("prompt.txt", True),
        ("lib/unused.py", False),
        ("report.py", False),
        ("README.md", False),
        ("data/train.csv", False),
    ],
)
def test_only_what_an_agent_can_reach_changes_its_digest(tree, path, reaches):
    root = tree(APP)
    before = closure_digest(root, "collect")
    (root / path).write_text((root / path).read_text() + "\n# changed\n")
    assert (closure_digest(root, "collect") != before) is reaches


def test_a_spec_in_the_tree_is_no_code_but_other_yaml_is(tree):
    root = tree({**APP, "quarterdeck.yaml": "apiVersion: quarterdeck.dev/v1alpha1\n", "limits.yaml": "most: 1\n"})
    before = closure_digest(root, "collect")
    tree({"quarterdeck.yaml": "apiVersion: quarterdeck.dev/v1alpha1\nkind: System\n"})
    assert closure_digest(root, "collect") == before
    tree({"limits.yaml": "most: 2\n"})
    assert closure_digest(root, "collect") != before


def test_star_imports_of_a_package_reach_its_modules(tree):
    root = tree({**APP, "collect.py": "from lib import *\n"})
    before = closure_digest(root, "collect")
    tree({"lib/unused.py": "changed = 1"})
    assert closure_digest(root, "collect") != before


@pytest.mark.parametrize(
    "line", ["import importlib\nimportlib.import_module('lib.' + name)", "__import__(name)", "from importlib import import_module"]
)
def test_computed_imports_make_the_whole_tree_count(tree, line):
    root = tree({**APP, "lib/parse.py": line})
    before = closure_digest(root, "collect")
    tree({"report.py": "changed = 1"})
    assert closure_digest(root, "collect") != before


def test_a_file_that_does_not_parse_counts_by_its_bytes(tree):
    root = tree({**APP, "lib/parse.py": "def broken(:\n"})
    before = closure_digest(root, "collect")
    tree({"lib/parse.py": "def broken(::\n"})
    assert closure_digest(root, "collect") != before
    with pytest.raises(UserError, match="no module 'missing'"):
        closure_digest(root, "missing")
