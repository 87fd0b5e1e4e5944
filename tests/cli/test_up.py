"""`qd up` against the fake: the transcript, failures, time, programs, interruption."""

import json
import re
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from quarterdeck.cli.progress import told_meanwhile

GOLDEN = """\
 Quarterdeck 0.1.0 · local engine · home {home}
 Plan: 1 cluster, 2 replicas, 1 link to create
 ✔ infrastructure_provisioning    0.1 s  3 namespaces
 ✔ control_plane_deployment       0.2 s  revision 1
 ✔ data_plane_deployment          0.3 s  probe 0.6 ms
 ✔ service_mesh_configuration     0.4 s  2 links open
 ✔ agent_cluster_deployment       0.5 s  2 of 2 replicas answering
 ✔ observability_stack_setup      0.6 s  log lines arriving
 ✔ integration_validation         0.7 s  11 of 11 probes
 Ready in N s · readiness 38 of 100 (next: qd validate --deep, +4)
 Weakened  unsandboxed; cgroup v1
 Dashboard http://127.0.0.1:7410/login?once=x   (link logs you in once)
 Next      qd status · qd explain analysts/analyst · qd logs -f · stop with qd down
"""


def test_the_seven_phases_are_shown_as_they_end(fake, qd, documents, home):
    fake.statuses = [documents.status(n, "running") for n in range(7)] + [documents.status()]
    ran = qd("up")
    assert (ran.code, ran.err) == (0, "")
    assert re.sub(r"Ready in \d+\.\d s", "Ready in N s", ran.out) == GOLDEN.format(home=home.root)


def test_a_spec_whose_code_takes_long_to_import_is_not_waited_for_in_silence(fake, qd, monkeypatch):
    said = threading.Event()
    answer = fake.answers["POST", "/v1/apply"]
    monkeypatch.setattr("quarterdeck.cli.up.told_meanwhile", partial(told_meanwhile, every=0.01))
    monkeypatch.setattr("quarterdeck.cli.up.Up._mutter", lambda run, words: (run.session.say(words), said.set()))
    fake.answers["POST", "/v1/apply"] = lambda *_: (200, answer) if said.wait(10) else (500, {})
    ran = qd("up")
    assert ran.code == 0
    assert ran.err.startswith(" … reading quarterdeck.yaml and the code that it names, 0 s so far\n")


def test_one_question_plans_and_applies(fake, qd):
    qd("up")
    assert len(fake.asked("POST", "/v1/apply")) == 1
    assert not fake.asked("POST", "/v1/plan")


def test_an_apply_whose_engine_could_not_be_asked_has_no_plan_to_show(fake, qd, documents):
    fake.answers["POST", "/v1/apply"] = {**documents.applied(), "plan": None}
    fake.statuses = [documents.status(3, "running"), documents.status()]
    ran = qd("up")
    assert (ran.code, ran.err) == (0, "")
    assert "Plan:" not in ran.out
    assert " ✔ integration_validation " in ran.out


def test_warnings_of_the_spec_come_before_the_phases(fake, qd, documents):
    fake.answers["POST", "/v1/apply"] = {**documents.applied(), "warnings": ["f.yaml:1:2: odd\n  1 | x\n    | ^"]}
    assert qd("up").err == "warning: f.yaml:1:2: odd\n  1 | x\n    | ^\n"


def test_only_named_variables_leave_the_environment(fake, qd, monkeypatch):
    monkeypatch.setenv("PAGER_KEY", "k")
    monkeypatch.setenv("OTHER", "private")
    qd("up")
    (_, body), *_ = fake.asked("POST", "/v1/apply")
    assert body["environ"] == {"PAGER_KEY": "k"}
    assert body["filename"] == "quarterdeck.yaml"
    assert body["base"] == str(Path.cwd())


def test_an_old_revision_that_is_ready_is_not_taken_for_the_new_one(fake, qd, documents):
    fake.answers["POST", "/v1/apply"] = documents.applied(2)
    fake.statuses = [documents.status(revision=1)] * 3 + [documents.status(revision=2)]
    assert qd("up").code == 0
    assert len(fake.asked("GET", "/v1/status")) >= 4


def test_nothing_to_change_says_so(fake, qd, documents):
    fake.answers["POST", "/v1/apply"] = documents.applied(3, [], created=False)
    fake.statuses = [documents.status(revision=3)]
    ran = qd("up")
    assert ran.code == 0
    assert " Nothing to change: revision 3 is deployed and ready\n" in ran.out
    assert "infrastructure_provisioning" not in ran.out


def test_a_failed_phase_is_named_with_what_to_do(fake, qd, documents):
    fake.statuses = [documents.status(4, "failed", failure=documents.failure)]
    fake.statuses[0]["phases"][4]["message"] = documents.failure["target"] + ": " + documents.failure["cause"]
    ran = qd("up")
    assert ran.code == 1
    tail = ran.out.splitlines()[-3:]
    assert tail == [
        " ✘ agent_cluster_deployment      analysts/analyst: 0 of 2 answering: ImportError: No module named 'pandas' (agents.py:4)",
        " Failed in phase 5 of 7; phases 1-4 are complete and kept. 6 replicas of other agents are running.",
        (
            " Do: add pandas to requirements and install it where qd runs, then qd up (resumes at phase 5)"
            " · qd logs analysts/analyst-0 --previous · qd explain analysts/analyst · qd down"
        ),
    ]


def test_beneath_a_failure_stands_what_a_replica_wrote_last(fake, qd, documents):
    def line(n, stream, text):
        return f"event: line\ndata: {json.dumps({'replica': f'analysts/analyst-{n}', 'stream': stream, 'text': text})}\n\n"

    said = [line(0, "err", "of the other"), *(line(1, "err", f"frame {n}") for n in range(9)), line(1, "out", "on stdout")]
    said += [line(1, "err", "ImportError: \x1b[31mno\x1b[0m pandas"), "event: end\ndata: {}\n\n"]
    fake.answers["GET", "/v1/logs"] = (200, tuple(said))
    fake.statuses = [documents.status(4, "failed", failure=documents.failure)]
    lines = qd("up").out.splitlines()
    begun = next(n for n, one in enumerate(lines) if one.startswith(" Failed in phase"))
    assert lines[begun + 1 : -1] == [
        *(f"   analysts/analyst-1 | frame {n}" for n in range(4, 9)),
        "   analysts/analyst-1 | ImportError: no pandas",
    ]
    assert lines[-1].startswith(" Do: ")
    ((query, _),) = fake.asked("GET", "/v1/logs")
    assert (query["system"], query["target"]) == ("triage", "analysts/analyst")


def test_a_failure_that_passes_is_not_reported(fake, qd, documents):
    fake.statuses = [documents.status(4, "failed", failure=documents.failure)] * 3 + [documents.status()]
    assert qd("up").code == 0


def test_time_is_up(fake, qd, documents):
    fake.statuses = [documents.status(2, "running")]
    ran = qd("up", "--timeout", "300ms")
    assert ran.code == 5
    assert "Not ready after 0 s: agents: 0 of 2 ready, starting 2" in ran.out


def test_json_progress_is_one_object_a_line_and_the_status_at_the_end(fake, qd, documents):
    fake.statuses = [documents.status(3, "running"), documents.status()]
    lines = [json.loads(line) for line in qd("up", "--progress", "json").out.splitlines()]
    assert {line["kind"] for line in lines[:-1]} == {"Phase"}
    assert [(line["name"], line["status"]) for line in lines if line.get("name") == "service_mesh_configuration"] == [
        ("service_mesh_configuration", "running"),
        ("service_mesh_configuration", "done"),
    ]
    assert (lines[-1]["kind"], lines[-1]["ready"]) == ("Status", True)


def test_o_json_is_the_status_document_alone(fake, qd):
    ran = qd("up", "-o", "json")
    assert ran.json["kind"] == "Status"
    assert ran.err == ""


def test_quiet_says_nothing_when_all_is_well(fake, qd):
    ran = qd("up", "-q")
    assert (ran.code, ran.out, ran.err) == (0, "", "")


def test_quiet_still_tells_a_failure(fake, qd, documents):
    fake.statuses = [documents.status(4, "failed", failure=documents.failure)]
    ran = qd("up", "--quiet")
    assert (ran.code, ran.out) == (1, "")
    assert "Failed in phase 5 of 7" in ran.err


def test_a_bad_spec_shows_every_problem_on_stderr(fake, qd, documents):
    problems = [
        'quarterdeck.yaml:3:5: unknown field "agnets"\n    3 | agnets:\n      | ^\n    did you mean "agents"?',
        "quarterdeck.yaml:9:1: second",
    ]
    fake.answers["POST", "/v1/apply"] = documents.refused(
        "SpecError", 422, 1, "2 problems in quarterdeck.yaml", problems=problems, hint="mend the file"
    )
    ran = qd("up")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("error: 2 problems in quarterdeck.yaml [E1010]\n\nquarterdeck.yaml:3:5:")
    assert "      | ^\n" in ran.err
    assert ran.err.endswith("quarterdeck.yaml:9:1: second\nhint: mend the file\n")
    assert not fake.asked("GET", "/v1/status")


def test_the_world_moved(fake, qd, documents):
    moved = documents.refused("Conflict", 409, 1, "the world moved from 41 to 44", hint="qd plan again", code="E1501")
    fake.answers["POST", "/v1/apply"] = moved
    ran = qd("up", "--index", "41")
    assert ran.code == 1
    assert fake.asked("POST", "/v1/apply")[0][1]["index"] == 41
    assert "error: the world moved from 41 to 44 [E1501]\nhint: qd plan again\n" in ran.err


@pytest.mark.parametrize(("option", "variable"), [("7500", ""), ("", "7500"), ("7500", "7410")])
def test_a_port_that_the_running_control_plane_does_not_have_is_said_to_be_ignored(fake, qd, monkeypatch, option, variable):
    fake.answers["GET", "/v1/version"]["url"] = "http://127.0.0.1:7410"
    monkeypatch.setenv("QUARTERDECK_PORT", variable)
    ran = qd("up", *(["--port", option] if option else []))
    assert ran.code == 0
    assert ran.err == (
        "warning: port 7500 is not used: the control plane runs on port 7410 already; qd down, then qd up --port 7500 changes it\n"
    )
    assert qd("up", "--port", "7500", "--quiet").err == ""


@pytest.mark.parametrize(("option", "variable"), [("7410", "7500"), ("", "7410"), ("0", "7500"), ("", "0"), ("", "")])
def test_a_port_that_fits_is_not_talked_about(fake, qd, monkeypatch, option, variable):
    fake.answers["GET", "/v1/version"]["url"] = "http://127.0.0.1:7410"
    monkeypatch.setenv("QUARTERDECK_PORT", variable)
    assert qd("up", *(["--port", option] if option else [])).err == ""


def test_no_file(fake, qd):
    ran = qd("up", "nothing.yaml")
    assert ran.code == 3
    assert ran.err.startswith("error: there is no file nothing.yaml [E1003]\n")
    assert not fake.requests


def test_up_lifts_the_order_to_stay_down(fake, qd, home):
    home.stop_order.write_bytes(b"1" + b"0" * 4095)
    assert qd("up").code == 0
    assert home.stop_order.read_bytes() == b"0" * 4096


def test_a_control_plane_that_restarts_is_a_pause(fake, qd, documents):
    fake.statuses = [documents.status(2, "running")]

    def restart():
        while len(fake.asked("GET", "/v1/status")) < 3:
            pass
        fake.stop()
        fake.statuses = [documents.status()]
        fake.start()

    threading.Thread(target=restart, daemon=True).start()
    assert qd("up").code == 0


def test_ctrl_c_leaves_the_deployment_running(fake, documents, until):
    fake.statuses = [documents.status(2, "running")]
    process = subprocess.Popen(
        [sys.executable, "-m", "quarterdeck.cli.main", "up"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until(lambda: len(fake.asked("GET", "/v1/status")) > 2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "the deployment goes on" in err
    assert "Traceback" not in err
    assert not fake.asked("POST", "/v1/down")


@pytest.fixture
def watching(fake, until, tmp_path):
    """`qd up --watch`: saves the code, and gives what was said in all once that was dealt with."""
    out, err = tmp_path.parent / f"{tmp_path.name}.out", tmp_path.parent / f"{tmp_path.name}.err"
    with out.open("w") as said, err.open("w") as told:
        process = subprocess.Popen([sys.executable, "-m", "quarterdeck.cli.main", "up", "--watch"], stdout=said, stderr=told)
    rounds = iter(range(1, 99))

    def save(text=None):
        if text is not None:
            (tmp_path / "agents.py").write_text(text)
        done = next(rounds)
        until(lambda: err.read_text().count(" Watching ") == done)
        return out.read_text(), err.read_text()

    yield save
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 130


def test_watch_deploys_again_on_save_and_keeps_serving_after_a_bad_one(fake, documents, watching):
    watching()
    good = fake.answers["POST", "/v1/apply"]
    fake.answers["POST", "/v1/apply"] = documents.refused("SpecError", 422, 1, "1 problem", problems=["quarterdeck.yaml:1:1: no"])
    assert "revision 1 is still serving" in watching("broken")[1]
    fake.statuses[-1] |= {"ready": False, "sentence": "agents: 0 of 2 ready"}
    watching("broken again")
    fake.statuses[-1] |= {"ready": True}
    fake.answers["POST", "/v1/apply"] = good
    out, err = watching("good again")
    assert len(fake.asked("POST", "/v1/apply")) == 4
    assert out.count(" Ready in") == 2
    assert "quarterdeck.yaml:1:1: no" in err
    assert "revision 1 is wanted, and is not ready (agents: 0 of 2 ready)" in err


def test_watch_gives_one_link_to_log_in_with_however_often_it_is_saved(fake, documents, watching):
    """Each is a token and a record in the journal."""
    good = fake.answers["POST", "/v1/apply"]
    watching()
    fake.answers["POST", "/v1/apply"] = documents.refused("SpecError", 422, 1, "1 problem", problems=["quarterdeck.yaml:1:1: no"])
    watching("wrong")
    fake.answers["POST", "/v1/apply"] = good
    out, _ = [watching(text) for text in ("two", "three")][-1]
    assert out.count(" Ready in") == 3
    assert out.count(" Dashboard ") == 1
    assert len(fake.asked("POST", "/v1/login")) == 1
