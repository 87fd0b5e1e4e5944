"""The desired table that the control plane pushes whole to the node, and its JSON form.

It is level-triggered: (epoch, generation) only ever rise, a lower pair is refused, the same pair is a no-op. The node persists it, so
that it can restart everything from its own copy while the control plane is away.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from quarterdeck.model.desired import Breaker, Link, Namespace, Quota, Restart, Rollout, Template


@dataclass(frozen=True, slots=True)
class Service:
    """A long-running program the node supervises beside the replicas, e.g. nats-server. Ready = the port answers a TCP connect."""

    name: str
    argv: tuple[str, ...]
    digest: str
    port: int
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class Credential:
    """A bus user for one incarnation: JWT, its seed, and when it ends (epoch seconds)."""

    incarnation: int
    jwt: str
    seed: str
    expires: float


@dataclass(frozen=True, slots=True)
class Slot:
    """Replica number n and the credentials of its current and next incarnations; an incarnation without one waits."""

    n: int
    credentials: tuple[Credential, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One workload as the node runs it. `bus_url` and `links` are handed to its replicas; a change of links reaches them live."""

    system: str
    cluster: str
    agent: str
    template: Template
    slots: tuple[Slot, ...]
    restart_before: float
    quarantined: tuple[int, ...]
    rollout: Rollout
    restart: Restart
    bus_url: str
    links: tuple[Link, ...]
    peers: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """`cluster/agent`."""
        return f"{self.cluster}/{self.agent}"


@dataclass(frozen=True, slots=True)
class Room:
    """A cluster's limits on this machine, the links that leave it and its agents: known here before there are replicas."""

    system: str
    namespace: Namespace
    links: tuple[Link, ...] = ()
    agents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """Everything that should run on this node."""

    epoch: int
    generation: int
    services: tuple[Service, ...] = ()
    rooms: tuple[Room, ...] = ()
    rows: tuple[Row, ...] = ()

    @property
    def version(self) -> tuple[int, int]:
        """(epoch, generation), compared as a pair."""
        return self.epoch, self.generation

    def to_json(self) -> dict[str, object]:
        """A JSON object; `from_json` gives the same value back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict) -> Table:  # type: ignore[type-arg]
        """Read the JSON form; raises KeyError, TypeError or ValueError when it is not one."""
        return cls(
            epoch=int(data["epoch"]),
            generation=int(data["generation"]),
            services=tuple(Service(**{**s, "argv": tuple(s["argv"])}) for s in data["services"]),
            rooms=tuple(_room(r) for r in data["rooms"]),
            rows=tuple(_row(r) for r in data["rows"]),
        )


def _room(data: dict) -> Room:  # type: ignore[type-arg]
    links = tuple(link_from_json(link) for link in data["links"])
    return Room(data["system"], _namespace(data["namespace"]), links, tuple(data["agents"]))


def _namespace(data: dict) -> Namespace:  # type: ignore[type-arg]
    return Namespace(data["cluster"], Quota(**data["quota"]))


def link_from_json(data: dict) -> Link:  # type: ignore[type-arg]
    """A Link from its JSON object."""
    return Link(**{**data, "breaker": Breaker(**data["breaker"])})


def _pairs(items: list) -> tuple[tuple[str, str], ...]:  # type: ignore[type-arg]
    return tuple((str(k), str(v)) for k, v in items)


def _row(data: dict) -> Row:  # type: ignore[type-arg]
    template = data["template"]
    return Row(
        **{
            **data,
            "template": Template(**{**template, "env": _pairs(template["env"]), "secrets": _pairs(template["secrets"])}),
            "slots": tuple(Slot(s["n"], tuple(Credential(**c) for c in s["credentials"])) for s in data["slots"]),
            "quarantined": tuple(data["quarantined"]),
            "rollout": Rollout(**data["rollout"]),
            "restart": Restart(**data["restart"]),
            "links": tuple(link_from_json(link) for link in data["links"]),
            "peers": tuple(data["peers"]),
        }
    )
