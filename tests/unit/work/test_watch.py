"""Who waits for whom, put together from reports that come when they come; nothing is broken that could go on."""

import json
import random
from dataclasses import dataclass, field

import pytest

from quarterdeck.clock import VirtualClock
from quarterdeck.errors import UserError
from quarterdeck.model import ops
from quarterdeck.model.work import Holder, Order, Target
from quarterdeck.work.leases import Leases
from quarterdeck.work.requests import unpack
from quarterdeck.work.watch import FORGET, POLICY, Watch

HOUR = 3600.0


def holder(name, n=0, incarnation=1, system="s"):
    cluster, _, agent = name.rpartition("/")
    return Holder(system, cluster or "c", agent, n, incarnation)


@dataclass
class Replica:
    """What one replica knows; it reports when it is asked to, or when `pass_time` lets it. `deaf`: paused, or cut off."""

    who: Holder
    office: "Office"
    places: int = 1
    asks: dict = field(default_factory=dict)
    waits: dict = field(default_factory=dict)
    deaf: bool = False
    n: int = 0
    seen: float = 0.0
    broken: list = field(default_factory=list)
    unwanted: list = field(default_factory=list)

    def held(self, name, verb="v"):
        self.asks[name] = (name, verb, self.office.clock.now(), True)

    def queued(self, name, verb="v"):
        self.asks[name] = (name, verb, self.office.clock.now(), False)

    def asking(self, waiter, on, kind="ask", how="ask", to="c/x"):
        self.waits[waiter, on] = (waiter, kind, "v", on, how, to, self.office.clock.now())

    @property
    def op(self):
        self.n += 1
        free = max(0, self.places - sum(held for *_, held in self.asks.values()))
        return ops.Waits(self.n, self.seen, self.places, free, tuple(self.asks.values()), tuple(self.waits.values()))

    def report(self):
        if self.deaf:
            return
        again, left = True, 3
        while again and (left := left - 1) >= 0:
            (op,) = unpack(json.dumps({"ops": [ops.pack(self.op)]}).encode())
            said = self.office.watch.heard(self.who, op)
            self.seen, again = said["seen"], said["again"]
            for waiter, on, told in said["broken"]:
                if self.waits.pop((waiter, on), None):
                    self.broken.append((waiter, on, told))
            self.unwanted += [name for name, _ in said["unwanted"]]


class Office:
    """Replicas, the watch, and a virtual clock; looks each quarter of a second, as the ledger does."""

    def __init__(self):
        self.clock = VirtualClock()
        self.leases = Leases()
        self.replicas = {}
        self.staff = {}
        self.rows = {}
        self.watch = Watch(self.clock, self.leases, self._speak, lambda target: self.staff.get(target.name))

    def replica(self, name, n=0, **more):
        who = holder(name, n)
        made = self.replicas[who] = Replica(who, self, **more)
        self.staff[who.target.name] = self.staff.get(who.target.name, frozenset()) | {(n, 1)}
        self.watch.serves(who, made.places)
        return made

    def _speak(self, target, n):
        for replica in self.replicas.values():
            if (replica.who.target, replica.who.n) == (target, n):
                replica.report()

    def pass_time(self, seconds, *, reports=True, step=0.25):
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
            for replica in self.replicas.values() if reports else ():
                replica.report()
            suspected = self.watch.suspected()
            if suspected is not None:
                self.watch.look({name: self.rows[name] for name in suspected if name in self.rows})

    @property
    def broken(self):
        return [entry for replica in self.replicas.values() for entry in replica.broken]


@pytest.fixture
def office():
    return Office()


def crosswise(office):
    """Two agents with one place each, whose handlers ask one another."""
    a, b = office.replica("a"), office.replica("b")
    a.held("1")
    b.held("2")
    a.asking("1", "3", to="c/b")
    b.asking("2", "4", to="c/a")
    b.queued("3")
    a.queued("4")
    return a, b


def test_two_that_ask_one_another_are_broken_once_and_named(office):
    crosswise(office)
    office.pass_time(1.0)
    ((_, _, told),) = office.broken
    assert POLICY in told
    assert "c/a-0 ask v asks c/b-0 ask v → queued behind c/b-0 ask v → asks c/a-0 ask v → queued behind c/a-0 ask v" in told
    office.pass_time(5.0)
    assert len(office.broken) == 1
    assert len(office.watch.found) == 1


def test_the_ask_that_nobody_waits_for_any_more_is_turned_away(office):
    a, b = crosswise(office)
    office.pass_time(2.0)
    ((_, on, _),) = office.broken
    assert a.unwanted + b.unwanted == [on]


def test_a_deadlock_is_broken_within_a_second_of_the_last_report(office):
    crosswise(office)
    office.pass_time(1.0)
    assert office.broken


def test_one_look_alone_breaks_nothing(office):
    crosswise(office)
    office.pass_time(0.5)
    assert office.watch._suspects
    assert not office.broken


@pytest.mark.parametrize("silent", ["a", "b"])
def test_a_replica_that_does_not_answer_proves_nothing_however_long_it_was_silent(office, silent):
    for replica in crosswise(office):
        replica.report()
    office.replicas[holder(silent)].deaf = True
    office.pass_time(3 * FORGET)
    assert not office.broken


def test_what_was_true_before_and_is_not_any_more_breaks_nothing(office):
    _a, b = crosswise(office)
    office.pass_time(0.25)
    b.waits.clear()
    b.asking("2", "5", to="c/d")  # it got its answer and asks somebody else now
    office.pass_time(3.0)
    assert not office.broken


def test_a_wait_that_begins_anew_is_another_one_though_it_looks_the_same(office):
    a, _ = crosswise(office)
    for _ in range(20):
        office.pass_time(0.25)
        a.asking("1", "3", to="c/b")
    assert not office.broken


def slow_chain(office):
    """Five agents with one place each, all full, each waiting for the next one; the last one works."""
    for n in range(5):
        replica = office.replica(f"a{n}")
        replica.held(f"h{n}")
        if n < 4:
            replica.asking(f"h{n}", f"h{n + 1}", to=f"c/a{n + 1}")
        replica.queued(f"q{n}")


def test_a_live_slow_chain_is_not_broken_in_an_hour(office):
    slow_chain(office)
    office.pass_time(60.0)
    office.pass_time(HOUR, step=1.0)
    assert not office.broken
    assert not office.watch.found


def test_a_chain_becomes_a_deadlock_when_its_end_asks_for_its_beginning(office):
    slow_chain(office)
    office.pass_time(60.0)
    office.replicas[holder("a0")].queued("back")
    office.replicas[holder("a4")].asking("h4", "back", to="c/a0")
    office.pass_time(1.0)
    ((_waiter, _on, told),) = office.broken
    assert told.count("→") == 5


def test_a_free_place_or_a_second_replica_that_is_not_stuck_ends_it(office):
    _a, b = crosswise(office)
    b.places = 2
    office.pass_time(5.0)
    assert not office.broken


def test_an_ask_that_two_replicas_claim_is_nobodys(office):
    crosswise(office)
    third = office.replica("b", 1)
    third.held("2")
    third.queued("x")
    office.pass_time(5.0)
    assert not office.broken


def test_a_replica_cannot_speak_for_what_it_does_not_have(office):
    """It says that an ask of another replica waits, and that a task it does not hold does."""
    a, b = office.replica("a"), office.replica("b")
    a.held("1")
    a.asking("1", "2", to="c/b")
    b.held("2")
    b.queued("z")
    liar = office.replica("liar")
    liar.queued("mine")
    liar.asking("2", "1", to="c/a")
    office.replica("a", 1).asking(task("T"), task("T"), "task", "delegate", "c/a")
    office.leases.grant(task("T"), 1, a.who, 0.0)
    office.pass_time(5.0)
    assert not office.broken


def test_systems_do_not_mix(office):
    crosswise(office)
    other = Replica(holder("b", system="other"), office)
    other.held("2")
    other.held("free")
    office.replicas[other.who] = other
    office.pass_time(1.0)
    assert len(office.broken) == 1


# Tasks


def task(name):
    return name.rjust(26, "0")


def row(office, name, agent, *, state="queued", behind=None, priority=0, after=0.0):
    """A task as the rows tell of it."""
    from quarterdeck.model.work import Task  # noqa: PLC0415 named only here

    order = Order(Target("s", "c", agent))
    office.rows[task(name)] = Task(
        task(name), 1, order.target, "", None, "", priority, None, behind, state, "", 1, 5, 1, None, after, None, None, task(name), 0, None,
        {}, "", "", office.clock.now(), None, None,
    )  # fmt: skip
    return task(name)


def full(office):
    """One agent of one place, whose task delegates to the agent itself."""
    a = office.replica("a")
    parent, child = row(office, "P", "a", state="waiting"), row(office, "K", "a")
    office.leases.grant(parent, 3, a.who, office.clock.monotonic())
    a.asking(parent, child, "task", "delegate", "c/a")
    return a, parent, child


def test_a_task_that_waits_for_one_that_is_queued_behind_it_is_broken_and_the_child_given_up(office):
    a, parent, child = full(office)
    office.pass_time(1.0)
    assert [(waiter, on) for waiter, on, _ in a.broken] == [(parent, child)]
    office.pass_time(0.5)
    assert [broken.child for broken in office.watch.ended] == [child]


def test_another_replica_that_we_have_not_heard_of_could_take_it(office):
    full(office)
    office.staff["c/a"] = frozenset({(0, 1), (1, 1)})
    office.pass_time(HOUR / 60)
    assert not office.broken
    office.watch.serves(holder("a", 1), None)
    office.pass_time(HOUR / 60)
    assert not office.broken
    office.watch.serves(holder("a", 1), 1)
    office.leases.grant(task("other"), 1, holder("a", 1), 0.0)
    office.pass_time(5.0)
    assert not office.broken, "the other one works"
    office.watch.gone(holder("a", 1))
    office.leases.drop(task("other"))
    office.staff["c/a"] = frozenset({(0, 1)})
    office.pass_time(3.0)
    assert office.broken


def test_nobody_knows_the_replicas_so_there_may_be_one_that_is_free(office):
    full(office)
    office.staff.clear()
    office.pass_time(HOUR / 60)
    assert not office.broken


@pytest.mark.parametrize("changed", [{"state": "unknown"}, {"state": "done"}, {"after": 1e12}])
def test_a_child_that_waits_for_something_else_than_a_place_is_no_reason(office, changed):
    full(office)
    row(office, "K", "a", **changed)
    office.pass_time(HOUR / 60)
    assert not office.broken


def test_a_child_in_the_lane_of_its_parent_is_behind_it(office):
    a = office.replica("a", places=5)
    parent = row(office, "P", "a", state="waiting")
    child = row(office, "K", "a", behind=parent)
    office.leases.grant(parent, 3, a.who, 0.0)
    a.asking(parent, child, "task", "lane", "c/a")
    office.pass_time(1.0)
    assert [(waiter, on) for waiter, on, _ in a.broken] == [(parent, child)]


def test_a_task_that_also_waits_for_a_human_goes_on_when_he_answers(office):
    a, parent, _ = full(office)
    a.asking(parent, "question#1", "task", "human", "")
    office.pass_time(HOUR / 60)
    assert not office.broken


def test_the_lowest_priority_gives_way(office):
    a, b = office.replica("a"), office.replica("b")
    first, second = row(office, "1", "a", state="waiting", priority=5), row(office, "2", "b", state="waiting", priority=9)
    third, fourth = row(office, "3", "b", priority=5), row(office, "4", "a", priority=9)
    office.leases.grant(first, 1, a.who, 0.0)
    office.leases.grant(second, 1, b.who, 0.0)
    b.asking(second, fourth, "task", "delegate", "c/a")
    a.asking(first, third, "task", "delegate", "c/b")
    office.pass_time(1.0)
    assert [waiter for waiter, *_ in office.broken] == [first]


# What it costs and keeps


def test_a_task_shows_what_it_asked(office):
    a = office.replica("a")
    a.asking(task("T"), "9", "task", to="c/b")
    a.report()
    (found,) = office.watch.asks(task("T"))
    assert (found.to, found.since) == ("c/b", office.clock.now())
    assert office.watch.asks(task("U")) == ()
    a.waits.clear()
    a.report()
    assert office.watch.asks(task("T")) == ()


def test_nothing_is_kept_of_replicas_that_are_gone_or_say_nothing_any_more(office):
    for n in range(50):
        replica = office.replica("a", n)
        replica.held("h")
        replica.asking("h", "x")
        replica.report()
    office.watch.gone(holder("a", 0))
    office.pass_time(FORGET + 3.0, reports=False)
    assert not office.watch._reports
    assert not office.watch._suspects


def test_a_late_copy_of_an_earlier_report_changes_nothing(office):
    a, _b = crosswise(office)
    late = a.op
    a.waits.clear()
    a.report()
    office.watch.heard(a.who, late)
    office.pass_time(3.0, reports=False)
    assert not office.watch.found


def test_a_loop_is_told_once_a_minute(office):
    looped = ops.Looped(("c/a", "c/b"), 18, "c/a-0", "v")
    assert [office.watch.is_new("s", looped) for _ in range(3)] == [True, False, False]
    assert office.watch.is_new("other", looped)
    office.clock.advance(61)
    assert office.watch.is_new("s", looped)


@pytest.mark.parametrize(
    "fields",
    [
        {"asks": [["a", "v", 1.0]]},
        {"asks": [["a", "v", "soon", True]]},
        {"waits": [["w", "nobody", "v", "on", "ask", "to", 1.0]]},
        {"waits": [["w", "ask", "v", "on", "hope", "to", 1.0]]},
        {"waits": [["w", "ask", "v", "on", "ask", "to", float("nan")]]},
        {"n": "many"},
        {"seen": None},
        {"asks": [["a", "v", 1.0, True]] * 2000},
    ],
)
def test_a_report_that_is_none_is_refused(fields):
    whole = {"n": 1, "seen": 0.0, "places": 1, "free": 0, "asks": [], "waits": [], **fields}
    with pytest.raises(UserError):
        unpack(json.dumps({"ops": [["waits", whole]]}).encode())


def test_random_systems_break_only_what_a_complete_view_calls_dead(office):
    """Whoever could go on by itself does, now and then; reports are lost and late. What is broken had nobody that could go on."""
    chance, to = random.Random(7), {}  # noqa: S311 the same each time
    replicas = [office.replica(f"a{n}") for n in range(6)]
    working = {}
    for n, replica in enumerate(replicas):
        replica.held(f"h{n}")
        working[n] = True
    for step in range(3000):
        n = chance.randrange(6)
        replica, other = replicas[n], chance.randrange(6)
        if working[n] and chance.random() < 0.6:
            name = f"q{step}"
            replica.asking(f"h{n}", name, to=f"c/a{other}")
            replicas[other].queued(name)
            working[n], to[n] = False, other
        elif working[n]:  # it ends: whoever is queued there begins, does nothing, and answers
            for name in [name for name, ask in replica.asks.items() if not ask[3]]:
                del replica.asks[name]
                for m, asker in enumerate(replicas):
                    if (f"h{m}", name) in asker.waits:
                        del asker.waits[f"h{m}", name]
                        working[m] = True
        replica.deaf = chance.random() < 0.2
        office.pass_time(0.25)
        for m, asker in enumerate(replicas):
            if not asker.waits and not working[m]:
                assert stuck(m, to, working), f"step {step}: a{m} could go on"
                working[m] = True  # its wait failed: it goes on
    assert len(office.broken) > 20


def stuck(n, to, working):
    """Whether nobody works at the end of its chain of waits."""
    for _ in range(10):
        if working[n]:
            return False
        n = to[n]
    return True
