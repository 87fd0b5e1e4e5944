"""What mkdocs does differently for us: pages from outside docs/, links as they are on disk, pictures drawn beforehand, a list of decisions.

The documents are written for whoever reads them in the repository; nothing in them knows about the site.
"""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).parent))
from pictures import FENCE, of  # a hook is loaded by its path: its neighbours are not importable by themselves

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
OUTSIDE = {"CHANGELOG.md": "CHANGELOG.md", "CONTRIBUTING.md": "CONTRIBUTING.md", "SECURITY.md": "SECURITY.md"}
OUTSIDE |= {"examples/triage/README.md": "example.md", "bench/README.md": "bench.md"}
"""Documents of the repository that are pages too: their path there, and in the site."""
INSIDE = {"README.md": "index.md", "docs/decisions": "decisions/index.md", "docs/reference": "reference/cli.md"}
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
FENCED = re.compile(r"^(```.*?^```)", re.DOTALL | re.MULTILINE)
PLACE = {page: source for source, page in OUTSIDE.items()}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put every decision into the navigation, and pages that mkdocs.yml does not name at the end of their part."""
    if config.nav is not None:
        parts: dict[str, Any] = {name: content for part in config.nav for name, content in part.items()}
        named, inside = str(config.nav), parts["Inside"]
        inside += [path.name for path in sorted(DOCS.glob("*.md")) if path.name not in named]
        parts["How to"] += [f"how-to/{path.name}" for path in sorted((DOCS / "how-to").glob("*.md")) if path.name not in named]
        inside += [{"Decisions": ["decisions/index.md", *(f"decisions/{path.name}" for path in decisions())]}]
        inside += [{"The example": "example.md"}, {"How it is measured": "bench.md"}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in docs/."""
    for source, page in OUTSIDE.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text()))
    files.append(File.generated(config, "decisions/index.md", content=list_of_decisions()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links and pictures of one page."""
    uri = page.file.src_uri
    parts = FENCED.split(markdown)
    return "".join(drawn(part) if part.startswith("```") else relinked(part, uri) for part in parts)


def decisions() -> list[Path]:
    """The records in their order."""
    return sorted((DOCS / "decisions").glob("[0-9]*.md"))


def list_of_decisions() -> str:
    """Each record by its title."""
    titles = [(path.name, path.read_text().splitlines()[0].removeprefix("# ")) for path in decisions()]
    lines = [f"- [{title}]({name})" for name, title in titles]
    return "\n".join(["# Decisions", "", "Why it is so, what was rejected, and the price.", "", *lines, ""])


def drawn(fence: str) -> str:
    """A mermaid fence as the picture that was made of it; any other as it is."""
    found = FENCE.match(fence + "\n")
    return fence if found is None else f'<div class="picture">{of(found[1]).read_text().strip()}</div>\n'


def relinked(text: str, uri: str) -> str:
    """Links of a page lead to the page of the file they name; a file without a page is named and not linked."""
    here = posixpath.dirname(uri)
    place = posixpath.dirname(PLACE.get(uri, f"docs/{uri}"))

    def link(found: re.Match[str]) -> str:
        mark, words, target = found.groups()
        path, _, anchor = target.partition("#")
        if not path or ":" in path:
            return found[0]
        wanted = posixpath.normpath(posixpath.join(place, path))
        page = OUTSIDE.get(wanted) or INSIDE.get(wanted) or (wanted.removeprefix("docs/") if wanted.startswith("docs/") else None)
        if page is None:
            return words
        return f"{mark}[{words}]({posixpath.relpath(page, here or '.')}{'#' + anchor if anchor else ''})"

    return LINK.sub(link, text)
