"""A sparkline: a line where there are values, a gap where there are none."""

import re

from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.web.spark import HEIGHT, WIDTH, spark

values = st.lists(st.none() | st.floats(0, 1e12), max_size=80)
POINT = re.compile(r"([ML])(-?[\d.]+) (-?[\d.]+)")


def points(line):
    return [(kind, float(x), float(y)) for kind, x, y in POINT.findall(line.path)]


def runs(given_values):
    """How many stretches of values there are."""
    return sum(value is not None and (n == 0 or given_values[n - 1] is None) for n, value in enumerate(given_values))


@given(values)
def test_a_point_for_each_value_and_a_new_line_after_each_gap(given_values):
    found = points(spark(given_values))
    assert len(found) == sum(value is not None for value in given_values)
    assert sum(kind == "M" for kind, _, _ in found) == runs(given_values)


@given(values, st.none() | st.floats(0, 1e12))
def test_it_stays_in_its_box(given_values, top):
    for _, x, y in points(spark(given_values, top=top)):
        assert 0 <= x <= WIDTH + 0.05
        assert 0 <= y <= HEIGHT


@given(values)
def test_its_words_are_of_the_values_that_there_are(given_values):
    line = spark(given_values)
    known = [value for value in given_values if value is not None]
    if not known:
        assert (line.path, line.last, line.least, line.most) == ("", None, 0.0, 0.0)
    else:
        assert (line.last, line.least, line.most) == (given_values[-1], min(known), max(known))


def test_a_single_value_between_gaps_is_to_be_seen():
    assert spark([None, 3.0, None]).path == "M60.0 1.0h0.1"
    assert spark([3.0]).path.endswith("h0.1")
    assert "h0.1" not in spark([1.0, 2.0]).path


def test_time_goes_right_and_more_is_higher():
    (_, x1, y1), (_, x2, y2) = points(spark([1.0, 2.0]))
    assert x1 < x2
    assert y1 > y2


def test_a_scale_that_is_given_holds_until_a_value_is_larger():
    assert points(spark([5.0], top=10.0))[0][2] > points(spark([5.0]))[0][2]
    assert points(spark([20.0], top=10.0))[0][2] == points(spark([20.0]))[0][2]


def test_without_a_picture_it_says_what_is_now_and_between_what_it_was():
    assert spark([]).words == spark([None, None]).words == "no data"
    assert spark([1, 4.25, 2]).words == "now 2; from 1 to 4.25"
    assert spark([1, 2, None]).words == "no data now; from 1 to 2"
