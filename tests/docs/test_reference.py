"""The reference is what the code says, and the code says it of everything."""

import importlib.util
import inspect
from pathlib import Path

import pytest

from quarterdeck import errors
from quarterdeck.deploy.evidence import DEEP, PROOFS
from quarterdeck.states import MACHINES

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location("reference", ROOT / "tools" / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_are_current(reference):
    made = reference.pages()
    kept = {path.name: path.read_text() for path in (ROOT / "docs" / "reference").glob("*.md")}
    assert set(kept) == set(made)
    stale = [name for name, text in made.items() if kept[name] != text]
    assert stale == [], "run: make docs"


def test_every_field_of_the_spec_says_what_it_means(reference):
    fields = list(reference.spec_fields())
    assert len(fields) > 30
    assert [f.path for f in fields if not f.description.endswith(".")] == []


def test_every_state_and_move_is_drawn(reference):
    text = reference.states()
    for machine in MACHINES:
        assert f"## {machine.noun}\n" in text
        assert all(f"{old} --> ".replace("-", "_").replace("__>", "-->") in text for old, new in machine.moves.items() if new)


def test_every_error_is_in_the_tree(reference):
    text = reference.error_tree()
    known = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, errors.QuarterdeckError)]
    assert len(known) <= 12
    assert all(f"`{e.__name__}`" in text and inspect.getdoc(e) for e in known)


def test_every_proof_is_listed_with_what_it_shows(reference):
    text = reference.proofs()
    assert all(f"`{p.kind}`" in text and p.sentence for p in (*PROOFS, *DEEP))
