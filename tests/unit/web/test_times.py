"""A span of time stands in the address of a page: of the journal from when until when, of a replica's charts how many minutes."""

import re
from html import unescape
from urllib.parse import urlencode

import pytest

from quarterdeck.clock import iso
from quarterdeck.web.inner import Refused
from quarterdeck.web.times import moment, spelt

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("10m", NOW - 600),
        ("1h30m", NOW - 5400),
        ("2023-11-14T22:00", 1_699_999_200.0),
        ("2023-11-14T23:00+01:00", 1_699_999_200.0),
        ("2023-11-14", 1_699_920_000.0),
        ("99999999d", 0.0),
        ("0001-01-01T00:00", 0.0),
    ],
)
def test_a_time_is_how_long_ago_or_when(text, at):
    assert moment(text, NOW) == iso(at)


def test_no_text_is_no_time():
    assert moment("", NOW) is None


@pytest.mark.parametrize("text", ["soon", "10", "2026-13-01", "9999-12-31T23:59-14:00", "<b>", "-5m"])
def test_what_is_no_time_is_refused_with_what_would_be_one(text):
    with pytest.raises(Refused) as refused:
        moment(text, NOW)
    assert refused.value.status == 400
    assert "10m for ten minutes ago" in refused.value.hint


@pytest.fixture
def told(fleet):
    """Two holds, a minute apart."""
    for reason in ("the first", "the second"):
        fleet.engine.clock.advance(60.0)
        fleet.post("/v1/changes", {"target": "one/reader", "field": "hold", "value": True, "reason": reason})
    return fleet


def rows(page):
    return re.findall(r'<td class="why">([^<]*?) *<', page.text)


def journal(fleet, **query):
    return fleet.get(f"/journal?{urlencode(query)}")


def test_the_journal_shows_a_span_and_its_form_keeps_it(told):
    now = told.engine.clock.now()
    page = journal(told, **{"from": "30s"})
    assert rows(page) == ["the second"]
    assert 'name="from" value="30s"' in page.text
    assert rows(journal(told, **{"from": "90s", "until": "30s"})) == ["the first"]
    page = journal(told, **{"from": iso(now - 90), "until": iso(now - 30), "verb": "change.add"})
    assert rows(page) == ["the first"]
    assert f'name="until" value="{iso(now - 30)}"' in page.text
    assert rows(journal(told, until="90s"))[0] not in ("the first", "the second")


def test_links_to_older_records_keep_the_span(told, monkeypatch):
    monkeypatch.setattr("quarterdeck.web.operate.PAGE", 1)
    page = journal(told, **{"from": "90s", "verb": "change.add"})
    assert rows(page) == ["the second"]
    older = unescape(re.search(r'href="([^"]*)" rel="next"', page.text)[1])
    assert "from=90s" in older
    assert "verb=change.add" in older
    page = told.get(older)
    assert rows(page) == ["the first"]
    newest = unescape(re.search(r'href="([^"]*)">Newest', page.text)[1])
    assert rows(told.get(newest)) == ["the second"]
    assert rows(told.get(re.search(r'href="([^"]*)" rel="next"', page.text)[1].replace("&amp;", "&"))) == []


def test_the_copies_carry_the_times(told):
    page = journal(told, **{"from": "30s"})
    source = unescape(re.search(r'</span>(/v1/journal[^"]*)"', page.text)[1])
    assert [r["reason"] for r in told.get(source).json["items"]] == ["the second"]
    assert "qd journal -f --since 30s</code>" in page.text
    assert "qd journal --since 30s --until 10s</code>" in journal(told, **{"from": "30s", "until": "10s"}).text


@pytest.mark.parametrize("query", [{"from": "soon"}, {"until": "<b>never"}])
def test_what_is_no_time_is_told_on_a_page(told, query):
    page = journal(told, **query)
    assert page.status == 400
    assert "is no time" in page.text
    assert "<b>never" not in page.text


def test_a_replica_shows_its_last_minutes_and_offers_other_spans(fleet):
    page = fleet.get("/replicas/one/reader-0?minutes=3").text
    assert "Last 3 minutes" in page
    assert re.findall(r'<a href="/replicas/one/reader-0\?minutes=(\d+)"( aria-current="true")?>\d+ minutes?<', page) == [
        ("1", ""),
        ("3", ' aria-current="true"'),
        ("10", ""),
    ]
    assert "All of them by command, without the filter" in page
    assert "Last 10 minutes" in fleet.get("/replicas/one/reader-0").text


@pytest.mark.parametrize("minutes", ["0", "11", "-1"])
def test_a_replica_has_no_other_spans(fleet, minutes):
    page = fleet.get(f"/replicas/one/reader-0?minutes={minutes}")
    assert page.status == 400
    assert "there are 1, 3, 10" in page.text


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("10m", "10m"),
        ("2026-11-28T18:00", "2026-11-28T18:00Z"),
        ("2026-11-28", "2026-11-28T00:00Z"),
        ("2026-11-28T18:00+02:00", "2026-11-28T18:00+02:00"),
        ("", ""),
    ],
)
def test_a_time_of_a_page_which_is_utc_is_the_same_time_in_a_shell(text, command):
    assert spelt(text) == command


def test_the_journal_of_a_span_is_copied_with_its_zone(fleet):
    page = fleet.get("/journal?from=2026-11-28T18:00&until=2026-11-29T18:00").text
    assert "qd journal --since 2026-11-28T18:00Z --until 2026-11-29T18:00Z</code>" in page
