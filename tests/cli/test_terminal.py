"""The same on a terminal, through a pty: live tree, colour, NO_COLOR, dumb terminals, 40 columns."""

import json
import re

import pytest

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
    assert max(map(len, lines)) <= 40
    assert "   38 of 100 · next: qd validate --deep," in lines or " Readiness        38 of 100 · next: qd" in lines


LONG = {
    "target": "analysts/analyst",
    "sentence": "5 of 5 ready, and a sentence that needs more room than that",
    "spec": {"run": "agents:analyst", "replicas": 5, "bounds": [5, 5]},
    "plan": [{"action": "change", "target": "analysts/analyst", "reason": "the code has changed and the old one drains"}],
    "conditions": [{"kind": "AgentAnswers", "target": "analysts/analyst", "status": "true", "message": "5 of 5 replicas, slowest 2.3 ms"}],
}


@pytest.mark.parametrize("columns", [20, 40])
@pytest.mark.parametrize("line", ["status", "plan", "explain analysts/analyst", "explain spec.clusters.agents.rollout.surge"])
def test_no_line_is_wider_than_a_narrow_terminal_and_no_word_is_lost(fake, terminal, documents, columns, line):
    journal = [documents.record(7)]
    fake.answers["GET", "/v1/explain"] = {**LONG, "journal": journal, "next": ["qd start cluster analysts and this stays whole"]}
    code, written = terminal(*line.split(), columns=columns)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", written).splitlines()
    commands = [one for one in lines if "qd start cluster" in one or one.startswith(("next: ", "      qd "))]
    assert code == 0
    assert {one for one in lines if len(one) > columns} <= set(commands), columns
    assert all(one.strip() for one in lines if not line.startswith("plan"))
    told = " ".join(" ".join(lines).split())
    for words in {"status": ("agents: 2 of 2 ready",), "plan": ("Plan: 3 to add, 0 to change",)}.get(line, ()):
        assert words in told
    if line == "explain analysts/analyst":
        assert "a sentence that needs more room than that" in told
        assert "the code has changed and the old one drains" in told


def test_the_plan_of_a_deployment_folds_too(fake, terminal):
    _, written = terminal("up", columns=40, NO_COLOR="1")
    (first,) = [line for line in written.splitlines() if line.startswith(" Plan: ")]
    assert len(first) <= 40


def test_what_is_watched_is_printed_when_a_column_changes_and_not_for_what_no_column_shows(fake, qd, documents, monkeypatch):
    def at(second, **more):
        items = [
            {**one, "handled": second, "lag_ms": second, "since": f"2026-11-24T16:12:{second:02}Z", **more} for one in documents.replicas
        ]
        return documents.listed(items)

    looks = [at(0), at(1), at(2), at(3, restarts=9), at(4, restarts=9)]

    def look(wire, *_, **__):
        if wire.place != fake.home:  # who listened in another test
            return {}
        if not looks:
            raise KeyboardInterrupt
        return looks.pop(0)

    monkeypatch.setattr("quarterdeck.client.wire.Wire.get", look)
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    ran = qd("get", "replicas", "--watch")
    assert ran.code == 130
    assert ran.out.count("NAME ") == 2
    assert " 9 " in ran.out


def test_a_watched_status_is_printed_when_a_line_of_it_changes(fake, qd, documents, monkeypatch):
    def at(second, *, done=7):
        proof = {"name": "links carry messages", "status": "passed", "evidence": f"{second} ms", "age_seconds": second}
        return {**documents.status(done), "validation": [proof], "index": second, "limits": {"journal": {"records": second}}}

    looks = [at(1, done=6), at(2, done=6), at(3), at(4), at(5)]

    def look(wire, *_, **__):
        if wire.place != fake.home:  # who listened in another test
            return {}
        if not looks:
            raise KeyboardInterrupt
        return looks.pop(0)

    monkeypatch.setattr("quarterdeck.client.wire.Wire.get", look)
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    assert qd("status", "--watch").out.count(" triage is ") == 2


def test_an_empty_or_failed_answer_ends_with_the_next_command_too(fake, terminal, documents):
    for noun in ("tasks", "messages", "changes", "effects", "questions", "tokens", "budgets", "links", "replicas"):
        fake.answers["GET", f"/v1/{noun}"] = {**documents.listed([]), "next": None}
        _, written = terminal("get", noun, NO_COLOR="1")
        assert written.splitlines()[-1].startswith("next: qd "), noun
    _, written = terminal("context", "list", NO_COLOR="1")
    assert written.splitlines()[-1] == "next: qd context add NAME"
    fake.answers["POST", "/v1/ask"] = documents.refused("Terminal", 500, 1, "'x' is no verb of this agent")
    code, written = terminal("ask", "analysts/analyst", "x", NO_COLOR="1")
    assert (code, written.splitlines()[-1]) == (1, "hint: qd explain analysts/analyst · qd logs analysts/analyst")


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
