"""What an open page says when something it asks for fails, when nobody answers any more, and when its reader is logged out."""

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
FAULT = "document.querySelector('#fault').innerText"
AWAY = "document.body.classList.contains('away')"
NOISE = ("status of", "net::ERR_", "Failed to fetch", "htmx:", "/favicon.ico")
"""What Chromium says of answers that are no success."""


@pytest.fixture(scope="module")
def served(serve):
    with serve(SPEC, lambda control: control.converge()) as served:
        yield served


@pytest.fixture
def surf(served, open_surf):
    with open_surf(served, link=served.link()) as surf:
        surf.watched.expects(*NOISE)
        yield surf


def fails(surf, where, status):
    surf.page.route(where, lambda route: route.fulfill(status=status, body="out of order") if status else route.abort())


def asked(surf):
    """The requests for the stream of news from now on."""
    found = []
    surf.context.on("request", lambda request: found.append(request.url) if "/live" in request.url else None)
    return found


def revoke_all(served):
    for token in served.control.get("/v1/tokens").json["items"]:
        served.control.delete(f"/v1/tokens/{token['id']}")


@pytest.mark.parametrize("status", [500, 503, None])
def test_a_link_that_fails_says_so_where_it_is(surf, status):
    surf.go("/")
    fails(surf, "**/journal", status)
    surf.page.click("nav >> text=Journal")
    surf.wait(FAULT)
    said = surf.page.evaluate(FAULT)
    assert f"{status} " in said if status else said.startswith("No answer")
    assert "qd status" in said
    assert surf.page.locator("#fault [role=alert]").is_visible()
    assert (surf.page.url, surf.page.inner_text("h1")) == (surf.base + "/", "pair")
    surf.page.unroute("**/journal")
    surf.press("nav >> text=Journal")
    assert surf.page.evaluate(FAULT) == ""


@pytest.mark.parametrize("status", [500, 503, None])
def test_a_form_that_fails_says_so_and_keeps_what_was_typed(surf, status):
    surf.go("/act/scale?target=one/reader&value=2")
    surf.page.fill("#reason", "more to read")
    fails(surf, "**/act/scale**", status)
    surf.page.click("text=Show the plan")
    surf.wait(FAULT)
    said = surf.page.evaluate(FAULT)
    assert f"{status} " in said if status else said.startswith("No answer")
    assert "look before you send it again" in said
    assert surf.page.input_value("#reason") == "more to read"
    surf.page.unroute("**/act/scale**")
    surf.press("text=Show the plan")
    assert surf.page.locator("button[name=confirmed]").count() == 1


def test_a_form_that_is_refused_in_a_page_of_its_own_keeps_what_was_typed(surf):
    surf.go("/act/scale?target=one/reader&value=2")
    surf.page.fill("#reason", "more to read")
    surf.page.evaluate("document.querySelector('[name=csrf]').value = 'of another session'")
    surf.page.click("text=Show the plan")
    surf.wait(f"{FAULT}.includes('403')")
    assert "load the page again" in surf.page.evaluate(FAULT)
    assert surf.page.input_value("#reason") == "more to read"
    assert surf.page.url == surf.base + "/act/scale?target=one/reader&value=2"


def test_who_is_logged_out_is_told_on_every_page_and_nothing_is_asked_for_ever(served, surf):
    surf.go("/act/scale?target=one/reader&value=2")
    surf.page.fill("#reason", "half a word")
    other = surf.context.new_page()
    surf.go("/", other)
    surf.wait("navigator.locks.query().then((all) => all.held.length === 1 && all.pending.length === 1)")
    served.aside(lambda: revoke_all(served))
    for page in (surf.page, other):
        surf.wait(f"{FAULT}.includes('logged out') && {FAULT}.includes('qd open')", page=page)
        assert surf.page.evaluate(AWAY)
    tried = asked(surf)
    surf.page.wait_for_timeout(4000)
    assert tried == []
    assert "trying again" not in surf.page.inner_text("#live")
    assert "logged out" in surf.page.evaluate(FAULT)
    assert surf.page.input_value("#reason") == "half a word"
    third = surf.context.new_page()
    third.goto(served.link())
    assert third.inner_text("h1") == "pair"
    for page in (surf.page, other):
        surf.wait(f"!{AWAY} && !{FAULT}", page=page)
    surf.wait("navigator.locks.query().then((all) => all.held.length === 1 && all.pending.length === 2)")


def test_a_stream_that_breaks_off_is_opened_again_after_what_was_heard_last(surf):
    begun = "id: 41\nevent: news\ndata: {}\n\n"
    surf.page.route("**/live*", lambda route: route.fulfill(content_type="text/event-stream", body=begun))
    surf.wait("navigator.locks.query().then((all) => all.held.length === 1)")  # the page that was there has asked for its own
    tried = asked(surf)
    surf.go("/act/scale?target=one/reader&value=2")
    for _ in range(100):
        if sum("after" in url for url in tried) > 1:
            break
        surf.page.wait_for_timeout(100)
    said = [url.partition("/live")[2] for url in tried]
    heard = said.index("?after=41")  # what is before it asks for all: this page, and at most the one that it took the place of
    assert said[:heard] in ([""], ["", ""])
    assert len(said) - heard > 1
    assert set(said[heard:]) == {"?after=41"}


def test_who_cannot_be_reached_is_asked_less_and_less_often(surf):
    surf.page.route("**/live*", lambda route: route.abort())
    tried = asked(surf)
    surf.go("/act/scale?target=one/reader&value=2")
    surf.page.wait_for_timeout(8500)
    assert 3 <= len(tried) <= 5, "after 1, 2 and 4 seconds"
    assert "connection lost" in surf.page.inner_text("#live")


def test_what_is_not_live_any_more_does_not_look_so_and_can_be_read(surf, axe):
    surf.page.route("**/live*", lambda route: route.abort())
    surf.go("/")
    surf.page.wait_for_timeout(6000)
    assert not surf.page.evaluate(AWAY), "it is renewed all the same"
    shown = surf.page.inner_text(".pulse")
    fails(surf, surf.base + "/", 503)
    surf.wait(AWAY)
    assert "unknown, as of " in surf.page.inner_text(".pulse")
    assert shown not in surf.page.inner_text(".pulse")
    assert surf.page.evaluate("getComputedStyle(document.querySelector('main section')).filter") == "grayscale(1)"
    assert surf.page.evaluate("getComputedStyle(document.querySelector('main')).outlineStyle") == "dashed"
    for scheme in ("light", "dark"):
        surf.page.emulate_media(color_scheme=scheme)
        assert axe(surf.page, ["color-contrast"]) == [], scheme
    surf.page.unroute(surf.base + "/")
    surf.wait(f"!{AWAY}")
    assert surf.page.inner_text(".pulse") == shown
