"""What a stop does to the work: taken away under a new fence, given to nobody, and never counted against it."""

import pytest

from quarterdeck.errors import Conflict, NotFound
from quarterdeck.model.records import Actor
from quarterdeck.model.work import Fenced, Hold, Holder, Order, Target
from quarterdeck.store import changes, claims, effects, events, journal, orders, stops, tasks
from quarterdeck.store.fairness import Fairness
from quarterdeck.store.stops import Order as Stop
from quarterdeck.store.turn import Turn

ME = Actor("uid:0", "socket")
WORKER, OTHER = Target("triage", "core", "worker"), Target("triage", "edge", "front")
HOLDER = Holder("triage", "core", "worker", 0, 1)
STOP = Stop("triage", "core/worker", ME, "it must end")


class Rows:
    """A store in which each call is one turn."""

    def __init__(self, store):
        self.store, self.fairness, self.last = store, Fairness(), None

    def do(self, work):
        def whole(tx):
            self.last = Turn(tx, self.fairness)
            found = work(self.last)
            self.last.close()
            return found

        return self.store.write_sync(whole)

    def submit(self, target=WORKER, **fields):
        return self.do(lambda turn: orders.submit(turn, Order(target, **fields), "me")).task.id

    def claim(self, holder=HOLDER, free=1):
        return [task.id for task, _ in self.do(lambda turn: claims.claim(turn, holder, free, (), 1 << 20))]

    def running(self, holder=HOLDER, **fields):
        name = self.submit(holder.target, **fields)
        assert self.claim(holder) == [name]
        return name

    def hold(self, name, holder=HOLDER):
        return Hold(holder, name, self.get(name).fence)

    def effect(self, name, semantics, key="it", holder=HOLDER):
        return self.do(lambda turn: effects.begin(turn, self.hold(name, holder), key, semantics, "hash")).word

    def get(self, name):
        with self.store.read() as conn:
            return tasks.get(conn, name)

    def effects(self, name):
        with self.store.read() as conn:
            return {e.key: e.outcome for e in effects.of_task(conn, name)}

    def counts(self, target, system="triage"):
        with self.store.read() as conn:
            return stops.in_work(conn, system, target), stops.pending(conn, system, target)

    def stop(self, order=STOP):
        def work(turn):
            change = stops.begin(turn, order)
            stops.fence(turn, order.system, order.target, order.why)
            return change

        return self.do(work)

    def kinds(self, name):
        with self.store.read() as conn:
            return [event.kind for event in events.of(conn, [name])]


@pytest.fixture
def rows(triage):
    return Rows(triage)


def test_work_goes_back_under_a_new_fence_without_an_attempt_and_its_late_result_is_refused(rows):
    name = rows.running()
    late = rows.hold(name)
    rows.stop()
    after = rows.get(name)
    assert (after.state, after.owner, after.attempts, after.fence) == ("queued", None, 0, late.fence + 1)
    assert after.reason == "stopped by uid:0: it must end"
    assert rows.counts("core/worker") == (0, 0)
    for op in (
        lambda turn: tasks.done(turn, late, "1"),
        lambda turn: tasks.fail(turn, late, "no", again=None),
        lambda turn: tasks.give_back(turn, late, "draining"),
        lambda turn: effects.begin(turn, late, "new", "idempotent", "hash"),
        lambda turn: effects.finish(turn, late, "it", effects.Came("done", "1")),
    ):
        with pytest.raises(Fenced):
            rows.do(op)
    assert rows.get(name) == after
    assert not rows.do(lambda turn: tasks.release(turn, name, late.fence, "it ended", after=0.0)), "its end is no news"
    assert rows.kinds(name)[-1] == "halt"


def test_nobody_is_given_work_of_a_stopped_target_until_the_stop_ends(rows):
    rows.stop()
    name = rows.submit()
    assert rows.claim() == []
    change = rows.do(lambda turn: stops.live(turn.connection, "triage", turn.now))[0]

    def start(turn):
        changes.end(turn.tx, change.id, "reverted", ME, "mended")
        stops.resume(turn, "triage")

    rows.do(start)
    assert [target for target, _ in rows.last.queued] == [WORKER]
    assert rows.claim() == [name]


@pytest.mark.parametrize(
    ("target", "worker", "front"),
    [("triage:", False, False), ("core", False, True), ("core/worker", False, True), ("core/work", True, True)],
)
def test_who_may_be_given_work_while_something_is_stopped(rows, target, worker, front):
    rows.submit(), rows.submit(OTHER)
    rows.stop(Stop("triage", target, ME, "why"))
    assert bool(rows.claim()) is worker
    assert bool(rows.claim(Holder("triage", "edge", "front", 0, 1))) is front


def test_only_the_work_of_the_target_is_taken_away(rows):
    mine, front = rows.running(), Holder("triage", "edge", "front", 0, 1)
    other = rows.running(front)
    rows.effect(mine, "idempotent")
    rows.effect(other, "idempotent", holder=front)
    assert (rows.counts("core"), rows.counts("edge/front"), rows.counts("triage:"), rows.counts("", "")) == ((1, 1), (1, 1), (2, 2), (2, 2))
    rows.stop()
    assert (rows.get(mine).state, rows.get(other).state) == ("queued", "running")
    assert (rows.counts("core"), rows.counts("edge")) == ((0, 0), (1, 1))
    rows.stop(Stop("triage", "triage:", ME, "all"))
    assert rows.counts("triage:") == (0, 0)


@pytest.mark.parametrize(
    ("semantics", "state", "outcome"),
    [("unsafe", "unknown", "unknown"), ("idempotent", "queued", "failed"), ("dedupes", "queued", "failed")],
)
def test_no_effect_stays_pending(rows, semantics, state, outcome):
    name = rows.running()
    rows.effect(name, semantics)
    fence = rows.get(name).fence
    rows.stop()
    assert (rows.get(name).state, rows.effects(name), rows.get(name).fence) == (state, {"it": outcome}, fence + 1)
    assert rows.counts("core/worker") == (0, 0)


def test_an_effect_of_an_attempt_that_was_lost_before_is_none_either(rows):
    name = rows.running()
    rows.effect(name, "unsafe")
    rows.do(lambda turn: tasks.release(turn, name, rows.get(name).fence, "its holder ended", after=0.0))
    assert rows.counts("core/worker") == (0, 1)
    rows.stop()
    assert (rows.get(name).state, rows.effects(name)) == ("queued", {"it": "unknown"}), "its next attempt stops at it"


def test_a_task_that_was_to_be_cancelled_is_cancelled(rows):
    name = rows.running()
    rows.do(lambda turn: tasks.cancel(turn, tasks.require(turn.connection, name), "not needed", "me"))
    rows.stop()
    assert (rows.get(name).state, rows.get(name).reason) == ("cancelled", "not needed")


def test_a_second_stop_of_the_same_is_the_first_one(rows):
    first, second = rows.stop(), rows.stop(Stop("triage", "core/worker", Actor("uid:1", "socket"), "me too"))
    assert first == second
    assert rows.stop(Stop("triage", "core", ME, "wider")).id != first.id
    with rows.store.read() as conn:
        added = [r.target for r in journal.read(conn, verb="change.add")]
    assert added == ["core/worker", "core"]


def test_ending_a_task_ends_what_is_below_it_and_nothing_beside_it(rows):
    top = rows.running()
    child = rows.do(lambda turn: orders.submit(turn, Order(OTHER, parent=top, key=f"^{top}/a"), "me")).task.id
    beside = rows.submit(OTHER)
    front = Holder("triage", "edge", "front", 0, 1)
    assert rows.claim(front) == [child]
    late = rows.hold(child, front)
    rows.effect(child, "idempotent", holder=front)
    with rows.store.read() as conn:
        assert stops.of_task(conn, top) == (2, 1)
    rows.do(lambda turn: stops.end_task(turn, top, STOP))
    assert [rows.get(one).state for one in (top, child, beside)] == ["cancelled", "cancelled", "queued"]
    assert rows.effects(child) == {"it": "unknown"}, "nobody will call it again, so nobody knows"
    with pytest.raises(Fenced):
        rows.do(lambda turn: tasks.done(turn, late, "1"))
    rows.do(lambda turn: stops.end_task(turn, top, STOP))
    with rows.store.read() as conn:
        assert stops.of_task(conn, top) == (0, 0)
    with pytest.raises(NotFound):
        rows.do(lambda turn: stops.end_task(turn, "nothing", STOP))


def test_a_fenced_effect_resolved_by_a_human_lets_its_task_go_on_after_the_start(rows):
    name = rows.running()
    rows.effect(name, "unsafe")
    change = rows.stop()
    said = effects.Said("done", "1", ME, "it happened")
    rows.do(lambda turn: effects.resolve(turn, name, "it", said))
    assert rows.claim() == []
    rows.do(lambda turn: changes.end(turn.tx, change.id, "reverted", ME, "mended"))
    assert rows.claim() == [name]
    assert rows.effect(name, "unsafe") == "done"
    with pytest.raises(Conflict):
        rows.do(lambda turn: effects.begin(turn, rows.hold(name), "it", "unsafe", "another hash"))


def test_an_end_that_we_ordered_ourselves_is_no_attempt(rows):
    name = rows.running(attempts=1)
    rows.do(lambda turn: tasks.release(turn, name, rows.get(name).fence, "drained", after=0.0, counts=False))
    assert (rows.get(name).state, rows.get(name).attempts) == ("queued", 0)
    assert rows.claim() == [name]
    rows.do(lambda turn: tasks.release(turn, name, rows.get(name).fence, "it crashed", after=0.0))
    assert rows.get(name).state == "dead"
