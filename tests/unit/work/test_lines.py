"""Lines: how long one more would wait."""

import pytest

from quarterdeck.work.lines import FEW, KEPT, Line


def moving(line, tenant, count, pace, begin=0.0):
    """Let so many of a tenant have their turn, one each `pace` seconds; gives when the last one had it."""
    for n in range(count):
        line.join(tenant, begin + n * pace)
        line.leave(tenant, begin + (n + 1) * pace)
    return begin + count * pace


def filled(**counts):
    line = Line()
    for tenant, count in counts.items():
        for _ in range(count):
            line.join(tenant, 0.0)
    return line


def test_a_burst_is_no_standing_line():
    assert filled(a=1000).wait("a", 0.0) == 0.0


def test_a_line_that_never_moved_is_judged_by_how_long_it_has_stood():
    line = filled(a=FEW)
    assert line.wait("a", 1.0) == 1.0
    assert line.wait("a", 60.0) == 60.0


def test_who_waits_takes_as_long_as_those_before_took():
    line = filled(a=50)
    now = moving(line, "a", 100, 0.01)
    assert line.wait("a", now) == pytest.approx(0.5, rel=0.03)


def test_a_line_that_stands_still_gets_slower_by_the_second():
    line = filled(a=50)
    now = moving(line, "a", 100, 0.01)
    assert line.wait("a", now + 10) > 10 * line.wait("a", now)


def test_a_slow_line_is_judged_over_a_long_time_and_a_change_is_seen_when_enough_turns_were_had():
    line = filled(a=10)
    now = moving(line, "a", 20, 600.0)
    assert line.wait("a", now) == pytest.approx(6000.0, rel=0.1)
    now = moving(line, "a", KEPT, 0.01, now)
    assert line.wait("a", now) == pytest.approx(0.1, rel=0.1)


def test_a_tenant_waits_for_as_many_turns_of_each_other_as_it_has_itself():
    line = filled(loud=1000, calm=1)
    now = moving(line, "loud", 100, 0.01)
    assert line.wait("calm", now) == pytest.approx(0.03, rel=0.1)
    assert line.wait("new", now) == pytest.approx(0.02, rel=0.1)
    assert line.wait("loud", now) == pytest.approx(10.0, rel=0.1)


def test_a_line_in_which_nobody_waits_forgets_how_slow_it_was():
    line = filled(a=1)
    now = moving(line, "a", 100, 1.0)
    line.leave("a")
    assert line.wait("a", now) == 0.0
    line.join("a", now)
    assert line.wait("a", now) == 0.0


def test_one_who_leaves_unbegun_is_no_turn():
    line = filled(a=100 + KEPT)
    for _ in range(KEPT):
        line.leave("a")
    assert line.wait("a", 1.0) == 100 / FEW
