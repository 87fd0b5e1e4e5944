from pathlib import Path

import pytest

from quarterdeck.clock import VirtualClock
from quarterdeck.model.home import Home
from quarterdeck.model.records import Actor, Entry
from quarterdeck.model.work import Hold, Holder, Order, Target
from quarterdeck.store import claims, effects, events, journal, orders, revisions, steps, tasks
from quarterdeck.store.fairness import Fairness
from quarterdeck.store.store import Store
from quarterdeck.store.turn import Turn

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


WORKER = Target("s", "core", "worker")


def holder(n=0, incarnation=1, target=WORKER):
    return Holder(target.system, target.cluster, target.agent, n, incarnation)


class Work:
    """Tasks in a store; each call is a turn of its own, which is looked at by `last`."""

    def __init__(self, store, clock):
        self.store, self.clock, self.fairness = store, clock, Fairness()
        self.last = None

    def turn(self, work):
        def whole(tx):
            self.last = Turn(tx, self.fairness)
            found = work(self.last)
            self.last.close()
            return found

        return self.store.write_sync(whole)

    def submit(self, payload="1", *, target=WORKER, **fields):
        return self.turn(lambda turn: orders.submit(turn, Order(target, payload, **fields), "me")).task.id

    def claim(self, who=None, free=1, holding=(), room=1 << 20):
        given = self.turn(lambda turn: claims.claim(turn, who or holder(), free, holding, room))
        return [Hold(who or holder(), task.id, task.fence) for task, _ in given]

    def running(self, who=None, **fields):
        """A new task that a holder has: most urgent, so that it gets this one, beside those it has."""
        name = self.submit(target=(who or holder()).target, priority=100, **fields)
        known = [task.id for task in self.read(tasks.list_) if task.id != name]
        (hold,) = self.claim(who, holding=known)
        assert hold.task == name
        return hold

    def child(self, hold, payload="1", **fields):
        return self.submit(payload, parent=hold.task, **fields)

    def begin(self, hold, key="it", semantics="unsafe", arguments="hash"):
        return self.turn(lambda turn: effects.begin(turn, hold, key, semantics, arguments))

    def finish(self, hold, outcome="done", key="it", value="1", error=""):
        self.turn(lambda turn: effects.finish(turn, hold, key, effects.Came(outcome, value, error)))

    def done(self, hold, result="2"):
        self.turn(lambda turn: tasks.done(turn, hold, result))

    def fail(self, hold, error="no", again=0.0):
        self.turn(lambda turn: tasks.fail(turn, hold, error, again=again))

    def step(self, hold, name="s#1", value="3", code="c", **more):
        return self.turn(lambda turn: steps.keep(turn, hold, name, code, value, **more))

    def release(self, hold, why="its lease ended"):
        return self.turn(lambda turn: tasks.release(turn, hold.task, hold.fence, why, after=0.0))

    def cancel(self, name, reason="not wanted"):
        self.turn(lambda turn: tasks.cancel(turn, tasks.require(turn.connection, name), reason, "me"))

    def retry(self, name):
        self.turn(lambda turn: tasks.retry(turn, tasks.require(turn.connection, name), ACTOR, "once more"))

    def read(self, look):
        with self.store.read() as connection:
            return look(connection)

    def get(self, name):
        return self.read(lambda connection: tasks.get(connection, name))

    def states(self, *names):
        return [self.get(name).state for name in names]

    def body(self, name, kind="result"):
        return self.read(lambda connection: tasks.body(connection, name, kind))

    def effect(self, name, key="it"):
        return self.read(lambda connection: {e.key: e for e in effects.of_task(connection, name)}[key])

    def events(self, name):
        return self.read(lambda connection: events.of(connection, [name]))

    def kinds(self, name):
        return [event.kind for event in self.events(name)]

    def journalled(self, verb):
        return [record.after for record in self.read(lambda connection: journal.read(connection, verb=verb))]


@pytest.fixture
def work(store, clock):
    return Work(store, clock)
