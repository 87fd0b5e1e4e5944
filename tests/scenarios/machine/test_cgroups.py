"""Limits by control groups of version 2, with a systemd and a kernel of its own, for fleets from a session, of a user and from a unit."""

import json
import sys
from pathlib import Path

import pytest
from tests import kernels

PROGRAM = Path(__file__).with_name("in_kernel.py")
LIMITS = {"memory.max": str(512 << 20), "pids.max": str(3 * 256), "cpu.max": "150000 100000"}


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What was found there, by its name."""
    keeps = tmp_path_factory.mktemp("kernel")
    lines = map(json.loads, kernels.carried_out(keeps, sys.executable, PROGRAM, within=420).splitlines())
    return {line.pop("name"): line for line in lines} | {"err": (keeps / "err").read_text()}


pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize("start", ["session", "user", "unit"])
def test_a_quota_holds_and_who_takes_more_memory_is_said_to_have_been_killed_for_it(told, start):
    assert start in told, told["err"]
    fleet = told[start]
    assert [words for words in fleet["weakenings"] if "cgroup" in words or "limit" in words] == []
    assert (fleet["doctor"]["status"], fleet["doctor"]["found"]) == ("ok", "v2, cpu memory pids")
    assert fleet["before"]["cluster"] == LIMITS
    assert (fleet["before"]["replica"], fleet["before"]["alone"]) == (str(64 << 20), True)
    assert fleet["before"]["row"]["memory_bytes"] > 1 << 20
    assert (fleet["ended"]["signal"], fleet["ended"]["oom"]) == (9, True)


@pytest.mark.parametrize("start", ["session", "user", "unit"])
def test_the_next_node_has_groups_as_well(told, start):
    before, after = told[start]["before"], told[start]["after"]
    assert before["below"].endswith(".scope")
    assert after["below"].endswith(".scope")
    assert (after["cluster"], after["replica"], after["alone"]) == (before["cluster"], before["replica"], True)
    assert after["row"]["pid"] != before["row"]["pid"]


def test_down_leaves_no_group_and_no_scope(told):
    assert "left    nothing" in told["down"]["said"]
    assert told["down"]["left"] == []


def test_a_keeper_that_was_killed_is_started_again_beside_its_fleet(told):
    assert (told["keeper"]["back"], told["keeper"]["code"], told["keeper"]["replicas"]) == (True, 0, 1), told["keeper"]


def test_who_removes_a_unit_that_has_failed_ends_its_fleet(told):
    assert "failed" in told["failed"]["state"]
    assert told["failed"]["replicas"] == 1
    assert told["failed"]["left"] == []
