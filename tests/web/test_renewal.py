"""What an open page says when what it shows is gone or cannot be renewed, and what scripts add to forms, phases and the palette."""

import json
import re

import pytest

from quarterdeck.model.records import Condition
from quarterdeck.model.world import Verb
from quarterdeck.store import conditions

SPEC = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: pair}
spec:
  clusters:
    one:
      agents:
        reader: {run: "agents:reader", replicas: {min: 1, max: 3}}
"""
SAID = "document.querySelector('#live').textContent"
RENEW = "document.dispatchEvent(new Event('visibilitychange'))"


def take(replicas):
    return {"target": "one/reader", "field": "replicas", "value": replicas, "reason": "for a test"}


@pytest.fixture(scope="module")
def served(serve):
    """The pair with its event streams ended: nothing but the age of a page renews it."""

    async def verbs(self, system, agent):
        number = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
        return (Verb("count", number, "Counts. " + "Words without end. " * 30), Verb("rest", None, ""))

    def fill(control):
        control.post("/v1/changes", take(2))
        control.converge()
        type(control.engine).verbs = verbs
        control.stopping.set()

    with serve(SPEC, fill) as served:
        yield served


@pytest.fixture
def surf(served, open_surf):
    with open_surf(served, link=served.link()) as surf:
        yield surf


def test_a_replica_that_is_gone_is_not_shown_as_ready_for_ever(surf, served):
    surf.watched.expects("status of 404")
    surf.go("/replicas/one/reader-1")
    surf.page.evaluate("window.same = true")
    served.aside(lambda: (served.control.post("/v1/changes", take(1)), served.control.converge()))
    surf.wait("document.querySelector('[role=alert]')?.textContent.includes('has no')")
    assert "ready" not in surf.page.inner_text("h1")
    assert surf.page.locator("nav a[href='/journal']").count() == 1
    served.aside(lambda: (served.control.post("/v1/changes", take(2)), served.control.converge()))
    surf.wait("document.querySelector('h1').textContent.trim() === 'one/reader-1'", within=25)
    assert surf.page.evaluate("window.same === true")


@pytest.mark.parametrize("status", [429, 500, 503, None])
def test_a_page_that_cannot_be_renewed_says_since_when(surf, status):
    surf.watched.expects(f"status of {status}", "net::ERR_FAILED", "Failed to fetch")
    surf.go("/replicas/one/reader-0")
    shown = surf.page.inner_text("h1")
    surf.page.route("**/replicas/one/reader-0", lambda route: route.fulfill(status=status, body="no") if status else route.abort())
    surf.wait(f"{SAID}.includes('not renewed since')")
    said = surf.page.evaluate(SAID)
    assert re.search(r"not renewed since \d\d:\d\d:\d\d UTC$", said), said
    surf.page.wait_for_timeout(3500)
    assert surf.page.evaluate(SAID) == said, "since it was renewed, not since it was tried"
    assert surf.page.inner_text("h1") == shown
    surf.page.unroute("**/replicas/one/reader-0")
    surf.wait(f"!{SAID}.includes('not renewed')")


def test_the_fields_of_a_verb_go_with_it_and_what_was_written_stays(surf):
    surf.go("/agents/one/reader?as=json")
    assert '"n": 0' in surf.page.input_value("#payload")
    surf.press("#verb >> text=rest")
    assert surf.page.input_value("#payload") == ""
    surf.go("/agents/one/reader?verb=rest")
    assert surf.page.locator(".send :is(input, textarea):visible").count() == 0
    surf.press("#verb >> text=count")
    surf.page.get_by_label("n (needed)").fill("7")
    surf.page.evaluate(RENEW)
    surf.page.wait_for_timeout(1500)
    assert surf.page.get_by_label("n (needed)").input_value() == "7"
    surf.press("text=Write it as JSON")
    assert json.loads(surf.page.input_value("#payload")) == {"n": 7}


def test_long_words_of_verbs_fit_a_phone(surf):
    surf.page.set_viewport_size({"width": 390, "height": 844})
    surf.go("/agents/one/reader")
    assert surf.page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert surf.page.evaluate("document.querySelector('#verb').getBoundingClientRect().right <= innerWidth")


def found(control, status):
    now = control.engine.clock.now()
    one = Condition("Step:EnsureBus", "bus", status, "", "no <b>port</b>", now, now, "", 1, "data_plane_deployment")
    control.store.write_sync(lambda tx: conditions.put(tx, "pair", one))


STEPS = "document.querySelector('#phase-data_plane_deployment details')"


def test_a_phase_that_failed_is_open_and_what_the_reader_does_is_left_alone_until_it_is_in_another_state(surf, served):
    found(served.control, "true")
    surf.go("/deployments")
    surf.wait("document.querySelectorAll('.phases > li').length === 7")
    assert surf.page.evaluate(f"{STEPS}.open") == (surf.page.evaluate(f"{STEPS}.dataset.state") in ("running", "failed"))
    surf.page.evaluate(f"{STEPS}.open = true")
    renewed(surf)
    assert surf.page.evaluate(f"{STEPS}.open")
    surf.page.evaluate(f"{STEPS}.open = false")
    renewed(surf)
    assert not surf.page.evaluate(f"{STEPS}.open")
    shown = surf.page.evaluate(f"{STEPS}.dataset.state") in ("running", "failed")
    surf.page.evaluate(f"{STEPS}.open = {'false' if shown else 'true'}; {STEPS}.dataset.state = 'another'")
    renewed(surf)
    assert surf.page.evaluate(f"{STEPS}.open") == shown
    assert "EnsureBus bus no <b>port</b>" in " ".join(surf.page.text_content("#phase-data_plane_deployment ul").split())


def renewed(surf):
    """Wait until the page was fetched again."""
    surf.page.evaluate("document.querySelector('main').append(Object.assign(document.createElement('i'), {id: 'odd'}))")
    surf.page.evaluate(RENEW)
    surf.wait("!document.getElementById('odd')")


def test_a_colon_opens_the_palette_which_says_when_nothing_matches(surf):
    surf.go("/")
    surf.page.keyboard.press(":")
    surf.page.wait_for_selector("#dialog [role=option]")
    surf.page.keyboard.type("quarantine one/reader-0")
    assert surf.page.inner_text("#dialog [aria-selected=true]").startswith("quarantine one/reader-0")
    surf.page.keyboard.type("xyz")
    assert surf.page.inner_text("#found") == "nothing matches"
    surf.page.keyboard.press("Enter")
    assert surf.page.locator("#dialog").is_visible()


def test_the_age_of_the_heartbeat_has_a_chart(surf):
    surf.go("/replicas/one/reader-0")
    surf.wait("document.querySelectorAll('#charts[data-drawn] figure').length === 6")
    assert surf.page.locator("#charts figcaption").all_inner_texts()[-1] == "Heartbeat age, s"
    assert re.fullmatch(r"(no data|[\d.]+ s) at \d\d:\d\d:\d\d UTC", surf.page.locator("#charts small").all_inner_texts()[-1])
    assert surf.page.locator(".u-legend").count() == 0


def test_a_chart_tells_its_value_and_scale_without_scripts(served, open_surf):
    with open_surf(served, link=served.link(), java_script_enabled=False) as surf:
        surf.go("/replicas/one/reader-0")
        assert all(re.search(r"no data|now .*; from .* to ", words) for words in surf.page.locator("#charts small").all_inner_texts())
        assert surf.page.locator("#charts small").count() == 6
