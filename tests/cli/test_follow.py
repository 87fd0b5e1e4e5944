"""A control plane that is killed and comes back: whoever was following sees a pause, no error, nothing twice, nothing missing."""

import json
import subprocess
import sys
import threading
import time
from datetime import datetime

import pytest


@pytest.fixture
def following(until):
    """Start `qd` in a process of its own and collect its lines."""
    started = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", "quarterdeck.cli.main", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        lines = []
        reader = threading.Thread(target=lambda: lines.extend(iter(process.stdout.readline, "")), daemon=True)
        reader.start()
        started.append(process)
        return process, lines, reader

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def _journal(fake, documents, gate):
    """Records up to `gate["last"]`, resumed from Last-Event-ID; the stream stays open until the fake is stopped."""

    def answer(query, body, headers):
        if headers["Accept"] != "text/event-stream":
            return documents.listed([documents.record(1)])
        after = int(headers.get("Last-Event-ID") or query["after"])
        gate["resumed"].append(after)
        return _stream(fake, gate, after, documents)

    return answer


def _stream(fake, gate, after, documents):
    yield ": hello\n\n"
    server = fake.server
    while fake.server is server:
        while after < gate["last"]:
            after += 1
            yield f"id: {after}\nevent: record\ndata: {json.dumps(documents.record(after))}\n\n"
        gate["moved"].wait(0.01)


def test_journal_resumes_after_the_last_record_seen(fake, following, documents, until, home):
    gate = {"last": 3, "resumed": [], "moved": threading.Event()}
    fake.answers["GET", "/v1/journal"] = _journal(fake, documents, gate)
    process, lines, _ = following("journal", "-f", "-o", "json")
    until(lambda: len(lines) == 3)
    fake.stop()
    gate["last"] = 5
    fake.start()
    until(lambda: len(lines) == 5)
    assert [json.loads(line)["seq"] for line in lines] == [1, 2, 3, 4, 5]
    told = [(document["apiVersion"], document["kind"]) for document in map(json.loads, lines)]
    assert told == [("quarterdeck.dev/v1alpha1", "JournalRecord")] * 5
    assert gate["resumed"] == [1, 3]
    assert process.poll() is None
    home.stop_order.write_bytes(b"1")
    fake.stop()
    assert process.wait(10) == 0
    assert process.stderr.read() == ""


def test_logs_are_asked_for_again_and_no_line_comes_twice(fake, following, until, home):
    lines_now = [{"replica": "a/b-0", "at": 1.0 + n, "stream": "stdout", "text": f"line {n}"} for n in range(2)]

    def answer(query, body, headers):
        server = fake.server

        def stream():
            sent = 0
            while fake.server is server:
                while sent < len(lines_now):
                    yield f"event: line\ndata: {json.dumps(lines_now[sent])}\n\n"
                    sent += 1
                threading.Event().wait(0.01)

        return stream()

    fake.answers["GET", "/v1/logs"] = answer
    process, lines, _ = following("logs", "-f")
    until(lambda: len(lines) == 2)
    fake.stop()
    lines_now.append({"replica": "a/b-0", "at": 3.0, "stream": "stdout", "text": "line 2"})
    fake.start()
    until(lambda: len(lines) == 3)
    assert lines == ["a/b-0 | line 0\n", "a/b-0 | line 1\n", "a/b-0 | line 2\n"]
    assert process.poll() is None


def test_following_where_nobody_answers_is_an_error(home, qd):
    ran = qd("journal", "-f")
    assert ran.code == 5
    assert "no control plane answers" in ran.err


def test_a_reader_that_goes_away_is_quiet(fake, documents):
    fake.answers["GET", "/v1/journal"] = documents.listed([documents.record(n) for n in range(1, 501)])
    command = f"{sys.executable} -m quarterdeck.cli.main journal --limit 500 -o json | head -1"
    ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=20, check=False)
    assert (ran.stdout, ran.stderr) == ("{\n", "")


def test_status_watch_survives_a_restart(fake, following, until, documents):
    process, lines, _ = following("status", "--watch", "-o", "name")
    until(lambda: len(lines) == 1)
    fake.stop()
    fake.statuses = [documents.status(4, "running")]
    fake.start()
    until(lambda: len(lines) == 2)
    assert process.poll() is None


def test_the_journal_of_a_time(fake, qd, documents):
    fake.answers["GET", "/v1/journal"] = documents.listed([documents.record(2)])
    assert qd("journal", "--since", "2026-11-30T18:00", "--until", "2026-11-30T19:00:00+01:00").code == 0
    query, _ = fake.asked("GET", "/v1/journal")[-1]
    assert (query["since"], query["until"]) == ("2026-11-30T18:00:00.000Z", "2026-11-30T18:00:00.000Z")
    before = time.time()
    assert qd("journal", "--since", "10m").code == 0
    since = datetime.fromisoformat(fake.asked("GET", "/v1/journal")[-1][0]["since"]).timestamp()
    assert before - 601 <= since <= time.time() - 599


def test_what_is_no_time_of_the_journal_is_refused(fake, qd):
    for words in (("--since", "soon"), ("--until", "-1"), ("-f", "--until", "10m"), ("--since", "")):
        ran = qd("journal", *words)
        assert ran.code == 2, ran
        assert "hint:" in ran.err
    assert not fake.asked("GET", "/v1/journal")
