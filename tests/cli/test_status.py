"""`qd status` against the fake: one screen, its JSON, and where the shared options may stand."""

from ruamel.yaml import YAML


def test_status_is_one_screen(fake, qd):
    ran = qd("status")
    assert (ran.code, ran.err) == (0, "")
    assert " triage is ready · revision 1 · local engine · agents: 2 of 2 ready\n" in ran.out
    assert " Replicas         2 of 2 ready, at most 4\n" in ran.out
    assert " Readiness        38 of 100 · next: qd validate --deep, +4\n" in ran.out
    assert " Limits journal   records 12, limit 1000\n" in ran.out
    assert " Weakened         unsandboxed; cgroup v1\n" in ran.out


def test_what_an_earlier_revision_serves_is_told_beside_what_is_ready(fake, qd, documents):
    failing = {**documents.status(4, "failed"), "agents": {"ready": 0, "desired": 3}, "capacity": {"ready": 3, "desired": 3, "max": 8}}
    fake.statuses = [failing]
    assert " Replicas         0 of 3 ready, 3 earlier ones serving, at most 8\n" in qd("status").out


LIMITS = {
    "store": {
        "database_bytes": 4096, "wal_bytes": 2 << 20, "kept_after_failure_bytes": 0, "head_file_bytes": 512,
        "journal_records": 62, "journal_records_limit": 1_000_000, "journal_bytes": 30_000, "journal_bytes_limit": 512 << 20,
    },
    "bus": {"bytes": 0, "per_agent_limit": 32 << 20},
    "logs": {"bytes": 3072, "per_replica_limit": 10 << 20},
    "revisions": {"kept": 3, "limit": 10},
    "some_thing": {"used_up": 1},
}  # fmt: skip


def test_limits_are_told_in_words_with_their_use(fake, qd, documents):
    fake.statuses = [{**documents.status(), "limits": LIMITS}]
    out = qd("status").out
    assert out[out.index(" Limits") : out.index(" Weakened")] == (
        " Limits store     database 4 KiB, write-ahead log 2 MiB, head file 512 B\n"
        "        journal   62 of 1000000 records, 29.3 KiB of 512 MiB\n"
        "        bus       0 B, at most 32 MiB an agent\n"
        "        logs      3 KiB, at most 10 MiB a replica\n"
        "        revisions 3 of 10 kept\n"
        "        some_thing used up 1\n"
    )
    assert qd("status", "-o", "json").json["limits"] == LIMITS


def test_status_json_passes_the_document_through(fake, qd, documents):
    assert qd("status", "-o", "json").json == documents.status()


def test_status_yaml(fake, qd, documents):
    assert YAML(typ="safe").load(qd("status", "-o", "yaml").out) == documents.status()


def test_shared_options_work_before_and_after_the_verb(fake, qd):
    assert qd("-s", "triage", "-o", "json", "status").json["kind"] == "Status"
    assert fake.requests[-1][2] == {"system": "triage"}
    assert qd("-s", "one", "status", "-s", "two").code == 0
    assert fake.asked("GET", "/v1/status")[-1][0] == {"system": "two"}
