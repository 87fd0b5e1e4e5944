"""What the node takes from a beat, and what it keeps: foreign code tells it, so nothing is believed that is not exactly a beat."""

import asyncio
import json
import os
import socket
from dataclasses import replace

import pytest

from quarterdeck.clock import VirtualClock
from quarterdeck.engines.local import observe
from quarterdeck.engines.local.node import observe as seen
from quarterdeck.engines.local.node.fleet import Workload
from quarterdeck.engines.local.node.memory import Memory
from quarterdeck.engines.local.node.process import Equipment, Identity, Listener, Process
from quarterdeck.engines.local.node.vitals import DESTINATIONS, SAMPLES, Beat, Ring, Vitals
from quarterdeck.model.desired import Restart, Rollout, Template
from quarterdeck.model.table import Row, Slot
from quarterdeck.model.world import Flow, Sample, Usage

PLAIN = {"t": "beat", "progress": 3, "lag": 0.5, "inflight": 1}
FULL = {**PLAIN, "handled": 9, "failed": 2, "sent": {"analysts": [7, 1]}, "circuits": {"analysts/analyst": "open"}}
LINE = Sample(1.0, 1, 5, 0.25, 2, 1 << 30, 1.5, 9, 2, 7, 1, None)


def test_a_beat_is_read_whole_and_what_it_leaves_out_is_nothing():
    assert Beat.read(FULL) == Beat(3, 0.5, 1, 9, 2, {"analysts": (7, 1)}, (("analysts/analyst", "open"),))
    assert Beat.read(PLAIN) == Beat(3, 0.5, 1)
    assert Beat.read({**PLAIN, "progress": 2**53 - 1, "lag": 7}).lag == 7.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"lag": float("nan")},
        {"lag": float("inf")},
        {"lag": -1.0},
        {"lag": 10**400},
        {"lag": True},
        {"progress": 2**53},
        {"progress": "3"},
        {"inflight": -1},
        {"inflight": True},
        {"handled": 1.5},
        {"failed": None},
        {"sent": []},
        {"sent": {"analysts": [1]}},
        {"sent": {"analysts": [1, 2]}},
        {"sent": {"analysts": [1, -1]}},
        {"sent": {"analysts": "ab"}},
        {"sent": {"<b>": [1, 0]}},
        {"sent": {"": [1, 0]}},
        {"sent": {"a" * 300: [1, 0]}},
        {"sent": {f"c{n}": [1, 0] for n in range(DESTINATIONS + 1)}},
        {"circuits": {"analysts/analyst": "ajar"}},
        {"circuits": {"analysts/analyst": ["open"]}},
        {"circuits": {"analysts/analyst\n": "open"}},
        {"circuits": {f"c/a{n}": "open" for n in range(DESTINATIONS + 1)}},
    ],
    ids=str,
)
def test_whatever_else_a_replica_says_is_no_beat(wrong):
    assert Beat.read({**FULL, **wrong}) is None


def test_a_replica_that_beats_nonsense_is_not_heard_and_breaks_nobodys_json():
    async def run():
        mine, theirs = socket.socketpair()
        clock = VirtualClock()
        identity = Identity("s", "c", "a", 0, 1, Template("d", "code", "m:f"))

        class Deaf(Listener):
            def is_born(self, process):
                pass

        process = Process(identity, Equipment([], os.memfd_create("stacks"), mine), clock, Deaf())
        theirs.sendall(b'{"t":"beat","progress":1,"lag":NaN,"inflight":0}\n{"t":"beat","progress":1,"lag":1e999,"inflight":0}\n')
        process.born(os.getpid(), os.pidfd_open(os.getpid()), forked=True)
        await asyncio.sleep(0.02)
        unheard = process.sample(1.0)
        theirs.sendall(json.dumps(FULL).encode() + b"\n")
        await asyncio.sleep(0.02)
        clock.advance(4.0)
        heard = process.sample(2.0)
        process.close()
        theirs.close()
        return unheard, heard

    unheard, heard = asyncio.run(run())
    assert (unheard.beat_age, unheard.progress, unheard.lag_ms) == (None, 0, 0.0)
    assert (heard.beat_age, heard.handled, heard.failed, heard.sent, heard.unanswered) == (4.0, 9, 2, 7, 1)
    assert heard.memory_bytes > 1 << 20
    assert heard.cpu_seconds > 0


def beats(*sent, every=1.0):
    """Vitals that began at 100 and heard these totals to `analysts` since, `every` seconds apart."""
    made = Vitals(100.0)
    for n, total in enumerate(sent, 1):
        made.take(Beat(sent={"analysts": (total, total // 10)}), 100.0 + n * every)
    return made


def test_a_rate_is_of_the_last_ten_seconds():
    made = beats(*(n * 5 for n in range(1, 31)))
    assert made.flows(130.0) == (Flow("analysts", 150, 15, 5.0, 0.5),)
    quiet = beats(*(50 for _ in range(30)))
    assert quiet.flows(130.0) == (Flow("analysts", 50, 5, 0.0, 0.0),)


def test_a_rate_of_a_young_process_is_since_it_began_and_never_of_less_than_a_second():
    assert beats(20, 40).flows(102.0)[0].per_second == 20.0
    assert beats(30, every=0.1).flows(100.1)[0].per_second == 30.0


def test_a_replica_that_is_not_heard_sends_nothing_after_the_window():
    made = beats(*(n * 5 for n in range(1, 31)))
    assert 0 < made.flows(135.0)[0].per_second < 5.0
    assert made.flows(141.0)[0].per_second == 0.0


def test_counters_that_go_back_give_no_negative_rate():
    made = beats(*(1000 - n for n in range(30)))
    assert made.flows(130.0)[0].per_second == 0.0


def test_a_replica_that_beats_without_pause_still_has_a_rate_of_seconds():
    made = Vitals(0.0)
    for n in range(20_000):
        made.take(Beat(sent={"c": (n, 0)}), n * 0.001)
    assert made.flows(20.0)[0].per_second == pytest.approx(1000.0, rel=0.1)


def test_the_age_of_a_line_is_the_greatest_since_the_line_before_so_that_two_clocks_that_drift_draw_no_slope():
    made, told = Vitals(0.0), []
    for n in range(1, 601):
        if n > 1:
            told.append(made.oldest(n * 1.0))  # a line each second
        made.take(Beat(), n * 1.0007)  # beats that fall behind it by 0.42 s in ten minutes
    assert max(told) - min(told) < 0.01
    assert told[-1] == pytest.approx(1.0, abs=0.01)


def test_a_silence_between_two_lines_is_told_once_and_its_end_too():
    made = Vitals(0.0)
    assert made.oldest(0.5) is None
    made.take(Beat(), 1.0)
    assert made.oldest(1.5) == 0.5
    assert made.oldest(4.5) == 3.5
    made.take(Beat(), 5.0)
    made.take(Beat(), 5.25)
    assert made.oldest(5.5) == 4.0, "the beat that ends it comes at its full length"
    assert made.oldest(5.75) == 0.5


def test_a_ring_keeps_ten_minutes_and_drops_the_oldest():
    ring = Ring()
    for n in range(SAMPLES + 50):
        ring.add(replace(LINE, at=float(n), beat_age=None if n % 2 else 0.5))
    rows = list(ring.rows(-1.0))
    assert [row[0] for row in rows] == [float(n) for n in range(50, SAMPLES + 50)]
    assert [row[-1] for row in rows[:2]] == [0.5, None]
    assert [row[0] for row in ring.rows(float(SAMPLES + 47))] == [SAMPLES + 48.0, SAMPLES + 49.0]


def test_what_a_process_takes_now_is_of_its_own_lines_of_the_last_seconds():
    ring = Ring()
    assert ring.usage(1) == Usage()
    ring.add(LINE)
    assert ring.usage(1) == Usage(LINE.memory_bytes)  # one line has no rate
    for n in range(1, 31):
        cpu = min(n, 20) + 0.25 * max(n - 20, 0)
        ring.add(replace(LINE, at=1.0 + n, cpu_seconds=cpu, handled=9 + 3 * n, failed=2, memory_bytes=n << 20))
    assert ring.usage(1) == Usage(30 << 20, 0.25, 3.0, 0.0)
    assert ring.usage(2) == Usage()  # nothing is known of one that was born since
    ring.add(replace(LINE, at=40.0, incarnation=2))
    assert ring.usage(2) == Usage(LINE.memory_bytes)
    ring.add(replace(LINE, at=42.0, incarnation=2, cpu_seconds=2.5, handled=13, failed=3))
    assert ring.usage(2) == Usage(LINE.memory_bytes, 0.5, 2.0, 0.5)
    assert ring.usage(1) == Usage()


def test_a_line_is_the_same_at_the_other_end_of_the_nodes_door():
    ring = Ring()
    ring.add(LINE)
    told = json.loads(json.dumps({"columns": list(LINE.__slots__), "samples": list(ring.rows(0.0))}))
    assert observe.samples(told) == (LINE,)
    assert type(observe.samples(told)[0].memory_bytes) is int


def test_words_of_foreign_code_that_no_utf8_can_carry_stop_nobody_from_looking():
    row = Row("s", "c", "a", Template("d", "code", "m:f"), (Slot(0, ()),), 0.0, (), Rollout(), Restart(), "", ())
    workload = Workload(row, memory={0: Memory(failed_at=1.0, reason="cannot open \udcff")})
    told = seen.row(workload)["replicas"][0]
    assert told["reason"] == "cannot open ?"
    assert json.dumps(told, ensure_ascii=False, allow_nan=False).encode()


def test_verbs_are_bounded_and_made_safe_for_whoever_shows_them():
    told = {
        "window": {"payload": {"type": "object"}, "doc": "Read a window. \ud800"},
        "none": {"payload": None, "doc": "", "task": True},
        "odd": {"payload": {"default": float("nan")}, "doc": 7, "task": "yes"},
        "half": {"payload": {"title": "\udcff"}},
        "vast": {"payload": {"enum": ["x" * 1000] * 100}},
        "<script>": {"payload": None},
        "list": [],
    }
    found = {verb.name: (verb.payload, verb.doc) for verb in observe.verbs(told)}
    assert found == {
        "window": ({"type": "object"}, "Read a window. ?"),
        "none": (None, ""),
        "odd": ({}, "7"),
        "half": ({}, ""),
        "vast": ({}, ""),
    }
    assert [verb.name for verb in observe.verbs(told) if verb.task] == ["none"], "what is said in another way is not said"
    assert observe.verbs("nothing") == ()
    assert len(observe.verbs({f"v{n}": {} for n in range(10_000)})) == 128
