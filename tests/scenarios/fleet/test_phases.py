"""A deployment that fails in each of its phases, on real processes: it says where and why, keeps what was done, and goes on once mended."""

import os
import sqlite3
import subprocess
from contextlib import closing, contextmanager

import pytest

from quarterdeck.model.steps import PHASES


def no_table(fleet):
    """The node cannot keep what it is given."""
    (fleet.home.node / "table.json" / "x").mkdir(parents=True)
    return {}, lambda: ((fleet.home.node / "table.json" / "x").rmdir(), (fleet.home.node / "table.json").rmdir())


def altered_journal(fleet):
    """Somebody changed a record of an earlier deployment."""
    fleet.up()
    assert fleet.qd("down", "--yes").code == 0

    def write(reason):
        with closing(sqlite3.connect(fleet.home.database)) as db, db:
            db.execute("update journal set reason = ? where seq = 3", (reason,))

    with closing(sqlite3.connect(fleet.home.database)) as db:
        ((before,),) = db.execute("select reason from journal where seq = 3")
    write("another one")
    return {}, lambda: write(before)


def no_server(fleet):
    """There is no program for the bus."""
    del fleet
    return {"QUARTERDECK_NATS_SERVER": "/bin/true"}, lambda: None


def no_logs(fleet):
    """Where the logs of the system should go there is a file."""
    fleet.home.logs.mkdir(parents=True)
    (fleet.home.logs / "trio").write_text("")
    return {}, (fleet.home.logs / "trio").unlink


def mute(fleet):
    """An agent that starts well and holds its event loop as soon as it is asked whether it answers."""
    hold = "import time\n\nfrom quarterdeck.agents import desk\n\ndesk.Desk._reserved = lambda *_: time.sleep(600)\n"
    good = (fleet.folder / "clerk.py").read_text()
    (fleet.folder / "clerk.py").write_text(good.replace("import socket", f"import socket\n{hold}"))
    spec = fleet.spec.read_text()
    fleet.spec.write_text(spec.replace("hang_after: 2s", "hang_after: 10m"))
    return {}, lambda: (fleet.spec.write_text(spec), (fleet.folder / "clerk.py").write_text(good))


@pytest.mark.parametrize(
    ("number", "fault", "status", "told"),
    [
        (1, no_table, "running", "node"),
        (3, no_server, "failed", "/bin/true is no nats-server: --version says 'true (GNU coreutils)"),
        (6, no_logs, "running", "waiting for"),
        (7, mute, "running", "waiting for edge/clerk (edge/clerk-0 _ping: no answer within 5 s)"),
    ],
)
def test_a_deployment_that_does_not_get_past_a_phase_says_what_holds_it_and_gets_there_once_mended(fleet, number, fault, status, told):
    """What was refused has failed; what cannot be told yet is waited for, as long as `--timeout` says."""
    environment, mend = fault(fleet)
    ran = fleet.qd("up", "--timeout", "9s", **environment)
    print(ran)
    assert ran.code == (1 if status == "failed" else 5), ran
    document = fleet.status()
    phases = document["phases"]
    assert [p["status"] for p in phases[:number]] == ["done"] * (number - 1) + [status], phases
    assert told in f"{phases[number - 1]['message']} {document['sentence']}"
    if status == "failed":
        assert document["failure"]["completed"] == list(PHASES[: number - 1])
        assert f"Failed in phase {number} of 7" in ran.out
    mend()
    assert fleet.qd("down", "--yes").code == 0
    fleet.up()


def test_a_journal_that_was_altered_starts_nothing_and_says_which_record_it_is(fleet):
    environment, mend = altered_journal(fleet)
    ran = fleet.qd("up", **environment)
    assert (ran.code, "journal record 3 does not match its hash" in ran.err) == (1, True), ran
    mend()
    fleet.up()


LINK = "    - {from: edge, to: core, timeout: 2s, attempts: 3}"


@contextmanager
def read_only(folder):
    """The folder can be read and not be written, as on a disk that has failed."""
    if os.getuid() != 0:
        pytest.skip("mounting takes root")
    if subprocess.run(["mount", "--bind", folder, folder], capture_output=True, check=False).returncode != 0:
        pytest.skip("nothing can be mounted here")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_link_that_the_bus_refuses_fails_phase_4_keeps_what_was_done_and_is_opened_once_the_bus_takes_it(fleet):
    """The bus keeps its accounts in a folder: where that cannot be written any more, what is there works on and nothing can be added."""
    fleet.edit("quarterdeck.yaml", f"  links:\n{LINK}\n", "")
    fleet.up()
    before = {name: replica["pid"] for name, replica in fleet.replicas().items()}
    fleet.spec.write_text(f"{fleet.spec.read_text()}  links:\n{LINK}\n")
    fleet.edit("worker.py", 'return "one"', 'return "two"')
    with read_only(fleet.home.bus / "accounts"):
        ran = fleet.qd("up", "--timeout", "9s")
        print(ran)
        assert (ran.code, "Failed in phase 4 of 7; phases 1-3 are complete and kept" in ran.out) == (1, True), ran
        assert "edge->core: the bus refused CLAIMS.UPDATE" in ran.out, ran
        assert "read-only file system" in ran.out, ran
        document = fleet.status()
        assert [p["status"] for p in document["phases"]] == ["done"] * 3 + ["failed"] + ["pending"] * 3, document["phases"]
        failure = document["failure"]
        assert (failure["step"], failure["completed"], failure["resume"]) == ("EnsureLink", list(PHASES[:3]), "resumes at phase 4")
        assert {name: replica["pid"] for name, replica in fleet.replicas().items()} == before
        assert fleet.ask("core/worker", "version") == "one", "the earlier revision serves"
        assert [link["open"] for link in fleet.items("links")] == [False]
    fleet.ready()
    assert fleet.ask("edge/front", "through") == "two"
