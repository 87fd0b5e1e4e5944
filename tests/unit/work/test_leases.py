"""Leases: a term for whoever renews, judged by the fence, on the clock that cannot be set."""

import pytest

from quarterdeck.model.work import Holder
from quarterdeck.work.decide import RETRY_FIRST, RETRY_MOST, retry_after
from quarterdeck.work.leases import TERM, Lease, Leases

ONE, TWO = Holder("s", "c", "a", 0, 1), Holder("s", "c", "a", 1, 1)


def test_a_lease_is_over_when_nobody_renewed_it_for_its_term():
    leases = Leases()
    leases.grant("t", 1, ONE, 100.0)
    assert leases.over(100.0 + TERM - 0.1) == ()
    assert leases.renew(ONE, [("t", 1)], 110.0) == frozenset()
    assert leases.over(100.0 + TERM) == ()
    assert leases.over(110.0 + TERM) == (Lease("t", 1, ONE, 110.0 + TERM),)


@pytest.mark.parametrize(
    ("holder", "fence"), [(TWO, 1), (ONE, 0), (ONE, 2), (Holder("s", "c", "a", 0, 2), 1), (Holder("x", "c", "a", 0, 1), 1)]
)
def test_only_its_holder_renews_it_and_only_under_its_fence(holder, fence):
    leases = Leases()
    leases.grant("t", 1, ONE, 0.0)
    assert leases.renew(holder, [("t", fence), ("ghost", 1)], 5.0) == {"t", "ghost"}
    assert leases.get("t").until == TERM


def test_an_older_fence_replaces_no_newer_one():
    leases = Leases()
    leases.grant("t", 2, TWO, 0.0)
    leases.grant("t", 1, ONE, 0.0)
    assert leases.get("t").holder == TWO
    assert (leases.of(ONE), [lease.task for lease in leases.of(TWO)]) == ((), ["t"])
    leases.grant("t", 3, ONE, 0.0)
    assert (leases.of(TWO), [lease.fence for lease in leases.of(ONE)]) == ((), [3])


def test_what_is_dropped_is_forgotten():
    leases = Leases()
    leases.grant("t", 1, ONE, 0.0)
    leases.grant("u", 1, ONE, 0.0)
    leases.drop("t")
    leases.drop("t")
    assert ([lease.task for lease in leases.of(ONE)], len(leases), leases.get("t")) == (["u"], 1, None)
    leases.drop("u")
    assert leases._of == {}


def test_retries_come_later_and_later_up_to_a_most_and_half_of_it_is_chance():
    assert [retry_after(n, 0.999999) for n in (1, 2, 3)] == pytest.approx([RETRY_FIRST, 2 * RETRY_FIRST, 4 * RETRY_FIRST], rel=1e-5)
    assert retry_after(1, 0.0) == RETRY_FIRST / 2
    assert retry_after(10_000, 0.999999) == pytest.approx(RETRY_MOST, rel=1e-5)
