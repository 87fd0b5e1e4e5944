"""What a replica is told at birth, over an inherited descriptor: who it is, how to reach the bus, and its environment."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from quarterdeck.masks import Mask
from quarterdeck.model.desired import Link
from quarterdeck.model.table import Credential, link_from_json


@dataclass(frozen=True, slots=True)
class Boot:
    """`code` is an absolute folder put first on sys.path; `environment` holds env and resolved secrets, set after the fork.

    `peers` are the agents of the replica's own cluster; `links` the paths that leave it. `work` is a private writable folder, the cwd.
    `secrets` are the names in `environment` whose values are nobody's business.
    """

    system: str
    cluster: str
    agent: str
    n: int
    incarnation: int
    code: str
    run: str
    work: str
    bus_url: str
    credential: Credential | None
    links: tuple[Link, ...]
    peers: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    revision: str
    heartbeat: float = 1.0
    secrets: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """`cluster/agent-n`."""
        return f"{self.cluster}/{self.agent}-{self.n}"

    @property
    def mask(self) -> Mask:
        """What takes its secrets out of text."""
        return Mask((name, value) for name, value in self.environment if name in self.secrets)

    def to_json(self) -> dict[str, object]:
        """A JSON object; `from_json` gives the same value back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict) -> Boot:  # type: ignore[type-arg]
        """Read the JSON form."""
        credential = data["credential"]
        return cls(
            **{
                **data,
                "credential": Credential(**credential) if credential else None,
                "links": tuple(link_from_json(link) for link in data["links"]),
                "peers": tuple(data["peers"]),
                "environment": tuple((k, v) for k, v in data["environment"]),
                "secrets": tuple(data.get("secrets", ())),
            }
        )
