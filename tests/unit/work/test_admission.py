"""Admission part by part: the door, its buckets, its queue, and the limit that finds itself."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.work.admission import (
    LEAST_SAMPLES,
    MOST_TENANTS,
    PROBE_EVERY,
    Admission,
    Admitted,
    Bucket,
    Gradient,
    Queue,
    Queued,
    Quota,
    Refused,
    Request,
    RetryBudget,
    admit,
    ended,
    proceed,
)


def one_place(**more):
    """A door behind which there is room for one, taken already."""
    state = Admission(gradient=Gradient(limit=1.0, probing=0), **more)
    state, answer = admit(state, Request("first", "first"), 0.0)
    assert isinstance(answer, Admitted)
    return state


def queue(*requests, **more):
    made = Queue(**more)
    for since, request in requests:
        made, _ = made.put(request, since)
    return made


def drained(left):
    names = []
    while True:
        left, request = left.take()
        if request is None:
            return names
        names.append(request.id)


# The door


def test_a_passed_deadline_is_refused_at_once():
    state, answer = admit(Admission(), Request("r", deadline=5.0), 5.0)
    assert answer == Refused(Request("r", deadline=5.0), "deadline")
    assert state == Admission()


def test_who_waits_past_its_deadline_is_never_begun():
    state, answer = admit(one_place(), Request("r", deadline=5.0), 1.0)
    assert isinstance(answer, Queued)
    state, left = proceed(ended(state, 5.0, None), 5.0)
    assert left == (Refused(Request("r", deadline=5.0), "deadline"),)
    assert (state.running, state.queue.size) == (0, 0)


def test_a_place_that_becomes_free_goes_to_who_waits():
    state, _ = admit(one_place(), Request("r"), 1.0)
    assert proceed(state, 1.0) == (state, ())
    state, left = proceed(ended(state, 2.0, 0.5), 2.0)
    assert left == (Admitted(Request("r")),)
    assert state.running == 1


def test_nobody_overtakes_who_waits():
    state, _ = admit(one_place(), Request("waits"), 1.0)
    state, answer = admit(ended(state, 2.0, None), Request("new"), 2.0)
    assert isinstance(answer, Queued)
    assert proceed(state, 2.0)[1] == (Admitted(Request("waits")),)


def test_a_tenant_beyond_its_quota_is_told_when_to_come_again_and_others_are_not_touched():
    state = Admission(quota=Quota(rate=2.0, burst=1.0), quotas={"vip": Quota(rate=100.0, burst=50.0)})
    state, first = admit(state, Request("1", "a"), 0.0)
    assert isinstance(first, Admitted)
    after, refused = admit(state, Request("2", "a"), 0.0)
    assert refused == Refused(Request("2", "a"), "rate", 0.5)
    assert after == state, "the refused one used up nothing"
    for tenant in ("b", "vip", "vip"):
        state, answer = admit(state, Request("3", tenant), 0.0)
        assert isinstance(answer, Admitted)
    assert isinstance(admit(state, Request("2", "a"), 0.5)[1], Admitted)


def test_invented_tenants_do_not_fill_the_memory_nor_push_out_who_owes():
    state = Admission(quota=Quota(rate=0.001, burst=1.0), gradient=Gradient(limit=1e6, most=1e6, probing=0))
    for n in range(2 * MOST_TENANTS):
        state, _ = admit(state, Request(str(n), f"t{n}"), 0.0)
    assert len(state.buckets) <= MOST_TENANTS + 1
    assert admit(state, Request("again", "t0"), 0.0)[1].reason == "rate"
    state, answer = admit(state, Request("later", "another"), 2000.0)
    assert isinstance(answer, Admitted), "those that are full again have made room"
    assert len(state.buckets) == 1


def test_a_retry_without_budget_is_refused_and_says_when_there_will_be_one():
    state = Admission(retries=RetryBudget(left=0.0, floor=0.5))
    assert admit(state, Request("r", retry=True), 0.0)[1] == Refused(Request("r", retry=True), "retries", 2.0)
    assert isinstance(admit(state, Request("r", retry=True), 2.0)[1], Admitted)


@pytest.mark.parametrize("reason", ["deadline", "retries", "rate", "full", "waited"])
def test_every_refusal_says_why(reason):
    assert Refused(Request("r"), reason).told


# Its parts


@given(st.floats(0.1, 100), st.integers(1, 50), st.lists(st.floats(0, 5), min_size=1, max_size=200))
def test_a_bucket_gives_no_more_than_burst_plus_rate_and_its_word_holds(rate, burst, pauses):
    bucket, now, taken = Bucket.of(rate, burst, 0.0), 0.0, 0
    for pause in pauses:
        now += pause
        bucket, wait = bucket.take(now)
        taken += not wait
        assert taken <= burst + rate * now + 1e-6
        if wait:
            assert bucket.take(now + wait * 0.9)[1] > 0
            assert bucket.take(now + wait + 1e-6)[1] == 0


@given(st.lists(st.tuples(st.floats(0, 2), st.booleans()), max_size=300))
def test_retries_stay_within_their_part_of_the_traffic(requests):
    budget, now, firsts, retries = RetryBudget(), 0.0, 0, 0
    for pause, retry in requests:
        now += pause
        budget, granted = budget.take(now, retry=retry)
        assert granted or retry, "a first attempt is no business of this budget"
        firsts += not retry
        retries += retry and granted
        assert retries <= 10 + 0.1 * firsts + now + 1e-6


def test_a_queue_is_first_come_first_served_until_it_stands():
    waiting = queue(*[(n / 100, Request(str(n))) for n in range(4)], target=0.005, interval=0.1)
    waiting, refused = waiting.shed(0.04)
    assert not refused
    assert drained(waiting) == ["0", "1", "2", "3"]
    waiting, refused = waiting.shed(0.13)
    assert not refused, "not yet for a whole interval"
    waiting, refused = waiting.shed(0.14)
    assert [(out.request.id, out.reason) for out in refused] == [("0", "waited"), ("1", "waited"), ("2", "waited")]
    assert drained(waiting) == ["3"], "the newest is always kept"


def test_a_queue_that_was_short_in_between_does_not_stand():
    waiting, _ = queue((0.0, Request("0")), (0.09, Request("1"))).shed(0.05)
    waiting, _ = waiting.take()
    waiting, _ = waiting.shed(0.092)
    assert not waiting.shed(0.16)[0].lanes[""].overloaded
    assert waiting.shed(0.16)[0].shed(0.3)[0].lanes[""].overloaded


def test_with_more_tenants_each_may_wait_for_its_turn():
    several = queue(*[(0.108, Request(name, name)) for name in "abc"])
    assert not any(lane.above for lane in several.shed(0.12)[0].lanes.values()), "12 ms are less than three turns of 5 ms"
    assert queue((0.108, Request("a", "a"))).shed(0.12)[0].lanes["a"].above == 0.12


def test_under_overload_the_newest_is_begun_first_until_nobody_waits():
    waiting, _ = queue((0.0, Request("0"))).shed(0.01)
    waiting, _ = waiting.shed(0.2)
    for n in range(1, 4):
        waiting, _ = waiting.put(Request(str(n)), 0.2 + n / 1000)
    waiting, _ = waiting.shed(0.204)
    assert drained(waiting) == ["3", "2", "1"]
    while waiting.lanes:
        waiting, _ = waiting.take()
    waiting, _ = waiting.put(Request("a"), 1.0)
    waiting, _ = waiting.put(Request("b"), 1.0)
    assert drained(waiting) == ["a", "b"]


def test_tenants_take_turns():
    waiting = queue(*[(0.0, Request(name, name[0])) for name in ("a1", "a2", "a3", "b1", "c1", "b2")])
    assert drained(waiting) == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_a_full_queue_is_paid_for_by_who_fills_it():
    waiting = queue(*[(n, Request(f"hog{n}", "hog")) for n in range(4)], bound=4)
    waiting, out = waiting.put(Request("other", "b"), 5.0)
    assert out == Refused(Request("hog0", "hog"), "full")
    waiting, out = waiting.put(Request("hog5", "hog"), 5.0)
    assert out == Refused(Request("hog1", "hog"), "full")
    assert drained(waiting) == ["hog5", "other", "hog3", "hog2"]


def test_without_room_to_wait_who_comes_is_refused():
    state, answer = admit(one_place(queue=Queue(bound=0)), Request("r"), 1.0)
    assert isinstance(answer, Refused)
    assert (answer.reason, answer.retry_after) == ("full", 0.1)
    assert not state.queue.lanes


@given(
    st.lists(st.tuples(st.sampled_from(["put", "take", "shed"]), st.sampled_from("abc"), st.floats(0, 0.2)), max_size=120),
    st.integers(0, 9),
)
def test_a_queue_is_bounded_and_loses_nobody(steps, bound):
    waiting, now, seen = Queue(bound=bound), 0.0, Counter()
    for count, (step, tenant, pause) in enumerate(steps):
        now += pause
        if step == "put":
            waiting, out = waiting.put(Request(str(count), tenant, deadline=now + 0.3 if count % 3 else None), now)
            seen["in"] += 1
            seen["out"] += out is not None
        elif step == "take":
            waiting, request = waiting.take()
            seen["out"] += request is not None
        else:
            waiting, refused = waiting.shed(now)
            seen["out"] += len(refused)
        assert waiting.size == seen["in"] - seen["out"] <= bound
        assert all(lane.waiting for lane in waiting.lanes.values())


def windows(gradient, latency, count, *, inflight=None, begin=0.0):
    """Some windows with the same latency, or with one that depends on how many are in flight."""
    now = begin
    for _ in range(count):
        for _ in range(LEAST_SAMPLES):
            now += gradient.window / (LEAST_SAMPLES - 1)
            flying = gradient.allowed if inflight is None else inflight
            gradient = gradient.ended(latency(flying) if callable(latency) else latency, flying, now)
    return gradient, now


def test_the_limit_grows_while_latency_stays():
    gradient, _ = windows(Gradient(limit=20.0), 0.02, 30)
    assert gradient.limit > 40
    assert windows(Gradient(limit=20.0, most=25.0), 0.02, 30)[0].limit == 25.0


def test_the_limit_shrinks_when_latency_grows_but_not_below_the_least():
    gradient, now = windows(Gradient(limit=200.0), 0.02, 2)
    shrunk, _ = windows(gradient, 0.2, 40, begin=now)
    assert 4.0 <= shrunk.limit < 20
    assert windows(replace(gradient, least=50.0), 0.2, 40, begin=now)[0].limit == 50.0


def test_a_limit_that_is_not_used_does_not_grow():
    gradient, _ = windows(Gradient(limit=20.0), 0.02, 50, inflight=3)
    assert gradient.limit == 20.0


@pytest.mark.parametrize("workers", [4, 16, 100])
@pytest.mark.parametrize("limit", [4.0, 20.0, 500.0])
def test_the_limit_finds_how_many_can_be_worked_on_at_once_and_stays_there(workers, limit):
    """However it begins, all places taken for ten minutes: probes keep the no-load latency from following the load."""
    gradient, now = windows(Gradient(limit=limit), lambda flying: 0.02 * max(1.0, flying / workers), 600)
    for _ in range(10):
        gradient, now = windows(gradient, lambda flying: 0.02 * max(1.0, flying / workers), 100, begin=now)
        assert workers * 0.9 <= gradient.limit <= workers * 2 + 10
        assert 0.019 <= gradient.noload <= 0.03


def test_work_that_has_become_slower_for_good_is_the_new_normal():
    gradient, now = windows(Gradient(limit=20.0), lambda flying: 0.02 * max(1.0, flying / 16), 100)
    gradient, now = windows(gradient, lambda flying: 0.1 * max(1.0, flying / 16), 6 * PROBE_EVERY, begin=now)
    assert gradient.limit > 16
    assert gradient.noload > 0.08
