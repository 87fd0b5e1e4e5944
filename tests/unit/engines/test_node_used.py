"""What a cluster uses of its quota: counted by the kernel for its group where there is one, by process otherwise, and never made up."""

import os
import time

import pytest

from quarterdeck.clock import VirtualClock
from quarterdeck.engines.local.node import rooms
from quarterdeck.engines.local.node.used import WINDOW, Meter


def group(tmp_path, version, **files):
    (tmp_path / "s.c").mkdir()
    for name, text in files.items():
        (tmp_path / "s.c" / name.replace("__", ".")).write_text(text)
    return rooms.Cgroups(version, dict.fromkeys(("memory", "cpu"), tmp_path))


@pytest.mark.parametrize(
    ("version", "memory", "cpu", "counted"),
    [
        ("v1", "memory__usage_in_bytes", "cpuacct__usage", lambda seconds: f"{int(seconds * 1e9)}\n"),
        ("v2", "memory__current", "cpu__stat", lambda seconds: f"usage_usec {int(seconds * 1e6)}\nuser_usec 1\n"),
    ],
)
def test_the_kernels_count_of_the_group_is_what_is_told(tmp_path, version, memory, cpu, counted):
    clock = VirtualClock()
    meter = Meter(group(tmp_path, version, **{memory: "4096\n", cpu: counted(10)}), clock)
    assert meter.read({"s.c": []}) == [("s.c", None, 4096)], "one reading makes no rate"
    (tmp_path / "s.c" / cpu.replace("__", ".")).write_text(counted(13))
    clock.advance(WINDOW * 2)
    assert meter.read({"s.c": []}) == [("s.c", 0.75, 4096)]
    clock.advance(WINDOW / 2)
    assert meter.read({"s.c": []}) == [("s.c", 0.75, 4096)], "asked again soon, the rate is the one there was"


def test_without_groups_processes_are_counted_and_memory_is_not_guessed():
    clock = VirtualClock()
    meter = Meter(rooms.NONE, clock)
    assert meter.read({"s.c": [os.getpid()], "s.d": []}) == [("s.c", None, None), ("s.d", None, None)]
    until = time.process_time() + 0.1
    while time.process_time() < until:
        pass
    clock.advance(WINDOW)
    (_, busy, memory), (_, idle, _) = meter.read({"s.c": [os.getpid()], "s.d": []})
    assert (busy >= 0.04, memory, idle) == (True, None, 0.0)


def test_a_room_that_went_and_came_back_begins_anew():
    clock = VirtualClock()
    meter = Meter(rooms.NONE, clock)
    meter.read({"s.c": []})
    meter.read({})
    clock.advance(WINDOW)
    assert meter.read({"s.c": []}) == [("s.c", None, None)]


def test_a_group_that_is_gone_counts_nothing(tmp_path):
    meter = Meter(rooms.Cgroups("v2", dict.fromkeys(("memory", "cpu"), tmp_path)), VirtualClock())
    assert meter.read({"s.c": []}) == [("s.c", None, None)]
