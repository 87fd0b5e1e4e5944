"""The shipped data: size, licence, totals, and that the agents' code tree holds no solution."""

import ast
import json
from pathlib import Path

import agents
import pytest
import report
import slice_train_ticket as cutter
import stream
import triage

from quarterdeck.spec.load import load_file
from quarterdeck.store.tree import leaves

EXAMPLE = Path(agents.__file__).parent
DATA = EXAMPLE / "data"
INDEX = json.loads((DATA / "index.json").read_text(encoding="utf-8"))
FOLDERS = {"normal": INDEX["normal"], **INDEX["incidents"]}


def test_the_slice_is_at_most_3_mb():
    assert sum(path.stat().st_size for path in DATA.rglob("*") if path.is_file()) <= 3_000_000


def test_the_licence_of_the_data_is_there():
    text = (DATA / "LICENSE").read_text(encoding="utf-8")
    assert text.startswith("MIT License")
    assert "Copyright (c)" in text


def test_there_are_faults_of_every_kind_in_different_services():
    faults = report.faults()
    assert sorted(faults) == sorted(INDEX["incidents"])
    assert {fault["inject_type"] for fault in faults.values()} == {"return", "exception", "cpu_contention"}
    assert len({stream.service_of(fault["inject_pod"]) for fault in faults.values()}) == len(faults) == 4


@pytest.mark.parametrize("name", FOLDERS)
def test_what_the_index_says_is_in_the_files(name):
    traces, told = agents.traces(name), FOLDERS[name]
    counted = stream.count(traces)
    assert (counted["lines"], counted["spans"], len(traces)) == (told["lines"], told["spans"], told["traces"])
    assert traces[0].start == told["starts"]
    assert max(trace.start for trace in traces) < told["starts"] + told["windows"] * stream.WINDOW


@pytest.mark.parametrize("name", INDEX["incidents"])
def test_the_thinning_rule_is_the_stated_one(name):
    assert all(cutter.kept(trace.trace) for trace in agents.traces(name))


def test_every_line_is_read_with_one_service_in_one_window():
    name = next(iter(INDEX["incidents"]))
    told = INDEX["incidents"][name]
    read = [agents.counted(name, window, service) for window in range(told["windows"]) for service in agents.services(name)]
    assert (sum(part["lines"] for part in read), sum(part["spans"] for part in read)) == (told["lines"], told["spans"])


def test_services_read_apart_are_ranked_as_read_together():
    name = next(iter(INDEX["incidents"]))
    base = stream.count(agents.traces("normal"))
    starts = agents.traces(name)[0].start
    windows = [
        [t for t in agents.traces(name) if (t.start - starts) // stream.WINDOW == n] for n in range(INDEX["incidents"][name]["windows"])
    ]
    together = triage.phases((n * stream.WINDOW, triage.compare(stream.count(part), base)) for n, part in enumerate(windows))
    apart = [agents.judge([agents.counted(name, n, service) for n in range(len(windows))]) for service in agents.services(name)]
    merged = {phase: triage.merge(each[phase] for each in apart) for phase in together}
    ranked = [triage.rank(found["before"], found["during"]) for found in (together, merged)]
    assert [(cause["service"], cause["score"]) for cause in ranked[0]] == [(cause["service"], cause["score"]) for cause in ranked[1]]


def test_the_agents_tree_has_no_solution_and_nothing_that_reads_it():
    shipped = {leaf.path for leaf in leaves(EXAMPLE)}
    assert {"agents.py", "stream.py", "triage.py", "data/index.json", "data/normal/log.csv.gz"} <= shipped
    assert not {path for path in shipped if "fault" in path or path in {"report.py", "prove.py", "up.py"}}


@pytest.mark.parametrize("module", ["agents.py", "stream.py", "triage.py"])
def test_the_agents_do_not_name_the_solution(module):
    tree = ast.parse((EXAMPLE / module).read_text(encoding="utf-8"))
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names}
    assert not [text for text in texts if "faults" in text or "inject" in text]
    assert not imported & {"report", "prove", "faults", "TRUTH"}
    assert "faults.json" not in (EXAMPLE / module).read_text(encoding="utf-8")


def test_the_spec_is_accepted_and_wants_nine_replicas():
    system = load_file(EXAMPLE / "quarterdeck.yaml", environ={}).system
    wanted = [agent.replicas.min for cluster in system.spec.clusters.values() for agent in cluster.agents.values()]
    assert (len(system.spec.clusters), sum(wanted), len(system.spec.links)) == (3, 9, 2)
