"""Whoever begins with nothing, the tutorial first of all, gets what it shows: every command is carried out in a home of its own."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = "<!-- begins with: the example's files -->"
MORE = re.compile("<!-- begins with: .*(deployed|machine)")
PAGES = [
    *(p for p in (ROOT / "docs/tutorial.md", *sorted((ROOT / "docs/how-to").glob("*.md"))) if not MORE.search(p.read_text())),
    ROOT / "examples/triage/README.md",
]
CHECKOUT = ("tutorial", "README")
"""Pages that begin in the repository's root."""


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_that_begins_with_nothing_does_what_it_shows(documents, path):
    with documents.place(example=FILES in path.read_text(), checkout=path.stem in CHECKOUT) as shell:
        documents.follow(path, shell)
        assert shell.run('pgrep -u $(id -u) -f "[-]-home $HOME" | wc -l').strip() == "0", "the page left processes behind"
