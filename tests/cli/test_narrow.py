"""Narrow terminals: no word is broken, commands to be copied stay whole, and the caret of a problem stays at its column."""

import re

import pytest
from tests.cli.test_hints import PROOF
from tests.cli.test_task import CHILD, TASK, task

from quarterdeck.cli.complain import fitted
from quarterdeck.cli.screen import Screen

LINE = '        analyst: {run: "agents:analyst", replicas: {min: 2, max: 6}, rollout: {surgge: 1, drain: 200ms}}'
PROBLEM = f"""quarterdeck.yaml:9:81: unknown field "surgge" [E1201]
    9 | {LINE}
      | {" " * LINE.index("surgge")}^
    did you mean "surge"? allowed: surge, missing, drain, ready_within, budget"""


def plain(written):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written).splitlines()


def above_next(lines):
    """What stands above the commands at the end, which stay whole."""
    return lines[: next((n for n, line in enumerate(lines) if line.startswith("next: ")), len(lines))]


def words(lines):
    return " ".join(" ".join(lines).split())


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_a_tree_of_tasks_folds_at_words(fake, terminal, columns):
    child = task(
        "dead",
        id=CHILD,
        parent=TASK,
        key="a key of some length",
        reason="the bank did not answer in time, and nobody knows whether it paid",
    )
    fake.answers["GET", f"/v1/tasks/{TASK}/tree"] = {"kind": "TaskTree", "items": [task(key=None), child]}
    _, written = terminal("task", "get", TASK, "--tree", columns=columns, NO_COLOR="1")
    lines = above_next(plain(written))
    assert max(map(len, lines)) <= columns
    assert "the bank did not answer in time" in words(re.sub(r"^[ │├└─]+", "", line) for line in lines)


@pytest.mark.parametrize("columns", [40, 80])
def test_the_history_of_a_task_folds_at_words(fake, terminal, columns):
    event = {"sequence": 1, "task": TASK, "event": "claim", "time": "2026-11-24T16:12:01.000Z", "actor": "analysts/analyst-0#1", "fence": 1}
    items = [{**event, "detail": {"attempt": 1, "why": "the one before was killed in the middle of its third window"}}]
    fake.answers["GET", f"/v1/tasks/{TASK}/history"] = {"kind": "List", "items": items, "next": None}
    _, written = terminal("task", "history", TASK, columns=columns, NO_COLOR="1")
    lines = above_next(plain(written))
    assert max(map(len, lines)) <= columns
    assert "the one before was killed in the middle of its third window" in words(lines)


@pytest.mark.parametrize("columns", [40, 80])
def test_the_proof_of_a_stop_and_the_readiness_fold_at_words(fake, terminal, columns):
    claim = {
        "claim": "connections of its users to the bus",
        "source": "bus $SYS CONNZ",
        "found": 0,
        "evidence": "looked at every connection",
    }
    fake.answers["POST", "/v1/stops"] = {**PROOF, "sources": [*PROOF["sources"], claim]}
    _, written = terminal("stop", "agent", "analysts/analyst", "--reason", "x", columns=columns, NO_COLOR="1")
    lines = plain(written)
    assert max(map(len, lines)) <= columns
    assert "bus $SYS CONNZ: looked at every connection" in words(lines)
    following = ("qd validate --deep, +4", "give a task whose agent calls ctx.effect: qd task submit --help, +8")
    fake.answers["POST", "/v1/validate"] = {"ok": True, "items": [], "readiness": {"score": 34, "next": following}}
    lines = plain(terminal("validate", columns=columns, NO_COLOR="1")[1])
    assert max(map(len, lines)) <= columns
    assert "readiness 34 of 100 (next: qd validate --deep, +4 · give a task" in words(lines)


def test_what_up_says_at_its_end_folds_and_its_commands_stay_whole(fake, terminal, documents):
    weak = ["unsandboxed: this kernel has no Landlock", "no memory limit: cgroup v2 is not delegated to this user"]
    fake.statuses = [{**documents.status(), "weakenings": weak}]
    _, written = terminal("up", columns=40, NO_COLOR="1")
    lines = plain(written)
    start = next(n for n, line in enumerate(lines) if line.startswith(" Ready in "))
    told = [line for line in lines[start:] if "Dashboard" not in line]
    assert max(map(len, told)) <= 40
    assert "no memory limit: cgroup v2 is not delegated to this user" in words(told)
    assert {" Next      qd status", "           qd logs -f"} <= {line.rstrip() for line in told}


def test_the_version_folds(fake, terminal):
    lines = plain(terminal("version", columns=40, NO_COLOR="1")[1])
    assert max(map(len, lines[:-1])) <= 40


def test_a_wait_in_vain_folds(fake, terminal, documents):
    waiting = documents.status(4, "running")
    waiting["phases"][4]["message"] = "no replica of analysts/analyst has asked for work for as long as we looked"
    fake.statuses = [waiting]
    lines = plain(terminal("up", "--timeout", "200ms", "--progress", "plain", columns=40, NO_COLOR="1")[1])
    start = next(n for n, line in enumerate(lines) if line.startswith(" Not ready after"))
    assert max(map(len, lines[start:])) <= 40
    assert "no replica of analysts/analyst has asked for work for as long" in words(lines[start:])


@pytest.mark.parametrize("columns", [30, 40, 60, 80, 200])
def test_the_caret_points_at_the_same_word_however_narrow_the_terminal(columns, tmp_path):
    with (tmp_path / "out").open("w") as out:
        lines = fitted(PROBLEM.splitlines(), Screen(out, width=columns))
    assert max(map(len, lines)) <= columns
    (number,) = [n for n, line in enumerate(lines) if re.fullmatch(r" +\| +\^", line)]
    column = lines[number].index("^")
    assert lines[number - 1][column:].startswith("surgge"[: columns - column])
    assert lines[number - 1].startswith("    9 | ")
    assert 'unknown field "surgge" [E1201]' in words(lines)


def test_the_errors_of_a_spec_fit_the_terminal(fake, terminal, documents):
    code, answer = documents.refused("SpecError", 422, 1, "quarterdeck.yaml: 1 problem, nothing applied")
    answer["error"]["problems"] = [PROBLEM]
    fake.answers["POST", "/v1/plan"] = (code, answer)
    lines = plain(terminal("plan", columns=40, NO_COLOR="1")[1])
    assert max(len(line) for line in lines if not line.startswith("hint: ")) <= 40
