"""The journal's proofs over HTTP: what is kept elsewhere, and an export that the home's key has signed."""

from urllib.parse import urlencode

import pytest

from quarterdeck.clock import iso
from quarterdeck.store import keys
from quarterdeck.store.chain import Head
from quarterdeck.store.verify import verify


def test_the_head_carries_the_key_and_both_prove_an_export(control, tmp_path):
    control.up()
    head = control.get("/v1/journal/head").json
    assert head["key"] == keys.published(control.home.keys)
    path = tmp_path / "journal.jsonl"
    path.write_text(control.get("/v1/journal/export").text)
    verdict = verify(path, expected_head=Head(head["seq"], head["hash"], 0.0), key=head["key"])
    assert (verdict.ok, verdict.unproven, verdict.signed) == (True, (), verdict.head.seq)
    path.write_text(path.read_text().replace(f'"key":"{head["key"]}",', ""))
    assert "is not signed" in verify(path).problems[0]


def test_the_verdict_says_what_is_signed(control):
    control.up()
    verdict = control.get("/v1/journal/verify").json
    assert (verdict["ok"], verdict["signed"], verdict["unproven"]) == (True, 0, [])


def test_records_of_a_span_of_time(control):
    control.up()
    control.engine.clock.advance(60.5)
    begin = control.engine.clock.now()
    made = control.post("/v1/changes", {"target": "one", "field": "hold", "value": True, "reason": "later"}).json["id"]
    control.engine.clock.advance(60.0)
    end = control.engine.clock.now()
    control.delete(f"/v1/changes/{made}?reason=over")

    def verbs(**query):
        return [r["verb"] for r in control.get(f"/v1/journal?{urlencode(query)}").json["items"]]

    assert verbs(since=iso(begin)) == ["change.add", "change.revert"]
    assert verbs(since=begin, until=end) == ["change.add"]
    assert verbs(since=iso(begin).removesuffix("Z"), until=iso(end).replace("Z", "+00:00")) == ["change.add"]
    assert verbs(until=iso(begin))[-1] != "change.add"
    assert [*verbs(until=iso(begin)), "change.add", "change.revert"] == verbs()
    assert verbs(since=iso(end + 1)) == []


@pytest.mark.parametrize("query", ["since=soon", "until=2026-13-01", "since=1e400", "until=-"])
def test_what_is_no_time_is_refused(control, query):
    assert control.get(f"/v1/journal?{query}").status == 422


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "-1"])
def test_the_ends_of_the_calendar_are_times(control, at):
    assert control.get(f"/v1/journal?{urlencode({'since': at})}").status == 200
