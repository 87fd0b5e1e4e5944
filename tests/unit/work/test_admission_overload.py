"""Whatever is offered, what is begun is finished in time: an open-loop simulation in virtual time."""

import heapq
import random
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field

import pytest

from quarterdeck.work.admission import (
    Admission,
    Admitted,
    Gradient,
    Queued,
    Quota,
    Refused,
    Request,
    admit,
    ended,
    proceed,
)


@dataclass
class Trial:
    """What became of a run, by second and by tenant."""

    done: Counter = field(default_factory=Counter)
    offered: Counter = field(default_factory=Counter)
    tenant: Counter = field(default_factory=Counter)
    asked: Counter = field(default_factory=Counter)
    latency: dict = field(default_factory=lambda: defaultdict(list))
    refused: Counter = field(default_factory=Counter)
    reasons: Counter = field(default_factory=Counter)

    def goodput(self, begin, end):
        return sum(self.done[s] for s in range(begin, end)) / (end - begin)

    def p99(self, begin, end):
        seen = sorted(value for s in range(begin, end) for value in self.latency[s])
        return seen[len(seen) * 99 // 100]


class Service:
    """Eight workers of 20 ms on average behind a queue of their own that nobody bounds; requests are worth something for half a second.

    Open loop: arrivals do not wait for answers. `admission` None = everything is let in.
    """

    WORKERS = 8
    MEAN = 0.02
    CAPACITY = WORKERS / MEAN
    PATIENCE = 0.5

    def __init__(self, admission, seed=1):
        self.chance = random.Random(seed)  # noqa: S311 a seed that repeats
        self.state = admission
        self.events, self.count = [], 0
        self.line, self.working = deque(), 0
        self.trial, self.since, self.begun = Trial(), {}, {}

    def at(self, when, what, *about):
        self.count += 1
        heapq.heappush(self.events, (when, self.count, what, about))

    def run(self, until, load):
        """`load(second, tenant)`: requests a second."""
        for tenant in load.tenants:
            self.at(0.0, self.arrival, tenant, load)
        self.at(0.0, self.tick)
        while self.events[0][0] < until:
            now, _, what, about = heapq.heappop(self.events)
            what(now, *about)
        return self.trial

    def arrival(self, now, tenant, load):
        rate = load(now, tenant)
        self.at(now + self.chance.expovariate(rate or 10.0), self.arrival, tenant, load)
        if not rate:
            return
        request = Request(str(self.count), tenant, deadline=now + self.PATIENCE)
        self.since[request.id] = now
        self.trial.offered[int(now)] += 1
        self.trial.asked[tenant] += 1
        if self.state is None:
            self.begin(now, request)
            return
        self.state, answer = admit(self.state, request, now)
        self.told(now, answer.out if isinstance(answer, Queued) else answer)

    def told(self, now, answer):
        if isinstance(answer, Admitted):
            self.begin(now, answer.request)
        elif isinstance(answer, Refused):
            self.trial.refused[int(now)] += 1
            self.trial.reasons[answer.reason] += 1

    def begin(self, now, request):
        self.begun[request.id] = now
        self.line.append(request)
        self.work(now)

    def work(self, now):
        while self.line and self.working < self.WORKERS:
            self.working += 1
            self.at(now + self.chance.expovariate(1 / self.MEAN), self.finished, self.line.popleft())

    def finished(self, now, request):
        self.working -= 1
        took = now - self.since[request.id]
        self.trial.latency[int(now)].append(took)
        if took <= self.PATIENCE:
            self.trial.done[int(now)] += 1
            self.trial.tenant[request.tenant] += 1
        self.work(now)
        if self.state is not None:
            self.state = ended(self.state, now, now - self.begun[request.id])
            self.proceed(now)

    def tick(self, now):
        self.at(now + 0.1, self.tick)
        if self.state is not None:
            self.proceed(now)

    def proceed(self, now):
        self.state, left = proceed(self.state, now)
        for answer in left:
            self.told(now, answer)


class Load:
    """Rates by tenant as parts of the capacity; `heavy` within some seconds instead of `usual`."""

    def __init__(self, usual, heavy=None, begin=0, end=0):
        self.usual, self.heavy, self.begin, self.end = usual, heavy or {}, begin, end
        self.tenants = list({**usual, **self.heavy})

    def __call__(self, now, tenant):
        rates = self.heavy if self.begin <= now < self.end else self.usual
        return rates.get(tenant, 0.0) * Service.CAPACITY


@pytest.fixture(scope="module")
def overload():
    """Half load, five times the capacity for 15 s, half load again."""
    return Service(Admission()).run(40, Load({"a": 0.5}, {"a": 5.0}, 10, 25))


def test_at_five_times_the_load_goodput_stays_above_nine_tenths_of_its_peak(overload):
    peak = Service(Admission()).run(15, Load({"a": 1.0})).goodput(5, 15)
    assert peak > 0.85 * Service.CAPACITY
    assert overload.goodput(12, 25) >= 0.9 * max(peak, Service.CAPACITY)


def test_what_is_accepted_under_overload_is_not_slow(overload):
    assert overload.p99(12, 25) < 2.5 * overload.p99(5, 10)
    assert overload.p99(12, 25) < 0.25


def test_all_is_back_to_normal_within_ten_seconds(overload):
    for second in range(35, 39):
        assert overload.refused[second] == 0
        assert overload.done[second] > 0.8 * overload.offered[second]
    assert overload.p99(35, 40) < 1.5 * overload.p99(5, 10)


def test_at_half_load_nobody_is_refused(overload):
    assert sum(overload.refused[second] for second in range(10)) == 0


def test_the_same_load_without_admission_brings_the_service_down():
    """That the simulation can fail: work goes on at full speed, and nearly all of it is for nobody."""
    trial = Service(None).run(40, Load({"a": 0.5}, {"a": 5.0}, 10, 25))
    assert trial.goodput(12, 25) < 0.2 * Service.CAPACITY
    assert trial.goodput(35, 40) < 0.2 * Service.CAPACITY


def test_a_tenant_at_ten_times_its_share_takes_nothing_from_those_within_theirs():
    modest = {"a": 0.2, "b": 0.2, "c": 0.2}
    trial = Service(Admission()).run(20, Load({**modest, "hog": 2.5}))
    for tenant in modest:
        assert trial.tenant[tenant] > 0.95 * trial.asked[tenant]
    assert trial.tenant["hog"] < 0.45 * Service.CAPACITY * 20, "what the others leave"


def test_among_tenants_that_all_want_more_each_gets_the_same():
    trial = Service(Admission()).run(20, Load({"a": 0.5, "b": 0.5, "c": 0.5, "hog": 2.5}))
    share = sum(trial.tenant.values()) / 4
    assert share > 0.9 * Service.CAPACITY * 20 / 4
    assert all(abs(done - share) < 0.1 * share for done in trial.tenant.values())


def test_a_quota_holds_a_tenant_even_when_there_is_room():
    trial = Service(Admission(quotas={"hog": Quota(rate=40.0, burst=10.0)})).run(10, Load({"a": 0.3, "hog": 2.0}))
    assert trial.tenant["hog"] <= 40 * 10 + 10
    assert trial.reasons["rate"] > 5000


def test_slow_work_keeps_its_places_busy_under_overload():
    """Two workers of half a second: the target is far below the time between two free places, and somebody is there for each."""

    class Slow(Service):
        WORKERS, MEAN, PATIENCE = 2, 0.5, 10.0

    trial = Slow(Admission(gradient=Gradient(limit=4.0, least=2.0))).run(200, Load({"a": 20 / Service.CAPACITY}))
    assert trial.goodput(40, 200) > 0.9 * 4
