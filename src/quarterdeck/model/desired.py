"""What should be: the spec with all live Changes applied, resolved to workloads, as an engine understands it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Final


@dataclass(frozen=True, slots=True)
class Quota:
    """Upper limits of a cluster: CPU in cores, memory in bytes (None = unlimited), replicas including surge."""

    cpu: float | None
    memory: int | None
    replicas: int


@dataclass(frozen=True, slots=True)
class Namespace:
    """The room a cluster lives in: an account on the bus and limits on the machine."""

    cluster: str
    quota: Quota


@dataclass(frozen=True, slots=True)
class Rollout:
    """How a new template replaces an old one. `drain` and `ready_within` are seconds."""

    surge: int = 1
    max_unavailable: int = 0
    ready_within: float = 30.0
    drain: float = 10.0


@dataclass(frozen=True, slots=True)
class Restart:
    """Crash budget: after `budget` restarts within `within` seconds a replica is failed, and tried again after `retry_after` seconds."""

    budget: int = 5
    within: float = 60.0
    retry_after: float = 300.0


@dataclass(frozen=True, slots=True)
class Template:
    """Everything that makes a replica what it is; a new digest means replacement by rolling update.

    `code` is the folder below the home's `revisions/` to import from, `run` the entry point `module:attr`.
    `secrets` maps a name to the absolute path of a file whose content is the value: values never travel in a table.
    """

    digest: str
    code: str
    run: str
    env: tuple[tuple[str, str], ...] = ()
    secrets: tuple[tuple[str, str], ...] = ()
    hang_after: float = 10.0
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class Workload:
    """An agent role of a cluster at a template with n replicas. `restart_before`: replicas started earlier (epoch seconds) are replaced.

    `revision` is the number of the system revision that introduced the template, for people; `because` says which live Change
    set a value (`replicas 3 → 5 (human change 12, "load test", until 18:00)`). `stopped`: it has no replicas by a person's order.
    """

    cluster: str
    agent: str
    template: Template
    revision: int
    replicas: int
    bounds: tuple[int, int]
    restart_before: float = 0.0
    quarantined: frozenset[int] = frozenset()
    rollout: Rollout = Rollout()
    restart: Restart = Restart()
    because: tuple[str, ...] = ()
    stopped: bool = False

    @property
    def name(self) -> str:
        """`cluster/agent`."""
        return f"{self.cluster}/{self.agent}"

    @property
    def rollout_digest(self) -> str:
        """The rollout and restart settings as one comparable text; a change of them replaces no replica."""
        return rollout_digest(self.rollout, self.restart)


_OF_ROLLOUT: Final = attrgetter(*(f.name for f in fields(Rollout)))
_OF_RESTART: Final = attrgetter(*(f.name for f in fields(Restart)))


def rollout_digest(rollout: Rollout, restart: Restart) -> str:
    """Rollout and restart settings as one comparable text, the same on both sides of an engine."""
    values = (*_OF_ROLLOUT(rollout), *_OF_RESTART(restart))  # astuple() copies deeply, which was half the time of a plan
    return ",".join(f"{v:g}" for v in values)


@dataclass(frozen=True, slots=True)
class Breaker:
    """Opens after `failures` in a row, lets `probes` through after `reset` seconds."""

    failures: int = 5
    reset: float = 30.0
    probes: int = 1


@dataclass(frozen=True, slots=True)
class Link:
    """A permitted path from one cluster to another. `timeout` is seconds for one attempt."""

    source: str
    target: str
    timeout: float = 5.0
    attempts: int = 3
    breaker: Breaker = Breaker()

    @property
    def name(self) -> str:
        """`source->target`."""
        return f"{self.source}->{self.target}"


EACH: Final = "*"
"""Each owner for himself."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What may be spent, by kind: of all tasks of a UTC day together, or of each one given from outside.

    `cluster` empty = the whole system. `owner` empty = everybody together, * = each owner for himself who has none of his own. More
    `money_per_minute` than that holds tasks back.
    """

    cluster: str
    per: str
    limits: tuple[tuple[str, float], ...] = ()
    money_per_minute: float | None = None
    owner: str = ""


def binding(allowances: Iterable[Allowance], cluster: str, owner: str) -> list[Allowance]:
    """Those that tasks of an owner in a cluster are bound by."""
    here = [one for one in allowances if one.cluster in ("", cluster)]
    own = {(one.cluster, one.per) for one in here if one.owner == owner}
    return [one for one in here if one.owner in ("", owner) or (one.owner == EACH and (one.cluster, one.per) not in own)]


@dataclass(frozen=True, slots=True)
class Intake:
    """What the door of a system takes: of one tenant `rate` tasks a second for ever and `burst` at once, and `open` unfinished in all."""

    rate: float = 2000.0
    burst: int = 20_000
    open: int = 200_000


@dataclass(frozen=True, slots=True)
class Desired:
    """The desired whole of one system, after composing spec and Changes.

    `generation` counts every accepted edit of the spec or the Changes; `index` is the journal sequence of the last of them.
    """

    system: str
    revision: int
    generation: int
    index: int
    entry: str | None
    namespaces: tuple[Namespace, ...]
    workloads: tuple[Workload, ...]
    links: tuple[Link, ...]
    budgets: tuple[Allowance, ...] = ()
    intake: Intake = Intake()
    _by_name: dict[str, Workload] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {w.name: w for w in self.workloads})  # the one way to set a field of a frozen value

    def workload(self, name: str) -> Workload | None:
        """The workload `cluster/agent`, if there is one."""
        return self._by_name.get(name)
