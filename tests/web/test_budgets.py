"""The page of budgets in a real Chromium, over the real doors and store: accounts as bars, and what is held back."""

import json

import pytest

from quarterdeck.model.budgets import MICRO, day
from quarterdeck.store import budgets, tables, trips
from quarterdeck.store.fairness import Fairness
from quarterdeck.store.turn import Turn
from quarterdeck.work import spending

HEAD = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: pair}
spec:
  clusters:
    amber:
      agents:
        reader: {run: "agents:reader"}
"""
BUDGETS = """\
      budgets:
        - {per: day, money: 10.0, tokens: 1000, money_per_minute: 1.5}
        - {per: task, depth: 3}
  budgets:
    - {per: day, money: 20, calls: 100}
"""
PATHS = ("/budgets", "/budgets?day=1970-01-01")


def spend(turn, allowance, of, **kinds):
    """kind=(spent, reserved), in the account of a day."""
    shared = spending.account_of(allowance, "pair", "", of)
    parts = [json.dumps({kind: amounts[part] * MICRO for kind, amounts in kinds.items()}) for part in (0, 1)]
    turn.update(tables.budgets, budgets.shared(turn, shared), spent=parts[0], reserved=parts[1])


def fill(control):
    whole, amber, _ = control.fleet.desired("pair").budgets

    def work(tx):
        turn = Turn(tx, Fairness())
        today = day(tx.now)
        spend(turn, whole, today, money=(4, 0), calls=(95, 1))
        spend(turn, amber, today, money=(2, 3), tokens=(1000, 0))
        spend(turn, amber, day(tx.now - 86_400), money=(7, 0))
        spending._trip(turn, "pair", "amber", 2.5)
        turn.close()

    control.engine.clock.advance(40 * 86_400)  # 1970 has no yesterday
    control.store.write_sync(work)


@pytest.fixture(scope="module")
def pages(load_module):
    return load_module("web_budget_pages", "web/test_pages.py")


@pytest.fixture(scope="module")
def served(serve):
    with serve(HEAD + BUDGETS, fill) as served:
        yield served


@pytest.fixture
def surf(served, open_surf):
    with open_surf(served, link=served.link()) as surf:
        yield surf


def cells(surf, row):
    return [text.strip() for text in surf.page.locator(f"[id='{row}'] td").all_inner_texts()]


def test_the_page_fits_is_titled_and_has_no_barrier(surf, pages, axe):
    wrong = []
    for path in PATHS:
        assert surf.go(path).status == 200, path
        assert surf.page.inner_text("h1").strip() == "Budgets"
        for width in (390, 1280):
            surf.page.set_viewport_size({"width": width, "height": 844})
            wrong += [f"{path} at {width}: {line}" for line in surf.page.evaluate(pages.FITS)]
        wrong += [f"{path}: {line}" for line in axe(surf.page)]
        surf.page.emulate_media(color_scheme="dark")
        wrong += [f"{path}, dark: {line}" for line in axe(surf.page, pages.OF_COLOUR)]
        surf.page.emulate_media(color_scheme="light")
    assert not wrong, "\n".join(wrong)


def test_each_account_is_shown_as_limit_reserved_and_spent(surf):
    surf.go("/budgets")
    assert cells(surf, "amber:day:money") == ["amber a day", "money", "50 %", "2", "3", "10", "5"]
    assert cells(surf, "amber:day:tokens") == ["amber a day", "tokens", "100 %", "1,000", "0", "1,000", "0"]
    assert cells(surf, "pair:day:calls") == ["all of pair a day", "calls", "96 %", "95", "1", "100", "4"]
    bar = surf.page.locator("[id='amber:day:money'] svg.meter")
    assert bar.get_attribute("aria-label") == "amber:day money: 2 spent and 3 reserved of 10"
    widths = [bar.locator(f".{part}").get_attribute("width") for part in ("spent", "reserved")]
    assert widths == ["20.00", "30.00"]
    assert "failed" in surf.page.get_attribute("[id='amber:day:tokens'] svg.meter", "class")
    assert "draining" in surf.page.get_attribute("[id='pair:day:calls'] svg.meter", "class")
    assert cells(surf, "amber:task:depth")[-2:] == ["3", ""]


def test_the_day_before_is_a_page_of_its_own(surf):
    surf.go("/budgets")
    surf.press("main a:has-text('←')")
    assert cells(surf, "amber:day:money")[3:5] == ["7", "0"]
    assert surf.page.locator("article.trouble").count() == 0
    surf.press("main a:has-text('→')")
    assert cells(surf, "amber:day:money")[3:5] == ["2", "3"]
    surf.watched.expects("status of 400")
    assert surf.go("/budgets?day=soon").status == 400


def test_what_is_held_back_says_why_and_since_when_and_is_let_go_with_a_reason(surf, served):
    surf.go("/budgets")
    told = surf.page.inner_text("article.trouble")
    assert "The tasks of amber are held back" in told
    assert "amber spent 2.5 within a minute" in told
    surf.watched.expects("status of 400")
    surf.page.fill("#why-1", " ")
    surf.press("button:text-is('Let them go on')")
    assert "say why" in surf.page.inner_text("[role=alert]")
    surf.page.fill("#why-1", "a test run")
    surf.press("button:text-is('Let them go on')")
    assert surf.page.locator("article.trouble").count() == 0
    assert "budget.resumed" in surf.main()
    assert "a test run" in surf.main()
    with served.control.store.read() as conn:
        assert trips.of(conn, "pair") == []


def test_without_a_budget_the_page_says_how_to_write_one(serve, open_surf):
    with serve(HEAD, lambda _: None) as served, open_surf(served, link=served.link()) as surf:
        surf.go("/budgets")
        assert "No budget: work may cost what it likes." in surf.main()
        assert "money_per_minute" in surf.page.inner_text(".hero pre")
        surf.go("/messages")
        assert "None yet." in surf.main()
