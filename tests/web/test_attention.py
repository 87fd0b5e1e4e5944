"""What the Overview says of a system that somebody stopped, and of work that a budget holds back, in a real Chromium."""

import re

import pytest

from quarterdeck.store.fairness import Fairness
from quarterdeck.store.turn import Turn
from quarterdeck.work import spending

SPEC = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: pair}
spec:
  clusters:
    amber:
      budgets: [{per: day, money_per_minute: 1.5}]
      agents:
        reader: {run: "agents:reader"}
"""


def fill(control):
    return control.post("/v1/tasks", {"target": "amber/reader", "payload": 1, "key": "INC-1"}).json["id"]


@pytest.fixture(scope="module")
def served(serve):
    with serve(SPEC, fill) as served:
        yield served


@pytest.fixture
def surf(served, open_surf):
    with open_surf(served, link=served.link()) as surf:
        yield surf


def trip(tx):
    turn = Turn(tx, Fairness())
    spending._trip(turn, "pair", "amber", 2.5)
    turn.close()


def worries(surf):
    surf.go("/")
    return " ".join(surf.page.inner_text("[aria-labelledby=attention]").split())


PLACES = """() => {
    const at = (selector) => document.querySelector(selector).getBoundingClientRect();
    return {button: at(".head .actions .button:last-child"), head: at(".head"), title: at("h1"), figures: at(".figures").top};
}"""


def test_what_can_be_done_stands_at_the_same_place_on_each_page_of_a_thing(surf):
    found = {}
    for path in ("/", "/clusters/amber", "/agents/amber/reader"):
        surf.go(path)
        found[path] = seen = surf.page.evaluate(PLACES)
        assert seen["button"]["right"] == pytest.approx(seen["head"]["right"], abs=1), path
        assert seen["button"]["bottom"] <= seen["figures"], path
    assert len({place["button"]["right"] for place in found.values()}) == 1
    assert found["/"]["button"]["top"] <= found["/"]["title"]["bottom"], "beside the title, not below what it says"


def test_a_budget_that_holds_work_back_needs_attention_until_it_is_over(surf, served):
    assert "amber spent" not in worries(surf)
    served.control.store.write_sync(trip)
    assert "amber spent 2.5 within a minute: its tasks are held back until qd budget resume or the next UTC day" in worries(surf)
    assert "WithinBudget amber" in surf.page.inner_text("[aria-labelledby=readiness]")
    surf.press("[aria-labelledby=attention] a:text-is('amber')")
    assert surf.page.inner_text("h1") == "Budgets"
    surf.page.fill("#why-1", "a test run")
    surf.press("button:text-is('Let them go on')")
    assert "amber spent" not in worries(surf)


def test_a_stopped_system_says_so_and_not_that_it_is_ready(surf, served):
    served.aside(lambda: served.control.post("/v1/stops/fleet", {"reason": "incident <b>4711</b>"}))
    told = worries(surf)
    assert re.search(r"pair stopped by uid:\d+ since \d{4}-\d\d-\d\dT[\d:]+Z: incident <b>4711</b> qd start fleet", told), told
    assert surf.page.inner_text(".figures dd") == "Stopped"
    assert surf.page.inner_text(".pulse").startswith("Stopped")
    surf.go(f"/tasks/{served.made}")
    assert "for the start of everything" in surf.main()
    served.aside(lambda: served.control.post("/v1/starts/fleet", {"reason": "over"}))
    worries(surf)
    assert surf.page.inner_text(".figures dd") != "Stopped"
