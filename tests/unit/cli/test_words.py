"""Pure parts: text made safe, times, spec sources, phases, cells, events."""

import io
import json
import time
from pathlib import Path

import pytest

from quarterdeck import errors
from quarterdeck.cli.complain import told
from quarterdeck.cli.daemons import find
from quarterdeck.cli.phases import advice, failure_lines
from quarterdeck.cli.render import amount, cell, counted, ended, moment, named, since, size
from quarterdeck.cli.screen import Screen, clean
from quarterdeck.cli.source import Source, variables
from quarterdeck.cli.times import duration, instant
from quarterdeck.cli.usage import UsageError
from quarterdeck.cli.watch import stamp
from quarterdeck.client.wire import parse, refusal


class Out(io.StringIO):
    encoding = "utf-8"

    def __init__(self, *, tty):
        super().__init__()
        self._tty = tty

    def isatty(self):
        return self._tty


@pytest.mark.parametrize(
    ("tty", "environ", "live", "colour"),
    [
        (True, {"TERM": "xterm"}, True, True),
        (True, {"TERM": "xterm", "NO_COLOR": "1"}, True, False),
        (True, {"TERM": "xterm", "NO_COLOR": ""}, True, True),
        (True, {"TERM": "dumb"}, False, False),
        (True, {}, False, False),
        (False, {"TERM": "xterm"}, False, False),
    ],
)
def test_what_a_screen_can_do(tty, environ, live, colour):
    screen = Screen.of(Out(tty=tty), environ)
    assert (screen.live, screen.colour) == (live, colour)
    assert screen.paint("x", "red") == ("\x1b[31mx\x1b[0m" if colour else "x")


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("plain ✔ text", "plain ✔ text"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("a\rb\nc\0", "a\ufffdb\ufffdc\ufffd"),
        ("\x1b[2J\x1b[H", ""),
        ("tab\there", "tab    here"),
        ("\u202eright to left", "\ufffdright to left"),
        ("\x1bP1$r", "\ufffdP1$r"),
    ],
)
def test_clean(text, safe):
    assert clean(text) == safe


def test_ascii_keeps_the_meaning():
    out = Out(tty=False)
    Screen(out, ascii=True).line("✔ a → b · ✘ ü")
    assert out.getvalue() == "ok a -> b | FAILED ?\n"


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("1h30m", 5400), ("250ms", 0.25), ("7", 7), ("1.5m", 90)])
def test_duration(text, seconds):
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "5 s", "yesterday", "-5s", "5x"])
def test_no_duration(text):
    with pytest.raises(UsageError, match="no duration"):
        duration(text)


def test_instant(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    noon = 1_763_985_600.0  # 2025-11-24T12:00Z
    assert instant("2h", noon) == noon + 7200
    assert instant("18:00", noon) == noon + 6 * 3600
    assert instant("11:00", noon) == noon + 23 * 3600
    assert instant("2025-11-24T13:00", noon) == noon + 3600
    assert instant("2025-11-24T13:00+01:00", noon) == noon
    for wrong in ("25:00", "tomorrow"):
        with pytest.raises(UsageError, match="no time"):
            instant(wrong, noon)


def test_only_secrets_are_named():
    text = """
    code: ./src   # here
    env: {HOME_DIR: HOME, WINDOW: 60s}
    secrets: [A_KEY, B_KEY]   # PATH
    secrets:
      - C_KEY   # PATH
      - D_KEY
    secrets: {E: env:E_KEY, F: file:f}
    """
    assert variables(text) == ["A_KEY", "B_KEY", "C_KEY", "D_KEY", "E_KEY"]


def test_a_source_knows_its_code_and_folder(tmp_path):
    (tmp_path / "s.yaml").write_text("spec:\n  code: ./src  # mine\n")
    source = Source.read(tmp_path / "s.yaml")
    assert (source.base, source.code) == (tmp_path, tmp_path / "src")
    assert source.body({"X": "1"}) == {"text": source.text, "filename": str(tmp_path / "s.yaml"), "base": str(tmp_path), "environ": {}}
    (tmp_path / "b.yaml").write_bytes(b"\xff")
    with pytest.raises(errors.UserError, match="not UTF-8"):
        Source.read(tmp_path / "b.yaml")
    with pytest.raises(errors.NotFound):
        Source.read(tmp_path / "none.yaml")


def test_a_save_is_seen_and_made_files_are_not(tmp_path):
    (tmp_path / "s.yaml").write_text("spec: {}\n")
    source = Source.read(tmp_path / "s.yaml")
    home = tmp_path / "home"
    before = stamp(source, home)
    for made in ("__pycache__/a.pyc", ".git/index", "node_modules/x.js", ".venv/x.py", "home/store.db"):
        (tmp_path / made).parent.mkdir(exist_ok=True)
        (tmp_path / made).write_text("x")
    assert stamp(source, home) == before
    (tmp_path / "agents.py").write_text("x")
    assert stamp(source, home) != before


def test_advice():
    failure = {
        "phase": "agent_cluster_deployment",
        "target": "a/b",
        "cause": "ImportError: No module named 'yaml.nodes' (x.py:1)",
        "resume": "resumes at phase 5",
    }
    assert advice(failure) == (
        "add yaml to requirements and install it where qd runs, then qd up (resumes at phase 5)"
        " · qd logs a/b-0 --previous · qd explain a/b · qd down"
    )
    kept = {"target": "a/b", "cause": "no replica serves: b-0 quarantined (human change 2)", "resume": ""}
    assert advice(kept).startswith("end the quarantine (qd release a/b-0), then qd up · ")
    assert advice({"target": "a->b", "cause": "refused", "resume": ""}) == "mend the cause, then qd up · qd down"
    assert "qd logs a/b-3 · qd explain" in advice({"phase": "integration_validation", "target": "a/b-3", "cause": "", "resume": ""})


@pytest.mark.parametrize(
    ("completed", "words"),
    [
        ([], "nothing was completed before."),
        (["p1"], "phase 1 is complete and kept."),
        (["p1", "p2", "p3"], "phases 1-3 are complete and kept."),
        (["p1", "p3"], "phases 1, 3 are complete and kept."),
    ],
)
def test_what_is_kept(completed, words):
    status = {
        "phases": [{"name": f"p{n}"} for n in range(1, 8)],
        "failure": {"phase": "p4", "target": "x", "cause": "", "completed": completed},
    }
    assert failure_lines(status)[0] == f" Failed in phase 4 of 7; {words}"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, ""),
        (True, "true"),
        (0, "0"),
        ([], ""),
        ({}, ""),
        ({"ready": 2, "desired": 3, "max": 5}, "2 of 3 (max 5)"),
        ({"cpu": 1, "memory": None}, "cpu 1"),
        ([{"from": "a", "to": "b"}, {"name": "c"}], "a->b, c"),
        (0.123456, "0.123"),
        (123456.7, "123457"),
    ],
)
def test_cells(value, words):
    assert cell(value) == words


def test_a_number_and_its_noun():
    assert [counted(n, "replica") for n in (0, 1, 2)] == ["0 replicas", "1 replica", "2 replicas"]
    assert [counted(n, "child", "children") for n in (1, 3)] == ["1 child", "3 children"]


def test_ends_and_ages():
    assert ended(None) == ""
    assert ended({"code": 3, "signal": None, "oom": False, "hang": False}) == "exit 3"
    assert ended({"code": None, "signal": 9, "oom": True, "hang": False}) == "out of memory"
    assert [since("2025-11-24T12:00:00Z", 1_763_985_600.0 + s) for s in (5, 120, 7200, 200_000)] == ["5s", "2m", "2h", "2d"]
    assert moment("no time") is None


def test_events():
    text = ': comment\n\nid: 7\nevent: record\ndata: {"a":\ndata: 1}\n\nretry: 10\ndata: 2\r\n\r\ndata: cut off'
    found = list(parse(iter(text.splitlines(keepends=True))))
    assert [(event.id, event.name, event.data) for event in found] == [("7", "record", {"a": 1}), ("7", "message", 2)]


def test_refusals_become_our_errors():
    def error(**body):
        return refusal(json.dumps({"error": {"message": "m", **body}}).encode(), 400)

    assert type(error(kind="NotFound", exit_code=3)) is errors.NotFound
    assert error(kind="TooLarge", exit_code=1).exit_code == 1
    assert error(kind="SpecError", problems=["p"], exit_code=1).problems == ("p",)
    assert error(kind="Clock", exit_code=1).message == "m"
    assert "answered 502: <html>" in refusal(b"<html>", 502).message


def test_an_error_in_words():
    error = errors.SpecError("2 problems", problems=("f:1:2: a\n  ^", "f:3:4: b"), hint="mend", where="f")
    assert told(error, Screen(Out(tty=False))) == [
        "error: 2 problems [E1010]",
        "  at: f",
        "",
        "f:1:2: a",
        "  ^",
        "",
        "f:3:4: b",
        "hint: mend",
    ]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["serve"], ("serve", [])),
        (["serve", "--port", "0"], ("serve", ["--port", "0"])),
        (["--home", "/x", "serve"], ("serve", ["--home", "/x"])),
        (["--home=/x", "node", "--y"], ("node", ["--home=/x", "--y"])),
        (["status"], None),
        (["--home", "serve"], None),
        ([], None),
    ],
)
def test_daemons_are_known_before_typer(arguments, found):
    assert find(arguments) == found


def test_the_path_of_this_file_is_no_daemon():
    assert find([str(Path(__file__))]) is None


@pytest.mark.parametrize(
    ("count", "written"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (1 << 29, "512 MiB"), (3 << 29, "1.5 GiB"), (1 << 41, "2048 GiB")],
)
def test_bytes_are_told_in_the_unit_that_makes_them_short(count, written):
    assert size(count) == written


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("timeout", 5.0, "timeout 5 s"),
        ("wal_bytes", 2048, "wal 2 KiB"),
        ("journal_bytes_limit", 1 << 20, "journal_limit 1 MiB"),
        ("bytes", 0, "size 0 B"),
        ("journal_records", 12, "journal_records 12"),
        ("memory", None, "memory "),
        ("hold", True, "hold true"),
    ],
)
def test_a_number_of_a_document_is_told_with_its_unit(field, value, words):
    assert named(field, value) == words


def test_times_are_told_in_the_zone_of_this_machine_and_an_absent_one_not_at_all(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    assert amount("until", "2026-11-24T16:12:01Z") == "2026-11-24 16:12:01.000"
    assert amount("until", None) == ""


def test_counts_and_ranges_are_told_in_words():
    assert cell({"ready": 1, "desired": 2, "min": 2, "max": 2}) == "1 of 2"
    assert cell({"ready": 1, "desired": 2, "min": 1, "max": 4}) == "1 of 2 (max 4)"
    assert cell({"ready": 2, "updated": 0, "desired": 2, "min": 2, "max": 2}) == "2 of 2, 0 updated"
    assert cell({"ready": 2, "updated": 2, "desired": 2, "min": 1, "max": 4}) == "2 of 2 (max 4)"
    assert cell([{"agent": "a/b", "min": 3, "max": 6}, {"agent": "a/c", "min": 1, "max": 1}]) == "a/b 3 to 6, a/c 1"
