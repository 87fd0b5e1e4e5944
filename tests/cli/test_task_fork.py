"""`qd task fork` against the fake: what is sent, what is shown of the plan and of both tasks, and how its wait ends."""

import pytest
from tests.cli.test_task import STREAM, TASK, task

FORK = "01M8HXFD25B4EETYEXX2273T99"
PATH = f"/v1/tasks/{TASK}/fork"
PLAN = {
    "apiVersion": "quarterdeck.dev/v1alpha1",
    "kind": "ForkPlan",
    "task": TASK,
    "step": "judge#1",
    "key": "INC-1~fork-1",
    "kept": [{"kind": "step", "name": "read#1"}, {"kind": "effect", "name": "pay \x1b[31mred"}],
    "again": [{"kind": "step", "name": "judge#1"}],
}


@pytest.fixture
def given(fake):
    fake.answers["POST", PATH] = {**task("queued", id=FORK, key="INC-1~fork-1"), "created": True}
    fake.answers["GET", f"/v1/tasks/{FORK}"] = task("done", id=FORK)
    fake.answers["GET", f"/v1/tasks/{FORK}/events"] = lambda *_: iter(one.replace(TASK, FORK) for one in STREAM)
    fake.answers["GET", "/v1/tasks/by-key"] = task("done")
    return fake


def test_the_new_task_is_printed_and_what_to_do_next(given, qd):
    ran = qd("task", "fork", "INC-1", "--from", "judge", "--key", "mine", "--reason", "mended")
    assert (ran.code, ran.out) == (0, f"task {FORK} queued · analysts/analyst\n")
    assert [body for _, body in given.asked("POST", PATH)] == [{"from": "judge", "key": "mine", "reason": "mended", "dry_run": False}]
    assert qd("task", "fork", TASK, "-o", "name").out == f"{FORK}\n"
    assert given.asked("POST", PATH)[1][1] == {"reason": "", "dry_run": False}


def test_what_to_do_next_is_said_on_a_terminal(given, terminal):
    code, written = terminal("task", "fork", TASK, columns=120)
    assert (code, f" qd task get {FORK} --tree" in written) == (0, True)


def test_waiting_is_for_the_new_task(given, qd):
    ran = qd("task", "fork", TASK, "--wait")
    assert (ran.code, ran.out.startswith(f"task {FORK} done in 1.8 s")) == (0, True)
    given.answers["GET", f"/v1/tasks/{FORK}"] = task("failed", id=FORK)
    assert qd("task", "fork", TASK, "--wait").code == 1


def test_a_rehearsal_shows_what_is_kept_and_steers_no_terminal(given, qd):
    given.answers["POST", PATH] = PLAN
    ran = qd("task", "fork", TASK, "--from", "judge", "--dry-run")
    assert ran.out.splitlines()[0] == f"task {TASK} would be run again from judge#1, as INC-1~fork-1"
    assert [line.split()[:2] for line in ran.out.splitlines()[1:]] == [["kept", "step"], ["kept", "effect"], ["again", "step"]]
    assert "\x1b" not in ran.out
    assert qd("task", "fork", TASK, "--dry-run", "--wait", "-o", "json").json == PLAN
    given.answers["POST", PATH] = {**PLAN, "step": None}
    assert "run again from the very beginning, as" in qd("task", "fork", TASK, "--dry-run").out


def test_both_tasks_tell_of_each_other(given, qd, documents):
    fork = task(id=FORK, forked_from={"task": TASK, "step": "judge#1"})
    given.answers["GET", f"/v1/tasks/{FORK}"] = fork
    given.answers["GET", f"/v1/tasks/{TASK}"] = task(forks=[FORK])
    given.answers["GET", f"/v1/tasks/{FORK}/tree"] = documents.listed([fork])
    assert f" Fork of   {TASK} from judge#1\n" in qd("task", "get", FORK).out
    assert f" Forks     {FORK}\n" in qd("task", "get", TASK).out
    assert f"   fork of {TASK} from judge#1" in qd("task", "get", FORK, "--tree").out.splitlines()
