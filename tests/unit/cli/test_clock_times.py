"""What is printed of a time can be given back, in every zone."""

import time
from datetime import UTC, datetime

import pytest

from quarterdeck.cli.render import clock_time, ending
from quarterdeck.cli.times import instant, past
from quarterdeck.cli.usage import UsageError
from quarterdeck.clock import iso

NOW = datetime(2026, 11, 30, 15, 36, 12, 422_000, UTC).timestamp()
AUTUMN = datetime(2026, 11, 1, 5, 30, tzinfo=UTC).timestamp()
"""In New York 1:30, which comes twice that day: an hour later it is 1:30 again."""


@pytest.fixture(params=["UTC", "America/New_York", "Asia/Kolkata"])
def zone(request, monkeypatch):
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("at", [NOW, NOW - 9_000_000, AUTUMN, AUTUMN + 3600, AUTUMN + 7200])
def test_a_time_that_is_printed_is_read_back_as_the_same_instant(zone, at):
    for shown in (clock_time(iso(at)), ending(iso(at)), iso(at)):
        assert past(shown, NOW) == pytest.approx(at, abs=0.001), (zone, shown)
        assert instant(shown, NOW) == pytest.approx(at, abs=0.001), (zone, shown)


def test_a_zone_is_printed_only_where_the_time_alone_would_be_two(monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert clock_time(iso(NOW)) == "2026-11-30 10:36:12.422"
        assert clock_time(iso(AUTUMN)) == "2026-11-01 01:30:00.000"
        assert clock_time(iso(AUTUMN + 3600)) == "2026-11-01 01:30:00.000-05:00"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_what_a_control_plane_says_of_an_end_can_be_given_back(zone):
    assert instant("23:00 UTC", NOW) == datetime(2026, 11, 30, 23, tzinfo=UTC).timestamp()
    assert instant("2026-12-01 23:00 UTC", NOW) == datetime(2026, 12, 1, 23, tzinfo=UTC).timestamp()


def test_a_clock_time_is_the_next_one_or_the_last_one(zone):
    here = datetime.fromtimestamp(NOW)  # noqa: DTZ006 the machine's own zone
    later, earlier = (f"{(here.hour + n) % 24}:00" for n in (2, -2))
    assert 0 < instant(later, NOW) - NOW <= 7200
    assert 7200 <= NOW - past(earlier, NOW) < 3 * 3600
    assert instant(earlier, NOW) > NOW > past(later, NOW)


def test_a_duration_is_from_now_or_before_now():
    assert instant("2h", NOW) == NOW + 7200
    assert past("2h", NOW) == NOW - 7200


@pytest.mark.parametrize("text", ["tomorrow", "25:00", "2026-13-01", "", "99999-01-01"])
def test_what_is_no_time_is_refused(text):
    for read in (instant, past):
        with pytest.raises(UsageError, match="is no time"):
            read(text, NOW)
