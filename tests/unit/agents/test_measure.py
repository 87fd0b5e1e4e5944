"""What a replica measures, what the node makes of it, and that nothing falls when a replica is replaced."""

import json

import pytest

from quarterdeck.agents.measure import SERIES, Measures
from quarterdeck.bus.envelope import new_id, sent_at
from quarterdeck.clock import VirtualClock
from quarterdeck.engines.local.node.vitals import Beat, Vitals
from quarterdeck.engines.local.node.ways import Ways
from quarterdeck.engines.local.node.ways import told as read

PLAIN = {"t": "beat", "progress": 3, "lag": 0.5, "inflight": 1}


def beat(measures):
    return Beat.read(json.loads(json.dumps({**PLAIN, **measures.told()})))


@pytest.mark.parametrize("now", [1_700_000_000.0, 1_700_000_000.123456, 1_764_000_000.999999, 0.0005])
def test_an_id_tells_when_it_was_made_to_a_microsecond(now):
    for entropy in (bytes(10), b"\xff" * 10):
        id_ = new_id(now, entropy)
        assert len(id_) == 32
        assert id_[12] == "7"
        assert id_[16] in "89ab"
        assert sent_at(id_) == pytest.approx(now, abs=1e-6)


def test_ids_sort_by_time_within_a_millisecond():
    assert new_id(1000.0001, b"\xff" * 10) < new_id(1000.0002, bytes(10))


@pytest.mark.parametrize("id_", ["", "a" * 32, "01890a5d-ac96-774b-bcce-b302099a8057", new_id(1.0, bytes(10)).upper().replace("0", "G")])
def test_what_is_no_id_of_ours_tells_no_time(id_):
    assert sent_at(id_) is None


def test_a_way_is_told_from_its_first_bucket_on_and_read_back():
    clock = VirtualClock()
    measures = Measures(clock)
    measures.arrived("edge", "ask", clock.now() - 0.0003)
    measures.arrived("edge", "ask", clock.now() - 0.004)
    measures.arrived("edge", "ask", clock.now() + 1.0)  # the clock was set back
    measures.arrived("edge", "tell", None)
    assert beat(measures).ways == {("edge", "ask"): (4300, 0, (1, 1, 0, 0, 1))}


def test_a_bound_is_in_its_bucket_and_what_is_longer_than_all_in_the_last():
    measures = Measures(VirtualClock())
    measures.took("edge", "task", 0.25)
    measures.took("edge", "task", 10_000.0)
    measures.took("edge", "task", 10_001.0)
    measures.took("edge", "task", 1e9)  # no way takes that long
    assert beat(measures).ways[("edge", "task")][2] == (1, *[0] * 13, 1, 1)


def test_no_more_ways_and_verbs_than_are_told_apart():
    measures = Measures(VirtualClock())
    for n in range(SERIES + 10):
        measures.took(f"c{n}", "ask", 1.0)
        with measures.working(f"v{n}", "message"):
            pass
    found = beat(measures)
    assert len(found.ways) == len(found.busy) == SERIES


def test_places_are_weighed_with_time_those_still_taken_included():
    clock = VirtualClock()
    measures, vitals = Measures(clock, 4), Vitals(clock.monotonic())

    def after(seconds):
        for _ in range(int(seconds)):
            clock.advance(1.0)
            vitals.take(beat(measures), clock.monotonic())
        return vitals.utilization(clock.monotonic())

    assert after(3) == ()
    with measures.working("read", "task"), measures.working("read", "task"):
        assert dict(after(20)) == {"read": 0.5}
        with measures.working("write", "task"):
            assert dict(after(5))["write"] == pytest.approx(0.25 / 2, abs=0.03)
    assert after(20) == (("read", 0.0), ("write", 0.0))
    clock.advance(60.0)
    assert vitals.utilization(clock.monotonic()) == ()  # it does not beat: nobody knows


def test_places_are_those_of_the_kinds_of_work_that_came():
    measures = Measures(VirtualClock(), 4)
    with measures.working("a", "task"), measures.working("b", "message"), measures.working("b", "message"):
        assert beat(measures).places == 8


def test_a_cluster_keeps_what_its_replicas_said_when_they_are_replaced():
    ways, first = Ways(), read([["edge", "ask", 900, 1, [2, 1]]])
    ways.take("s", "core", {}, first)
    ways.take("s", "core", first, read([["edge", "ask", 1000, 0, [1, 2, 1]]]))
    ways.take("s", "core", {}, read([["edge", "ask", 10, 0, [1]]]))  # a new incarnation
    assert ways.told() == [("s", "edge", "core", "ask", [2, 2, 1, *[0] * 13], 1010)]


def test_what_a_replica_takes_back_changes_nothing():
    ways, first = Ways(), read([["edge", "ask", 900, 1, [2, 1]]])
    ways.take("s", "core", {}, first)
    ways.take("s", "core", first, read([["edge", "ask", 900, 1, [9, 0]]]))
    ways.take("s", "core", first, read([["edge", "ask", 1, 1, [3, 1]]]))
    assert ways.told()[0][4][:3] == [0, 2, 1]


def test_a_cluster_bounds_what_its_replicas_name_and_goes_with_its_rows():
    ways = Ways()
    for n in range(200):
        ways.take("s", "core", {}, read([[f"c{n}", "ask", 1, 0, [1]]]))
    assert len(ways.told()) == 64
    ways.keep_only({("s", "edge")})
    assert ways.told() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        [1],
        [["edge", "ask", 1, 0]],
        [["edge", "shout", 1, 0, [1]]],
        [["edge", [], 1, 0, [1]]],
        [["<b>", "ask", 1, 0, [1]]],
        [["edge", "ask", -1, 0, [1]]],
        [["edge", "ask", 1.5, 0, [1]]],
        [["edge", "ask", 1, 0, []]],
        [["edge", "ask", 1, 1, [0] * 16]],
        [["edge", "ask", 1, 16, [1]]],
        [["edge", "ask", 1, 0, [True]]],
        [["edge", "ask", 1, 0, [2**53]]],
        [[f"c{n}", "ask", 1, 0, [1]] for n in range(65)],
    ],
    ids=str,
)
def test_whatever_else_is_said_of_ways_is_no_beat(wrong):
    assert Beat.read({**PLAIN, "ways": wrong}) is None


@pytest.mark.parametrize(
    "wrong", [{"busy": []}, {"busy": {"<b>": 1}}, {"busy": {"a": -1}}, {"busy": {"a": 0.5}}, {"places": -1}, {"places": "4"}]
)
def test_whatever_else_is_said_of_places_is_no_beat(wrong):
    assert Beat.read({**PLAIN, **wrong}) is None
