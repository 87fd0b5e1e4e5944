"""Safety and progress of the node's decisions, over generated worlds in which orders get lost and processes die at any moment."""

from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from quarterdeck.engines.local.node import memory as slots
from quarterdeck.engines.local.node.decide import Drain, Finish, Halt, Kill, Live, Pause, Seen, Start, Stop, decide
from quarterdeck.model.desired import Restart, Rollout, Template
from quarterdeck.model.table import Row, Slot

BROKEN = "broken"


@dataclass
class World:
    """A toy node: what is alive, and time. A process of a broken template never gets ready."""

    now: float = 0.0
    live: dict = field(default_factory=dict)
    memory: dict = field(default_factory=dict)
    counters: dict = field(default_factory=dict)
    good: str | None = None
    halted: Halt | None = None

    def seen(self, row):
        following = {slot.n: self.counters.get(slot.n, 0) + 1 for slot in row.slots}
        return Seen(tuple(self.live.values()), dict(self.memory), following, self.good, self.halted)

    def carry_out(self, row, orders):
        for order in orders:
            match order:
                case Start(n, template):
                    number = self.counters[n] = self.counters.get(n, 0) + 1
                    self.memory[n] = slots.began(self.memory.get(n, slots.FRESH), template, self.now)
                    self.live[n, number] = Live(n, number, template, max(self.now, row.restart_before), self.now)
                case Drain(n, incarnation, within, _):
                    self.live[n, incarnation] = replace(self.live[n, incarnation], drain_until=self.now + within)
                case Kill(n, incarnation, _, _, counts):
                    self.live[n, incarnation] = replace(self.live[n, incarnation], killed=True)
                    if counts:
                        self.mourn(row, n, worked=False)
                case Pause(n, incarnation):
                    self.live[n, incarnation] = replace(self.live[n, incarnation], paused=True)
                case Stop(halt):
                    self.halted = halt
                    self.memory.clear()
                case Finish(template):
                    self.good = template

    def mourn(self, row, n, *, worked):
        before = self.memory.get(n, slots.FRESH)
        self.memory[n] = slots.died(before, row.restart, self.now, worked=worked, jitter=0.5, reason="died")

    def end(self, row, key):
        process = self.live.pop(key)
        if process.standing:
            self.mourn(row, process.n, worked=process.ready_at is not None)

    def pass_time(self, seconds, row):
        """What is asked to go goes, what works gets ready and beats."""
        self.now += seconds
        for key, process in list(self.live.items()):
            if process.killed or process.drain_until is not None:
                del self.live[key]
            elif process.ready_at is None and process.template != BROKEN:
                self.live[key] = replace(process, ready_at=self.now, beat=self.now)
                self.memory[process.n] = slots.ready(self.memory.get(process.n, slots.FRESH))
            elif process.ready_at is not None:
                self.live[key] = replace(process, beat=self.now)


def serving(row, live):
    return {p.n for p in live if p.serving and p.n in {slot.n for slot in row.slots} - set(row.quarantined)}


def surge(row):
    return row.rollout.surge or (1 if row.rollout.max_unavailable == 0 else 0)


def check(row, world, orders):
    """The promises of decide.py, for one decision."""
    starts = sum(isinstance(order, Start) for order in orders)
    assert not starts or len(world.live) + starts <= len(row.slots) + surge(row), "never above desired + surge alive"
    before = serving(row, world.live.values())
    leaving = {(o.n, o.incarnation) for o in orders if isinstance(o, Drain) or (isinstance(o, Kill) and not o.hang)}
    after = serving(row, [p for key, p in world.live.items() if key not in leaving])
    wanted = len({slot.n for slot in row.slots} - set(row.quarantined))
    if len(after) < len(before):
        assert len(after) >= wanted - row.rollout.max_unavailable, "never takes away what is needed"
    assert len({(o.n) for o in orders if isinstance(o, Start)}) == starts, "one start for a slot"


rollouts = st.builds(Rollout, surge=st.integers(0, 3), max_unavailable=st.integers(0, 3), ready_within=st.just(30.0), drain=st.just(5.0))


@st.composite
def rows(draw, templates=("one", "two", "three", BROKEN)):
    count = draw(st.integers(0, 5))
    digest = draw(st.sampled_from(templates))
    return Row(
        "s",
        "c",
        "a",
        Template(digest, digest, "m:f"),
        tuple(Slot(n, ()) for n in range(count)),
        draw(st.sampled_from([0.0, 20.0, 40.0])),
        tuple(sorted(draw(st.sets(st.integers(0, 5), max_size=2)))),
        draw(rollouts),
        Restart(budget=2),
        "",
        (),
    )


moves = st.one_of(
    st.tuples(st.just("decide"), st.integers(0, 8)),
    st.tuples(st.just("time"), st.sampled_from([0.01, 0.5, 3.0, 40.0])),
    st.tuples(st.just("kill"), st.integers(0, 9)),
    st.tuples(st.just("row"), rows()),
)


def live_through(world, row, history):
    for kind, value in history:
        if kind == "decide":  # only some of the orders arrive: the rest is lost in a crash
            orders = decide(row, world.seen(row), world.now).orders
            check(row, world, orders)
            world.carry_out(row, orders[:value])
        elif kind == "time":
            world.pass_time(value, row)
        elif kind == "kill" and world.live:
            world.end(row, sorted(world.live)[value % len(world.live)])
        elif kind == "row":
            row = value
            world.memory.clear()
            world.halted = None
    return row


def settle(world, row, steps=120):
    """Undisturbed from here: every decision is carried out, time goes on."""
    for _ in range(steps):
        orders = decide(row, world.seen(row), world.now).orders
        check(row, world, orders)
        world.carry_out(row, orders)
        world.pass_time(1.0, row)
    return orders


@given(rows(), st.lists(moves, max_size=40))
@settings(max_examples=100, deadline=None)
def test_no_decision_breaks_a_promise_whatever_happened_before(row, history):
    live_through(World(), row, history)


@given(rows(), st.lists(moves, max_size=30), rows(templates=("one", "two")))
@settings(max_examples=50, deadline=None)
def test_a_template_that_works_always_ends_up_serving_in_full_and_alone(row, history, last):
    world = World()
    live_through(world, row, [*history, ("row", last)])
    assert settle(world, last) == ()
    working = {slot.n for slot in last.slots} - set(last.quarantined)
    serve = [p for p in world.live.values() if p.serving]
    assert sorted(p.n for p in serve) == sorted(working)
    assert all(p.template == last.template.digest and p.started >= last.restart_before for p in serve)
    assert all(p.paused and p.n in last.quarantined for p in world.live.values() if not p.serving)


@given(rows(templates=("one",)), rollouts)
@settings(max_examples=30, deadline=None)
def test_a_template_that_never_gets_ready_leaves_the_old_one_serving(row, rollout):
    world = World()
    settle(world, row)
    before = serving(row, world.live.values())
    update = replace(row, template=Template(BROKEN, BROKEN, "m:f"), rollout=rollout)
    settle(world, update)
    assert serving(update, world.live.values()) == before
    assert all(p.template == "one" for p in world.live.values() if not p.paused)
    assert not before or world.halted is not None


@given(rows(templates=("one", "two")), st.lists(st.integers(0, 3), max_size=30))
@settings(max_examples=40, deadline=None)
def test_an_interrupted_rollout_ends_like_an_undisturbed_one(row, arrived):
    first = replace(row, template=Template("zero", "zero", "m:f"))
    ends = []
    for cuts in ([], arrived):
        world = World()
        settle(world, first)
        live_through(world, row, [step for cut in cuts for step in (("decide", cut), ("time", 0.5))])
        settle(world, row)
        ends.append(sorted((p.n, p.template, p.paused) for p in world.live.values()))
    assert ends[0] == ends[1]


@given(rows(templates=("one",)))
@settings(max_examples=20, deadline=None)
def test_nothing_is_asked_of_a_workload_that_is_as_it_should_be(row):
    world = World()
    settle(world, row)
    assert decide(row, world.seen(row), world.now).orders == ()
