"""The page of one replica: what came to it, what it sent, what it works on."""

import re
from dataclasses import replace

import pytest
from tests.unit.api.working import give

from quarterdeck.model.world import Flow, Usage

PAGE = "/replicas/one/reader-0"


def section(page, name="messages"):
    """The words of a section, and the addresses of its links."""
    found = re.search(rf'<section id="{name}".*?</section>', page.text, re.DOTALL)[0]
    return " ".join(re.sub(r"<[^>]*>", " ", found).split()), re.findall(r'href="([^"]*)"', found)


@pytest.fixture
def busy(fleet, monkeypatch):
    """Its replica has done and sent something."""

    def of(**fields):
        told = type(fleet.engine).workloads

        async def workloads(self, system):
            seen = await told(self, system)
            return tuple(replace(one, replicas=tuple(replace(r, **fields) for r in one.replicas)) for one in seen)

        monkeypatch.setattr(type(fleet.engine), "workloads", workloads)

    return of


def test_one_to_which_nothing_came_says_so_and_how_something_does(fleet):
    words, links = section(fleet.get(PAGE))
    assert "None came to it since it began, and it has sent none." in words
    assert "qd ask one/reader-0 VERB PAYLOAD" in words
    assert "/agents/one/reader#try" in links


def test_what_it_handled_is_shown_though_it_sent_nothing(fleet, busy):
    busy(handled=28, failed=3, utilization=(("read", 0.125), ("sum", 0.5)), usage=Usage(1, 0.1, 2.5, 0.5))
    words, links = section(fleet.get(PAGE))
    assert "last 10 s 28 2.5 3 0.5 read 12 %, sum 50 %" in words
    assert "It has sent nothing." in words
    assert "It has no task, and had none." in words
    assert "/messages?target=one%2Freader" in links
    assert fleet.get("/v1/replicas/one/reader-0").json["utilization"] == {"read": 0.125, "sum": 0.5}


def test_what_it_sent_stands_by_cluster_with_its_rates_and_breakers(fleet, busy):
    busy(flows=(Flow("two", 40, 4, 1.5, 0.2),), circuits=(("two/writer", "open"),))
    words, links = section(fleet.get(PAGE))
    assert "two 40 1.5 4 0.2" in words
    assert "breaker open towards two/writer" in words
    assert links.count("/links#one-&gt;two") == 2


def test_the_tasks_it_has_stand_before_those_it_had_and_lead_to_all_of_them(fleet, replica):
    held = [give(fleet, n, key=f"held-{n}") and replica.claim() for n in range(2)]
    for n in range(7):
        give(fleet, n, key=f"had-{n}")
        replica.say("done", **replica.claim(), result="1")
    give(fleet, key="of nobody")
    words, links = section(fleet.get(PAGE))
    assert re.findall(r"(?:held|had)-\d (?:running|done)", words) == [
        "held-1 running", "held-0 running", *(f"had-{n} done" for n in range(6, 1, -1)),
    ]  # fmt: skip
    assert "of nobody" not in words
    assert f"/tasks/{held[0]['task']}" in links
    (every,) = (link for link in links if link.startswith("/tasks?"))
    listed = fleet.get(every.replace("&amp;", "&"))
    assert len(re.findall(r"<tr id=", listed.text)) == 9
    assert 'value="one/reader-0"' in listed.text, "its filter says whose they are"
    assert 'All of them by command, without the filter</span> <code id="as-command">qd get tasks --target one/reader</code>' in listed.text


def test_of_very_many_tasks_it_shows_some_and_says_that_there_are_more(fleet, replica):
    for n in range(21):
        give(fleet, n)
        replica.claim()
    words, links = section(fleet.get(PAGE))
    assert words.count("running") == 20
    assert "It has more than these: all that it has" in words
    assert any("state=open" in link for link in links)
