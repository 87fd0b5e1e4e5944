"""`qd support-bundle`: everything a helper needs, nothing an attacker wants."""

import stat
import tarfile

import pytest

SECRET = "correct horse battery staple"  # noqa: S105 planted to be looked for
VARIABLE = "tok-5f2b91c6aa"
VARIABLES = 'DB_PASSWORD: "hunter2-in-the-spec", DOOR_KEY: 48151623, WINDOW: 60s'
SPEC = f"""kind: System
spec:
  clusters: {{a: {{agents: {{b: {{run: "agents:b", env: {{{VARIABLES}}}, secrets: [PAGER_KEY]}}}}}}}}
  # {SECRET}
"""


@pytest.fixture
def planted(fake, home, documents, monkeypatch):
    """A home whose logs, documents and names hold a secret everywhere."""
    for folder in (home.secrets, home.keys):
        folder.mkdir(mode=0o700)
    (home.secrets / "1f").write_text(f"{SECRET}\n")
    (home.keys / "operator.seed").write_text("SOAPLANTEDSEEDVALUE")
    monkeypatch.setenv("CI_TOKEN", VARIABLE)
    logs = home.logs / "triage" / "analysts"
    logs.mkdir(parents=True)
    (logs / "analyst-0.log").write_text(
        f"logged in with {SECRET}\nAuthorization: Bearer abcdef0123456789\nSOAPLANTEDSEEDVALUE\nwindow 60s read\n"
        "connecting as app with hunter2-in-the-spec\nPIN of the door: 48151623\n"
    )
    (home.logs / "serve.log").write_text("x" * 70_000 + f" {SECRET}\nerror: {VARIABLE}\nqd_0b55d336_06SqPpyaZ6CTQlzZ68-ZXY73ecPkFCDy\n")
    fake.answers["GET", "/v1/revisions/1"] = {"spec": SPEC}
    fake.answers["GET", "/v1/revisions"] = documents.listed([{"number": 1, "reason": SECRET}])
    fake.answers["GET", "/v1/journal"] = documents.listed([{**documents.record(1), "after": {"token": "abc", "text": SECRET}}])
    fake.answers["POST", "/v1/rollback"] = documents.plan([])
    return fake


def contents(path):
    with tarfile.open(path) as archive:
        return {entry.name.partition("/")[2]: archive.extractfile(entry).read().decode() for entry in archive.getmembers()}


def test_no_planted_secret_is_in_the_bundle(planted, qd, tmp_path):
    assert qd("support-bundle", "b.tar.gz").code == 0
    packed = contents(tmp_path / "b.tar.gz")
    for secret in (SECRET, VARIABLE, "hunter2-in-the-spec", "48151623", "SOAPLANTEDSEEDVALUE", "abcdef0123456789", "qd_0b55d336"):
        assert [name for name, text in packed.items() if secret in text or secret in name] == [], secret
    assert "window 60s read" in packed["logs/triage/analysts/analyst-0.log"]
    assert "WINDOW: 60s" in packed["systems/triage/spec.yaml"]
    assert "secrets: [PAGER_KEY]" in packed["systems/triage/spec.yaml"]
    assert "[redacted]" in packed["systems/triage/journal.json"]


def test_it_holds_what_a_helper_needs_and_says_what_it_could_not_have(planted, qd, tmp_path):
    ran = qd("support-bundle", "b.tar.gz", "-o", "json")
    packed = contents(tmp_path / "b.tar.gz")
    assert [item["name"] for item in ran.json["items"]] == list(packed)
    assert ran.json["redacted"] > 5
    for name in ("README.txt", "version.json", "doctor.json", "left.txt", "systems/triage/status.json", "systems/triage/plan.json"):
        assert name in packed
    assert "machine/self-limits.txt" in packed
    assert "systems/triage/links.json: nothing at /v1/links" in packed["missing.txt"]
    assert not any("keys" in name or name.endswith(".db") for name in packed)


def test_it_works_when_nothing_runs(planted, qd, tmp_path):
    planted.stop()
    ran = qd("support-bundle", "b.tar.gz")
    assert ran.code == 0
    packed = contents(tmp_path / "b.tar.gz")
    assert "systems: no control plane answers" in packed["missing.txt"]
    assert "logs/triage/analysts/analyst-0.log" in packed


def test_values_of_variables_in_the_spec_are_known_from_the_store_when_nothing_runs(planted, qd, home, tmp_path, monkeypatch):
    planted.stop()
    seen = []
    monkeypatch.setattr("quarterdeck.cli.direct.offline", lambda place, _look: seen.append(place) or [SPEC])
    assert qd("support-bundle", "b.tar.gz").code == 0
    packed = contents(tmp_path / "b.tar.gz")
    assert seen == [home]
    assert "hunter2-in-the-spec" not in packed["logs/triage/analysts/analyst-0.log"]


def test_it_is_for_its_owner_and_overwrites_nothing(planted, qd, tmp_path):
    ran = qd("support-bundle", "b.tar.gz")
    assert "look through it" in ran.err
    assert stat.S_IMODE((tmp_path / "b.tar.gz").stat().st_mode) == 0o600
    assert qd("support-bundle", "b.tar.gz").code == 1
    assert qd("support-bundle", "no/such/folder.tar.gz").code == 1


def test_without_a_name_it_has_the_time(planted, qd, tmp_path):
    name = qd("support-bundle", "-o", "name").out.strip()
    assert name.startswith("quarterdeck-support-2")
    assert (tmp_path / name).exists()
