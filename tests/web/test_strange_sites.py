"""A site of somebody else in the browser of a person who is logged in: whatever it tries with their session, nothing of ours obeys.

The site is `localhost` on a port of its own, ours `127.0.0.1`; `evil.test` is a name that its owner points to our address once the page
is loaded (DNS rebinding), which the resolver rules of Chromium stand for.
"""

import json
import threading
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Error, sync_playwright

SPEC = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: pair}
spec:
  clusters:
    one: {agents: {reader: {run: "agents:reader", replicas: 2}}}
"""
REFUSED = {"status": "refused"}
FETCH = """async ([url, given]) => {
  try { const answer = await fetch(url, given); return {status: answer.status, type: answer.type, text: await answer.text()}; }
  catch (error) { return {status: 'refused'}; }
}"""
SOCKET = """(url) => new Promise((told) => {
  const socket = new WebSocket(url);
  socket.onopen = () => told('open');
  socket.onerror = () => told('refused');
})"""
FORM = """([url, given]) => {
  const form = Object.assign(document.createElement('form'), {method: 'post', action: url});
  for (const [name, value] of Object.entries(given)) form.append(Object.assign(document.createElement('input'), {name, value}));
  document.body.append(form);
  form.submit();
}"""


class Site(BaseHTTPRequestHandler):
    """A page of somebody else."""

    page = b"<h1>free kittens</h1>"

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(self.page)

    def log_message(self, *_):
        pass


@contextmanager
def elsewhere():
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser(web_chromium):
    """One to whom evil.test is this machine."""
    with sync_playwright() as playwright:
        switches = [*web_chromium.SWITCHES, "--host-resolver-rules=MAP evil.test 127.0.0.1"]
        opened = playwright.chromium.launch(executable_path=web_chromium.path(), args=switches)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def served(serve):
    with serve(SPEC, lambda _: None) as served:
        yield served


@pytest.fixture
def victim(served, browser):
    """(page on another site, our address, a form that scales) in a browser logged in to ours; the site knows even the form's token."""
    with elsewhere() as site, closing(browser.new_context()) as context:
        page = context.new_page()
        link = served.link()
        ours = link.partition("/login")[0]
        page.goto(link)
        page.goto(f"{ours}/act/scale?target=one/reader")
        token = page.locator("form [name=csrf]").first.get_attribute("value")
        page.goto(site)
        yield page, ours, {"csrf": token, "target": "one/reader", "value": "4", "reason": "because", "confirmed": "yes"}


def changes(served):
    return served.aside(lambda: served.control.get("/v1/changes").json["items"])


def scale(page, ours, form, mode):
    """By a script, with whatever the browser sends along."""
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    given = {"method": "POST", "credentials": "include", "mode": mode, "headers": kind, "body": urlencode(form)}
    return page.evaluate(FETCH, [f"{ours}/act/scale", given])


@pytest.mark.parametrize("mode", ["cors", "no-cors"])
def test_a_script_can_neither_read_nor_act_with_the_session(served, victim, mode):
    page, ours, form = victim
    for path in ("/v1/status", "/", "/live", "/palette"):
        seen = page.evaluate(FETCH, [ours + path, {"credentials": "include", "mode": mode}])
        assert seen == REFUSED or (seen["type"], seen["text"]) == ("opaque", ""), path
    scale(page, ours, form, mode)
    change = json.dumps({"target": "one/reader", "patch": {"field": "replicas", "value": 4}, "reason": "because"})
    page.evaluate(FETCH, [f"{ours}/v1/changes", {"method": "POST", "credentials": "include", "mode": mode, "body": change}])
    assert changes(served) == []


def test_a_form_that_sends_itself_comes_without_the_session(served, victim):
    page, ours, form = victim
    page.evaluate(FORM, [f"{ours}/act/scale", form])
    page.wait_for_url(f"{ours}/**")
    assert "one/reader" not in page.content()
    assert changes(served) == []


def test_ours_is_never_drawn_inside_another_page(victim):
    page, ours, _ = victim
    page.evaluate("(url) => { const frame = document.createElement('iframe'); frame.src = url; document.body.append(frame); }", f"{ours}/")
    page.wait_for_timeout(500)
    for frame in page.frames[1:]:
        assert "Overview" not in frame.content()


def test_no_socket_is_opened_from_another_site(victim):
    page, ours, _ = victim
    for path in ("/live", "/v1/journal", "/"):
        assert page.evaluate(SOCKET, ours.replace("http:", "ws:") + path) == "refused"


def test_a_name_that_leads_to_us_all_of_a_sudden_is_not_ours(served, victim):
    """The page then has our address as its own origin: nothing but the name in Host tells it from ours."""
    page, ours, _ = victim
    rebound = ours.replace("127.0.0.1", "evil.test")
    try:
        answer = page.goto(f"{rebound}/")
        assert answer.status in {403, 421}
        assert page.evaluate(FETCH, ["/v1/status", {"credentials": "include"}])["status"] in {403, 421, "refused"}
    except Error as error:
        assert "ERR_" in str(error), "the connection was closed"  # noqa: PT017 either is a refusal
    assert changes(served) == []


def test_the_same_form_from_our_own_page_does_it(served, victim):
    """So what the others try would work."""
    page, ours, form = victim
    page.goto(f"{ours}/links")
    assert scale(page, ours, form, "same-origin")["status"] == 200
    (change,) = changes(served)
    assert (change["target"], change["state"]) == ("one/reader", "live")
    served.aside(lambda: served.control.delete(f"/v1/changes/{change['id']}"))
