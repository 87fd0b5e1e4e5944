"""The same on a terminal, through a pty: live tree, colour, NO_COLOR, dumb terminals, 40 columns."""

import json
import re

_SGR_COLOUR = re.compile(r"\x1b\[[0-9;]*(?:3[0-7]|9[0-7])[0-9;]*m")


def test_up_is_a_live_tree_that_is_redrawn(fake, terminal, documents):
    fake.statuses = [documents.status(3, "running")] * 3 + [documents.status()]
    code, written = terminal("up")
    assert code == 0
    assert "\x1b[1A" in written or re.search(r"\x1b\[\d*A", written)  # the cursor went up: redrawn in place
    assert _SGR_COLOUR.search(written)
    assert written.endswith("stop with qd down\r\n")
    assert "\x1b[?25h" in written  # the cursor is given back


def test_no_color_takes_colour_and_leaves_the_rest(fake, terminal):
    code, written = terminal("up", NO_COLOR="1")
    assert code == 0
    assert not _SGR_COLOUR.search(written)
    assert "✔" in written


def test_a_dumb_terminal_gets_plain_lines(fake, terminal):
    code, written = terminal("up", TERM="dumb")
    assert code == 0
    assert "\x1b" not in written
    assert " ✔ integration_validation         0.7 s  11 of 11 probes\r\n" in written


def test_progress_plain_on_a_terminal(fake, terminal):
    _, written = terminal("up", "--progress", "plain")
    assert not re.search(r"\x1b\[\d*A", written)
    assert "integration_validation         0.7 s" in written


def test_forty_columns(fake, terminal):
    code, written = terminal("up", columns=40, NO_COLOR="1")
    assert code == 0
    tree = written[written.index("infrastructure") : written.index(" Ready in")]
    assert max(len(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).rstrip()) for line in tree.splitlines()) <= 40


def test_tables_fold_in_forty_columns_and_lose_nothing(fake, terminal):
    code, written = terminal("get", "replicas", columns=40, NO_COLOR="1")
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written)
    assert code == 0
    assert max(map(len, plain.splitlines())) <= 40
    assert "…" not in plain


def test_a_table_that_does_not_fit_becomes_paragraphs(fake, terminal):
    _, written = terminal("get", "replicas", columns=40, NO_COLOR="1")
    assert "analysts/analyst-1\r\n  state starting · pid 101 · restarts 1\r\n" in written


def test_status_breaks_at_words_in_forty_columns(fake, terminal):
    code, written = terminal("status", columns=40, NO_COLOR="1")
    lines = written.splitlines()
    assert code == 0
    assert max(map(len, lines[1:])) <= 40
    assert "   38 of 100 · next: qd validate --deep," in lines or " Readiness        38 of 100 · next: qd" in lines


def test_an_answer_ends_with_the_next_command_on_a_terminal_and_not_in_a_pipe(fake, terminal, qd):
    for arguments in (("status",), ("get", "replicas"), ("plan",), ("validate",)):
        fake.answers["POST", "/v1/validate"] = {"ok": True, "items": []}
        _, written = terminal(*arguments, NO_COLOR="1")
        assert written.splitlines()[-1].startswith("next: qd "), arguments
        assert "next:" not in qd(*arguments).err, arguments
        assert "\nnext:" not in terminal(*arguments, "-q", NO_COLOR="1")[1], arguments


def test_each_replica_has_a_colour_of_its_own(fake, terminal, documents):
    lines = [{"replica": f"a/b-{n % 4}", "text": "x", "at": "2026-11-24T16:12:01Z"} for n in range(8)]
    fake.answers["GET", "/v1/logs"] = (200, tuple(f"data: {json.dumps(line)}\n\n" for line in lines))
    _, written = terminal("logs")
    colours = re.findall(r"\x1b\[([0-9;]+)ma/b-(\d)", written)
    assert len(set(colours)) == 4  # the same replica always in the same colour, no two in one
    assert "\x1b" not in terminal("logs", NO_COLOR="1")[1]
    assert "\x1b" not in terminal("logs", TERM="dumb")[1]


def test_states_are_coloured_and_named(fake, terminal):
    _, written = terminal("get", "replicas")
    assert re.search(r"\x1b\[32mready", written)
    assert "starting" in written


def test_plan_is_coloured(fake, terminal):
    _, written = terminal("plan")
    assert "\x1b[32m+ analysts\x1b[0m not there yet" in written


def test_ascii_terminals_keep_the_meaning(fake, terminal):
    _, written = terminal("up", PYTHONIOENCODING="ascii", PYTHONUTF8="0", NO_COLOR="1")
    assert " ok integration_validation" in written


def test_down_asks_for_the_name_on_a_terminal(fake, terminal, home):
    code, written = terminal("down", typed=b"no\n")
    assert code == 1
    assert "nothing was stopped" in written
    assert not home.stop_order.exists()
