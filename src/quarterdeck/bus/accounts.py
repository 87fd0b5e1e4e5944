"""Which accounts there should be on the bus and what each may do: recomputed whole from the desired system, never edited. Pure.

A cluster is an account. A Link lets its source import two subjects of its target, both pinned to the source's own name, so that an
account can only ever speak as itself; the control plane's account imports the same two of every cluster, and lets each reach the ledger of
tasks and the blobs under its own name. Nothing else crosses.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from quarterdeck.bus import subjects
from quarterdeck.bus.claims import AccountSpec, Export, Import, Limits
from quarterdeck.bus.keys import PLATFORM, SYSTEM
from quarterdeck.errors import Terminal
from quarterdeck.model.desired import Link, Namespace, Quota

MAX_PAYLOAD: Final = 1024 * 1024
STREAM_BYTES: Final = 32 * 1024 * 1024
"""What one agent's stream may hold unless told otherwise; an account's disk is this times its streams."""
SPARE_CONNECTIONS: Final = 8
"""For the control plane's own short visits."""
SPARE_STREAMS: Final = 4
"""For agents that have no replica at the moment."""
_SUBSCRIPTIONS: Final = 16
_KINDS: Final[tuple[subjects.Kind, ...]] = ("ask", "in")


@dataclass(frozen=True, slots=True)
class Revoked:
    """A user (by public key) of a cluster whose JWTs issued until `at` (epoch seconds) no longer count."""

    cluster: str
    user: str
    at: float


def account_name(system: str, cluster: str) -> str:
    """`<system>.<cluster>`."""
    return f"{system}.{cluster}"


def limits(quota: Quota) -> Limits:
    """What a cluster of this quota may use on the bus; its replicas include surge."""
    connections = 2 * quota.replicas + SPARE_CONNECTIONS  # a replica that renews holds its old connection until the new one works
    streams = quota.replicas + SPARE_STREAMS
    return Limits(connections, connections * _SUBSCRIPTIONS, MAX_PAYLOAD, streams * STREAM_BYTES, streams, streams)


def accounts(
    system: str, namespaces: Iterable[Namespace], links: Iterable[Link] = (), revoked: Iterable[Revoked] = ()
) -> tuple[AccountSpec, ...]:
    """The accounts of all clusters of a system, in the order of their names. Raises Terminal when a link's end is no cluster."""
    quotas = {namespace.cluster: namespace.quota for namespace in namespaces}
    paths = sorted({(link.source, link.target) for link in links if link.source != link.target})
    strangers = {end for path in paths for end in path} - set(quotas)
    if strangers:
        raise Terminal(f"links of {system} lead to clusters it does not have: {', '.join(sorted(strangers))}")
    ends = tuple(revoked)
    return tuple(_cluster(system, cluster, quotas[cluster], paths, ends) for cluster in sorted(quotas))


def _cluster(system: str, cluster: str, quota: Quota, paths: list[tuple[str, str]], revoked: tuple[Revoked, ...]) -> AccountSpec:
    sources = [source for source, target in paths if target == cluster]
    targets = [target for source, target in paths if source == cluster]
    guests = [(subjects.PLATFORM, PLATFORM), *((source, account_name(system, source)) for source in sources)]
    ended = {r.user: int(r.at) for r in sorted(revoked, key=lambda r: r.at) if r.cluster == cluster}
    return AccountSpec(
        account_name(system, cluster),
        limits(quota),
        tuple(Export(f"{kind}.{name}.>", account) for name, account in guests for kind in _KINDS),
        (
            *_platform(system, cluster),
            *(_path(account_name(system, target), target, cluster, kind) for target in targets for kind in _KINDS),
        ),
        tuple(sorted(ended.items())),
    )


def _path(source: str, local: str, speaker: str, kind: subjects.Kind) -> Import:
    return Import(source, f"{kind}.{speaker}.>", f"to.{local}.{kind}.{speaker}.>")


def _platform(system: str, cluster: str) -> tuple[Import, Import]:
    """The ways of a cluster's replicas to the ledger and to the blobs: under the cluster's own name, whatever they write."""
    account = account_name(system, cluster)
    ledger = Import(PLATFORM, subjects.ledger_of(account), f"ledger.{cluster}.>")
    return ledger, Import(PLATFORM, subjects.blobs_of(account), f"blobs.{cluster}.>")


def platform(clusters: Iterable[str]) -> AccountSpec:
    """The control plane's account, given the names of all clusters' accounts of all systems."""
    paths = tuple(_path(name, name, subjects.PLATFORM, kind) for name in sorted(clusters) for kind in _KINDS)
    limits_ = Limits(SPARE_CONNECTIONS, 256, MAX_PAYLOAD, 4 * 1024 * 1024, 1, 1)
    return AccountSpec(PLATFORM, limits_, exports=(Export(subjects.LEDGER, "*"), Export(subjects.BLOBS, "*")), imports=paths)


def system_account() -> AccountSpec:
    """The server's own account; nobody but the control plane has a user in it."""
    return AccountSpec(SYSTEM, Limits(SPARE_CONNECTIONS, 1024, MAX_PAYLOAD))


def is_cluster(name: str) -> bool:
    """Whether an account is a cluster's, not one of the platform's own."""
    return name not in (SYSTEM, PLATFORM)
