"""How long a phase takes is told while it runs, on a terminal, in a pipe and to programs."""

import io
import json
import queue
import re
import threading

import pytest

from quarterdeck.cli.live import Live
from quarterdeck.cli.progress import EVERY, Lines, Plain, Stopwatch, Style, choose, told_meanwhile
from quarterdeck.cli.screen import Screen
from quarterdeck.clock import VirtualClock

NAMES = ("infrastructure_provisioning", "agent_cluster_deployment")


def status(first, second, *, took=None, message="0 of 2, waiting for front/greeter"):
    phases = [{"name": NAMES[0], "status": first, "seconds": 0.2, "message": "2 namespaces"}]
    return {"revision": 1, "phases": [*phases, {"name": NAMES[1], "status": second, "seconds": took, "message": message}]}


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def out():
    return io.StringIO()


def test_in_a_pipe_a_long_silence_is_broken_by_how_far_and_how_long(clock, out):
    shown = Plain(Screen(out), clock)
    for _ in range(49):
        shown.update(status("done", "running"))
        clock.advance(0.25)
    shown.update(status("done", "done", took=12.25, message="2 of 2 replicas answering"))
    assert out.getvalue().splitlines() == [
        " ✔ infrastructure_provisioning    0.2 s  2 namespaces",
        " … agent_cluster_deployment       5.0 s  0 of 2, waiting for front/greeter",
        " … agent_cluster_deployment      10.0 s  0 of 2, waiting for front/greeter",
        " ✔ agent_cluster_deployment      12.2 s  2 of 2 replicas answering",
    ]


def test_in_a_pipe_no_line_is_added_where_phases_end_in_time(clock, out):
    shown = Plain(Screen(out), clock)
    clock.advance(EVERY - 0.1)
    shown.update(status("running", "pending"))
    shown.update(status("done", "running"))
    clock.advance(EVERY - 0.1)
    shown.update(status("done", "running"))
    assert len(out.getvalue().splitlines()) == 1


def test_in_a_pipe_a_phase_that_failed_has_its_time(clock, out):
    shown = Plain(Screen(out), clock)
    shown.update(status("done", "failed", took=4.25, message="front/greeter: exit 1"))
    shown.end()
    assert out.getvalue().splitlines()[-1] == " ✘ agent_cluster_deployment       4.2 s  front/greeter: exit 1"


def test_programs_are_told_the_seconds_so_far_and_again_now_and_then(clock, out):
    shown = Lines(out, clock)
    for _ in range(25):
        shown.update(status("done", "running"))
        clock.advance(0.25)
    shown.update(status("done", "done", took=6.3))
    told = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(one["status"], one["seconds"]) for one in told if one["name"] == NAMES[1]] == [
        ("running", 0.0),
        ("running", 5.0),
        ("done", 6.3),
    ]
    assert len([one for one in told if one["name"] == NAMES[0]]) == 1


def test_what_is_still_to_come_has_no_time(clock, out):
    Lines(out, clock).update(status("running", "pending"))
    assert [json.loads(line)["seconds"] for line in out.getvalue().splitlines()] == [0.2, None]


def test_it_is_counted_from_what_the_control_plane_says_and_goes_on_without_it(clock):
    watch = Stopwatch(clock)
    watch.look(seen := status("done", "running", took=7.0))
    clock.advance(1.5)
    assert watch.seconds(seen["phases"][1]) == 8.5
    watch.look(seen := status("done", "running", took=None))
    assert watch.seconds(seen["phases"][1]) == 8.5
    watch.look(status("done", "failed", took=9.0))
    watch.look(seen := status("done", "running"))
    assert watch.seconds(seen["phases"][1]) == 0.0, "it began anew"


def test_the_tree_counts_while_nothing_new_is_heard(clock, out):
    shown = choose(Style.tty, Screen(out, live=True, width=100), clock, quiet=False)
    assert isinstance(shown, Live)
    try:
        shown.update(status("done", "running"))
        clock.advance(3.4)
        shown._redrawn.refresh()
    finally:
        shown.end()
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue())
    assert re.search(r"agent_cluster_deployment +0\.0 s +0 of 2", drawn)
    assert re.search(r"agent_cluster_deployment +3\.4 s +0 of 2", drawn)


def test_what_is_waited_for_in_one_piece_is_told_of_now_and_then(clock):
    heard, before = queue.SimpleQueue(), threading.active_count()
    with told_meanwhile(heard.put, clock, "reading", every=0.01):
        clock.advance(7.0)
        told = [heard.get(timeout=10) for _ in range(3)]
    assert told[-1] == "reading, 7 s so far"
    while not heard.empty():
        heard.get()
    assert threading.active_count() == before


def test_what_comes_in_time_is_not_talked_about(clock):
    heard = queue.SimpleQueue()
    with pytest.raises(KeyError), told_meanwhile(heard.put, clock, "reading"):
        raise KeyError
    assert heard.empty()
