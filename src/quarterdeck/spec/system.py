"""The spec as frozen models: what a user may write, what each field means, and its default.

Only what this version carries out has a field. What the product will have later is listed per model in `later`, so that it is refused as
"not in this version" instead of as unknown. The descriptions are the documentation: `explain` and the JSON Schema are made from them.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from quarterdeck.spec.quantities import Bytes, Cores, Duration
from quarterdeck.version import API_VERSION

TOKEN: Final = r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?"  # noqa: S105 the pattern of a subject token, copied from bus/subjects.py
PLATFORM: Final = "qd"
"""The sender name of the control plane on the bus; no cluster may take it."""
VARIABLE: Final = r"[A-Za-z_][A-Za-z0-9_]{0,127}"
ENTRY: Final = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*"
MEBIBYTE: Final = 2**20
MOST_REPLICAS: Final = 10_000


def _matches(pattern: str, what: str, example: str) -> AfterValidator:
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise PydanticCustomError("pattern", "{what}, e.g. {example}", {"what": what, "example": example})
        return value

    return AfterValidator(check)


def _not_the_platform(value: str) -> str:
    if value == PLATFORM:
        raise PydanticCustomError("reserved", "the name qd belongs to the control plane")
    return value


def _replicas(value: object) -> object:
    """A plain number n is the fixed count n; `min` alone is `max` too."""
    if isinstance(value, int) and not isinstance(value, bool):
        return {"min": value, "max": value}
    if isinstance(value, dict) and "min" in value and "max" not in value:
        return {**value, "max": value["min"]}
    if not isinstance(value, dict | ReplicasSpec):
        raise PydanticCustomError("replicas", "must be a whole number, or bounds {min: 1, max: 4}")
    return value


def _secrets(value: object) -> object:
    """A list of names takes each from the environment variable of the same name."""
    if not isinstance(value, tuple | list):
        return value
    if any(not isinstance(name, str) for name in value):
        raise PydanticCustomError("secrets", "must be a list of names, or a mapping of a name to env:VARIABLE or file:PATH")
    if len(set(value)) != len(value):
        raise PydanticCustomError("secrets", "names a secret twice")
    return {name: f"env:{name}" for name in value}


_NAME_RULE: Final = "a name has 1 to 63 of a-z, 0-9, - and _, and begins and ends with a letter or digit"
_TEXT: Final = StringConstraints(min_length=1, max_length=200)
_NAME_SCHEMA: Final = StringConstraints(min_length=1, max_length=63)
Name = Annotated[str, _NAME_SCHEMA, _matches(TOKEN, _NAME_RULE, "analysts"), Field(json_schema_extra={"pattern": f"^{TOKEN}$"})]
ClusterName = Annotated[Name, AfterValidator(_not_the_platform)]
Variable = Annotated[str, _matches(VARIABLE, "a variable has letters, digits and _, and does not begin with a digit", "PAGER_KEY")]
EntryPoint = Annotated[str, _TEXT, _matches(ENTRY, "an entry point is module:attribute", '"agents:collector"')]
Reference = Annotated[
    str, StringConstraints(max_length=4096), _matches(f"env:{VARIABLE}|file:.+", "a secret is a reference", "env:PAGER_KEY or file:key.txt")
]
EnvironmentValue = Annotated[
    str,
    StringConstraints(max_length=65536),
    BeforeValidator(lambda value: value, json_schema_input_type=str | int | float | bool),
]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


class Model(BaseModel):
    """Base of every part of the spec: immutable, no unknown fields, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True, defer_build=True)
    later: ClassVar[frozenset[str]] = frozenset()


class ReplicasSpec(Model):
    """How many replicas an agent may have. The desired count is `min` until a Change says otherwise."""

    min: int = Field(
        default=1, ge=0, le=MOST_REPLICAS, description="Fewest replicas, and how many run while nobody asks for more.", examples=[3]
    )
    max: int = Field(
        default=1,
        ge=0,
        le=MOST_REPLICAS,
        description="Most replicas that any Change may ask for; where it is the same as min, people may ask for any number in the quota.",
        examples=[6],
    )
    later: ClassVar[frozenset[str]] = _words("target metric cooldown warm schedule")

    @property
    def fixed(self) -> bool:
        """One number and no bounds: automation keeps its hands off, people may choose any count within the quota."""
        return self.min == self.max


class RolloutSpec(Model):
    """How replicas are replaced when code or spec changed."""

    surge: int = Field(default=1, ge=0, le=1000, description="Replicas started beyond the desired count while replacing.", examples=[1])
    max_unavailable: int = Field(
        default=0, ge=0, le=1000, description="Replicas that may be missing from the desired count while replacing.", examples=[0]
    )
    ready_within: Duration = Field(
        default=Duration(30),
        ge=0.1,
        le=3600,
        description="A new replica that is not ready by then has failed, and the rollout stops.",
        examples=["30s"],
    )
    drain: Duration = Field(
        default=Duration(10), ge=0, le=3600, description="Time a replica gets to finish its work before it is stopped.", examples=["10s"]
    )
    later: ClassVar[frozenset[str]] = _words("canary shadow steps analysis strategy")


class RestartSpec(Model):
    """What a crash costs: after `budget` restarts within `within` the replica is failed and rests for `retry_after`."""

    budget: int = Field(default=5, ge=0, le=1000, description="Restarts allowed within the window.", examples=[5])
    within: Duration = Field(
        default=Duration(60), ge=1, le=86400, description="The window in which restarts are counted.", examples=["60s"]
    )
    retry_after: Duration = Field(
        default=Duration(300),
        ge=0.1,
        le=86400,
        description="When a failed replica is tried again by itself: once, until the deaths before have left the window.",
        examples=["5m"],
    )


class AgentSpec(Model):
    """An agent role: an entry point in your code and how it is run."""

    run: EntryPoint = Field(description="Entry point in the code tree: an Agent or a function.", examples=["agents:collector"])
    replicas: Annotated[ReplicasSpec, BeforeValidator(_replicas, json_schema_input_type=int | ReplicasSpec)] = Field(
        default=ReplicasSpec(),
        description="How many copies run: a number, or bounds for automation and people.",
        examples=[3, {"min": 3, "max": 6}],
    )
    env: dict[Variable, EnvironmentValue] = Field(
        default_factory=dict,
        description="Environment variables, set in the agent's own process; values are taken as written.",
        examples=[{"WINDOW": "60s"}],
    )
    secrets: Annotated[
        dict[Variable, Reference],
        BeforeValidator(_secrets, json_schema_input_type=list[Variable] | dict[Variable, Reference]),
    ] = Field(
        default_factory=dict,
        description="Secrets by reference: names of variables where qd runs, or NAME: env:VARIABLE or file:PATH (relative to the spec).",
        examples=[["PAGER_KEY"], {"PAGER_KEY": "file:keys/pager"}],
    )
    memory: Bytes | None = Field(
        default=None, ge=16 * MEBIBYTE, description="Memory limit of one replica; none means the cluster's quota alone.", examples=["256Mi"]
    )
    hang_after: Duration = Field(
        default=Duration(10),
        ge=2,
        le=3600,
        description="A replica whose event loop is stuck this long is dumped and replaced.",
        examples=["10s"],
    )
    rollout: RolloutSpec = Field(default=RolloutSpec(), description="How running replicas give way to new ones.")
    restart: RestartSpec = Field(default=RestartSpec(), description="The crash budget.")
    later: ClassVar[frozenset[str]] = _words(
        "model models requirements scale cpu weight budget budgets warm concurrency image adapter tools objectives version placement"
        " python timeout schedule consensus prompt"
    )


class QuotaSpec(Model):
    """Upper limits of a cluster."""

    cpu: Cores | None = Field(
        default=None, gt=0, le=4096, description="CPU in cores for all replicas together; none means no limit.", examples=[1]
    )
    memory: Bytes | None = Field(
        default=None, ge=16 * MEBIBYTE, description="Memory for all replicas together; none means no limit.", examples=["512Mi"]
    )
    replicas: int = Field(default=20, ge=0, le=MOST_REPLICAS, description="Replicas of all agents together, surge included.", examples=[8])
    later: ClassVar[frozenset[str]] = _words(
        "tokens calls money cost gpu gpus disk storage network bandwidth messages bytes connections tasks requests limits"
    )


class BudgetSpec(Model):
    """What work may cost. Reserved before each call, so that nothing is spent beyond it."""

    per: Literal["day", "task"] = Field(
        default="task",
        description="For each task that is given, with all below it; or for a UTC day, all tasks together.",
        examples=["day"],
    )
    owner: str | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        description="Only the tasks of this owner: the tenant of an order or else whoever gave it; * is each owner who is not named, "
        "for himself. None means everybody together.",
        examples=["acme"],
    )
    calls: int | None = Field(
        default=None, ge=0, le=10**12, description="Asks, publishes, delegations and effects; none means no limit.", examples=[500]
    )
    tokens: int | None = Field(
        default=None, ge=0, le=10**12, description="Tokens that agents reserve with ctx.spend; none means no limit.", examples=[200_000]
    )
    seconds: Duration | None = Field(
        default=None, ge=0, le=366 * 86400, description="Time that replicas work on tasks; none means no limit.", examples=["10m"]
    )
    money: float | None = Field(
        default=None, ge=0, le=1e12, description="Money that agents reserve with ctx.spend; none means no limit.", examples=[5.0]
    )
    depth: int | None = Field(
        default=None, ge=0, le=32, description="Delegations below one another, of a task only; none means 32.", examples=[3]
    )
    money_per_minute: float | None = Field(
        default=None,
        gt=0,
        le=1e12,
        description="More than that within a minute holds all tasks back until the next day or qd budget resume; none means no limit.",
        examples=[1.0],
    )


class AdmissionSpec(Model):
    """What the door takes, so that what was taken is finished in time; more is refused with 429 and a time to come again."""

    rate: float = Field(default=2000.0, gt=0, le=1e6, description="Tasks a second from one tenant, for ever.", examples=[50.0])
    burst: int = Field(default=20_000, ge=1, le=10**6, description="Tasks at once from one tenant.", examples=[200])
    open: int = Field(default=200_000, ge=1, le=10**7, description="Tasks of the system that have not ended.", examples=[5000])
    later: ClassVar[frozenset[str]] = _words("tenants quotas retries latency")


class ClusterSpec(Model):
    """A named set of agents that share a namespace, a quota and an account on the bus."""

    quota: QuotaSpec = Field(default=QuotaSpec(), description="What the cluster may use at most.")
    budgets: tuple[BudgetSpec, ...] = Field(default=(), description="What the work of the cluster may cost.")
    agents: dict[Name, AgentSpec] = Field(min_length=1, description="The agents of the cluster, by name.")
    later: ClassVar[frozenset[str]] = _words(
        "model models requirements consensus standby scale objectives backup compliance placement weight active writable"
        " autoscaling endpoints alerts criticality env secrets"
    )


class BreakerSpec(Model):
    """When a link stops trying, and how it starts again."""

    failures: int = Field(default=5, ge=1, le=10_000, description="Failures in a row that open the breaker.", examples=[5])
    reset: Duration = Field(default=Duration(30), ge=0.01, le=86400, description="How long it stays open before probing.", examples=["30s"])
    probes: int = Field(default=1, ge=1, le=100, description="Requests let through while half-open.", examples=[1])
    later: ClassVar[frozenset[str]] = _words("ratio slow window")


class LinkSpec(Model):
    """A permitted path from one cluster to another; without a link two clusters cannot talk."""

    source: str = Field(alias="from", description="The cluster that sends.", examples=["collectors"])
    target: str = Field(alias="to", description="The cluster that receives and answers.", examples=["analysts"])
    timeout: Duration = Field(default=Duration(5), ge=0.001, le=3600, description="Time for one attempt.", examples=["5s"])
    attempts: int = Field(default=3, ge=1, le=100, description="Attempts in all, the first included.", examples=[3])
    breaker: BreakerSpec = Field(default=BreakerSpec(), description="When the link stops trying.")
    later: ClassVar[frozenset[str]] = _words("weight via auth mtls mirror rate retry protocol budget")


class BodySpec(Model):
    """What the system consists of."""

    owner: Annotated[str, _TEXT] | None = Field(
        default=None, description="Who answers for the system, e.g. an address.", examples=["sre@example.com"]
    )
    code: Annotated[str, StringConstraints(min_length=1, max_length=4096)] = Field(
        default=".", description="The tree that a revision snapshots, with its lock file; relative to the spec.", examples=["."]
    )
    entry: Annotated[str, _TEXT] | None = Field(
        default=None, description="Where tasks without a target go: an agent, or cluster/agent.", examples=["intake"]
    )
    clusters: dict[ClusterName, ClusterSpec] = Field(min_length=1, description="The clusters, by name.")
    budgets: tuple[BudgetSpec, ...] = Field(default=(), description="What the work of all clusters together may cost.")
    admission: AdmissionSpec = Field(default=AdmissionSpec(), description="How much work the door takes at once.")
    links: tuple[LinkSpec, ...] = Field(default=(), description="Permitted paths between clusters.")
    later: ClassVar[frozenset[str]] = _words(
        "model models requirements consensus standby alerts contacts objectives scale backup backups compliance criticality"
        " dependencies policies escalation ladders recovery drills tuning retention export exports regulation availability prices placement"
        " gateway schedule continuity"
    )


class MetadataSpec(Model):
    """What the system is called."""

    name: Name = Field(description="The system's name.", examples=["triage"])
    later: ClassVar[frozenset[str]] = _words("labels annotations namespace")


class SystemSpec(Model):
    """One file that describes a fleet of agents."""

    api_version: Literal["quarterdeck.dev/v1alpha1"] = Field(
        alias="apiVersion", description="The version of this format.", examples=[API_VERSION]
    )
    kind: Literal["System"] = Field(description="The kind of document.", examples=["System"])
    metadata: MetadataSpec = Field(description="What the system is called.")
    spec: BodySpec = Field(description="What the system consists of.")
    later: ClassVar[frozenset[str]] = _words("status")

    @property
    def name(self) -> str:
        """The system's name."""
        return self.metadata.name

    def agents(self) -> tuple[tuple[str, str, AgentSpec], ...]:
        """Every agent as (cluster, agent, spec), in the order of the file."""
        return tuple((c, a, agent) for c, cluster in self.spec.clusters.items() for a, agent in cluster.agents.items())
