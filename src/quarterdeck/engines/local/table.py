"""Edits of the node's table, pure: each gives a new table of the next generation. Credentials are minted by whoever calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from quarterdeck.model.desired import Link, Namespace, Workload
from quarterdeck.model.table import Credential, Room, Row, Service, Slot, Table

Mint = Callable[[Row, int, int], Credential]
"""A credential for slot n, incarnation i, of a row."""
Known = Callable[[Row, int], tuple[tuple[int, ...], int]]
"""The living incarnations of slot n of a row, and the next one."""
SPARE = 7
"""Incarnations to come that a slot holds credentials for, so that the node can restart it while we are away."""


def with_bus(table: Table, service: Service, url: str) -> Table:
    """The table with a bus added or replaced, which is where all rows find it from now on."""
    others = tuple(s for s in table.services if s.name != service.name)
    rows = tuple(row if row.bus_url == url else replace(row, bus_url=url) for row in table.rows)
    return replace(table, services=(*others, service), rows=rows)


def with_room(table: Table, system: str, namespace: Namespace) -> Table:
    """The table with a cluster's room added or its quota replaced."""
    old = room(table, system, namespace.cluster)
    new = replace(old, namespace=namespace) if old else Room(system, namespace)
    return replace(table, rooms=(*(r for r in table.rooms if r is not old), new))


def without_room(table: Table, system: str, cluster: str) -> Table:
    """The table without a cluster's room."""
    gone = room(table, system, cluster)
    return replace(table, rooms=tuple(r for r in table.rooms if r is not gone))


def with_link(table: Table, system: str, link: Link, *, closed: bool = False) -> Table:
    """The table with a link opened, replaced, or closed: in the room it leaves, and in the rows of that room."""
    rooms = tuple(_linked(r, link, closed=closed) if (r.system, r.namespace.cluster) == (system, link.source) else r for r in table.rooms)
    changed = replace(table, rooms=rooms)
    source = room(changed, system, link.source)
    links = source.links if source else ()
    rows = tuple(replace(r, links=links) if (r.system, r.cluster) == (system, link.source) else r for r in table.rows)
    return replace(changed, rows=rows)


def with_agents(table: Table, system: str, cluster: str, agents: tuple[str, ...]) -> Table:
    """The table with the agents of a cluster named, who may talk to each other; who may do otherwise than before gets new credentials."""
    old = room(table, system, cluster)
    if old is None or old.agents == agents:
        return table
    rooms = tuple(replace(r, agents=agents) if r is old else r for r in table.rooms)
    rows = tuple(replace(r, peers=agents) if (r.system, r.cluster) == (system, cluster) else r for r in table.rows)
    return without_credentials(replace(table, rooms=rooms, rows=rows), system, [cluster])


def with_workload(table: Table, system: str, workload: Workload, bus_url: str) -> Table:
    """The table with a workload's row added or replaced; kept slots keep their credentials, new ones have none yet."""
    old = row(table, system, workload.name)
    kept = {slot.n: slot for slot in old.slots} if old else {}
    source = room(table, system, workload.cluster)
    new = Row(
        system=system,
        cluster=workload.cluster,
        agent=workload.agent,
        template=workload.template,
        slots=tuple(kept.get(n, Slot(n, ())) for n in range(workload.replicas)),
        restart_before=workload.restart_before,
        quarantined=tuple(sorted(workload.quarantined)),
        rollout=workload.rollout,
        restart=workload.restart,
        bus_url=bus_url,
        links=source.links if source else (),
        peers=source.agents if source else (),
    )
    return replace(table, rows=(*(r for r in table.rows if r is not old), new))


def without_workload(table: Table, system: str, name: str) -> Table:
    """The table without a workload's row."""
    gone = row(table, system, name)
    return replace(table, rows=tuple(r for r in table.rows if r is not gone))


def with_credentials(table: Table, known: Known, mint: Mint, fresh: Callable[[Credential], bool], *, spare: int) -> Table:
    """The table with every slot holding credentials for its living incarnations, else the next one, and for `spare` to come.

    `known(row, n)` gives (living incarnations, the next one) as the node counts; a credential that is `fresh` is kept. A slot is
    left alone until fewer than half of its spares are there.
    """

    def renewed(r: Row, slot: Slot) -> Slot:
        living, upcoming = known(r, slot.n)
        kept = {c.incarnation: c for c in slot.credentials if fresh(c)}
        now = set(living) or {upcoming}
        if kept.keys() >= now | set(range(upcoming, upcoming + spare // 2)):
            return slot
        wanted = now | set(range(upcoming, upcoming + spare)) | {i for i in kept if i >= upcoming}
        return Slot(slot.n, tuple(kept.get(i) or mint(r, slot.n, i) for i in sorted(wanted)))

    return replace(table, rows=tuple(replace(r, slots=tuple(renewed(r, s) for s in r.slots)) for r in table.rows))


def without_credentials(table: Table, system: str, clusters: Iterable[str]) -> Table:
    """The table with the credentials of some clusters forgotten, because what they may do has changed."""
    names = set(clusters)
    rows = tuple(
        replace(r, slots=tuple(Slot(s.n, ()) for s in r.slots)) if r.system == system and r.cluster in names else r for r in table.rows
    )
    return replace(table, rows=rows)


def room(table: Table, system: str, cluster: str) -> Room | None:
    """A cluster's room."""
    return next((r for r in table.rooms if (r.system, r.namespace.cluster) == (system, cluster)), None)


def row(table: Table, system: str, name: str) -> Row | None:
    """A workload's row."""
    return next((r for r in table.rows if (r.system, r.name) == (system, name)), None)


def links(table: Table, system: str) -> tuple[Link, ...]:
    """All links of a system that the table holds."""
    return tuple(link for r in table.rooms if r.system == system for link in r.links)


def namespaces(table: Table, system: str) -> tuple[Namespace, ...]:
    """All namespaces of a system that the table holds."""
    return tuple(r.namespace for r in table.rooms if r.system == system)


def _linked(old: Room, link: Link, *, closed: bool) -> Room:
    others = tuple(k for k in old.links if k.target != link.target)
    return replace(old, links=others if closed else (*others, link))
