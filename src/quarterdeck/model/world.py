"""What is: one immutable observation of the world at an instant. An engine makes it; plan() reads it."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field

from quarterdeck.model.desired import Link, Namespace, Template
from quarterdeck.model.measures import Delivered


@dataclass(frozen=True, slots=True)
class Exit:
    """How a replica ended last: exit code or signal, whether the OOM killer or our hang kill ended it, and when (epoch seconds)."""

    code: int | None
    signal: int | None
    oom: bool
    hang: bool
    at: float
    detail: str = ""

    @property
    def cause(self) -> str:
        """One line for people."""
        if self.hang:
            return "hung: no beat"
        if self.oom:
            return "killed for want of memory"
        if self.signal is not None:
            known = {member.value: member.name for member in signal.Signals}
            return f"killed by {known.get(self.signal, f'signal {self.signal}')}"
        return "ended, cause unknown" if self.code is None else f"exit code {self.code}"


@dataclass(frozen=True, slots=True)
class Flow:
    """What a replica sent to one cluster: calls, not attempts, since its start; the rates are of the last ten seconds.

    `failed` of the `sent` got no answer in the end (an error answer is one); a call that an open breaker held back counts in both.
    """

    to: str
    sent: int
    failed: int
    per_second: float
    failed_per_second: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of a replica slot's ten-minute ring, taken each second while it has a process; no line, no process.

    `at` is epoch seconds, `lag_ms` how late its loop was for the newest beat, `cpu_seconds` user and system time. All counters begin anew
    with each `incarnation`; `unanswered` are those of the `sent` that got no answer. `beat_age` is the greatest age in seconds that the
    newest beat had since the line before, None before the first: what a beat tells is as old as that at most.
    """

    at: float
    incarnation: int
    progress: int
    lag_ms: float
    inflight: int
    memory_bytes: int
    cpu_seconds: float
    handled: int
    failed: int
    sent: int
    unanswered: int
    beat_age: float | None


@dataclass(frozen=True, slots=True)
class Usage:
    """What one process takes and does: bytes now; cores and messages per second over the last seconds. None: not measured yet."""

    memory_bytes: int | None = None
    cpu: float | None = None
    handled_per_second: float | None = None
    failed_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class Verb:
    """What an agent answers to: the JSON Schema of its payload (None: it takes none) and the first line of its handler's docstring.

    `task`: its handler was registered as work for tasks.
    """

    name: str
    payload: dict[str, object] | None
    doc: str
    task: bool = False


@dataclass(frozen=True, slots=True)
class Replica:
    """One running copy `cluster/agent-n`. `since` and `started` are epoch seconds; `revision` is its template's digest.

    `handled` and `failed` are the messages and attempts at tasks it worked off since its start, well or not; `circuits` are its breakers
    that are not closed, by `cluster/agent`; `utilization` is the part of its places that each verb took over the last ten seconds.
    """

    name: str
    cluster: str
    agent: str
    slot: int
    state: str
    reason: str
    pid: int | None
    incarnation: int
    restarts: int
    revision: str
    since: float
    started: float
    last_exit: Exit | None = None
    progress: int = 0
    lag: float = 0.0
    inflight: int = 0
    forked: bool = True
    handled: int = 0
    failed: int = 0
    flows: tuple[Flow, ...] = ()
    circuits: tuple[tuple[str, str], ...] = ()
    utilization: tuple[tuple[str, float], ...] = ()
    usage: Usage = Usage()


@dataclass(frozen=True, slots=True)
class Happening:
    """Something the engine saw happen by itself: kind (`replica.exited`, `service.exited`, …), on what, when (epoch seconds), details.

    `seq` counts within one life `boot` of whoever saw it, so that a reader that was away goes on where it was.
    """

    system: str
    kind: str
    target: str
    at: float
    detail: dict[str, object]
    boot: str = ""
    seq: int = 0


@dataclass(frozen=True, slots=True)
class WorkloadSeen:
    """What the engine last accepted for a workload, and its replicas (old incarnations that still drain included).

    `halted` is why its rollout was stopped with the earlier replicas kept, empty while it was not. `held` is the accepted template
    whole, without which it cannot be reduced while a newer template has to wait; None when the engine keeps none.
    """

    name: str
    template: str
    replicas_wanted: int
    restart_before: float
    quarantined: frozenset[int]
    rollout_digest: str
    replicas: tuple[Replica, ...]
    halted: str = ""
    held: Template | None = None


@dataclass(frozen=True, slots=True)
class StreamSeen:
    """A durable stream on the bus and its watermark. `epoch` is given at creation and raised by whoever rebuilds a stream on purpose.

    Every message up to number `acked` has been acknowledged, as the stream sees it.
    """

    account: str
    name: str
    first: int
    last: int
    messages: int
    bytes: int
    epoch: int = 0
    acked: int = 0


@dataclass(frozen=True, slots=True)
class BusSeen:
    """The bus as its own system account tells it; `probe_ms` is the last publish-and-ack round trip."""

    ready: bool
    reason: str
    sync_always: bool
    version: str
    accounts: frozenset[str]
    streams: tuple[StreamSeen, ...]
    probe_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Used:
    """What a cluster takes now: cores over the last seconds, and bytes as its limit counts them; None where nobody counts them."""

    cluster: str
    cpu: float | None = None
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class World:
    """One observation of one system. An engine that cannot be reached gives `reachable=False` and empty sets: unknown, never "gone"."""

    at: float
    reachable: bool
    reason: str
    bus: BusSeen
    namespaces: tuple[Namespace, ...]
    links: tuple[Link, ...]
    workloads: tuple[WorkloadSeen, ...]
    weakenings: tuple[str, ...] = ()
    delivered: tuple[Delivered, ...] = ()
    used: tuple[Used, ...] = ()
    _by_name: dict[str, WorkloadSeen] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {w.name: w for w in self.workloads})  # the one way to set a field of a frozen value

    def workload(self, name: str) -> WorkloadSeen | None:
        """The workload `cluster/agent`, if the engine knows it."""
        return self._by_name.get(name)

    def used_by(self, cluster: str) -> Used:
        """What a cluster takes now, as far as the engine knows."""
        return next((used for used in self.used if used.cluster == cluster), Used(cluster))
