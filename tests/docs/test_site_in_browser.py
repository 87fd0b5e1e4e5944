"""The site in a real Chromium that reaches nothing but us: scripts run under their policy, the search finds, no other host is asked."""

import asyncio
import importlib.util
import socket
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI
from playwright.sync_api import sync_playwright

from quarterdeck.web import site as served

ROOT = Path(__file__).parents[2]
ONLY_US = "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
pytestmark = pytest.mark.timeout(900)  # whoever is first may have to install a browser


def tool(name):
    spec = importlib.util.spec_from_file_location(f"tool_{name}", ROOT / "tools" / f"{name}.py")  # Python has a `site` of its own
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@contextmanager
def serving(app):
    """The application on a port of its own."""
    door = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[door])))
    thread.start()
    try:
        yield f"http://127.0.0.1:{door.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        door.close()


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    built = tool("site").build(tmp_path_factory.mktemp("browsed") / "site")
    app = FastAPI(docs_url=None)
    app.include_router(served.router)
    with pytest.MonkeyPatch.context() as patch, serving(app) as url:
        patch.setattr(served, "SITE", built)
        yield url


@pytest.fixture(scope="module")
def browser():
    chromium = tool("chromium")
    with sync_playwright() as playwright:
        switches = [*chromium.SWITCHES, f"--host-resolver-rules={ONLY_US}"]
        opened = playwright.chromium.launch(executable_path=chromium.path(), args=switches)
        yield opened
        opened.close()


@pytest.fixture
def page(browser, base):
    """A page that notes what it complains about and whom it asks."""
    context = browser.new_context()
    opened = context.new_page()
    opened.complaints, opened.foreign = [], []
    opened.on("console", lambda said: opened.complaints.append(said.text) if said.type in ("error", "warning") else None)
    opened.on("pageerror", lambda error: opened.complaints.append(str(error)))
    opened.on("request", lambda asked: opened.foreign.append(asked.url) if not asked.url.startswith((base, "data:")) else None)
    yield opened
    context.close()
    assert opened.complaints == []
    assert opened.foreign == []


def test_the_search_finds_a_page_without_a_network_and_leads_to_it(page, base):
    page.goto(f"{base}/docs/")
    page.click("input.md-search__input")
    page.keyboard.type("quarantine")
    page.wait_for_selector(".md-search-result__item a[href*='how-to/quarantine-and-inspect']")
    page.goto(page.get_attribute(".md-search-result__item a[href*='how-to/quarantine-and-inspect']", "href"))
    assert page.inner_text("h1").startswith("Quarantine a replica")


def test_a_picture_is_there_without_a_script(page, base):
    page.goto(f"{base}/docs/architecture/")
    assert page.locator(".picture svg text", has_text="fork server").count() == 1
    assert page.locator(".picture svg").bounding_box()["width"] > 300


def test_the_page_is_dark_where_the_system_is(page, base):
    shades = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.goto(f"{base}/docs/concepts/")
        shades.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert shades == ["rgb(247, 248, 250)", "rgb(17, 22, 28)"]


def test_a_narrow_window_needs_no_sideways_scrolling(page, base):
    page.set_viewport_size({"width": 390, "height": 844})
    for path in ("", "tutorial/", "reference/cli/", "how-to/when-something-is-wrong/"):
        page.goto(f"{base}/docs/{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
