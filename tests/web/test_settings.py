"""Tokens by the dashboard in a browser, and the link of `qd open` that lands on a page."""

import re
import threading
from contextlib import closing
from html import escape
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

SPEC = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: pair}
spec:
  clusters:
    one: {agents: {reader: {run: "agents:reader"}}}
"""


@pytest.fixture(scope="module")
def served(serve):
    with serve(SPEC, lambda _: None) as served:
        yield served


@pytest.fixture
def surf(served, open_surf):
    with open_surf(served, link=served.link()) as surf:
        yield surf


def make(surf, **fields):
    surf.go("/settings")
    for name, value in fields.items():
        surf.page.fill(f"[name={name}]", value)
    surf.press("text=Make it")


def tokens(served):
    return served.aside(lambda: served.control.get("/v1/tokens").json["items"])


def test_a_token_is_made_its_secret_shown_once_and_copied(surf, served):
    surf.context.grant_permissions(["clipboard-read", "clipboard-write"])
    make(surf, cluster="one", ttl="12h", user="alice", note="wall display")
    secret = surf.page.inner_text("#secret")
    assert re.fullmatch(r"qd_[0-9a-f]{8}_[\w-]{43}", secret)
    surf.page.click("[data-copy=secret]")
    surf.wait("document.querySelector('[data-copy=secret]').textContent === 'Copied'")
    assert surf.page.evaluate("navigator.clipboard.readText()") == secret
    surf.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    surf.page.wait_for_timeout(1500)
    assert surf.page.inner_text("#secret") == secret, "no renewal takes it away"
    assert surf.page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])").count(secret) == 0
    surf.page.reload()
    assert surf.page.url == surf.base + "/settings#tokens"
    assert secret not in surf.page.content()
    surf.page.go_back()
    assert secret not in surf.page.content()
    assert any(token["note"] == "wall display" for token in tokens(served))


def test_a_doubt_is_shown_and_what_is_wrong_stands_in_the_form(surf):
    make(surf, cluster="won")
    assert "no system has a cluster won now" in surf.page.inner_text("[role=alert]")
    surf.watched.expects("status of 4")
    make(surf, ttl="soon", note="stays")
    assert "is no duration" in surf.page.inner_text("[role=alert]")
    assert surf.page.input_value("[name=note]") == "stays"


def test_slash_filters_the_tokens(surf):
    for note in ("kitchen display", "release robot"):
        make(surf, note=note)
    surf.go("/settings")
    surf.page.keyboard.press("/")
    assert not surf.page.locator("#dialog").is_visible()
    surf.page.keyboard.type("robot")
    rows = surf.page.locator("#tokens tbody tr:visible")
    assert rows.count() == 1
    assert "release robot" in rows.inner_text()


def test_a_token_is_revoked_after_a_question_by_keyboard(surf, served):
    make(surf, note="to be lost")
    lost = next(token["id"] for token in tokens(served) if token["note"] == "to be lost")
    surf.go("/settings")
    surf.page.focus(f"[aria-label='Revoke {lost}']")
    surf.press(":focus", key="Enter")
    assert "There is no way back" in surf.main()
    assert any(token["id"] == lost for token in tokens(served))
    surf.page.fill("#reason", "laptop lost")
    surf.press("#reason", key="Enter")
    surf.wait("location.pathname === '/settings'")
    assert lost not in surf.page.inner_text("#tokens table")
    assert not any(token["id"] == lost for token in tokens(served))


def test_the_pages_of_tokens_fit_a_phone_have_no_barrier_and_need_no_scripts(served, open_surf, axe):
    with open_surf(served, link=served.link(), java_script_enabled=False) as surf:
        surf.go("/settings")
        surf.page.select_option("#role", "operator")
        surf.page.click("text=Make it")
        made = surf.page.inner_text("#secret").split("_")[1]
        assert surf.page.locator("noscript").count() == 0, "to load it again would lose the secret"
        surf.page.click("text=All tokens")
        surf.page.click(f"[aria-label='Revoke {made}']")
        surf.page.click("button[name=confirmed]")
        assert surf.page.inner_text("h1") == "Settings"
    with open_surf(served, link=served.link(), reduced_motion="reduce") as surf:
        surf.page.set_viewport_size({"width": 390, "height": 844})
        fits = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        make(surf, cluster="won", note="n" * 190)
        for path in (None, "/settings", f"/settings/tokens/{tokens(served)[0]['id']}"):
            if path:
                surf.go(path)
            assert axe(surf.page) == [], path
            assert surf.page.evaluate(fits), path
            surf.page.emulate_media(color_scheme="dark")
            assert axe(surf.page, ["color-contrast"]) == [], path
            surf.page.emulate_media(color_scheme="light")


def test_one_link_logs_in_and_lands_on_the_page_of_a_target(served, open_surf):
    url = served.aside(lambda: served.control.post("/v1/login", {"next": "/agents/one/reader"}).json["url"])
    with open_surf(served, link=url) as surf:
        assert surf.page.url == surf.base + "/agents/one/reader"
        assert surf.page.inner_text("h1") == "reader"
        surf.page.goto(url)
        assert surf.page.url == surf.base + "/agents/one/reader", "a second click leads there too"
        surf.page.goto(url.partition("&next=")[0] + "&next=%2F%2Fevil.example%2F")
        assert surf.page.url == surf.base + "/"


class Elsewhere(BaseHTTPRequestHandler):
    """A page of another site with one link."""

    link = ""

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(f'<a id="there" href="{escape(self.link)}">there</a>'.encode())

    def log_message(self, *_):
        pass


def test_links_on_other_sites_log_in_and_lead_to_their_pages(served, browser):
    """As from a mail in a browser or a ticket: the cookie is one that other sites cannot make a browser send."""
    url = served.aside(lambda: served.control.post("/v1/login", {"next": "/agents/one/reader"}).json["url"])
    base = url.partition("/login")[0]
    with HTTPServer(("127.0.0.1", 0), Elsewhere) as elsewhere, closing(browser.new_context()) as context:
        threading.Thread(target=elsewhere.serve_forever, daemon=True).start()
        page = context.new_page()
        for path in (url.removeprefix(base), "/clusters/one?system=pair"):
            Elsewhere.link = base + path
            page.goto(f"http://localhost:{elsewhere.server_port}/")
            page.click("#there")
            page.wait_for_selector("nav a[href^='/deployments']")
            assert page.url == base + ("/agents/one/reader" if path.startswith("/login") else path)
        elsewhere.shutdown()
