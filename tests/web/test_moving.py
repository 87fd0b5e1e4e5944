"""From page to page: what Back and Forward bring, where the focus is, and what closes by itself."""

import pytest

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
TITLE = "document.querySelector('h1').textContent.trim()"


@pytest.fixture(scope="module")
def served(serve):
    def fill(control):
        control.converge()
        made = control.post("/v1/apply", {**control.body, "text": SPEC.replace("name: pair", "name: other")})
        assert made.status == 200, made

    with serve(SPEC, fill) as served:
        yield served


@pytest.fixture
def surf(served, open_surf):
    with open_surf(served, link=served.link()) as surf:
        yield surf


def find(surf, words, title):
    surf.page.keyboard.press("Control+k")
    surf.page.wait_for_selector("#dialog [role=option]")
    surf.page.keyboard.type(words)
    surf.page.keyboard.press("Enter")
    surf.wait(f"(title) => {TITLE} === title", title)


def test_back_and_forward_bring_what_the_palette_and_links_led_to(surf):
    surf.go("/?system=pair")
    find(surf, "journal", "Journal")
    find(surf, "scale one/reader", "Scale one/reader")
    surf.press("nav >> text=Links")
    surf.wait(f"{TITLE} === 'Links'")  # what settled may have been the page before
    for step, title, path in (
        (surf.page.go_back, "Scale one/reader", "/act/scale"),
        (surf.page.go_back, "Journal", "/journal"),
        (surf.page.go_back, "pair", "/"),
        (surf.page.go_forward, "Journal", "/journal"),
        (surf.page.go_forward, "Scale one/reader", "/act/scale"),
        (surf.page.go_forward, "Links", "/links"),
    ):
        step()
        there = f"([title, path]) => document.readyState === 'complete' && {TITLE} === title && location.pathname === path"
        surf.wait(there, [title, path])


def test_enter_before_the_palette_has_its_list_goes_to_the_best_match_once_it_has(surf):
    surf.go("/?system=pair")
    surf.page.route("**/palette*", lambda route: (surf.page.wait_for_timeout(400), route.continue_()))
    surf.page.keyboard.press("Control+k")
    surf.page.keyboard.type("one/reader-0")
    surf.page.keyboard.press("Enter")
    assert surf.page.locator("#dialog [role=option]").count() == 0
    surf.wait(f"{TITLE} === 'one/reader-0'")
    assert surf.page.url == f"{surf.base}/replicas/one/reader-0?system=pair"


def test_whoever_closes_the_palette_meanwhile_stays_where_he_is(surf):
    surf.go("/?system=pair")
    surf.page.route("**/palette*", lambda route: (surf.page.wait_for_timeout(300), route.continue_()))
    surf.page.keyboard.press("Control+k")
    surf.page.keyboard.type("journal")
    surf.page.keyboard.press("Enter")
    with surf.page.expect_response("**/palette*"):
        surf.page.keyboard.press("Escape")
    surf.wait("document.querySelectorAll('#dialog [role=option]').length > 0")
    assert not surf.page.locator("#dialog").is_visible()
    assert surf.page.inner_text("h1").strip() == "pair"


def test_back_leads_to_where_the_page_was_read_and_a_link_to_the_top(surf):
    surf.page.set_viewport_size({"width": 1280, "height": 300})
    surf.go("/?system=pair")
    surf.page.focus("main a[href^='/journal?']")  # which brings it into sight
    at = surf.page.evaluate("scrollY")
    surf.press(":focus", key="Enter")
    assert surf.page.evaluate("scrollY") == 0
    surf.page.go_back()
    surf.wait(f"(at) => {TITLE} === 'pair' && scrollY === at", at)


def test_after_a_link_the_focus_is_on_the_title_and_outlives_renewals(surf):
    surf.go("/?system=pair")
    surf.press("nav >> text=Links")
    focused = "document.activeElement.tagName"
    assert surf.page.evaluate(focused) == "H1"
    assert surf.page.evaluate("scrollY") == 0
    surf.page.evaluate("document.querySelector('main').append(Object.assign(document.createElement('i'), {id: 'odd'}))")
    surf.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    surf.wait("!document.getElementById('odd')")
    assert surf.page.evaluate(focused) == "H1"
    surf.page.keyboard.press("?")
    assert "next and previous row" in surf.page.inner_text("#dialog")
    surf.page.click("#dialog button")
    assert not surf.page.locator("#dialog").is_visible()
    surf.go("/act/scale?target=one/reader&system=pair")
    assert surf.page.evaluate("document.activeElement.matches('[autofocus]')"), "a field that asks for it has it"


def test_the_list_of_systems_closes_by_escape_and_by_a_click_elsewhere(surf):
    surf.go("/?system=pair")
    menu = "document.querySelector('.systems').open"
    surf.page.click(".systems summary")
    assert surf.page.evaluate(menu)
    surf.page.keyboard.press("Escape")
    assert not surf.page.evaluate(menu)
    surf.page.click(".systems summary")
    surf.page.click("h2 >> nth=0")
    assert not surf.page.evaluate(menu)
    surf.page.click(".systems summary")
    surf.press(".systems a:text-is('other')")
    surf.wait(f"{TITLE} === 'other'")
    assert not surf.page.evaluate(menu)


def test_the_header_of_two_systems_fits_a_phone_on_one_line(surf):
    surf.page.set_viewport_size({"width": 390, "height": 844})
    surf.go("/?system=pair")
    assert surf.page.locator(".systems summary").is_visible()
    assert surf.page.evaluate("document.querySelector('.bar').offsetHeight") <= 48
