"""What goes over links is seen where they are drawn and listed; and the charts of a replica are of as many minutes as its address says."""

import asyncio
import re
from dataclasses import replace
from datetime import datetime
from urllib.parse import unquote

import pytest

from quarterdeck.engines.memory import MemoryEngine
from quarterdeck.model.world import Flow

SPEC = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: pair}
spec:
  clusters:
    one: {agents: {reader: {run: "agents:reader", replicas: 2}}}
    two: {agents: {reader: {run: "agents:reader"}}}
    three: {agents: {reader: {run: "agents:reader"}}}
  links:
    - {from: one, to: two}
    - {from: two, to: three}
    - {from: three, to: one}
"""
TRAFFIC = {
    "one/reader-0": {"flows": (Flow("two", 40, 0, 2.5, 0.0),), "circuits": (("two/reader", "closed"),)},
    "one/reader-1": {"flows": (Flow("two", 20, 2, 1.5, 0.25),), "circuits": (("two/reader", "half-open"),)},
    "two/reader-0": {"flows": (Flow("three", 10, 9, 0.0, 0.0),), "circuits": (("three/reader", "open"),)},
}


@pytest.fixture(scope="module")
def served(serve):
    with serve(SPEC, lambda _: None) as served:
        yield served


@pytest.fixture
def surf(served, open_surf):
    with open_surf(served, link=served.link()) as surf:
        yield surf


@pytest.fixture
def traffic(monkeypatch):
    """What replicas tell that have something to do."""
    whole = MemoryEngine.workloads

    async def workloads(self, system):
        seen = await whole(self, system)
        return tuple(replace(w, replicas=tuple(replace(r, **TRAFFIC.get(r.name, {})) for r in w.replicas)) for w in seen)

    monkeypatch.setattr(MemoryEngine, "workloads", workloads)


def classes(arc):
    return set(arc.get_attribute("class").split())


def test_the_picture_shows_the_rate_of_a_link_and_an_open_breaker(surf, traffic):
    surf.go("/")
    flows, broken, idle = (surf.page.locator(f".wide .arc[href$='#{name}']") for name in ("one->two", "two->three", "three->one"))
    assert classes(flows) == {"arc", "open", "flowing"}
    assert flows.locator("text").text_content() == "4.0/s"
    assert flows.locator("path").evaluate("(path) => getComputedStyle(path).animationName") == "flow"
    assert classes(broken) == {"arc", "broken"}
    assert broken.locator("text").text_content() == "breaker open"
    assert "breaker open in 1 replicas" in broken.locator("title").text_content()
    assert classes(idle) == {"arc", "open"}
    assert idle.locator("text").text_content() == "0.0/s"
    surf.press(".arc[href$='two->three']", key="Enter")
    assert unquote(surf.page.url).endswith("/links#two->three")
    assert surf.page.inner_text("h1") == "Links"


def test_the_list_of_links_tells_breakers_rates_and_what_was_not_answered(surf, traffic):
    surf.go("/links")
    heads = surf.page.locator("thead th").all_inner_texts()

    def row(name):
        return dict(zip(heads, surf.page.locator(f"tr[id='{name}'] td").all_inner_texts(), strict=True))

    assert {"Breakers", "A second", "Unanswered"} <= set(heads)
    assert re.findall(r"\d [a-z-]+", row("one->two")["Breakers"]) == ["1 closed", "1 half-open"]
    assert (row("one->two")["A second"], row("one->two")["Unanswered"]) == ("4.0", "0.2")
    assert row("two->three")["Breakers"].strip() == "1 open"
    assert surf.page.locator("tr[id='two->three'] .said.failed").inner_text() == "1 open"


def test_traffic_that_begins_is_seen_on_an_open_page(surf, monkeypatch, request):
    surf.go("/")
    assert surf.page.locator(".wide .arc:is(.flowing, .broken)").count() == 0
    surf.page.evaluate("window.same = true")
    request.getfixturevalue("traffic")
    surf.wait("['flowing', 'broken'].every((kind) => document.querySelectorAll(`.wide .arc.${kind}`).length === 1)")
    assert surf.page.evaluate("window.same")


SEEN = "[...document.querySelectorAll('tbody tr')].filter((row) => row.checkVisibility()).map((row) => row.id).join()"


def test_a_filter_of_rows_is_in_the_address_and_outlives_renewal_a_fresh_load_and_the_way_back(surf):
    surf.go("/links?system=pair#one->two")
    surf.page.keyboard.press("/")
    surf.page.keyboard.type("three → one")
    surf.wait(f"{SEEN} === 'three->one'")
    assert unquote(surf.page.url).replace("+", " ") == f"{surf.base}/links?system=pair&filter=three → one#one->two"
    surf.page.evaluate("document.querySelector('tbody').append(document.createElement('tr'))")
    surf.wait("document.querySelectorAll('tbody tr').length === 3")  # the page was renewed
    assert surf.page.evaluate(SEEN) == "three->one"
    assert surf.page.input_value("#row-filter") == "three → one"
    surf.page.reload()
    surf.wait(f"{SEEN} === 'three->one'")
    assert surf.page.input_value("#row-filter") == "three → one"
    assert "All of them by command, without the filter qd get links" in " ".join(surf.page.inner_text(".copybar").split())
    surf.press("nav >> text=Journal")
    assert "filter" not in surf.page.url, "it is of one page"
    assert surf.page.locator("#row-filter").count() == 0
    surf.page.go_back()
    surf.wait(f"location.pathname === '/links' && {SEEN} === 'three->one'")
    surf.page.fill("#row-filter", "")
    assert surf.page.url == f"{surf.base}/links?system=pair#one-%3Etwo"
    assert surf.page.locator("tbody tr:visible").count() == 3


def test_a_phone_sees_all_clusters_one_below_the_other_and_the_links_between_them(surf, traffic, axe):
    surf.page.set_viewport_size({"width": 360, "height": 800})
    surf.go("/")
    boxes = {
        name: surf.page.locator(f".box:visible:has(a[href$='/clusters/{name}']) rect").bounding_box() for name in ("one", "two", "three")
    }
    assert boxes["one"]["y"] < boxes["two"]["y"] < boxes["three"]["y"]
    assert surf.page.evaluate("(() => { const box = document.querySelector('.canvas'); return box.scrollWidth <= box.clientWidth; })()")
    assert sorted(surf.page.locator(".arc text:visible").all_text_contents()) == ["0.0/s", "4.0/s", "breaker open"]
    assert surf.page.locator("a.dot:visible").count() == 4
    assert axe(surf.page) == []
    surf.page.set_viewport_size({"width": 1280, "height": 800})
    assert surf.page.locator(".box:visible").count() == 3


def edges(surf):
    """The times of the first and the last sample that a chart shows."""
    box = surf.page.locator("#charts .u-over").last.bounding_box()
    told = []
    for x in (1, box["width"] - 1):
        surf.page.mouse.move(box["x"] + x, box["y"] + 20)
        text = surf.page.locator("#charts small").last.inner_text()
        told.append(datetime.strptime(re.search(r"at (\d\d:\d\d:\d\d) UTC", text)[1], "%H:%M:%S"))  # noqa: DTZ007 two times of one day
    return told


def test_charts_are_of_as_many_minutes_as_the_address_says(surf, served):
    def beat():
        for _ in range(25):
            served.control.engine.clock.advance(20.0)
            asyncio.run(served.control.engine.observe("pair"))

    served.aside(beat)
    for minutes, words, least in ((10, "Last 10 minutes", 470), (1, "Last 1 minute", 20), (3, "Last 3 minutes", 140)):
        if minutes == 10:
            surf.go("/replicas/one/reader-0")
        else:
            surf.press(f".tabs >> text={minutes} min")
            assert surf.page.url.endswith(f"?minutes={minutes}")
        assert surf.page.locator(f"h2:text-is('{words}')").count() == 1
        assert surf.page.locator(".tabs [aria-current]").inner_text() == words.removeprefix("Last ")
        surf.wait("document.querySelectorAll('#charts[data-drawn] .u-over').length === 6")
        first, last = edges(surf)
        assert least <= (last - first).total_seconds() <= 60 * minutes, minutes
