"""Who waits for whom, put together from reports that come when they come; nothing is broken that could go on."""

import random

import pytest
from tests.unit.work.reporters import HOUR, Office, Replica, crosswise, holder, task

from quarterdeck.work.watch import FORGET, POLICY


@pytest.fixture
def office():
    return Office()


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


def test_a_late_copy_of_an_earlier_report_changes_nothing(office):
    a, _b = crosswise(office)
    late = a.op
    a.waits.clear()
    a.report()
    office.watch.heard(a.who, late)
    office.pass_time(3.0, reports=False)
    assert not office.watch.found


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
