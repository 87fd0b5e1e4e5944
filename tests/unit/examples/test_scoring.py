"""Scoring: properties that must hold whatever the data are."""

import stream
import triage
from hypothesis import given, settings
from hypothesis import strategies as st

BOUNDED = settings(deadline=None, max_examples=60)
SLOW, FAST = str(stream.bucket(64_000)), str(stream.bucket(1_000))


def call(n, marks=None, callees=None, took=None):
    return stream.Call(n=n, judged=n, marks=marks or {}, callees=callees or {}, took=took if took is not None else {FAST: n})


def counters(**calls):
    return stream.Counters(lines=1, spans=1, calls={name.replace("_", " ", 1): value for name, value in calls.items()}, texts={})


def ranking(now, base, before=None):
    return triage.rank(triage.compare(before or base, base), triage.compare(now, base))


counts = st.integers(1, 40)
some_calls = st.dictionaries(
    st.sampled_from(["a /x", "a /y", "b /x", "c /z"]),
    counts.flatmap(
        lambda n: st.builds(
            lambda marks, callees, slow: call(n, marks, callees, {SLOW: slow, FAST: n - slow}),
            st.dictionaries(st.sampled_from(["INFO m#1", "ERROR m#2", "WARN m#3"]), st.integers(1, n)),
            st.dictionaries(st.sampled_from(["b /x", "c /z"]), counts),
            st.integers(0, n),
        )
    ),
)
some_counters = st.builds(lambda calls: stream.Counters(lines=3, spans=2, calls=calls, texts={}), some_calls)


@BOUNDED
@given(some_counters)
def test_nothing_changed_means_no_suspect(base):
    assert ranking(base, base) == []


@BOUNDED
@given(some_counters, some_counters)
def test_scores_are_between_0_and_1_and_sorted(now, base):
    scores = [cause["score"] for cause in ranking(now, base)]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score <= 1 for score in scores)


def test_a_change_too_small_to_show_is_no_suspect():
    base = counters(**{"a_/x": call(17, {"ERROR m#2": 13})})
    assert ranking(counters(**{"a_/x": call(16, {"ERROR m#2": 12})}), base) == []


@BOUNDED
@given(st.lists(some_counters, min_size=1, max_size=5), some_counters, st.randoms())
def test_the_order_of_windows_does_not_matter(windows, base, random):
    parts = [triage.compare(window, base) for window in windows]
    shuffled = random.sample(parts, len(parts))
    one, two = triage.merge(parts), triage.merge(shuffled)
    assert (one["lines"], one["spans"]) == (two["lines"], two["spans"]) == (3 * len(parts), 2 * len(parts))
    first, second = ({cause["service"]: cause["score"] for cause in triage.rank(parts, parts)} for parts in (one, two))
    assert all(abs(first.get(name, 0.0) - second.get(name, 0.0)) <= 0.0011 for name in {*first, *second})


def test_a_vanished_line_and_a_new_error_are_seen():
    base = counters(**{"s_/a": call(20, {"INFO x#1": 20})})
    vanished = ranking(counters(**{"s_/a": call(20)}), base)
    assert (vanished[0]["service"], vanished[0]["signal"]) == ("s", "pattern")
    assert "in 20 of 20 fault-free calls, now in 0 of 20" in vanished[0]["evidence"]
    error = ranking(counters(**{"s_/a": call(20, {"INFO x#1": 20, "ERROR x#2": 20})}), base)
    assert error[0]["score"] == 1.0


def test_a_callee_that_changed_explains_its_caller():
    base = counters(**{"up_/a": call(20, {"INFO u#1": 20}, {"down /b": 20}), "down_/b": call(20, {"INFO d#1": 20})})
    now = counters(**{"up_/a": call(20, {}, {"down /b": 20}), "down_/b": call(20)})
    assert [cause["service"] for cause in ranking(now, base)] == ["down"]


def test_few_calls_weigh_less_than_many():
    base = counters(**{"few_/a": call(1, {"INFO x#1": 1}), "many_/a": call(30, {"INFO x#1": 30})})
    now = counters(**{"few_/a": call(1), "many_/a": call(30)})
    assert [cause["service"] for cause in ranking(now, base)] == ["many", "few"]


def test_slowness_of_the_minute_before_is_not_the_incident():
    base = counters(**{"s_/a": call(20), "t_/a": call(20)})
    slow = call(20, took={SLOW: 20})
    now, before = counters(**{"s_/a": slow, "t_/a": slow}), counters(**{"s_/a": slow, "t_/a": call(20)})
    found = ranking(now, base, before)
    assert [(cause["service"], cause["signal"]) for cause in found] == [("t", "latency")]


def test_phases_follow_the_clock():
    assert [triage.phase_of(second) for second in (0.0, 45.0, 60.0, 75.0, 90.0, 900.0)] == ["before"] * 2 + ["onset"] * 2 + ["during"] * 2


def test_the_median_is_of_counts():
    assert triage.median_octave({"8": 1, "12": 5, "40": 1}) == 12 / stream.BUCKETS_PER_OCTAVE
    assert triage.median_octave({}) == 0.0
