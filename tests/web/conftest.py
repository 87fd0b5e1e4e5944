"""A real Chromium before a real fleet. Every page is watched: what it complains about on its console fails the test, unless expected.

Playwright's synchronous API keeps an event loop in its thread, so it lives as long as one module and no longer.
"""

import importlib.util
import os
import re
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from playwright.sync_api import Error, sync_playwright

TESTS = Path(__file__).parents[1]
AXE = TESTS / "web" / "axe" / "axe.min.js"
WIDE = {"width": 1280, "height": 900}
INSTALLING = 900.0
BLOCKED = "addEventListener('securitypolicyviolation', (e) => console.error(`blocked: ${e.violatedDirective} ${e.blockedURI}`))"


def load(name, path):
    """A module of another test folder or of tools/, a copy of our own."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


chromium = load("web_chromium", TESTS.parent / "tools" / "chromium.py")
fleets = load("web_fleets", TESTS / "scenarios" / "fleet" / "conftest.py")


def pytest_collection_modifyitems(items):
    """Whoever is first may have to install a browser."""
    if not chromium.found():
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.timeout(INSTALLING))


class Watched:
    """Everything that pages of a context complained about; `expects` names by a pattern what a test means to provoke."""

    def __init__(self, home):
        self.home = home
        self.complaints, self.patterns, self.foreign = [], [], []

    def expects(self, *patterns):
        self.patterns += patterns

    def follow(self, page):
        page.on("console", lambda said: self.complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (self.complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda asked: self.foreign.append(asked.url) if not asked.url.startswith(self.home) else None)

    @property
    def unexpected(self):
        return [text for text in self.complaints if not any(re.search(pattern, text) for pattern in self.patterns)]


class Surf:
    """One browser session in one window: logged in, watched."""

    def __init__(self, context, fleet, watched):
        self.context, self.fleet, self.watched, self.base = context, fleet, watched, watched.home
        self.page = context.new_page()

    def go(self, path, page=None):
        """Load a page; gives the response."""
        return (page or self.page).goto(self.base + path)

    def wait(self, expression, argument=None, *, within=15.0, page=None):
        """Until a JavaScript expression holds in the page. Asked from outside: our policy forbids the eval that Playwright waits by."""
        page = page or self.page
        deadline = time.monotonic() + within
        while not (seen := self._holds(page, expression, argument)):
            assert time.monotonic() < deadline, f"not within {within:g} s: {expression} at {page.url}: {page.inner_text('main')[:1500]}"
            page.wait_for_timeout(30)
        return seen

    @staticmethod
    def _holds(page, expression, argument):
        try:
            return page.evaluate(expression, argument)
        except Error as error:
            if "context was destroyed" not in str(error):  # another page took its place just now
                raise
            return None

    def press(self, selector, *, key=None):
        """Click, or press a key on what is found, and wait until the page it leads to has taken the place of this one."""
        self.page.evaluate(
            "window.settled = false; document.addEventListener('htmx:afterSettle', () => { window.settled = true; }, {once: true})"
        )
        self.page.press(selector, key) if key else self.page.click(selector)
        self.wait("window.settled !== false")

    def main(self, page=None):
        return (page or self.page).inner_text("main")


@pytest.fixture(scope="session")
def load_module():
    """A copy of a module of another test folder."""
    return lambda name, path: load(name, TESTS / path)


@pytest.fixture(scope="session")
def web_chromium():
    """How to find and start Chromium, for whoever needs one of his own."""
    return chromium


@pytest.fixture(scope="module")
def browser():
    """One Chromium for a module; where none can be had, tests are skipped, but not before a change lands (CI)."""
    try:
        path = chromium.path()
    except chromium.Missing as missing:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(missing))
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=path, args=list(chromium.SWITCHES))
        yield made
        made.close()


@pytest.fixture(scope="module")
def make_fleet(tmp_path_factory):
    """Fleets one after another or side by side."""
    return lambda name: fleets.opened(tmp_path_factory.mktemp(name))


@pytest.fixture(scope="module")
def serve(load_module, tmp_path_factory):
    """The real doors and store, with the engine in memory and a real port: `link()` makes an address that logs in, `aside` runs in a
    thread of its own what makes an event loop, since Playwright has one in this thread."""
    doors = load_module("web_served_doors", "unit/api/conftest.py")
    listening = load_module("web_served_many", "web/test_many.py").listening

    @contextmanager
    def opened(spec, fill):
        with socket.create_server(("127.0.0.1", 0)) as sock, ThreadPoolExecutor(1) as pool:
            doors.PORT = sock.getsockname()[1]
            with doors.opened(tmp_path_factory.mktemp("served"), spec) as control:

                def aside(call):
                    return pool.submit(call).result()

                def link():
                    return aside(lambda: control.post("/v1/login", {}).json["url"])

                aside(control.up)
                made = aside(lambda: fill(control))
                with listening(control.guard, sock):
                    yield SimpleNamespace(control=control, made=made, aside=aside, link=link, logs=str)

    return opened


@pytest.fixture(scope="module")
def fleet(make_fleet):
    """A deployed fleet for all tests of a module; each leaves it ready."""
    with make_fleet("seen") as fleet:
        fleet.up()
        yield fleet


@pytest.fixture(scope="module")
def open_surf(browser):
    """A session with the rights of a fresh link; what was complained about is told at its end."""

    @contextmanager
    def opened(fleet, *, link=None, **options):
        url = link or fleet.client.post("/v1/login", {})["url"]
        context = browser.new_context(**{"viewport": WIDE, **options})
        context.set_default_timeout(15_000)
        context.add_init_script(BLOCKED)
        watched = Watched(url.partition("/login")[0])
        context.on("page", watched.follow)
        surf = Surf(context, fleet, watched)
        try:
            surf.page.goto(url)
            yield surf
        finally:
            context.close()
        assert watched.unexpected == [], fleet.logs()
        assert watched.foreign == []

    return opened


@pytest.fixture
def surf(fleet, open_surf):
    """A logged-in browser session before the module's fleet."""
    with open_surf(fleet) as surf:
        yield surf


@pytest.fixture(scope="session")
def axe():
    """Judge a page by all rules, or by some; gives one line for each violation."""
    script = AXE.read_text()

    def judge(page, rules=()):
        if not page.evaluate("'axe' in window"):
            page.evaluate(script)
        options = {"resultTypes": ["violations"], **({"runOnly": list(rules)} if rules else {})}
        found = page.evaluate("(options) => axe.run(document, options)", options)["violations"]
        return [f"{v['impact']} {v['id']}: {n['html'][:160]} {n['failureSummary'][:300]}" for v in found for n in v["nodes"]]

    return judge
