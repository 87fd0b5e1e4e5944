"""The shipped data: size, licence, totals, and that the agents' code tree holds no solution."""

import ast
import json
from pathlib import Path

import agents
import pytest
import report
import slice_train_ticket as cutter
import stream

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


def test_every_line_belongs_to_exactly_one_piece():
    name = next(iter(INDEX["incidents"]))
    traces = agents.traces(name)
    pieces = [(int((trace.start - traces[0].start) // stream.WINDOW), stream.shard_of(trace.trace, agents.SHARDS)) for trace in traces]
    assert all(0 <= window < INDEX["incidents"][name]["windows"] for window, _ in pieces)
    assert len({shard for _, shard in pieces}) == agents.SHARDS


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
