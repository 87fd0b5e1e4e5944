from pathlib import Path

import pytest

from quarterdeck.clock import VirtualClock
from quarterdeck.model.home import Home
from quarterdeck.model.records import Actor, Entry
from quarterdeck.store import journal, revisions
from quarterdeck.store.store import Store

ACTOR = Actor("uid:0", "socket")


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def store(home, clock):
    opened = Store.open(home, clock)
    yield opened
    opened.close()


@pytest.fixture
def triage(store):
    """A store with a system in it."""
    store.write_sync(lambda tx: revisions.apply(tx, "triage", "spec 1", "digest-1", "code-1", "lock-1", ACTOR, "first"))
    return store


@pytest.fixture
def note():
    """Journals n facts in one commit each."""

    def write(store, n=1, **fields):
        entry = Entry(**{"actor": ACTOR, "verb": "test.note", "target": "x", **fields})
        return [store.write_sync(lambda tx: journal.append(tx, entry)) for _ in range(n)]

    return write


@pytest.fixture
def tree(tmp_path):
    """Makes files under a code root."""

    def make(files: dict[str, str]) -> Path:
        root = tmp_path / "code"
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return root

    return make
