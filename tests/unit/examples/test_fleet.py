"""The agents on the test bench, and the proof's own logic against it."""

import asyncio
import json
import os
import subprocess
import sys

import agents
import prove
import pytest
import report

from quarterdeck import TaskFailed
from quarterdeck.agents import testing
from quarterdeck.clock import SystemClock, iso

AGENTS = {
    "collectors/intake": agents.intake,
    "collectors/collector": agents.collector,
    "analysts/analyst": agents.analyst,
    "reporting/reporter": agents.reporter,
}
INCIDENT = "2023-01-29T11:29"
TOLD = agents.index()["incidents"]


def play(body):
    async def whole():
        async with testing.fleet(AGENTS) as fleet:
            return await body(fleet)

    return asyncio.run(whole())


def test_an_incident_is_read_once_and_ranked_though_a_collector_dies(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    async def body(fleet):
        order = {"run": "r", "incident": INCIDENT}
        fleet.crash_at(step="window 3")
        answer = await fleet.run("collectors/intake", order, verb="triage", key="r")
        assert await fleet.run("collectors/intake", order, verb="triage", key="r") == answer
        return answer, fleet.tasks, fleet.effects

    answer, tasks, effects = play(body)
    assert (answer["lines"], answer["spans"]) == (TOLD[INCIDENT]["lines"], TOLD[INCIDENT]["spans"])
    assert {task.state for task in tasks} == {"done"}
    assert {task.attempts for task in tasks if task.verb == "read"} == {2}
    assert len([task for task in tasks if task.verb == "read"]) == answer["services"]
    assert [(effect.key, effect.outcome) for effect in effects] == [(f"report {INCIDENT}", "done")]
    assert answer["causes"][0]["service"] == "ts-price-service"
    assert json.loads((tmp_path / "runs" / "r" / f"{INCIDENT.replace(':', '')}.json").read_text()) == answer


def test_a_second_report_would_be_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    agents.write_once("r", INCIDENT, "1")
    with pytest.raises(FileExistsError):
        agents.write_once("r", INCIDENT, "2")


@pytest.mark.parametrize(
    "order", [{"run": "r", "incident": "nowhere"}, {"run": "../../etc", "incident": INCIDENT}, {"run": "", "incident": INCIDENT}]
)
def test_what_is_no_incident_or_no_name_is_refused(order, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    async def body(fleet):
        with pytest.raises(TaskFailed, match=r"is failed: Terminal: (no incident|run )"):
            await fleet.run("collectors/intake", order, verb="triage")
        return len(fleet.tasks)

    assert play(body) == 1
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

    def __init__(self, *, heals=True, **records):
        self.processes = {f"collectors/collector-{n}": start() for n in range(2)}
        self.heals = heals
        self.records = {"state": "done", "ends": 1, "calls": 1, "files": 1, **records}
        self.orders = {}
        self.folder = None

    def submit(self, target, verb, payload, key):
        self.orders[key] = payload
        if self.folder is not None and self.records["files"]:
            file = self.folder / "reporter-0" / "runs" / payload["run"] / f"{len(self.orders)}.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("{}")
        return {"id": key}

    def task(self, task, wait=0.0):
        if task not in self.orders:
            return {"id": task, "steps": [{"name": "window 0#1", "fence": 1}], "state": "running"}
        told = TOLD[self.orders[task]["incident"]]
        causes = [{"service": "ts-price-service", "score": 0.9, "signal": "pattern", "evidence": "<b>|x"}]
        result = {
            "incident": self.orders[task]["incident"],
            "services": 2,
            "lines": told["lines"],
            "spans": told["spans"],
            "causes": causes,
        }
        return {"id": task, "state": "done", "result": result, "error": None, "reason": ""}

    def working(self, target):
        owner = "collectors/collector-1"
        return [{"id": f"{key}/read", "owner": owner} for key in self.orders]

    def tree(self, task):
        effect = {"key": "report", "outcome": "done"}
        steps = [{"name": "window 0#1", "fence": 1}, {"name": "window 1#1", "fence": 2}]
        return [
            {"id": task, "state": "done", "fence": 1, "effects": [effect], "steps": []},
            {"id": f"{task}/read", "state": self.records["state"], "fence": 2, "effects": [], "steps": steps},
        ]

    def history(self, task):
        done = [{"task": name, "event": "done", "fence": 1} for name in (task, f"{task}/read")] * self.records["ends"]
        claims = [{"task": f"{task}/read", "event": "claim", "fence": fence} for fence in (1, 2)]
        return [*claims, *done, *({"task": task, "event": "effect.started", "fence": 1} for _ in range(self.records["calls"]))]

    def replicas(self):
        for name, process in self.processes.items():
            if process.poll() is not None and self.heals:
                self.processes[name] = start()
        return [
            {"name": name, "pid": process.pid, "state": "ready" if process.poll() is None else "failed", "since": iso(SystemClock().now())}
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


def prove_it(fleet, tmp_path, say=lambda _: None):
    fleet.folder = tmp_path / "work"
    first = fleet.processes["collectors/collector-1"]
    try:
        return prove.run(fleet, say, 0, tmp_path / "reports", fleet.folder), first
    finally:
        first.stdin.close()


def test_the_proof_kills_one_collector_in_the_middle_and_adds_up(make, tmp_path):
    said = []
    outcome, first = prove_it(make(), tmp_path, said.append)
    assert first.returncode == -9
    assert outcome.healing.replica == "collectors/collector-1"
    assert outcome.healing.old_pid == first.pid != outcome.healing.new_pid
    assert outcome.sound
    assert (outcome.incidents, outcome.right, outcome.in_top_three) == (4, 1, 1)
    assert outcome.lines == sum(told["lines"] for told in TOLD.values())
    assert [line.split()[0] for line in said] == ["Working", "Healed", "Result"]
    assert "in the middle of 4 tasks" in said[1]
    assert "4 went on elsewhere, 4 windows kept; 0 of 8 tasks lost" in said[1]
    assert "4 incidents, each reported once; root cause right in 1" in said[2]


@pytest.mark.parametrize(
    ("records", "line"),
    [
        ({"state": "running"}, "0 went on elsewhere, 0 windows kept; 4 of 8 tasks lost"),
        ({"ends": 2}, "0 of 8 tasks lost, 8 ended not once"),
        ({"ends": 0}, "0 of 8 tasks lost, 8 ended not once"),
        ({"calls": 2}, "4 reports in 8 calls and 4 files"),
        ({"files": 0}, "4 reports in 4 calls and 0 files"),
    ],
)
def test_what_does_not_add_up_is_said(make, tmp_path, records, line):
    said = []
    outcome, _ = prove_it(make(**records), tmp_path, said.append)
    assert not outcome.sound
    assert line in "\n".join(said)


def test_a_replica_that_does_not_come_back_is_said(make, tmp_path, monkeypatch):
    monkeypatch.setattr(prove, "HEAL_DEADLINE", 0.2)
    with pytest.raises(TimeoutError, match=r"collector-1 .* was not ready again"):
        prove_it(make(heals=False), tmp_path)


def test_reports_state_the_truth_and_escape_log_text(tmp_path):
    answer = {"incident": INCIDENT, "services": 1, "lines": 1, "spans": 1}
    right = {**answer, "causes": [{"service": "ts-price-service", "score": 0.9, "signal": "pattern", "evidence": "<img src=x> | `a`\n# b"}]}
    verdicts = report.write([right], tmp_path)
    text = (tmp_path / "2023-01-29T1129.md").read_text(encoding="utf-8")
    assert verdicts[0].place == 1
    assert "ts-price-service: exception, injected at 2023-01-29 11:29:03 UTC. The ranking was **right**" in text
    assert "&lt;img src=x> \\| 'a' # b" in text
    wrong = report.judge({**answer, "causes": [{"service": "other"}]}, report.faults()[INCIDENT])
    assert wrong.place == 0
    assert "**wrong**" in report.render({**answer, "causes": []}, wrong, report.faults()[INCIDENT])
