"""What a revision changed against the one before it: lines of the spec in one form, files of the code, and what is not told."""

import time
from itertools import pairwise
from pathlib import Path

import pytest

from quarterdeck.api import trees
from quarterdeck.api.lines import unified
from quarterdeck.api.trees import compare

CODE = "def reader(text: str) -> str:\n    return text\n"


def applied(control, **replaced):
    """Apply the spec with other words."""
    for old, new in replaced.items():
        control.spec = control.spec.replace(old, new)
    answer = control.post("/v1/apply", control.body)
    assert answer.status == 200, answer.text
    return answer.json["number"]


def diff(control, number):
    answer = control.get(f"/v1/revisions/{number}/diff")
    assert answer.status == 200, answer.text
    return answer.json


def files(told):
    return {file["path"]: file for file in told["code"]["files"]}


def test_the_first_revision_brought_everything(control):
    control.up()
    told = diff(control, 1)
    assert (told["kind"], told["number"], told["before"], told["code"]["before"]) == ("RevisionDiff", 1, None, None)
    assert "+kind: System" in told["spec"]["diff"].split("\n")
    (file,) = told["code"]["files"]
    assert (file["path"], file["action"], file["before"], file["after"]) == ("agents.py", "add", None, {"kind": "file", "bytes": len(CODE)})
    assert file["diff"] == "@@ -0,0 +1,2 @@\n+def reader(text: str) -> str:\n+    return text"


def test_a_changed_value_is_a_line_less_and_a_line_more_and_code_that_stayed_is_not_listed(control):
    control.up()
    assert applied(control, **{"replicas: 2": "replicas: 3"}) == 2
    told = diff(control, 2)
    lines = told["spec"]["diff"].split("\n")
    assert ["".join(line.split()) for line in lines if line[0] in "+-"] == ["-max:2", "-min:2", "+max:3", "+min:3"]
    assert told["before"] == 1
    assert (told["code"]["files"], told["code"]["untold"]) == ([], "")


def test_what_says_the_same_in_other_words_is_no_difference(control):
    control.up()
    (control.folder / "notes.md").write_text("so that there is a revision")
    control.spec = "# a comment\n" + control.spec.replace("{name: pair}", "\n  name: 'pair'")
    assert applied(control, **{"replicas: 2": "replicas: {max: 2, min: 2}"}) == 2
    assert diff(control, 2)["spec"] == {"diff": "", "untold": ""}


def test_files_that_came_changed_or_went_are_told_with_their_lines(control):
    (control.folder / "old.txt").write_text("gone\n")
    (control.folder / "same.txt").write_text("same\n")
    (control.folder / "run.sh").write_text("echo\n")
    control.up()
    (control.folder / "old.txt").unlink()
    (control.folder / "agents.py").write_text(CODE + "# more")
    (control.folder / "run.sh").chmod(0o755)
    (control.folder / "data.bin").write_bytes(b"\0\xff")
    (control.folder / "latin.txt").write_bytes(b"caf\xe9\n")
    (control.folder / "link").symlink_to("same.txt")
    (control.folder / "deep").mkdir()
    (control.folder / "deep" / "new.txt").write_text("new\n")
    told = files(diff(control, applied(control)))
    assert {path: file["action"] for path, file in told.items()} == {
        "agents.py": "change", "data.bin": "add", "deep/new.txt": "add", "latin.txt": "add", "link": "add", "old.txt": "remove",
        "run.sh": "change",
    }  # fmt: skip
    assert told["agents.py"]["diff"].split("\n")[-2:] == ["+# more", "\\ No newline at end of file"]
    assert told["old.txt"]["diff"] == "@@ -1 +0,0 @@\n-gone"
    assert told["link"]["diff"] == "@@ -0,0 +1 @@\n+same.txt"
    assert (told["run.sh"]["before"]["kind"], told["run.sh"]["after"]["kind"], told["run.sh"]["diff"]) == ("file", "executable", "")
    assert {told[name]["untold"] for name in ("data.bin", "latin.txt")} == {"no text"}
    assert {told[name]["diff"] for name in ("data.bin", "latin.txt")} == {None}


def test_a_rollback_is_compared_with_what_it_took_the_place_of(control):
    control.up()
    (control.folder / "agents.py").write_text(CODE.replace("return text", "return text * 2"))
    applied(control)
    assert control.post("/v1/rollback", {"to": 1, "reason": "no good"}).status == 200
    lines = files(diff(control, 3))["agents.py"]["diff"].split("\n")
    assert [line for line in lines if line[0] in "+-"] == ["-    return text * 2", "+    return text"]


def test_a_file_that_became_a_secret_is_named_and_never_opened(control):
    (control.folder / "conf").mkdir()
    (control.folder / "conf" / "key.txt").write_text("hunter2-of-old\n")
    control.up()
    (control.folder / "conf" / "key.txt").write_text("hunter2-of-new\n")
    applied(control, **{"replicas: 2": "secrets: {KEY: 'file:conf/key.txt'}, replicas: 2"})
    for number in (1, 2):
        answer = control.get(f"/v1/revisions/{number}/diff")
        assert "hunter2" not in answer.text
        assert "hunter2" not in control.get(f"/deployments/{number}").text
    told = diff(control, 2)
    assert "file:conf/key.txt" in told["spec"]["diff"], "the reference itself"
    assert files(told)["conf/key.txt"]["action"] == "remove"
    assert "secret" in files(told)["conf/key.txt"]["untold"]


def test_a_value_behind_a_reference_is_in_no_diff(control, monkeypatch):
    control.up()
    spec = control.spec.replace("replicas: 2", "secrets: {KEY: 'env:QD_TEST_KEY'}, replicas: 2")
    answer = control.post("/v1/apply", {**control.body, "text": spec, "environ": {"QD_TEST_KEY": "hunter2"}})
    assert answer.status == 200, answer.text
    assert "env:QD_TEST_KEY" in diff(control, 2)["spec"]["diff"]
    for path in ("/v1/revisions/2/diff", "/deployments/2", "/deployments"):
        assert "hunter2" not in control.get(path).text


def test_a_snapshot_that_is_gone_says_so_and_is_told_again_once_it_is_back(control):
    control.up()
    (control.folder / "agents.py").write_text(CODE + "# more\n")
    applied(control)
    place = control.home.revisions / diff(control, 2)["code"]["after"]
    away = place.with_name("away")
    other = applied(control, **{"replicas: 2": "replicas: 3"})
    assert diff(control, other)["code"]["files"] == []
    (control.folder / "agents.py").write_text(CODE + "# less\n")
    newest = applied(control)
    place.rename(away)
    told = diff(control, newest)
    assert told["code"]["files"] == []
    assert "cannot be read" in told["code"]["untold"]
    assert "cannot be read" in control.get(f"/deployments/{newest}").text
    away.rename(place)
    assert files(diff(control, newest)).keys() == {"agents.py"}


def test_a_revision_that_is_not_kept_is_not_found(control):
    control.up()
    answer = control.get("/v1/revisions/9/diff")
    assert (answer.status, answer.json["error"]["hint"]) == (404, "kept: 1 (qd history)")


# bounds


@pytest.fixture
def two(tmp_path):
    """Two folders, and a way to fill them."""

    def write(**sides):
        for name, content in sides.items():
            folder = tmp_path / name
            for path, text in content.items():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_text(text)
        return compare(tmp_path / "old", tmp_path / "new", frozenset())

    return write


def test_large_files_and_many_lines_say_so(two):
    long, wide = "x\n" * (trees.MOST_LINES + 1), "x" * (trees.MOST_BYTES + 1)
    told = two(old={"a.txt": "a\n"}, new={"a.txt": "a\n", "long.txt": long, "wide.txt": wide})
    assert {file.path: (file.diff, file.untold) for file in told.files} == {
        "long.txt": (None, "more than 1,000 lines"), "wide.txt": (None, "more than 64 KiB"),
    }  # fmt: skip


def test_many_files_are_counted_and_lines_end_where_the_room_does(two):
    many = {f"{n:04}.txt": "x\n" * 100 for n in range(trees.MOST_FILES + 7)}
    told = two(old={"a": "a"}, new={"a": "a", **many})
    assert (len(told.files), told.left_off) == (trees.MOST_FILES, 7)
    shown = [file for file in told.files if file.diff is not None]
    assert 0 < sum(file.diff.count("\n") + 1 for file in shown) <= trees.LINES_IN_ALL
    assert "already" in told.files[-1].untold


def test_files_of_one_size_are_compared_by_content(two):
    assert [f.path for f in two(old={"a": "one", "b": "two"}, new={"a": "one", "b": "owt"}).files] == ["b"]


def test_a_link_is_told_and_not_followed(two, tmp_path):
    (tmp_path / "elsewhere").write_text("not ours")
    two(old={"a": "a"}, new={"a": "a"})
    (tmp_path / "new" / "link").symlink_to("a")
    (file,) = compare(tmp_path / "old", tmp_path / "new", frozenset()).files
    assert (file.after.kind, file.diff) == ("link", "@@ -0,0 +1 @@\n+a")


@pytest.mark.parametrize("sign", ["\r", "\x0b", "\x0c", "\x1c", "\u2028", "\x85"])
def test_only_a_line_feed_ends_a_line(sign):
    assert unified("a b\n", f"a{sign}b\n") == f"@@ -1 +1 @@\n-a b\n+a{sign}b"


def test_every_line_of_a_diff_has_a_sign_and_hunks_are_apart():
    before = "".join(f"line {n}\n" for n in range(100))
    told = unified(before, before.replace("line 5\n", "").replace("line 90\n", "line ninety\n")).split("\n")
    assert {line[0] for line in told} == {"@", " ", "-", "+"}
    places = [n for n, line in enumerate(told) if line.startswith("@@")]
    assert len(places) == 2
    assert all(b - a < 10 for a, b in pairwise([*places, len(told)]))
    assert unified(before, before) == ""


def test_reading_happens_beside_the_loop(control, loops, monkeypatch):
    """A tree as large as may be takes its time, and nobody else waits for it."""
    control.up()
    loops.limit = 0.5
    slow = trees.leaves

    def slowly(root, **options):
        time.sleep(0.7)
        return slow(Path(root), **options)

    monkeypatch.setattr(trees, "leaves", slowly)
    (control.folder / "agents.py").write_text(CODE + "# more\n")
    number = applied(control)
    assert files(diff(control, number)).keys() == {"agents.py"}
    assert loops.held == []
