"""Plans: their exit codes, and plans that are kept in a file and carried out later, or refused."""

import io
import json
import sys

import pytest

from quarterdeck.cli.main import main
from quarterdeck.cli.usage import UsageError

DIGEST = "d" * 64
KEY = "ab" * 32


@pytest.fixture
def planning(fake, home):
    """A control plane that can keep plans; the spec's secret is set."""
    fake.answers["GET", "/v1/journal/head"] = {"seq": 1, "hash": "0", "at": "", "key": KEY}
    fake.answers["POST", "/v1/plan"] = {**fake.answers["POST", "/v1/plan"], "digest": DIGEST}
    return fake


@pytest.fixture
def kept(planning, qd, tmp_path):
    """A plan that was kept."""
    ran = qd("plan", "--out", "plan.json")
    assert (ran.code, ran.err) == (0, "")
    return tmp_path / "plan.json"


@pytest.mark.parametrize("options", [(), ("--detailed-exitcode",)])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing.yaml",), "there is no file nothing.yaml"),
        (("--nonsense",), "no such option: --nonsense"),
        (("one.yaml", "two.yaml"), "unexpected extra argument"),
        (("--context", "nowhere"), "nowhere"),
    ],
)
def test_every_error_of_a_plan_exits_1(fake, qd, options, arguments, words):
    ran = qd("plan", *arguments, *options)
    assert (ran.code, words in ran.err) == (1, True), ran.err
    assert qd("-o", "json", "plan", *arguments, *options).code == 1


def test_a_plan_without_a_control_plane_exits_1(home, qd):
    assert qd("plan").code == 1
    assert qd("status").code == 5


@pytest.mark.parametrize(
    ("kind", "http", "code"), [("Forbidden", 403, 4), ("NotFound", 404, 3), ("Transient", 503, 5), ("SpecError", 422, 1)]
)
def test_a_refused_plan_exits_1_and_other_verbs_keep_their_codes(fake, qd, documents, kind, http, code):  # noqa: PLR0917 fixtures
    fake.answers["POST", "/v1/plan"] = fake.answers["POST", "/v1/apply"] = documents.refused(kind, http, code)
    assert (qd("plan").code, qd("apply").code) == (1, code)


@pytest.mark.parametrize(
    "arguments", [("plann",), ("apply", "--nonsense"), ("--nonsense", "plan"), ("--context", "plan", "apply", "--nonsense")]
)
def test_other_wrong_usage_exits_2(fake, qd, arguments):
    assert qd(*arguments).code == UsageError.exit_code == 2


def test_a_kept_plan_says_what_was_planned_and_holds_no_secret(planning, qd, monkeypatch, tmp_path):
    monkeypatch.setenv("PAGER_KEY", "hush-hush")
    spec = tmp_path / "quarterdeck.yaml"
    spec.write_text(spec.read_text().replace("run:", 'env: {TOKEN: "in the spec"}, run:'))
    assert qd("plan", "--out", "plan.json").code == 0
    assert planning.asked("POST", "/v1/plan")[0][1]["environ"] == {"PAGER_KEY": "hush-hush"}
    text = (tmp_path / "plan.json").read_text()
    assert not [secret for secret in ("hush", "in the spec") if secret in text]
    document = json.loads(text)
    assert (document["kind"], document["system"], document["index"], document["digest"]) == ("SavedPlan", "triage", 41, DIGEST)
    assert document["file"] == str(spec)
    assert len(document["steps"]) == 3


def test_a_plan_is_kept_whatever_is_printed_and_however_it_exits(planning, qd, tmp_path):
    ran = qd("plan", "--out", "plan.json", "-o", "json", "--detailed-exitcode")
    assert (ran.code, ran.json["kind"]) == (2, "Plan")
    assert (tmp_path / "plan.json").exists()


def test_a_kept_plan_is_applied_as_it_was_planned_from_any_folder(kept, planning, qd, monkeypatch, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    ran = qd("apply", kept, "--reason", "looked at")
    assert (ran.code, ran.out) == (0, "revision 1 of triage applied · index 42\n")
    ((_, body),) = planning.asked("POST", "/v1/apply")
    assert (body["index"], body["digest"], body["reason"], body["base"]) == (41, DIGEST, "looked at", str(tmp_path))
    assert body["text"] == (tmp_path / "quarterdeck.yaml").read_text()


def refused(ran, fake, code, words):
    assert (ran.code, words in ran.err) == (1, True), ran.err
    assert f"[{code}]" in ran.err
    assert not fake.asked("POST", "/v1/apply")


def test_a_plan_of_another_home_or_of_one_that_was_made_anew_is_refused(kept, planning, qd):
    planning.answers["GET", "/v1/journal/head"] = {"key": "cd" * 32}
    refused(qd("apply", kept), planning, "E1503", f"planned for another home: {planning.home.root}")


def test_a_plan_of_another_system_is_refused(kept, planning, qd):
    refused(qd("apply", kept, "-s", "billing"), planning, "E1503", "a plan of triage, not of billing")
    assert qd("apply", kept, "-s", "triage").code == 0


def test_a_kept_plan_has_its_own_index(kept, planning, qd):
    ran = qd("apply", kept, "--index", "7")
    assert (ran.code, "an index of its own: 41" in ran.err) == (2, True)


def test_a_plan_whose_spec_is_gone_is_refused(kept, planning, qd, tmp_path):
    (tmp_path / "quarterdeck.yaml").unlink()
    ran = qd("apply", kept)
    assert (ran.code, "there is no file" in ran.err) == (3, True)


@pytest.mark.parametrize("part", [0.01, 0.1, 0.3, 0.6, 0.99])
def test_a_plan_that_is_cut_off_is_said_to_be(kept, planning, qd, part):
    text = kept.read_text()
    kept.write_text(text[: max(3, int(len(text) * part))])
    refused(qd("apply", kept), planning, "E1504", "is not a whole plan")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("index", True),
        ("index", "41"),
        ("index", None),
        ("digest", "x" * 64),
        ("digest", 5),
        ("file", "quarterdeck.yaml"),
        ("file", "/etc/\0passwd"),
        ("file", "/dev/zero"),
        ("file", ["/etc/passwd"]),
        ("system", {}),
        ("key", 1),
        ("steps", "none"),
    ],
)
def test_a_plan_that_was_edited_into_something_else_is_refused(kept, planning, qd, field, value):
    kept.write_text(json.dumps({**json.loads(kept.read_text()), field: value}))
    refused(qd("apply", kept), planning, "E1504", "is not a whole plan")


@pytest.mark.parametrize("hostile", ["[" * 100_000, "9" * 10_000, '"' + "x" * (9 << 20) + '"', "NaN, NaN"])
def test_hostile_text_in_a_plan_is_an_error_and_no_traceback(kept, planning, qd, hostile):
    kept.write_text(kept.read_text().replace('"file"', f'"more": {hostile},\n"file"'))
    refused(qd("apply", kept), planning, "E1504", "is not a whole plan")


def test_a_kept_plan_is_no_spec(kept, planning, qd):
    for verb in ("up", "plan"):
        ran = qd(verb, kept)
        assert (ran.code, f"hint: qd apply {kept} carries it out" in ran.err) == (1, True)


def test_a_plan_of_stdin_cannot_be_kept(planning, qd, monkeypatch, tmp_path):
    stdin = io.TextIOWrapper(io.BytesIO((tmp_path / "quarterdeck.yaml").read_bytes()))
    monkeypatch.setattr(sys, "stdin", stdin)
    ran = qd("plan", "-", "--out", "plan.json")
    assert (ran.code, "cannot be kept" in ran.err) == (1, True)
    assert not (tmp_path / "plan.json").exists()


def test_a_plan_that_cannot_be_written_is_an_error(planning, qd):
    ran = qd("plan", "--out", "missing/plan.json")
    assert (ran.code, "missing/plan.json cannot be written: No such file or directory" in ran.err) == (1, True)


def test_who_writes_out_as_for_terraform_is_told_how(fake, capsys):
    assert main(["plan", "-out=plan.json"]) == 1
    assert "hint: qd plan --out FILE keeps the plan" in capsys.readouterr().err


def test_a_plan_replaces_nothing_but_a_plan(planning, qd, tmp_path):
    precious = tmp_path / "agents.py"
    precious.write_text("AGENT = 1\n")
    ran = qd("plan", "--out", "agents.py")
    assert (ran.code, "agents.py is there, and is no plan" in ran.err, precious.read_text()) == (1, True, "AGENT = 1\n")
    assert [qd("plan", "--out", "plan.json").code for _ in range(2)] == [0, 0]
