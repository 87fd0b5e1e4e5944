"""A thousand replicas: the real pages over the real API and store, with the engine in memory, served on a real port."""

import asyncio
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import httpx
import pytest
import uvicorn

REPLICAS = 1000
SPEC = (
    "apiVersion: quarterdeck.dev/v1alpha1\nkind: System\nmetadata: {name: pair}\nspec:\n  clusters:\n"
    + "".join(
        f"    c{c}:\n      quota: {{replicas: 600}}\n      agents:\n"
        + "".join(f'        a{a}: {{run: "agents:reader", replicas: {count}}}\n' for a, count in enumerate(counts))
        for c, counts in enumerate(((40, 30, 30), (500,), (60, 40), (200, 50, 50)))
    )
    + "  links:\n    - {from: c0, to: c1}\n    - {from: c1, to: c2}\n    - {from: c2, to: c3}\n    - {from: c3, to: c0}\n"
)
PATHS = ("/", "/clusters", "/clusters/c1", "/agents/c1/a0", "/replicas/c1/a0-7", "/links", "/deployments", "/palette")


@contextmanager
def listening(app, sock):
    """Served from a thread until the end."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off", server_header=False))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[sock])), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = server.force_exit = True
        thread.join(15)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def crowd(load_module, tmp_path_factory):
    """Its address, links that log in, and a token; made before a browser is there, whose event loop would forbid others in its thread."""
    doors = load_module("web_doors", "unit/api/conftest.py")
    with socket.create_server(("127.0.0.1", 0)) as sock:
        doors.PORT = sock.getsockname()[1]
        with doors.opened(tmp_path_factory.mktemp("many"), SPEC) as control:
            control.up()
            assert control.get("/v1/status").json["capacity"]["desired"] == REPLICAS
            control.stopping.set()  # event streams end at once: nothing happens here that a page could follow
            links = [control.post("/v1/login", {}).json["url"] for _ in range(5)]
            token = control.post("/v1/tokens", {"role": "viewer"}).json["token"]
            base = f"http://127.0.0.1:{doors.PORT}"
            with listening(control.guard, sock):
                yield SimpleNamespace(base=base, links=links, token=token, logs=str, engine=control.engine)


@pytest.fixture
def surf(crowd, open_surf):
    with open_surf(crowd, link=crowd.links.pop()) as surf:
        yield surf


def test_every_page_is_made_within_a_second(crowd):
    with httpx.Client(base_url=crowd.base, headers={"Authorization": f"Bearer {crowd.token}"}) as client:
        seconds = {}
        for path in PATHS:
            took = []
            for _ in range(3):
                began = time.perf_counter()
                answer = client.get(path)
                took.append(time.perf_counter() - began)
                assert answer.status_code == 200, (path, answer.text[:300])
            seconds[path] = sorted(took)[1]
    print("\n" + ", ".join(f"{path} {s * 1000:.0f} ms" for path, s in seconds.items()))
    assert {path: s for path, s in seconds.items() if s > 1} == {}


def test_the_picture_shows_small_agents_by_their_replicas_and_counts_large_ones(surf):
    surf.go("/")
    assert "1000 of 1000" in surf.page.inner_text(".figures")
    assert surf.page.locator(".wide a.dot").count() == 40 + 30 + 30 + 60 + 40 + 50 + 50
    assert surf.page.locator(".wide.picture", has_text="500 ready").count() == 1
    assert surf.page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert surf.page.evaluate("document.querySelectorAll('*').length") < 5000


def test_the_filter_finds_one_of_five_hundred(surf):
    surf.go("/clusters/c1")
    assert surf.page.locator("tr[id^=x-]").count() == 200
    assert "the first 200 of 500" in surf.main()
    surf.page.keyboard.press("/")
    surf.page.keyboard.type("a0-417")
    surf.press(":focus", key="Enter")
    assert surf.page.locator("tr[id^=x-]").all_inner_texts()[0].startswith("c1/a0-417")
    assert surf.page.locator("tr[id^=x-]").count() == 1
    surf.press("tr[id^=x-] a")
    assert surf.page.inner_text("h1").strip() == "c1/a0-417"


def test_a_page_of_many_shows_that_one_of_them_fell(surf, crowd, monkeypatch):
    row = "document.getElementById('x-c1/a0-5')"
    surf.go("/clusters/c1")
    assert surf.page.evaluate(f"{row}.querySelector('.said').textContent") == "ready"
    surf.page.evaluate(f"window.row = {row}")
    whole = type(crowd.engine).workloads

    async def workloads(self, system):
        found = await whole(self, system)
        return tuple(replace(w, replicas=tuple(map(fallen, w.replicas))) for w in found)

    def fallen(seen):
        return replace(seen, state="failed", reason="exit 3", pid=None) if seen.name == "c1/a0-5" else seen

    monkeypatch.setattr(type(crowd.engine), "workloads", workloads)
    began = time.monotonic()
    surf.wait(f"{row}.querySelector('.said').textContent === 'failed'")
    print(f"\n1 of {REPLICAS} seen to fall after {time.monotonic() - began:.1f} s")
    assert surf.page.evaluate(f"window.row === {row}"), "the row was changed, not the page loaded again"
    assert "exit 3" in surf.page.evaluate(f"{row}.textContent")
    monkeypatch.undo()
    surf.wait(f"{row}.querySelector('.said').textContent === 'ready'")


def test_the_palette_answers_each_key_at_once(surf):
    surf.go("/")
    surf.page.keyboard.press("Control+k")
    surf.page.wait_for_selector("#dialog [role=option]")
    began = time.monotonic()
    surf.page.keyboard.type("c1/a0-417")
    surf.wait("document.querySelector('#dialog [aria-selected=true]').textContent.startsWith('c1/a0-417')")
    assert time.monotonic() - began < 2
    assert surf.page.locator("#dialog [role=option]").count() <= 50
