"""Overload: who may begin now, who waits, who is told to come again, so that what is begun is finished in time whatever is offered.

Pure: every state is a value, time (seconds of a monotonic clock) an argument. A request passes its deadline, the retry budget and its
tenant's token bucket; then an adaptive limit of requests in flight; behind that it waits in a short fair queue. Whoever uses this calls
`admit` for each arrival, `ended` for each end, and `proceed` after an end and every tenth of a second.

Sources: bulkheads and shedding after Nygard, "Release It!" (2nd ed. 2018); retry budgets, LIFO and deadlines after "Timeouts, retries, and
backoff with jitter" and "Using load shedding to avoid overload" (Amazon Builders' Library) and "Addressing Cascading Failures" (Site
Reliability Engineering, 2016); the rest is named at each part.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

Reason = Literal["deadline", "retries", "rate", "full", "waited"]
_TOLD: Final[Mapping[Reason, str]] = {
    "deadline": "its deadline has passed, nobody waits for it any more",
    "retries": "too much of what arrives is a retry",
    "rate": "its tenant asks more often than it may",
    "full": "the queue is full and its tenant has most of it",
    "waited": "it waited while newer ones were begun, more arrives than can be done",
}
MOST_TENANTS: Final = 1024
"""Tenants with a bucket of their own; when none of them is full again, further ones share one."""
_OTHERS: Final = "\0"
LEAST_SAMPLES: Final = 20
MOST_SAMPLES: Final = 500
"""Latencies that a window is judged by: it does not end before there are the least, and the last ones count."""
PROBE_EVERY: Final = 60
"""Windows between two probes, while latency holds the limit down."""
PROBED_AT: Final = 3.0
"""A probe goes down to this part of the limit: one that is in use leads to half as many in flight as can be worked on at once."""
_TINY: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Request:
    """Something that wants to begin. `deadline`: when nobody waits for it any more; `retry`: whether it was tried before."""

    id: str
    tenant: str = ""
    deadline: float | None = None
    retry: bool = False

    def late(self, now: float) -> bool:
        """Whether its deadline has passed."""
        return self.deadline is not None and now >= self.deadline


@dataclass(frozen=True, slots=True)
class Admitted:
    """Begin now, and say `ended` when it is over, however it ended."""

    request: Request


@dataclass(frozen=True, slots=True)
class Queued:
    """Wait: `proceed` will name it. `out` is one that it pushed out of the queue."""

    request: Request
    out: Refused | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """Not now. `retry_after`: seconds after which it is worth coming again."""

    request: Request
    reason: Reason
    retry_after: float = 0.0

    @property
    def told(self) -> str:
        """The reason as a clause."""
        return _TOLD[self.reason]


@dataclass(frozen=True, slots=True)
class Bucket:
    """A token bucket (RFC 2697 calls its parts rate and burst): `rate` requests a second for ever, `burst` at once."""

    rate: float
    burst: float
    left: float
    at: float

    @classmethod
    def of(cls, rate: float, burst: float, now: float) -> Bucket:
        """A full one."""
        return cls(rate, burst, burst, now)

    def take(self, now: float) -> tuple[Bucket, float]:
        """Ask for one: the bucket afterwards, and 0 if it was there, else the seconds until it will be."""
        left = min(self.burst, self.left + max(0.0, now - self.at) * self.rate)
        wait = (1 - left) / self.rate if left < 1 else 0.0
        return Bucket(self.rate, self.burst, left if wait else left - 1, max(now, self.at)), wait

    def full(self, now: float) -> bool:
        """Whether it says no more than a new one would."""
        return self.left + (now - self.at) * self.rate >= self.burst


@dataclass(frozen=True, slots=True)
class RetryBudget:
    """Retries may be a part (`ratio`) of the traffic, plus `floor` a second for when there is little; `most` can be saved up.

    A retry that meets an overload feeds it: three layers of three attempts make 27 of one request. After Finagle's RetryBudget and the
    retry quota of the AWS SDKs: over any time, retries <= most + ratio * first attempts + floor * seconds.
    """

    ratio: float = 0.1
    floor: float = 1.0
    most: float = 10.0
    left: float = 10.0
    at: float = 0.0

    def take(self, now: float, *, retry: bool) -> tuple[RetryBudget, bool]:
        """One more request: the budget afterwards, and whether it may go on."""
        left = self.left + max(0.0, now - self.at) * self.floor + (0.0 if retry else self.ratio)
        granted = not retry or left >= 1
        left = min(self.most, left - 1 if retry and granted else left)
        return RetryBudget(self.ratio, self.floor, self.most, left, max(now, self.at)), granted


@dataclass(frozen=True, slots=True)
class Gradient:
    """How many requests may be in flight, from their latency alone: what all wait for is unknown, and changes.

    Gradient2 of Netflix ("Performance Under Load", 2018; github.com/Netflix/concurrency-limits), each `window`::

        gradient = no-load latency / current latency, within [0.5, 1], some tolerance allowed
        limit    = limit * gradient + sqrt(limit), smoothed

    with two changes. Latency is the 90th percentile of a window. And the no-load latency is not a long average, which follows a long
    overload up until everything counts as normal: it is taken from windows that were not busy, goes down with whatever is faster, and up
    only by a *probe*, two windows at a third of the limit, for which a long overload pays one part in sixty.
    """

    limit: float = 20.0
    least: float = 4.0
    most: float = 1000.0
    smoothing: float = 0.2
    tolerance: float = 1.5
    window: float = 0.5
    noload: float | None = None
    probing: int = 1
    since_probe: int = 0
    until: float = 0.0
    busiest: int = 0
    samples: tuple[float, ...] = ()

    @property
    def allowed(self) -> int:
        """How many may be in flight now. It begins with a probe: a first window that is busy already is no measure of anything."""
        return max(1, int(self.limit / PROBED_AT if self.probing else self.limit))

    def ended(self, latency: float, inflight: int, now: float) -> Gradient:
        """After one that was done in `latency` seconds, when `inflight` were in flight with it."""
        samples = (*self.samples[1 - MOST_SAMPLES :], latency)
        noted = replace(self, samples=samples, busiest=max(self.busiest, inflight))
        return noted if now < self.until or len(samples) < LEAST_SAMPLES else noted.judged(now)

    def judged(self, now: float) -> Gradient:
        """After the end of a window, whatever there is of it."""
        current = max(sorted(self.samples)[len(self.samples) * 9 // 10], _TINY)
        after = replace(self, samples=(), busiest=0, until=now + self.window, since_probe=self.since_probe + 1)
        if self.probing > 1:  # what was in flight before has ended only now
            return replace(after, probing=self.probing - 1)
        if self.probing or self.noload is None:
            noload = current if self.noload is None else min(current, (self.noload + current) / 2)
            return replace(after, probing=0, since_probe=0, noload=noload)
        gradient = min(1.0, max(0.5, self.tolerance * self.noload / current))
        busy = self.busiest >= self.limit / 2
        probing = 2 if gradient < 1 and after.since_probe >= PROBE_EVERY else 0
        return replace(
            after, limit=self._limit(gradient, busy=busy), noload=self._unloaded(self.noload, current, busy=busy), probing=probing
        )

    def _limit(self, gradient: float, *, busy: bool) -> float:
        """It may always shrink, but grows only when it is used: otherwise a quiet night would leave no limit for the morning."""
        wanted = self.limit * gradient + math.sqrt(self.limit)
        limit = self.limit + self.smoothing * (wanted - self.limit)
        return max(self.least, min(self.most, limit if busy else min(limit, self.limit)))

    def _unloaded(self, noload: float, current: float, *, busy: bool) -> float:
        tells = current < noload or (not busy and current <= noload * self.tolerance)
        return noload + (current - noload) / 10 if tells else noload


@dataclass(frozen=True, slots=True)
class Lane:
    """What waits of one tenant: (since, request), oldest first. `above`: since when the oldest one has waited longer than the target."""

    waiting: tuple[tuple[float, Request], ...] = ()
    above: float | None = None
    overloaded: bool = False


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits for a place, at most `bound`, a lane for each tenant in the order of their turns (RFC 8290, without its deficits).

    A lane whose oldest has waited longer than `target` (times the lanes, as each has its turn only so often) for a whole `interval` has a
    standing queue (CoDel, RFC 8289): more arrives than can be done. CoDel would then drop few at first and wait for senders to slow down,
    which those here do not. So, after "Fail at Scale" (Maurer, ACM Queue 2015), until the lane is empty: the newest is begun first, since
    somebody still waits for it, and what has waited longer than the target is refused; but never the newest, as RFC 8289 keeps the last
    packet, or places would idle where work is slow.
    When the bound is reached the oldest of the longest lane goes: whoever fills the queue pays for it.
    """

    target: float = 0.005
    interval: float = 0.1
    bound: int = 256
    lanes: Mapping[str, Lane] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How many wait."""
        return sum(len(lane.waiting) for lane in self.lanes.values())

    def put(self, request: Request, now: float) -> tuple[Queue, Refused | None]:
        """With this one, and whom it pushed out; that may be itself."""
        lane = self.lanes.get(request.tenant, Lane())
        lanes = {**self.lanes, request.tenant: replace(lane, waiting=(*lane.waiting, (now, request)))}
        if self.size < self.bound:
            return replace(self, lanes=lanes), None
        longest = max(lanes, key=lambda tenant: (len(lanes[tenant].waiting), tenant == request.tenant))
        (_, out), *rest = lanes[longest].waiting
        lanes[longest] = replace(lanes[longest], waiting=tuple(rest), overloaded=True)
        return replace(self, lanes={tenant: lane for tenant, lane in lanes.items() if lane.waiting}), Refused(out, "full")

    def shed(self, now: float) -> tuple[Queue, tuple[Refused, ...]]:
        """Without those whose deadline has passed, and those that an overloaded lane has left behind."""
        shed = {tenant: self._shed(lane, now) for tenant, lane in self.lanes.items()}
        refused = tuple(out for _, gone in shed.values() for out in gone)
        return replace(self, lanes={tenant: lane for tenant, (lane, _) in shed.items() if lane.waiting}), refused

    def take(self) -> tuple[Queue, Request | None]:
        """The next to begin: of the tenant whose turn it is the oldest, or under overload the newest."""
        for tenant, lane in self.lanes.items():
            (_, request), rest = (lane.waiting[-1], lane.waiting[:-1]) if lane.overloaded else (lane.waiting[0], lane.waiting[1:])
            lanes = {other: waits for other, waits in self.lanes.items() if other != tenant}
            return replace(self, lanes={**lanes, tenant: replace(lane, waiting=rest)} if rest else lanes), request
        return self, None

    def _shed(self, lane: Lane, now: float) -> tuple[Lane, list[Refused]]:
        late = [Refused(request, "deadline") for _, request in lane.waiting if request.late(now)]
        waiting = tuple(one for one in lane.waiting if not one[1].late(now)) if late else lane.waiting
        target = self.target * len(self.lanes)
        standing = bool(waiting) and now - waiting[0][0] > target
        above = (now if lane.above is None else lane.above) if standing else None
        overloaded = lane.overloaded or (above is not None and now - above >= self.interval)
        old = sum(now - since > target for since, _ in waiting[:-1]) if overloaded else 0
        left_behind = [Refused(request, "waited") for _, request in waiting[:old]]
        return Lane(waiting[old:], above, overloaded), late + left_behind


@dataclass(frozen=True, slots=True)
class Quota:
    """What a tenant may ask for: `rate` requests a second for ever, `burst` at once."""

    rate: float
    burst: float


@dataclass(frozen=True, slots=True)
class Admission:
    """The state of a door: tenants' `quotas` by name (`quota` for those not named, None = no limit of their own), and its parts."""

    quota: Quota | None = None
    quotas: Mapping[str, Quota] = field(default_factory=dict)
    buckets: Mapping[str, Bucket] = field(default_factory=dict)
    retries: RetryBudget = field(default_factory=RetryBudget)
    gradient: Gradient = field(default_factory=Gradient)
    queue: Queue = field(default_factory=Queue)
    running: int = 0

    @property
    def full(self) -> bool:
        """Whether nobody may begin now."""
        return self.running >= self.gradient.allowed

    @property
    def pause(self) -> float:
        """Seconds after which those that wait now will have begun, roughly: when to come again."""
        return max(self.queue.interval, self.queue.size * (self.gradient.noload or 0.0) / self.gradient.allowed)

    def charged(self, tenant: str, now: float) -> tuple[Admission, float]:
        """With one request counted against a tenant's quota, and the seconds it has to wait if there is none left."""
        quota = self.quotas.get(tenant, self.quota)
        if quota is None:
            return self, 0.0
        buckets = self.buckets
        if tenant not in buckets and len(buckets) >= MOST_TENANTS:
            buckets = {name: bucket for name, bucket in buckets.items() if not bucket.full(now)}
            tenant = tenant if len(buckets) < MOST_TENANTS else _OTHERS
        bucket, wait = buckets.get(tenant, Bucket.of(quota.rate, quota.burst, now)).take(now)
        return replace(self, buckets={**buckets, tenant: bucket}), wait


def admit(state: Admission, request: Request, now: float) -> tuple[Admission, Admitted | Queued | Refused]:
    """One arrives: the state afterwards, and what becomes of it. A refused one has used up nothing."""
    if request.late(now):
        return state, Refused(request, "deadline")
    retries, granted = state.retries.take(now, retry=request.retry)
    if not granted:
        return state, Refused(request, "retries", (1 - retries.left) / retries.floor if retries.floor else state.pause)
    charged, wait = state.charged(request.tenant, now)
    if wait:
        return state, Refused(request, "rate", wait)
    state = replace(charged, retries=retries)
    if not state.full and not state.queue.lanes:
        return replace(state, running=state.running + 1), Admitted(request)
    queue, out = state.queue.put(request, now)
    out = out and replace(out, retry_after=state.pause)
    state = replace(state, queue=queue)
    return state, out if out and out.request == request else Queued(request, out)


def proceed(state: Admission, now: float) -> tuple[Admission, tuple[Admitted | Refused, ...]]:
    """Who leaves the queue: some are refused, and as many begin as there are places."""
    queue, refused = state.queue.shed(now)
    done: list[Admitted | Refused] = [out if out.reason == "deadline" else replace(out, retry_after=state.pause) for out in refused]
    state = replace(state, queue=queue)
    while not state.full:
        queue, request = state.queue.take()
        if request is None:
            break
        done.append(Admitted(request))
        state = replace(state, queue=queue, running=state.running + 1)
    return state, tuple(done)


def ended(state: Admission, now: float, latency: float | None) -> Admission:
    """One that was admitted is over. `latency`: seconds since it began; None for one that failed at once and says nothing of the load."""
    gradient = state.gradient if latency is None else state.gradient.ended(latency, state.running, now)
    return replace(state, gradient=gradient, running=max(0, state.running - 1))
