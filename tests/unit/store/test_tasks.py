"""How tasks come and are given out: orders and their keys, claims, and what is shown of both; the same said twice is the same."""

import pytest

from quarterdeck.errors import Conflict, NotFound, UserError
from quarterdeck.model.work import MOST_DEPTH, Fenced, Hold, Holder, Order, Target
from quarterdeck.store import effects, orders, overview, questions, standing, tasks

WORKER = Target("s", "core", "worker")
ONE, TWO = Holder("s", "core", "worker", 0, 1), Holder("s", "core", "worker", 1, 1)


# orders


def test_an_order_is_a_queued_task_with_its_payload_and_a_word_for_the_agent(work):
    name = work.submit('{"a": 1}', key="k", tenant="x", priority=3, attempts=2, deadline=2e9)
    found = work.get(name)
    assert (found.state, found.key, found.tenant, found.priority, found.most, found.deadline, found.fence) == (
        "queued",
        "k",
        "x",
        3,
        2,
        2e9,
        0,
    )
    assert (found.root, found.depth, found.parent, found.number) == (name, 0, None, 1)
    assert work.body(name, "input") == '{"a": 1}'
    assert work.last.queued == [(WORKER, 0.0)]
    assert work.kinds(name) == ["submit"]
    assert work.last.touched == {name}


def test_the_same_key_is_the_same_task_whatever_its_json_looks_like_and_something_else_is_a_conflict(work):
    name = work.submit('{"a":1,"b":2}', key="k")
    again = work.turn(lambda turn: orders.submit(turn, Order(WORKER, '{"b": 2, "a": 1}', key="k"), "me"))
    assert (again.task.id, again.created) == (name, False)
    assert work.last.queued == []
    for other in (
        Order(WORKER, '{"a":2}', key="k"),
        Order(WORKER, '{"a":1,"b":2}', "verb", key="k"),
        Order(Target("s", "core", "x"), key="k"),
    ):
        with pytest.raises(Conflict, match="asks for something else"):
            work.turn(lambda turn, other=other: orders.submit(turn, other, "me"))
    assert work.turn(lambda turn: orders.submit(turn, Order(Target("t", "core", "x"), key="k"), "me")).created, (
        "another system's keys are its own"
    )


def test_many_at_once_keep_their_order_and_one_that_is_refused_stops_no_other(work):
    def many(turn):
        wanted = [
            Order(WORKER, "1", key="a"),
            Order(WORKER, "2", key="a"),
            Order(WORKER, "1", key="a"),
            Order(WORKER, "3"),
            Order(WORKER, "4", key="b"),
        ]
        return orders.submit_all(turn, [(order, "me") for order in wanted])

    first, refused, same, plain, last = work.turn(many)
    assert isinstance(refused, Conflict)
    assert (same.created, same.task.id) == (False, first.task.id)
    assert [made.task.number for made in (first, plain, last)] == [1, 2, 3]
    assert [made.created for made in work.turn(many) if not isinstance(made, UserError)] == [False, False, True, False]


@pytest.mark.parametrize("key", ["", "^child", "a\nb", "x" * 301])
def test_what_cannot_be_a_key_is_refused(key):
    with pytest.raises(UserError, match="cannot be a key"):
        tasks.own_key(key)


def test_delegations_have_a_most_depth(work):
    name = work.submit()
    for _ in range(MOST_DEPTH):
        name = work.submit(parent=name)
    assert work.get(name).depth == MOST_DEPTH
    with pytest.raises(UserError, match="delegations deep"):
        work.submit(parent=name)
    with pytest.raises(NotFound):
        work.submit(parent="ghost")


# claims


def test_each_claim_raises_the_fence_and_counts_an_attempt(work):
    hold = work.running()
    assert (hold.fence, work.get(hold.task).attempts, work.get(hold.task).owner) == (1, 1, "core/worker-0#1")
    assert work.last.claimed == {hold.task: (1, ONE)}
    work.fail(hold)
    (again,) = work.claim(TWO)
    assert (again.task, again.fence, work.get(hold.task).attempts) == (hold.task, 2, 2)
    assert [(e.kind, e.fence, e.actor) for e in work.events(hold.task)] == [
        ("submit", 0, "me"), ("claim", 1, "core/worker-0#1"), ("again", 1, "core/worker-0#1"), ("claim", 2, "core/worker-1#1"),
    ]  # fmt: skip


def test_a_claim_whose_answer_was_lost_is_answered_again_without_a_new_attempt(work):
    hold = work.running()
    assert work.claim() == [hold]
    assert work.claim(holding=(hold.task,)) == []
    assert work.claim(TWO) == []
    assert work.claim(Holder("s", "core", "worker", 0, 2)) == [], "its successor is somebody else"
    assert work.kinds(hold.task) == ["submit", "claim"]


def test_replicas_of_the_same_name_in_another_system_are_others(work):
    hold = work.running()
    stranger = Holder("t", "core", "worker", 0, 1)
    assert work.claim(stranger) == []
    for op in (
        lambda turn: tasks.held(turn, Hold(stranger, hold.task, hold.fence)),
        lambda turn: tasks.done(turn, Hold(stranger, hold.task, 1), "1"),
    ):
        with pytest.raises(Fenced, match="none of yours"):
            work.turn(op)
    assert work.kinds(hold.task) == ["submit", "claim"], "strangers leave no trace in a history that is not theirs"


def test_higher_priority_first_then_turn_and_number(work):
    low, plain, high = work.submit(priority=-1), work.submit(), work.submit(priority=1)
    assert [hold.task for hold in work.claim(free=9)] == [high, plain, low]


def test_nobody_begins_before_its_time_or_after_its_deadline(work, clock):
    later, late, never = work.submit(after=clock.now() + 5), work.submit(deadline=clock.now() + 5), work.submit(deadline=clock.now() + 5)
    assert [hold.task for hold in work.claim()] == [late]
    clock.advance(6)
    assert [hold.task for hold in work.claim(holding=(late,), free=5)] == [later]
    assert work.states(never) == ["failed"]
    assert "deadline" in work.get(never).reason


def test_payloads_that_are_too_much_come_with_the_next_claim_but_one_comes_always(work):
    big, small = work.submit('"' + "x" * 100 + '"'), work.submit("1")
    assert [hold.task for hold in work.claim(free=5, room=50)] == [big]
    assert [hold.task for hold in work.claim(free=5, holding=(big,), room=50)] == [small]


def test_a_claim_of_nothing_gives_nothing(work):
    work.submit()
    assert work.claim(free=0) == []
    assert work.claim(free=-3) == []


# lists


def test_lists_page_and_filter(work):
    names = [work.submit(key=f"K{n}", target=Target("s", "core" if n % 2 else "edge", "worker")) for n in range(5)]
    small = work.submit(key="k9")
    child = work.submit(parent=names[0])

    def listed(**how):
        return [task.id for task in work.read(lambda c: tasks.list_(c, **how))]

    assert listed() == [child, small, *reversed(names)]
    assert listed(limit=2, before=work.get(small).number) == [names[4], names[3]]
    assert listed(key="K") == list(reversed(names)), "a prefix is what it says, capitals too"
    assert listed(key="K%") == []
    assert listed(cluster="edge", tops=True) == [names[4], names[2], names[0]]
    assert listed(target="core/worker", states_=("queued",), root=names[0]) == [child]
    assert listed(target="core") == listed(target="core/worker"), "a cluster: of all its agents"
    assert listed(target="cor") == []
    assert listed(states_=("done",)) == []
    assert [task.id for task in work.read(lambda c: tasks.tree(c, names[0]))] == [names[0], child]
    assert [task.id for task in work.read(lambda c: tasks.children(c, names[0]))] == [child]
    assert work.read(lambda c: tasks.by_key(c, "s", "K1")).id == names[1]
    with pytest.raises(NotFound):
        work.read(lambda c: tasks.by_key(c, "s", "ghost"))
    with pytest.raises(NotFound):
        work.get("ghost")


def test_what_stands_is_read_from_the_rows(work, clock):
    hold = work.running()
    behind = [work.submit(lane="l"), work.submit(lane="l")]
    later = work.submit(target=Target("s", "core", "other"), after=clock.now() + 9)
    assert work.read(standing.held) == [(hold.task, "s", ONE.name, 1, False, False)]
    due = dict(work.read(lambda c: standing.due(c, clock.now())))
    assert due == {WORKER: clock.now(), Target("s", "core", "other"): clock.now() + 9}
    work.cancel(hold.task)
    assert work.read(standing.held)[0].cancelled
    assert behind
    assert later


def test_who_may_see_one_cluster_is_not_shown_less_of_it_for_what_waits_in_others(work):
    from quarterdeck.model.work import Question  # noqa: PLC0415 only here

    for n in range(4):
        hold = work.running()
        asked = Question(hold.task, "q#1", "go on?", (), "hash", None, work.clock.now() + n, "open", None, "", 0.0, None)
        work.turn(lambda turn, asked=asked, hold=hold: questions.ask(turn, hold, asked))
        work.turn(lambda turn, hold=hold, n=n: effects.begin(turn, hold, f"e{n}", "idempotent", "hash"))
    mine, others = overview.Scope("s", WORKER.cluster), overview.Scope("s", "other")
    assert [q.until for q in work.read(lambda c: questions.open_(c, mine, limit=2))] == [work.clock.now(), work.clock.now() + 1]
    assert [e.key for e in work.read(lambda c: effects.with_outcome(c, "started", mine, limit=2))] == ["e0", "e1"]
    assert work.read(lambda c: questions.open_(c, others)) == work.read(lambda c: effects.with_outcome(c, "started", others)) == []
