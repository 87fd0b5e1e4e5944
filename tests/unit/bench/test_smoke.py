"""The benchmarks run and print one JSON line each; nothing is asserted about speed, and no peer is started."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[3] / "bench"


def line(name, *arguments):
    ran = subprocess.run([sys.executable, BENCH / "run.py", name, *arguments], capture_output=True, text=True, check=False, timeout=100)
    assert ran.returncode == 0, ran.stderr[-3000:]
    (only,) = ran.stdout.splitlines()
    return json.loads(only)


def test_decisions_and_help():
    found = line("g12", "--rounds", "2", "--ups", "0")
    assert found["goal"] == "G12"
    assert found["compose_and_plan"]["empty_ms"] > 0
    assert found["compose_and_plan"]["converged_ms"] > 0
    assert found["help_ms"] > 0
    assert len(found["machine"]["load"]) == 3


def test_kill_to_answering():
    found = line("g3", "--count", "2", "--rounds", "1", "--no-peer")
    assert found["kills"] == 2
    assert 0 < found["ours_ms"]["p50"] <= found["ours_ms"]["max"]
    assert found["peer"] == "not asked for"


def test_durable_messages():
    found = line("g1", "--count", "100", "--rounds", "1", "--no-peer")
    for name in ("unbatched", "batched", "keyed"):
        assert found[f"{name}_acknowledged_per_second"]["median"] > 0
        assert found[f"{name}_handled_per_second"]["median"] > 0
    assert found["unbatched_to_nats_py"]["median"] > 0
    assert found["ask_to_request_p50"]["median"] > 0
    assert 0 < found["at_70_percent_ms"]["p50"]["median"] <= found["at_70_percent_ms"]["p99"]["median"]


def test_durable_tasks():
    found = line("g11", "--count", "40", "--rounds", "1", "--no-peer")
    for name in ("submit_batched", "submit_single", "end_to_end", "steps", "steps_alone", "ceiling_1", "ceiling_128"):
        assert found[f"{name}_per_second"]["median"] > 0
    assert 0 < found["at_70_percent_ms"]["p50"]["median"] <= found["at_70_percent_ms"]["p99"]["median"]
    assert (found["dbos"], found["langgraph"]) == ("not asked for", "not asked for")


def test_deploy_rate_and_memory():
    (size,) = line("g2", "--counts", "3", "--rounds", "1", "--no-peer")["sizes"]
    assert size["replicas"] == 3
    assert size["ours_per_second"] > 0
    assert 1 < size["ours_pss_mib"] < 100


def test_restarts_of_the_platform():
    found = line("restarts", "--count", "1", "--pause", "1")
    assert found["kills_each"] == 1
    assert found["control_plane_ms"]["max"] > 0
    assert found["nats_server_ms"]["max"] > 0


def test_overload():
    found = line("overload", "--seconds", "2", "--rounds", "1", "--factors", "2", "--watched", "1")
    (only,) = found["rounds"]
    assert min(only["peaks_per_second"]) > 0
    load = only["factors"]["2"]
    assert 0 < load["goodput_per_second"] <= load["offered_per_second"]
    assert set(load["statuses"]) <= {"200", "201", "429"}


def test_the_bus_rebuilt_while_tasks_are_open():
    found = line("rebuild", "--count", "40", "--rounds", "1", "--pause", "0")
    assert 0 < found["answering_ms"]["p50"] <= found["task_done_ms"]["p50"]
    assert found["open_tasks"] == 40


@pytest.mark.timeout(900)
def test_first_paint_of_the_overview():
    chromium = _tool("chromium")
    try:
        chromium.path()
    except chromium.Missing as missing:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(missing))
    found = line("first_paint", "--loads", "2", "--replicas", "2")
    assert len(found["first_contentful_paint_ms"]["all"]) == 2
    assert found["first_contentful_paint_ms"]["median"] > 0
    assert found["transferred_bytes"] > 10_000


def _tool(name):
    spec = importlib.util.spec_from_file_location(name, BENCH.parent / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_benchmark_has_a_smoke_test_and_a_line_in_its_readme():
    names = {p.stem.removeprefix("bench_") for p in BENCH.glob("bench_*.py")}
    text = Path(__file__).read_text()
    assert names
    assert all(f'line("{name}"' in text for name in names)
    assert all(f"`bench_{name}.py`" in (BENCH / "README.md").read_text() for name in names)


def test_an_unknown_benchmark_is_refused():
    ran = subprocess.run([sys.executable, BENCH / "run.py", "g99"], capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert "g99" in ran.stderr


@pytest.mark.parametrize("module", ["ray_peer", "measure"])
def test_what_benchmarks_share_compiles(module):
    compile((BENCH / f"{module}.py").read_text(), module, "exec")
