"""The agents on the test bench, and the proof's own logic against it."""

import asyncio
import os
import subprocess
import sys

import agents
import prove
import pytest
import report

from quarterdeck import RemoteError
from quarterdeck.agents import testing

AGENTS = {
    "collectors/intake": agents.intake,
    "collectors/collector": agents.collector,
    "analysts/analyst": agents.analyst,
    "reporting/reporter": agents.reporter,
}
INCIDENT = "2023-01-29T11:29"
TOLD = agents.index()["incidents"]


def test_an_incident_is_read_once_and_ranked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    async def work():
        async with testing.fleet(AGENTS) as fleet:
            order = {"run": "r", "incident": INCIDENT}
            accepted = await fleet.ask("collectors/intake", "triage", order)
            before = await fleet.ask("collectors/intake", "report", order)
            await fleet.settled()
            await fleet.ask("collectors/intake", "triage", order)
            await fleet.settled()
            return accepted, before, await fleet.ask("collectors/intake", "report", order), fleet.messages

    accepted, before, answer, messages = asyncio.run(work())
    assert "causes" not in before
    assert answer["arrived"] == answer["expected"] == accepted["pieces"] == TOLD[INCIDENT]["windows"] * agents.SHARDS
    assert (answer["lines"], answer["spans"]) == (TOLD[INCIDENT]["lines"], TOLD[INCIDENT]["spans"])
    assert {message.outcome for message in messages} == {"ok"}
    assert len([message for message in messages if message.verb == "read"]) == accepted["pieces"]
    assert answer["causes"]
    assert (tmp_path / "runs" / "r" / f"{INCIDENT.replace(':', '')}.report").is_file()


def test_a_piece_that_comes_twice_counts_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    piece = agents.Piece("r", INCIDENT, 0.0, 3, 1)
    evidence = {"lines": 5, "spans": 1, "changes": {}, "texts": {}}
    for _ in range(3):
        agents.collect(agents.Scored(piece, evidence))
    assert [path.name for path in (tmp_path / "runs" / "r").rglob("*.*")] == ["3-1.json"]


@pytest.mark.parametrize(
    "order", [{"run": "r", "incident": "nowhere"}, {"run": "../../etc", "incident": INCIDENT}, {"run": "", "incident": INCIDENT}]
)
def test_what_is_no_incident_or_no_name_is_refused(order, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    async def work():
        async with testing.fleet(AGENTS) as fleet:
            await fleet.ask("collectors/intake", "triage", order)

    with pytest.raises(BaseException) as caught:  # noqa: PT011 a group around the remote error
        asyncio.run(work())
    found = caught.value.exceptions[0] if isinstance(caught.value, BaseExceptionGroup) else caught.value
    assert isinstance(found, RemoteError)
    assert not list(tmp_path.rglob("*.json"))


def test_old_runs_are_forgotten(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for n in range(agents.KEPT_RUNS + 3):
        (tmp_path / "runs" / f"r{n}" / "inner").mkdir(parents=True)
        os.utime(tmp_path / "runs" / f"r{n}", (n, n))
    agents.forget_old_runs()
    assert len(list((tmp_path / "runs").iterdir())) == agents.KEPT_RUNS
    assert not (tmp_path / "runs" / "r0").exists()


class Fleet:
    """A fake control plane: real processes stand for collectors, and one that died comes back after some polls."""

    def __init__(self, *, heals=True, loses=0):
        self.processes = {f"collectors/collector-{n}": start() for n in range(2)}
        self.heals = heals
        self.loses = loses
        self.polls = 0

    async def ask(self, target, verb, payload):
        told = TOLD[payload["incident"]]
        pieces = told["windows"] * agents.SHARDS
        if verb == "triage":
            return {"pieces": pieces + self.loses}
        self.polls += 1
        if self.polls <= len(TOLD):
            return {"incident": payload["incident"], "expected": pieces, "arrived": self.polls - 1}
        causes = [{"service": "ts-price-service", "score": 0.9, "signal": "pattern", "evidence": "<b>|x"}]
        return {
            "incident": payload["incident"],
            "expected": pieces,
            "arrived": pieces,
            "lines": told["lines"],
            "spans": told["spans"],
            "causes": causes,
        }

    def replicas(self):
        for name, process in self.processes.items():
            if process.poll() is not None and self.heals:
                self.processes[name] = start()
        return [
            {"name": name, "pid": process.pid, "state": "ready" if process.poll() is None else "failed"}
            for name, process in self.processes.items()
        ]

    def close(self):
        for process in self.processes.values():
            process.kill()
            process.wait()


def start():
    return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)


@pytest.fixture
def make():
    made = []

    def build(**how):
        made.append(Fleet(**how))
        return made[-1]

    yield build
    for fleet in made:
        fleet.close()
        for process in fleet.processes.values():
            process.stdin.close()


def test_the_proof_kills_one_collector_and_adds_up(make, tmp_path):
    fleet, said = make(), []
    first = fleet.processes["collectors/collector-1"]
    outcome = asyncio.run(prove.run(fleet.ask, fleet.replicas, said.append, 0, tmp_path / "reports"))
    first.stdin.close()
    assert first.returncode == -9
    assert outcome.healing.replica == "collectors/collector-1"
    assert outcome.healing.old_pid == first.pid != outcome.healing.new_pid
    assert outcome.sound
    assert (outcome.incidents, outcome.right, outcome.in_top_three) == (4, 1, 1)
    assert outcome.lines == sum(told["lines"] for told in TOLD.values())
    assert [line.split()[0] for line in said] == ["Working", "Healed", "Result"]
    assert "0 of 288 messages lost" in said[1]
    assert "while reading" in said[1]


def test_lost_messages_are_counted(make, tmp_path):
    fleet = make(loses=2)
    first = fleet.processes["collectors/collector-1"]
    outcome = asyncio.run(prove.run(fleet.ask, fleet.replicas, lambda _: None, 0, tmp_path / "reports"))
    first.stdin.close()
    assert outcome.lost == 2 * len(TOLD)
    assert not outcome.sound


def test_a_replica_that_does_not_come_back_is_said(make, tmp_path, monkeypatch):
    monkeypatch.setattr(prove, "HEAL_DEADLINE", 0.2)
    fleet = make(heals=False)
    with pytest.raises(TimeoutError, match=r"collector-1 .* was not ready again"):
        asyncio.run(prove.run(fleet.ask, fleet.replicas, lambda _: None, 0, tmp_path / "reports"))


def test_reports_state_the_truth_and_escape_log_text(tmp_path):
    answer = {"incident": INCIDENT, "expected": 1, "arrived": 1, "lines": 1, "spans": 1}
    right = {**answer, "causes": [{"service": "ts-price-service", "score": 0.9, "signal": "pattern", "evidence": "<img src=x> | `a`\n# b"}]}
    verdicts = report.write([right], tmp_path)
    text = (tmp_path / "2023-01-29T1129.md").read_text(encoding="utf-8")
    assert verdicts[0].place == 1
    assert "ts-price-service: exception, injected at 2023-01-29 11:29:03 UTC. The ranking was **right**" in text
    assert "&lt;img src=x> \\| 'a' # b" in text
    wrong = report.judge({**answer, "causes": [{"service": "other"}]}, report.faults()[INCIDENT])
    assert wrong.place == 0
    assert "**wrong**" in report.render({**answer, "causes": []}, wrong, report.faults()[INCIDENT])
