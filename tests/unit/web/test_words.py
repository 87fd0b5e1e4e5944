"""What pages make of figures: charts with gaps, durations and times for people, payloads to begin with."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.web import pages
from quarterdeck.web.actions import ACTIONS, Wish, command, order
from quarterdeck.web.fields import example
from quarterdeck.web.fleet import STALE, charts
from quarterdeck.web.inner import Refused, address
from quarterdeck.web.text import compact

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC).timestamp()
COLUMNS = ("at", "beat_age", "lag_ms", "inflight", "memory_bytes", "cpu_seconds", "handled", "incarnation")


def samples(*rows):
    return {"columns": COLUMNS, "rows": rows}


def lines(*rows):
    return {chart.name: chart.values for chart in charts(samples(*rows))}


def test_charts_carry_units_and_rates():
    found = lines((0, 0.1, 1.0, 0, 1 << 20, 1.0, 10, 1), (2, 0.1, 2.0, 3, 2 << 20, 1.5, 30, 1))
    assert found.pop("Heartbeat age") == [0.1, 0.1]
    assert found == {"Loop lag": [1.0, 2.0], "In flight": [0.0, 3.0], "Memory": [1.0, 2.0], "Cores": [0.25], "Handled": [10.0]}


def test_a_missed_heartbeat_is_a_gap():
    found = lines((0, 0.1, 1.0, 0, 0, 0.0, 0, 1), (1, STALE + 1, 1.0, 0, 0, 0.0, 0, 1), (2, None, 1.0, 0, 0, 0.0, 0, 1))
    assert found["Loop lag"] == [1.0, None, None]
    assert found["Handled"] == [None, None]
    assert found["Heartbeat age"] == [0.1, STALE + 1, None], "its own age is what tells of it"


def test_counters_that_began_again_with_a_new_process_make_no_negative_rate():
    found = lines((0, 0.1, 1.0, 0, 0, 9.0, 900, 1), (1, 0.1, 1.0, 0, 0, 0.1, 2, 2), (2, 0.1, 1.0, 0, 0, 0.2, 4, 2))
    assert found["Handled"] == [None, 2.0]
    assert found["Cores"] == [None, pytest.approx(0.1)]


def test_charts_of_fewer_minutes_end_with_the_newest_sample():
    rows = [(second, 0.1, float(second), 0, 0, 0.0, 0, 1) for second in range(0, 600, 30)]
    assert charts(samples(*rows), 1)[0].values == [540.0, 570.0]
    assert charts(samples(*rows), 3)[0].values == [420.0, 450.0, 480.0, 510.0, 540.0, 570.0]
    assert len(charts(samples(*rows))[0].values) == len(rows)


def test_no_sample_yet_makes_empty_charts():
    assert [chart.values for chart in charts(samples())] == [[]] * 6


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0.0, "0 ms"),
        (0.0123, "12 ms"),
        (0.5, "0.5 s"),
        (9.96, "10.0 s"),
        (59, "59 s"),
        (120, "2 min"),
        (7200, "2 h"),
        (3 * 86_400, "3 d"),
    ],
)
def test_a_duration_is_in_the_largest_unit_that_leaves_it_readable(seconds, text):
    assert pages._seconds(seconds) == text


@given(st.floats(0, 1e9))
def test_every_duration_has_a_unit_and_few_digits(seconds):
    number, _, unit = pages._seconds(seconds).partition(" ")
    assert unit in ("ms", "s", "min", "h", "d")
    assert float(number) >= 0


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (None, ""),
        ("", ""),
        ("2026-11-28T12:00:00Z", "now"),
        ("2026-11-28T11:59:30Z", "30 s ago"),
        ("2026-11-28T15:00:00Z", "in 3 h"),
        ("2026-11-28T10:00:00+00:00", "2 h ago"),
    ],
)
def test_a_time_is_told_from_now(at, text):
    assert pages._ago(at, NOW) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ("", ""),
        ("text", "text"),
        (3, "3"),
        (False, "False"),
        ([1, "b"], "1, b"),
        ({"a": 1, "b": None, "c": {"d": "x"}}, "a 1, c d x"),
    ],
)
def test_a_value_of_a_record_goes_on_one_line(value, text):
    assert compact(value) == text


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=9),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
    )
)
def test_any_value_of_a_record_can_be_told(value):
    assert isinstance(compact(value), str)


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 << 20, "5.0 MiB"), (3 << 30, "3.0 GiB")]
)
def test_sizes_have_binary_units(value, text):
    assert pages._bytes(value) == text


@given(st.text())
def test_every_state_has_one_of_six_marks(state):
    assert pages._mark(state) in {"ready", "starting", "pending", "draining", "quarantined", "failed"}


def test_a_payload_to_begin_with_has_the_fields_that_are_asked_for():
    schema = {
        "type": "object",
        "required": ["text", "count", "deep", "tags", "mode"],
        "properties": {
            "text": {"type": "string"},
            "count": {"type": "integer"},
            "deep": {"type": "boolean"},
            "tags": {"type": "array"},
            "mode": {"enum": ["fast", "slow"]},
            "more": {"type": "string"},
        },
    }
    assert json.loads(example(schema)) == {"text": "", "count": 0, "deep": False, "tags": [], "mode": "fast"}
    assert example(None) == example({"type": "null"}) == ""


def test_a_query_leaves_out_what_is_none_and_escapes_the_rest():
    assert address("/v1/x", a=None, b=True, c="a/b&c=d") == "/v1/x?b=true&c=a%2Fb%26c%3Dd"
    assert address("/v1/x", a=None) == "/v1/x"
    assert address("/settings#weakenings", system="a") == "/settings?system=a#weakenings"
    assert address("/settings#weakenings") == "/settings#weakenings"


@pytest.mark.parametrize(("value", "until"), [("many", ""), ("-1", ""), ("", ""), ("3", "tomorrow")])
def test_a_form_that_says_no_number_or_no_time_is_refused(value, until):
    with pytest.raises(Refused) as refused:
        Wish("one/reader", value, "why", until).check(ACTIONS["scale"])
    assert refused.value.status == 400
    assert refused.value.hint


def test_a_form_becomes_the_change_that_the_command_would_make():
    wish = Wish("one/reader", "3", "why", "2026-11-28T12:00")
    wish.check(ACTIONS["scale"])
    asked = order(ACTIONS["scale"], wish)
    assert asked.says == {"target": "one/reader", "field": "replicas", "value": 3, "reason": "why", "until": NOW}
    assert (asked.method, asked.path) == ("POST", "/v1/changes")
    assert command(ACTIONS["scale"], wish) == "qd scale one/reader 3 --reason why --until 2026-11-28T12:00Z"
