"""What is said when something is not there, was asked for in vain, or takes its time."""

import pytest

from quarterdeck.cli.verbs import VERBS

API = "quarterdeck.dev/v1alpha1"


def test_a_code_that_no_error_has_is_said_to_be_none(fake, qd):
    ran = qd("explain", "E9999")
    assert ran.code == 3
    assert ran.err.startswith("error: no error has the code E9999 [E1003]\nhint: ")
    assert fake.requests == []
    assert "did you mean E1201?" in qd("explain", "E12011").err
    assert qd("explain", "e1201").out.startswith("E1201: ")


def test_a_spec_that_is_not_there_leads_to_qd_init(home, qd, tmp_path):
    (tmp_path / "quarterdeck.yaml").unlink()
    assert "hint: qd init writes a project" in qd("plan").err
    assert "qd init" not in qd("plan", "fleet.yaml").err


def test_a_byte_order_mark_is_no_part_of_a_spec(fake, qd, tmp_path):
    path = tmp_path / "quarterdeck.yaml"
    text = path.read_text()
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert qd("plan").code == 0
    assert fake.asked("POST", "/v1/plan")[-1][1]["text"] == text


def test_a_token_that_is_not_known_is_named_by_its_file(fake, qd, tmp_path, documents):
    token = tmp_path / "token"
    token.write_text("qd_wrong")
    token.chmod(0o600)
    url = fake.open_door("right")
    qd("context", "add", "far", "--url", url, "--token-file", token)
    ran = qd("--context", "far", "status")
    assert ran.code == 4
    assert f"hint: the token in {token} is not, or no longer, known there" in ran.err


def test_problems_of_a_spec_say_where_their_code_is_explained(fake, qd, documents):
    problems = ['quarterdeck.yaml:3:5: unknown field "replica" [E1201]\n    3 |     replica: 2\n      |     ^']
    code, answer = documents.refused("SpecError", 422, 1, "quarterdeck.yaml: 1 problem, nothing applied")
    answer["error"]["problems"] = problems
    fake.answers["POST", "/v1/plan"] = (code, answer)
    assert qd("plan").err.splitlines()[-1] == "hint: qd explain E1201 tells what is meant, and what to do"


def test_who_waited_in_vain_is_told_what_for(fake, qd, documents):
    waiting = documents.status(4, "running")
    waiting["phases"][4]["message"] = "no replica of analysts/analyst has asked for work yet"
    fake.statuses = [waiting]
    ran = qd("up", "--timeout", "200ms", "--progress", "plain")
    assert ran.code == 5
    name = waiting["phases"][4]["name"]
    assert f" Waits in {name}: no replica of analysts/analyst has asked for work yet\n" in ran.out
    assert "TARGET" not in ran.out


def test_both_versions_may_be_asked_for(fake, qd):
    both, plain = qd("version", "--client", "--server"), qd("version")
    assert (both.code, both.out) == (0, plain.out)
    assert qd("version", "--client", "--server", "-o", "json").json == qd("version", "-o", "json").json


def test_a_filter_that_a_noun_has_not_is_refused(fake, qd):
    assert qd("get", "replicas", "--limit", "3").code == 2
    assert qd("get", "replicas", "--tops").code == 2
    assert qd("get", "messages", "--tops").code == 2
    assert fake.requests == []


def test_a_rollback_to_what_is_deployed_says_that_nothing_was_changed(fake, qd, documents):
    fake.answers["POST", "/v1/rollback"] = {**documents.applied(), "number": 1, "created": False}
    assert qd("rollback", "1", "--no-wait").out == "revision 1 of triage is deployed already: nothing was changed\n"


def test_a_word_that_is_like_no_verb_is_taken_for_none(home, qd):
    assert "did you mean" not in qd("bogus").err
    assert "did you mean 'status'?" in qd("statu").err


def test_the_manual_of_a_part(home, qd):
    ran = qd("man", "task", "submit")
    assert ran.code == 0
    assert '.TH "QD\\-TASK\\-SUBMIT" 1' in ran.out or '.TH "QD-TASK-SUBMIT" 1' in ran.out
    assert "task fork" not in ran.out
    assert qd("man", "task", "nonsense").code == 2
    assert qd("man", "status", "x").code == 2


def test_an_archive_is_not_written_under_the_name_of_a_pipe(fake, qd, tmp_path):
    assert qd("support-bundle", "-").code == 2
    assert not (tmp_path / "-").exists()


def test_a_task_is_stopped_by_its_key_too(fake, qd):
    fake.answers["GET", "/v1/tasks/by-key"] = {"id": "01M8HXFD25B4EETYEXX2273T60"}
    proof = {"kind": "StopProof", "system": "triage", "target": "task x", "outcome": "done", "ms": 1.0, "kept": [], "sources": []}
    fake.answers["POST", "/v1/stops/tasks/01M8HXFD25B4EETYEXX2273T60"] = {"apiVersion": API, **proof}
    assert qd("stop", "task", "INC-1", "--reason", "x").code == 0


def test_the_documents_are_a_page_that_can_be_opened(fake, qd, documents):
    fake.answers["GET", "/v1/explain"] = documents.refused("NotFound", 404, 3, "triage has no docs")
    assert qd("open", "docs", "--print").code == 0
    assert fake.asked("POST", "/v1/login")[-1][1]["next"] == "/docs/"


def test_a_port_that_no_machine_has_is_refused_and_not_recommended(fake, qd, monkeypatch):
    assert qd("up", "--port", "99999").code == 2
    monkeypatch.setenv("QUARTERDECK_PORT", "99999")
    fake.answers["GET", "/v1/version"] = {**fake.answers["GET", "/v1/version"], "url": "http://127.0.0.1:7410"}
    assert "--port 99999" not in qd("up").err


@pytest.mark.parametrize("noun", ["questions", "effects", "messages", "budgets", "tokens", "changes", "tasks"])
def test_an_empty_list_names_a_command(fake, qd, documents, noun):
    fake.answers["GET", f"/v1/{noun}"] = {**documents.listed([]), "next": None}
    ran = qd("get", noun)
    assert "qd " in ran.err
    named = ran.err.partition("qd ")[2].split()[0]
    assert named in {verb.name for verb in VERBS}
