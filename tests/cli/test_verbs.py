"""The other verbs against the fake: shapes, words on stderr."""

import json
import threading
import time

import pytest

from quarterdeck.cli.get import following
from quarterdeck.cli.render import clock_time
from quarterdeck.clock import SystemClock
from quarterdeck.version import VERSION


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--for", "condition=Ready"), 0),
        (("analysts/analyst-0", "--for", "ready"), 0),
        (("analysts/analyst-0", "--for", "condition=ready"), 0),
        (("analysts/analyst-0",), 0),
        (("analysts/analyst-1", "--for", "starting"), 0),
        (("triage:", "--for", "ready"), 0),
        (("triage:", "--for", "starting"), 2),
        (("analysts/analyst", "--for", "ready", "--timeout", "50ms"), 5),
        (("analysts", "--for", "ready", "--timeout", "50ms"), 5),
        (("analysts/analyst-7", "--timeout", "50ms"), 5),
        (("nope/x",), 3),
        (("--for", "analysts/analist=ready"), 3),
    ],
)
def test_wait_for_a_target(fake, qd, arguments, code):
    assert qd("wait", *arguments).code == code


def test_wait(fake, qd, documents):
    fake.statuses = [documents.status(3, "running")] * 2 + [documents.status()]
    assert qd("wait", "--for", "ready").code == 0
    assert qd("wait", "--for", "analysts/analyst-0=ready").code == 0
    ran = qd("wait", "--for", "analysts/analyst=ready", "--timeout", "200ms")
    assert ran.code == 5
    assert "ready, starting" in ran.err


def test_who_waits_looks_again_when_there_is_news_and_seldom_else(fake, qd, documents):
    """The stream of the journal tells it; without one it looks ten times a second."""
    happened = threading.Event()

    def journal(query, body, headers):
        if "text/event-stream" not in headers.get("accept", ""):
            return {"items": [{"seq": 7}]}
        assert query["after"] == "7"
        return stream()

    def stream():
        time.sleep(1.2)
        fake.statuses = [documents.status()]
        happened.set()
        yield 'id: 8\nevent: record\ndata: {"seq": 8}\n\n'
        time.sleep(3)

    fake.answers["GET", "/v1/journal"] = journal
    fake.statuses = [documents.status(3, "running")]
    began = time.monotonic()
    assert qd("wait").code == 0
    assert happened.is_set()
    assert time.monotonic() - began < 1.6
    assert len(fake.asked("GET", "/v1/status")) <= 6


def test_a_program_is_told_what_was_waited_for_and_how_long(fake, qd, documents):
    fake.statuses = [documents.status(3, "running"), documents.status()]
    whole = qd("wait", "-o", "json").json
    assert whole.pop("seconds") >= 0.1
    kind = {"apiVersion": "quarterdeck.dev/v1alpha1", "kind": "Wait"}
    assert whole == {**kind, "for": "ready", "target": "triage:", "state": "ready"}
    one = qd("wait", "--for", "analysts/analyst-1=starting", "-o", "json").json
    assert one.pop("seconds") < 10
    assert one == {**kind, "for": "analysts/analyst-1=starting", "target": "analysts/analyst-1", "state": "starting"}
    assert qd("wait", "-o", "name").out == "triage:\n"
    assert qd("wait").out == ""
    late = qd("wait", "analysts/analyst", "--timeout", "50ms", "-o", "json")
    assert (late.code, late.out) == (5, "")


def test_validate(fake, qd):
    items = [{"name": "links", "status": "passed", "evidence": "4 ms", "age_seconds": 1.2}]
    fake.answers["POST", "/v1/validate"] = {"kind": "Validation", "items": items, "readiness": {"score": 40, "next": []}, "ok": True}
    ran = qd("validate", "--deep")
    assert fake.asked("POST", "/v1/validate")[0][1] == {"deep": True}
    assert (ran.code, ran.out) == (0, "CHECK  STATUS  AGE  EVIDENCE\nlinks  passed  1 s  4 ms\nreadiness 40 of 100\n")
    fake.answers["POST", "/v1/validate"] = {"kind": "Validation", "items": items, "readiness": {}, "ok": False}
    assert qd("validate").code == 1


def test_ask(fake, qd):
    fake.answers["POST", "/v1/ask"] = lambda _, body, __: {"reply": body["payload"], "from": "collectors/intake-0", "ms": 1.5}
    ran = qd("ask", "collectors/intake", "submit", '{"a": [1]}')
    assert (ran.code, json.loads(ran.out), ran.err) == (0, {"a": [1]}, "collectors/intake-0 answered in 1.5 ms\n")
    ran = qd("ask", "collectors/intake", "submit", "hello")
    assert ran.code == 2
    assert "not JSON" in ran.err


@pytest.mark.parametrize(
    ("digests", "current", "possible"),
    [("a", 1, False), ("ab", 2, True), ("ab", 1, False), ("aa", 2, False), ("aba", 3, True)],
)
def test_going_back_is_recommended_only_where_there_is_something_to_go_back_to(digests, current, possible):
    items = [{"number": n, "current": n == current, "digest": digest} for n, digest in enumerate(digests, 1)]
    assert ("qd rollback" in following("revisions", items[::-1])) == possible


def test_history_and_rollback(fake, qd, documents):
    fake.answers["GET", "/v1/revisions"] = documents.listed(
        [{"number": 1, "current": True, "at": "2026-11-24T16:12:01Z", "actor": "uid:0", "code": "3f9c", "reason": "first"}]
    )
    assert qd("history").out.splitlines()[1].split() == ["1", "true", "2026-11-24", "16:12:01.000", "uid:0", "3f9c", "first"]
    fake.answers["POST", "/v1/rollback"] = {"kind": "Revision", "system": "triage", "number": 2}
    fake.statuses = [documents.status(4, "running", revision=2), documents.status(revision=2)]
    ran = qd("rollback", "1", "--reason", "errors")
    assert fake.asked("POST", "/v1/rollback")[0][1] == {"to": 1, "reason": "errors"}
    assert ran.code == 0
    assert "✔ integration_validation" in ran.out
    assert qd("rollback", "1", "--no-wait", "-o", "json").json["number"] == 2


def test_a_dry_rollback_prints_its_plan_and_waits_for_nothing(fake, qd, documents):
    fake.answers["POST", "/v1/rollback"] = documents.plan(documents.steps[2:])
    ran = qd("rollback", "1", "--dry-run")
    assert fake.asked("POST", "/v1/rollback")[0][1] == {"to": 1, "dry_run": True}
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == ("agent_cluster_deployment\n  + analysts/analyst 2 replicas\n\nPlan: 1 to add, 0 to change, 0 to remove · index 41\n")
    assert qd("rollback", "--dry-run", "-o", "json").json["kind"] == "Plan"
    assert not fake.asked("GET", "/v1/status")


def test_logs_end_and_hostile_text_steers_no_terminal(fake, qd):
    lines = [
        {"replica": "a/b-0", "at": 1.0, "stream": "stdout", "text": "plain \x1b[31mred\x1b[0m \x1b]0;title\x07 \x9b2J bell\x07 \u202e"}
    ]
    fake.answers["GET", "/v1/logs"] = lambda *_: iter(
        [*(f"event: line\ndata: {json.dumps(one)}\n\n" for one in lines), "event: end\ndata: {}\n\n"]
    )
    ran = qd("logs", "a/b", "--since", "10m", "--previous", "--tail", "5")
    assert ran.out == "a/b-0 | plain red  \ufffd2J bell\ufffd \ufffd\n"
    assert fake.asked("GET", "/v1/logs")[0][0] == {"target": "a/b", "since": "600.0", "tail": "5", "previous": "true"}
    assert json.loads(qd("logs", "-o", "json").out) == {"apiVersion": "quarterdeck.dev/v1alpha1", "kind": "LogLine", **lines[0]}


def test_journal_in_order(fake, qd, documents):
    fake.answers["GET", "/v1/journal"] = documents.listed([documents.record(3), documents.record(2)])
    ran = qd("journal", "--limit", "2")
    assert [line.split()[0] for line in ran.out.splitlines()] == ["SEQ", "2", "3"]
    assert fake.asked("GET", "/v1/journal")[0][0] == {"limit": "2", "newest": "true"}
    item = qd("journal", "-o", "json").json["items"][0]
    assert item == documents.record(2)


def test_no_output_and_no_record_are_told_apart_from_nothing_deployed(fake, qd, documents):
    fake.answers["GET", "/v1/logs"] = lambda *_: iter(["event: end\ndata: {}\n\n"])
    assert (qd("logs", "a/b").out, qd("logs", "a/b").err) == ("", "no output yet; qd logs -f waits for it\n")
    assert qd("logs", "a/b", "--since", "1m").err == "no such line\n"
    assert qd("logs", "a/b", "--tail", "0").err == ""
    fake.answers["GET", "/v1/journal"] = documents.listed([])
    assert "qd up deploys" in qd("journal").err
    assert qd("journal", "--verb", "nonsense").err == "no record is like that; qd journal shows them all\n"


def test_an_export_that_cannot_be_written_is_no_traceback(fake, qd, tmp_path):
    fake.answers["GET", "/v1/journal/export"] = lambda *_: iter(['{"kind":"end"}\n'])
    ran = qd("journal", "export", tmp_path / "missing" / "j")
    assert ran.code == 1
    assert ran.err.startswith(f"error: {tmp_path / 'missing' / 'j'} cannot be written: No such file or directory [E1001]\nhint: ")


def test_journal_head_and_export(fake, qd, tmp_path):
    fake.answers["GET", "/v1/journal/head"] = {"seq": 9, "hash": "ab", "at": 0.0}
    assert qd("journal", "head").out == "9 ab 1970-01-01 00:00:00.000\n"
    kind = {"apiVersion": "quarterdeck.dev/v1alpha1", "kind": "JournalHead"}
    assert qd("journal", "head", "-o", "json").json == {**kind, "seq": 9, "hash": "ab", "at": 0.0}
    fake.answers["GET", "/v1/journal/export"] = lambda *_: iter(['{"kind":"Journal"}\n', '{"kind":"end"}\n'])
    assert qd("journal", "export").out == '{"kind":"Journal"}\n{"kind":"end"}\n'
    assert qd("journal", "export", tmp_path / "j").code == 0
    assert (tmp_path / "j").read_text() == '{"kind":"Journal"}\n{"kind":"end"}\n'


def test_open_version_openapi_schema_completion(fake, qd):
    fake.answers["GET", "/openapi.json"] = {"openapi": "3.1.0"}
    assert qd("open").out == "http://127.0.0.1:7410/login?once=x\n"
    assert qd("version", "-o", "json").json["server"]["version"] == "0.1.0"
    assert qd("api", "openapi").json == {"openapi": "3.1.0"}
    assert qd("schema").json["title"] == "Quarterdeck system"
    assert "_QD_COMPLETE=complete_bash" in qd("completion", "bash").out


def test_version_of_one_side_alone(fake, qd):
    asked = len(fake.requests)
    assert qd("version", "--client").out == f"qd {VERSION}\n"
    assert qd("version", "--client", "-o", "json").json["server"] is None
    assert len(fake.requests) == asked
    served = qd("version", "--server")
    assert (served.code, served.out.startswith("control plane 0.1.0, pid ")) == (0, True)
    assert qd("version", "--server", "-o", "json").json["client"] is None
    both = qd("version", "--client", "--server")
    assert both.out.startswith(f"qd {VERSION}\ncontrol plane 0.1.0, pid ")


def test_a_control_plane_of_another_version_is_named_with_what_to_do(fake, qd):
    fake.answers["GET", "/v1/version"]["version"] = "0.0.9"
    ran = qd("version", "--server", "-o", "name")
    assert (ran.code, ran.out) == (0, "0.0.9\n")
    assert f"warning: qd {VERSION} talks to a control plane of 0.0.9" in ran.err
    assert qd("version", "-o", "name").out == f"{VERSION}\n"


def test_the_version_of_a_control_plane_that_does_not_run_is_an_error(home, qd):
    assert qd("version", "--server").code == 5


def test_version_without_a_control_plane(home, qd):
    ran = qd("version")
    assert (ran.code, ran.out.split()[0]) == (0, "qd")
    assert "qd up starts one" in ran.err


def test_completion_offers_live_names(fake, qd, monkeypatch):
    monkeypatch.setenv("_QD_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "qd explain analysts/analyst-")
    monkeypatch.setenv("COMP_CWORD", "2")
    assert qd().out.split() == ["analysts/analyst-0", "analysts/analyst-1"]
    fake.stop()
    ran = qd()
    assert (ran.out.strip(), ran.err) == ("", "")


def test_the_time_of_a_line_can_be_given_back(fake, qd):
    fake.answers["GET", "/v1/logs"] = lambda *_: (200, "event: end\ndata: {}\n\n")
    at = SystemClock().now() - 3600
    qd("logs", "a/b", "--since", clock_time(at))
    assert float(fake.asked("GET", "/v1/logs")[0][0]["since"]) == pytest.approx(3600, abs=30)
