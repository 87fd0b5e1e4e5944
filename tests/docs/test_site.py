"""The built site: whole, found by its search, and nothing in it asks another host."""

import html
import importlib.util
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOADING = {"script": "src", "img": "src", "source": "src", "iframe": "src", "object": "data", "video": "src", "input": "src"}
LOADED_LINKS = {"stylesheet", "icon", "preload", "preconnect", "dns-prefetch", "modulepreload", "manifest", "prefetch"}


def tool(name):
    spec = importlib.util.spec_from_file_location(f"tool_{name}", ROOT / "tools" / f"{name}.py")  # Python has a `site` of its own
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses, and its neighbours, look there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Built as `make docs` does, which fails on a link or anchor that leads nowhere."""
    return tool("site").build(tmp_path_factory.mktemp("docs") / "site")


@pytest.fixture(scope="module")
def pages(site):
    return {path.relative_to(site).as_posix(): path.read_text() for path in sorted(site.rglob("*.html"))}


class Loads(HTMLParser):
    """What a page makes a browser fetch, and the ids and links of the page."""

    def __init__(self, text):
        super().__init__()
        self.loaded, self.links, self.ids = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        has = dict(attributes)
        self.ids.add(has.get("id"))
        if tag in LOADING:
            self.loaded.append(has.get(LOADING[tag]))
        elif tag == "link" and set((has.get("rel") or "").split()) & LOADED_LINKS:
            self.loaded.append(has.get("href"))
        elif tag == "a":
            self.links.append(has.get("href"))


def foreign(url):
    return bool(url) and bool(re.match(r"(?:[a-z][a-z0-9+.-]*:)?//|https?:", url))


def test_no_page_loads_anything_from_another_host(pages):
    assert len(pages) > 25
    loaded = {name: Loads(text).loaded for name, text in pages.items()}
    assert sum(map(len, loaded.values())) > 100
    assert {name: urls for name, urls in loaded.items() if any(map(foreign, urls))} == {}


def test_no_style_loads_anything_from_another_host(site):
    styles = {p: p.read_text() for p in site.rglob("*.css")}
    assert len(styles) >= 2
    urls = {url for text in styles.values() for url in re.findall(r"url\(\s*['\"]?([^'\")]+)", text)}
    assert [url for url in urls if foreign(url)] == []
    assert not any("@import" in text for text in styles.values())


def test_the_check_of_hosts_can_fail():
    page = '<script src="//cdn.example/x.js"></script><link rel="stylesheet" href="https://fonts.example/f.css"><img src="local.png">'
    assert [url for url in Loads(page).loaded if foreign(url)] == ["//cdn.example/x.js", "https://fonts.example/f.css"]


def test_every_picture_is_drawn_beforehand_so_that_no_script_has_to_be_fetched_for_it(pages):
    pictures = tool("pictures")
    wanted = [pictures.of(text) for text in pictures.fences()]
    assert len(wanted) >= 5
    assert [path.name for path in wanted if not path.exists()] == [], "run: python tools/pictures.py"
    assert not any('class="mermaid"' in text for text in pages.values())
    drawn = "".join(pages.values())
    assert all(html.escape(word) in drawn for word in ("half-open", "quarantined", "fork server"))


def test_every_script_within_a_page_is_in_the_manifest_and_every_file_too(site, pages):
    told = json.loads((site / "manifest.json").read_text())
    found = {digest for text in pages.values() for digest in tool("site").inner_scripts(text)}
    assert found == set(told["scripts"])
    assert 0 < len(found) < 12
    assert set(told["files"]) == {p.relative_to(site).as_posix() for p in site.rglob("*") if p.is_file()} - {"manifest.json"}


def test_no_page_carries_a_style_that_the_policy_would_refuse(pages):
    assert [path for path, text in pages.items() if re.search(r"<style|<[a-z][^>]* style\s*=", text)] == []


def test_no_page_carries_a_handler_that_the_policy_would_refuse(pages):
    assert [name for name, text in pages.items() if re.search(r"<[^>]+\son[a-z]+=", text) or "javascript:" in text] == []


def test_the_search_knows_every_page(site, pages):
    found = json.loads((site / "search/search_index.json").read_text())
    known = {entry["location"].partition("#")[0] for entry in found["docs"]}
    assert known == {name.removesuffix("index.html") for name in pages}
    assert found["config"]["lang"] == ["en"]  # needs no stemmer to be fetched


def test_every_link_and_anchor_leads_somewhere(site, pages):
    anchors = {name: Loads(text).ids for name, text in pages.items()}
    broken = []
    for name, text in pages.items():
        for link in filter(None, Loads(text).links):
            path, _, anchor = link.partition("#")
            if ":" in path or path == "/":  # elsewhere, or the dashboard
                continue
            target = (site / name).parent / path if path else site / name
            target = (target / "index.html" if target.is_dir() else target).resolve()
            there = target.relative_to(site.resolve()).as_posix()
            if not target.exists() or (anchor and there in anchors and anchor not in anchors[there] and anchor != "__skip"):
                broken.append((name, link))
    assert broken == []


def test_every_document_is_a_page(pages):
    documents = {p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").rglob("*.md")}
    made = {"index.html" if name == "index.md" else name.removesuffix(".md") + "/index.html" for name in documents}
    assert made - set(pages) == set()


def test_make_up_builds_the_site_where_a_page_is_newer():
    would = subprocess.run(["make", "-n", "-W", "docs/index.md", "up"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.search(r"tools/site\.py.*\n.*examples/triage/up\.py", would), would
