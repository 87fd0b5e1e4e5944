"""First contentful paint of the overview of the example, and the bytes that it takes, over several loads without a cache. No peer."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

import measure
from playwright.sync_api import Browser, Page, sync_playwright

sys.path.append(str(measure.HERE.parent / "tools"))
import chromium

PAINTED = """() => new Promise((found) => new PerformanceObserver((list) => {
  const [paint] = list.getEntriesByName('first-contentful-paint');
  if (paint) found(paint.startTime);
}).observe({type: 'paint', buffered: true}))"""
BYTES = """() => ['navigation', 'resource'].flatMap((kind) => performance.getEntriesByType(kind))
  .reduce((sum, entry) => sum + entry.transferSize, 0)"""


def loads(browser: Browser, fleet: measure.Fleet, count: int) -> list[tuple[float, int]]:
    """Milliseconds to the first contentful paint and bytes over the wire, each in a browser session of its own."""
    found = []
    for _ in range(count):
        with _session(browser, fleet) as page:
            page.goto(fleet.client.get("/v1/version")["url"], wait_until="load")
            found.append((float(page.evaluate(PAINTED)), int(page.evaluate(BYTES))))
    return found


@contextmanager
def _session(browser: Browser, fleet: measure.Fleet) -> Iterator[Page]:
    """Logged in, with nothing in its cache: the link is redeemed without loading the page it leads to."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    try:
        context.request.get(fleet.client.post("/v1/login", {})["url"], max_redirects=0)
        yield context.new_page()
    finally:
        context.close()


def main(arguments: list[str] | None = None) -> None:
    """Print the line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--loads", type=int, default=7)
    parser.add_argument("--replicas", type=int, default=9)
    given = parser.parse_args(arguments)
    with measure.fleet() as fleet, sync_playwright() as playwright:
        fleet.scale(given.replicas)
        browser = playwright.chromium.launch(executable_path=chromium.path(), args=list(chromium.SWITCHES))
        found = loads(browser, fleet, given.loads)
        version = browser.version
        browser.close()
    paints = [round(ms, 1) for ms, _ in found]
    measure.report(
        "first paint",
        what=f"first contentful paint of the overview of {given.replicas + 1} replicas, nothing cached",
        first_contentful_paint_ms={"median": median(paints), "max": max(paints), "all": paints},
        transferred_bytes=max(size for _, size in found),
        chromium=version,
        goals={"first_contentful_paint_ms": 1000},
    )


if __name__ == "__main__":
    main()
