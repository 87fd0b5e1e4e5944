"""Tables and labels on terminals of any width."""

import io

import pytest

from quarterdeck.cli.render import table
from quarterdeck.cli.screen import Screen

COLUMNS = ("NAME", "STATE", "REASON")
ROWS = [("analysts/analyst-0", "ready", ""), ("analysts/analyst-1", "starting", "the code has changed and the old one drains")]


def drawn(width, columns=COLUMNS, rows=ROWS):
    out = io.StringIO()
    table(Screen(out, live=width > 0, width=width), columns, rows)
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", [20, 28, 40, 52, 60, 80, 200])
def test_no_line_is_wider_than_the_terminal_and_no_word_is_lost(width):
    lines = drawn(width)
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    for word in ("analysts/analyst-0", "ready", "starting", "code", "changed", "drains"):
        assert word in text


def test_in_a_pipe_a_row_is_a_line():
    assert len(drawn(0)) == 3


def test_the_last_column_folds_under_itself():
    assert drawn(56)[2:] == [
        "analysts/analyst-1  starting  the code has changed and",
        "                              the old one drains",
    ]


def test_a_narrow_terminal_gets_a_paragraph_for_each_row():
    assert drawn(34) == [
        "analysts/analyst-0",
        "  state ready",
        "analysts/analyst-1",
        "  state starting",
        "  reason the code has changed and",
        "  the old one drains",
    ]


def test_a_table_without_rows_is_its_heading():
    assert drawn(20, rows=[]) == ["NAME  STATE  REASON"]


@pytest.mark.parametrize("label", ["", "  ", "\x1b[1mcollectors-of-everything/intake\x1b[0m: "])
def test_a_label_that_is_empty_or_too_wide_folds_too(label):
    lines = Screen(io.StringIO(), width=20).wrapped(label, "a sentence that does not fit beside it")
    assert max(len(line) for line in lines if "\x1b" not in line) <= 20
    assert all(line.strip() for line in lines)
    assert " ".join(" ".join(lines).split()).endswith("a sentence that does not fit beside it")
    assert "\x1b" not in "".join(lines)  # an escape sequence is never torn


@pytest.mark.parametrize("width", [20, 40, 80])
def test_text_beside_a_label_breaks_at_words(width):
    screen = Screen(io.StringIO(), width=width)
    lines = screen.wrapped(" Readiness        ", "38 of 100 · next: qd validate --deep, +4")
    assert max(map(len, lines)) <= width
    assert " ".join(" ".join(lines).split()) == "Readiness 38 of 100 · next: qd validate --deep, +4"


def test_columns_that_say_nothing_go_before_a_table_becomes_paragraphs():
    columns = ("NAME", "STATE", "PID", "RESTARTS", "AGE", "REASON")
    rows = [("analysts/analyst-0", "ready", "", "", "3m", ""), ("analysts/analyst-1", "ready", "", "", "5m", "")]
    assert drawn(40, columns, rows) == [
        "NAME                STATE  AGE",
        "analysts/analyst-0  ready  3m",
        "analysts/analyst-1  ready  5m",
    ]
    assert drawn(100, columns, rows)[0].endswith("REASON")
