"""What a caller may do, and where: one role, and one cluster or all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from quarterdeck.errors import Forbidden

Role = Literal["viewer", "operator", "deployer", "admin"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
"""In order: each may do what those before it may."""
PLACE: Final = r"^([a-z0-9]([a-z0-9_-]*[a-z0-9])?/)?[a-z0-9]([a-z0-9_-]*[a-z0-9])?$"
"""`cluster` or `system/cluster`; never a pattern that would mean more than one."""


@dataclass(frozen=True, slots=True)
class Grant:
    """`cluster` binds it to that cluster of `system`, or of every system that has one when `system` is None. Without it all are meant."""

    role: Role
    cluster: str | None = None
    system: str | None = None

    @property
    def bound(self) -> bool:
        """Whether it is for one cluster only."""
        return self.cluster is not None

    @property
    def place(self) -> str:
        """`system/cluster`, `cluster`, or nothing for everything: as it is written in commands."""
        return "/".join(part for part in (self.system, self.cluster) if part)

    @classmethod
    def at(cls, role: Role, place: str) -> Grant:
        """The opposite of `place`."""
        system, _, cluster = place.rpartition("/")
        return cls(role, cluster or None, system or None)

    def at_least(self, role: Role) -> bool:
        """Whether its role includes that one."""
        return ROLES.index(self.role) >= ROLES.index(role)

    def knows(self, system: str) -> bool:
        """Whether that system is meant."""
        return self.system in (None, system)

    def reaches(self, system: str, target: str) -> bool:
        """Whether `cluster`, `cluster/agent` or `cluster/agent-n` of that system is meant."""
        return not self.bound or (self.knows(system) and target.partition("/")[0] == self.cluster)

    def system_asked(self, system: str | None) -> str | None:
        """The system to read of when that one was asked for (None: any). Raises Forbidden for one that is not meant."""
        if system is not None and not self.knows(system):
            raise self.outside()
        return system or self.system

    def require(self, system: str, target: str) -> None:
        """Raise Forbidden unless it reaches a target; in the same words whether or not there is such a thing."""
        if not self.reaches(system, target):
            raise self.outside()

    def outside(self) -> Forbidden:
        """The refusal of what lies beyond it."""
        return Forbidden(f"your token is for {self.place} only", hint="qd get clusters lists what it reaches")


EVERYTHING: Final = Grant("admin")
"""What the owner has, who comes through the unix socket."""
NOTHING: Final = Grant("viewer", cluster="")
"""What a caller without an identity has: no cluster has that name."""
