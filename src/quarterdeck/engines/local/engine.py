"""The local engine: workloads on this machine by the node, the mesh on its nats-server. Knows no policy; does one step at a time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, assert_never

from quarterdeck.bus import claims, server, subjects
from quarterdeck.bus import streams as bus_streams
from quarterdeck.bus.access import blobs_login, ledger_login
from quarterdeck.bus.accounts import account_name
from quarterdeck.bus.admin import Admin
from quarterdeck.bus.connection import Login
from quarterdeck.bus.keys import Key, Keys
from quarterdeck.clock import Clock
from quarterdeck.engines.local import observe, proofs, rebuild
from quarterdeck.engines.local import table as tables
from quarterdeck.engines.local.client import NOT_ATTACHED, NodeClient
from quarterdeck.errors import QuarterdeckError, Transient
from quarterdeck.model.desired import Desired
from quarterdeck.model.home import Home
from quarterdeck.model.steps import (
    ApplyWorkload,
    EnsureAccount,
    EnsureBus,
    EnsureLink,
    EnsureNamespace,
    Probe,
    RemoveLink,
    RemoveNamespace,
    RemoveWorkload,
    Step,
)
from quarterdeck.model.table import Credential, Row, Table
from quarterdeck.model.world import BusSeen, Happening, Sample, StreamSeen, Verb, WorkloadSeen, World
from quarterdeck.store import inventory, meta
from quarterdeck.store.store import Store

CREDENTIAL_TTL = 3600.0
"""Seconds a replica's bus user lives; renewed at half life."""
EVENT_POLL = 20.0
NO_BUS = BusSeen(ready=False, reason="not started", sync_always=False, version="", accounts=frozenset(), streams=())
STREAM = "stream"
log = logging.getLogger(__name__)


@dataclass(slots=True)
class LocalEngine:
    """Holds the node's table as last acknowledged; after a restart it reads it back from the node, which is the only copy."""

    home: Home
    store: Store
    clock: Clock
    node: NodeClient
    keys: Keys
    environ: Mapping[str, str]
    credential_ttl: float = CREDENTIAL_TTL
    name: str = "local"
    _table: Table | None = None
    _boot: str = ""
    _epoch: int = 0
    _seen: dict[str, Any] = field(default_factory=lambda: {"rows": [], "incarnations": {}, "services": []})
    _admin: Admin | None = None
    _closed: bool = False
    _events_boot: str = ""
    _events_after: int = 0
    _mending: asyncio.Lock = field(default_factory=asyncio.Lock)
    _aside: set[str] = field(default_factory=set)
    _editing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def observe(self, system: str) -> World:
        """Ask the node and the bus; either of them away means unknown, not gone."""
        try:
            table = await self._current()
            self._seen = await self.node.request("observe")
            bus = await self._bus_seen(system, table)
        except Transient as error:
            return World(self.clock.now(), False, error.message, NO_BUS, (), (), ())
        links = tuple(k for k in tables.links(table, system) if {k.source, k.target} <= bus.accounts)
        workloads = observe.workloads(self._seen, system, table)
        weak = tuple(self._seen.get("weakenings", ()))
        ways, used = observe.delivered(self._seen, system), observe.used(self._seen, system)
        return World(self.clock.now(), True, "", bus, tables.namespaces(table, system), links, workloads, weak, ways, used)

    async def workloads(self, system: str) -> tuple[WorkloadSeen, ...]:
        """Ask the node alone."""
        table = await self._current()
        return observe.workloads(await self.node.request("observe"), system, table)

    async def samples(self, system: str, replica: str) -> tuple[Sample, ...]:
        """Read the node's ring."""
        return observe.samples(await self.node.request("ring", system=system, replica=replica))

    async def verbs(self, system: str, agent: str) -> tuple[Verb, ...]:
        """Ask one replica that is ready, over the node: the bus need not be there."""
        return observe.verbs(await proofs.verbs(self.node, await self.workloads(system), system, agent))

    async def preflight(self, system: str, step: Step) -> None:
        """What can be known before trying: the bus program is there, the bus answers."""
        match step:
            case EnsureBus():
                server.version(server.binary(self.environ))
            case EnsureAccount() | EnsureLink() | RemoveLink():
                self._bus()
            case _:
                await self._current()

    async def perform(self, system: str, step: Step) -> str:
        """Do one step; each is idempotent."""
        match step:
            case EnsureNamespace():
                return await self._edit(lambda t: tables.with_room(t, system, step.namespace))
            case RemoveNamespace():
                return await self._remove_namespace(system, step.cluster)
            case EnsureBus():
                return await self._ensure_bus()
            case EnsureAccount():
                return await self._ensure_account(system, step)
            case EnsureLink():
                return await self._link(system, step, closed=False)
            case RemoveLink():
                return await self._link(system, step, closed=True)
            case ApplyWorkload():
                url = server.url(server.port(self.home, self.keys))
                return await self._edit(lambda t: tables.with_workload(t, system, step.workload, url))
            case RemoveWorkload():
                return await self._edit(lambda t: tables.without_workload(t, system, step.name))
            case Probe():
                return "probes are proven, not performed"
            case _:
                assert_never(step)

    async def probe(self, desired: Desired, probe: Probe) -> str:
        """Prove by doing, see proofs.py."""
        return await proofs.prove(proofs.Bench(desired, self._bus(), self.node, self._seen, self.clock), probe)

    async def ask(self, system: str, target: str, verb: str, payload: object, within: float) -> proofs.Reply:
        """Ask an agent over the bus in the control plane's own name."""
        return await proofs.ask(self._bus(), self.clock, proofs.Question(system, target, verb, payload, within))

    async def upkeep(self, desired: Desired) -> None:
        """Credentials, for incarnations that came meanwhile."""
        await self._top_up()

    async def _top_up(self) -> None:
        """Credentials for the next incarnations, and again at half life. While replicas start, minting spares would only slow them."""
        table = await self._current()
        spare = tables.SPARE if observe.settled(self._seen, table) else 0
        if self._with_credentials(table, spare) != table:
            await self._edit(lambda t: t, spare)

    def ledger_login(self) -> Login:
        """How the ledger gets onto the bus, with a user of its own."""
        return ledger_login(server.url(server.port(self.home, self.keys)), self.keys, self.clock)

    def blobs_login(self) -> Login:
        """How large payloads get onto the bus, the same."""
        return blobs_login(server.url(server.port(self.home, self.keys)), self.keys, self.clock)

    async def code_in_use(self) -> frozenset[str]:
        """What the node names, and what its table asks for: a workload keeps the tree it was accepted with while only others change."""
        table, seen = await self._current(), await self.node.request("observe")
        return frozenset(seen["code"]) | {row.template.code for row in table.rows}

    async def remove(self, system: str) -> tuple[str, ...]:
        """Everything of a system: replicas drained, accounts ended, rooms gone; answers what is left."""
        await self._edit(lambda t: replace(t, rows=tuple(r for r in t.rows if r.system != system)))
        left = await self._gone_within(system, 15.0)
        table = await self._current()
        for namespace in tables.namespaces(table, system):
            await self._remove_namespace(system, namespace.cluster)
        shutil.rmtree(self.home.logs / system, ignore_errors=True)
        return left

    async def changed(self) -> tuple[Happening, ...]:
        """The node's events by long poll, from where the store says they were last written down: each at least once."""
        await self.node.attached.wait()
        if self._events_boot != self.node.boot:
            with self.store.read() as conn:
                boot, seq = meta.node_cursor(conn)
            self._events_boot, self._events_after = self.node.boot, seq if boot == self.node.boot else 0
        try:
            answer = await self.node.request("wait", after=self._events_after, timeout=EVENT_POLL, limit=EVENT_POLL + 5)
        except Transient:
            await asyncio.sleep(0.05)
            return ()
        self._events_after = answer["next"] - 1
        return tuple(observe.happening(item, answer["boot"]) for item in answer["items"])

    async def follow_watermarks(self) -> None:
        """Each second: how far every stream has come, into the inventory; one that has gone back since is mended."""
        while not self._closed:  # the bus's library may take our cancellation for its own timeout
            await asyncio.sleep(1.0)
            try:
                await self._mend()
            except Transient as error:  # the bus or the store is away: the next second tries again
                log.debug("streams are not followed: %s", error.message)
            except QuarterdeckError as error:
                log.error("the bus is not mended: %s", error.message)  # noqa: TRY400 the trace says nothing more

    async def _mend(self) -> None:
        """Look at all streams: raise their watermarks, or make those anew that lost something."""

        async def apply(system: str) -> None:
            await self._apply_accounts(system, await self._current())

        async with self._mending:
            await rebuild.follow(self.store, self._bus(), apply)

    async def renew_credentials(self) -> None:
        """At half life, whether or not anything else makes the loop look: its rounds may be further apart than a short life."""
        while not self._closed:
            await asyncio.sleep(self.credential_ttl / 8)
            with contextlib.suppress(Transient):  # the node is away: the next time
                await self._top_up()

    async def close(self) -> None:
        """Leave the bus, for good; what follows it ends."""
        self._closed = True
        admin, self._admin = self._admin, None
        if admin is not None:
            await admin.close()

    # The table.

    async def _current(self) -> Table:
        """The table in force, read back from the node at each of its lives."""
        if not self.node.attached.is_set():
            raise Transient("the node is not attached", hint=NOT_ATTACHED)
        if self._table is None or self._boot != self.node.boot:
            self._table = Table.from_json((await self.node.request("table_get"))["table"])
            self._boot = self.node.boot
        return self._table

    async def _own_epoch(self) -> int:
        """Taken at the first edit, not at the first look: a read-only store can look."""
        if not self._epoch:
            self._epoch = await self.store.write(meta.next_epoch)
        return self._epoch

    async def _edit(self, change: Callable[[Table], Table], spare: int = 0) -> str:
        async with self._editing:
            old = await self._current()
            edited = change(old)
            self._seen = await self.node.request("observe")
            new = self._with_credentials(edited, spare)
            if new == old:
                return "as it was"
            epoch = await self._own_epoch()
            generation = old.generation + 1 if old.epoch >= epoch else 1
            new = replace(new, epoch=max(epoch, old.epoch), generation=generation)
            await self.node.request("table", table=new.to_json())
            self._table = new
            return f"table {new.epoch}.{new.generation} acknowledged"

    def _with_credentials(self, table: Table, spare: int) -> Table:
        now = self.clock.now()

        def fresh(c: Credential) -> bool:
            return c.expires - now > self.credential_ttl / 2

        return tables.with_credentials(table, observe.incarnations(self._seen), self._mint, fresh, spare=spare)

    def _mint(self, row: Row, n: int, incarnation: int) -> Credential:
        now = self.clock.now()
        return claims.replica_user(
            self.keys.account(account_name(row.system, row.cluster)),
            Key.fresh("user"),
            subjects.Sender(row.cluster, row.agent, n),
            incarnation,
            peers=row.peers,
            linked=tuple(sorted(link.target for link in row.links)),
            issued=now,
            expires=now + self.credential_ttl,
        )

    # The bus.

    async def _ensure_bus(self) -> str:
        port = await asyncio.to_thread(server.claim_port, self.home, self.keys)
        service = server.service(self.home, self.keys, port, self.environ)
        await self._edit(lambda t: tables.with_bus(t, service, server.url(port)))
        running = self._running_bus()
        if running is not None and running["state"] == "failed":
            await self._set_aside()
        elif self._admin is not None:
            await self._mend()
        return f"nats-server on 127.0.0.1:{port}"

    def _running_bus(self) -> dict[str, Any] | None:
        return next((s for s in self._seen["services"] if s["name"] == server.NAME), None)

    async def _set_aside(self) -> None:
        """nats-server does not start with the files it has, but does with none: put them aside, first those that cost nothing."""
        left = [name for name in ("accounts", "streams") if name not in self._aside]
        if not left or not await asyncio.to_thread(server.starts_empty, self.home, self.keys, self.environ):
            return
        self._aside.add(left[0])
        await self.store.write(partial(rebuild.set_aside, folder=self.home.bus / left[0]))
        await self.node.request("service_restart", name=server.NAME)

    def _bus(self) -> Admin:
        if self._admin is None:
            raise Transient("the bus is not up")
        return self._admin

    async def _bus_seen(self, system: str, table: Table) -> BusSeen:
        running = self._running_bus()
        if running is None or running["state"] != "ready":
            return replace(NO_BUS, reason=running["reason"] or running["state"] if running else "not started")
        url = server.url(running["port"])
        if self._admin is None or self._admin.url != url:  # the first, or that of a bus that moved
            if self._closed:
                raise Transient("the control plane is stopping")
            old, self._admin = self._admin, await Admin(url, self.keys, self.clock).__aenter__()
            if old is not None:
                await old.close()
        seen = await self._admin.observe(probe=False)
        if not seen.ready:
            return seen
        self._aside.clear()
        in_force = observe.accounts_in_force(table, system, await self._admin.live(), self.keys)
        made = self._inventory(system)
        lost = bus_streams.check(made, seen.streams)
        known = {(s.account, s.name) for s in made}  # one that is not in the inventory is taken over by the plan, as if it were not there
        seen = replace(seen, streams=tuple(s for s in seen.streams if (s.account, s.name) in known))
        return observe.bus_of(system, seen, in_force, lost[0] if lost else "")

    async def _ensure_account(self, system: str, step: EnsureAccount) -> str:
        await self._edit(lambda t: tables.with_agents(t, system, step.target, step.agents))
        pushed = await self._apply_accounts(system, await self._current())
        made = self._inventory(system)
        account = account_name(system, step.target)
        for agent in step.agents:
            with self.store.read() as conn:
                epoch, after = inventory.next_epoch(conn, system, STREAM, f"{account}/{subjects.stream(agent)}")
            stream = await self._bus().ensure_stream(system, step.target, agent, inventory=made, epoch=epoch, after=after)
            name = f"{account}/{stream.name}"
            if not any((s.account, s.name) == (stream.account, stream.name) for s in made):
                await self.store.write(partial(inventory.made, system=system, kind=STREAM, name=name))
        gone = [s for s in made if s.account == account and s.name.removeprefix("IN_") not in step.agents]
        for stream in gone:
            await self._drop_stream(system, stream)
        return f"{len(step.agents)} streams; {'account pushed' if pushed else 'account in force'}"

    async def _apply_accounts(self, system: str, table: Table) -> tuple[str, ...]:
        return await self._bus().apply(
            system, tables.namespaces(table, system), tables.links(table, system), observe.revoked(table, system)
        )

    async def _link(self, system: str, step: EnsureLink | RemoveLink, *, closed: bool) -> str:
        """What opens begins with the accounts, what closes with the table (credentials): a replica's rights never exceed its account's."""
        link, table = step.link, await self._current()
        if not closed:  # one that the bus refuses is not in the table then, so that nothing but this step is to be done again
            await self._apply_accounts(system, tables.with_link(table, system, link))
        if closed or link not in tables.links(table, system):
            await self._edit(lambda t: tables.without_credentials(tables.with_link(t, system, link, closed=closed), system, [link.source]))
        if closed:
            await self._apply_accounts(system, await self._current())
        return f"{link.name} {'closed' if closed else 'open'}"

    async def _remove_namespace(self, system: str, cluster: str) -> str:
        account = account_name(system, cluster)
        for link in tables.links(await self._current(), system):
            if cluster in (link.source, link.target):
                await self._edit(partial(tables.with_link, system=system, link=link, closed=True))
        await self._edit(lambda t: tables.without_room(t, system, cluster))
        for stream in self._inventory(system):
            if stream.account == account:
                await self._drop_stream(system, stream)
        await self._apply_accounts(system, await self._current())
        await self._bus().remove(account)
        return f"account {account} ended"

    async def _drop_stream(self, system: str, stream: StreamSeen) -> None:
        cluster, agent = stream.account.removeprefix(f"{system}."), stream.name.removeprefix("IN_")
        name = f"{stream.account}/{stream.name}"
        reason = f"no longer in the spec; {stream.messages} messages dropped"
        await self.store.write(lambda tx: inventory.gone(tx, system, STREAM, name, reason=reason))
        await self._bus().delete_stream(system, cluster, agent)

    def _inventory(self, system: str | None) -> tuple[StreamSeen, ...]:
        return tuple(rebuild.stream_of(thing) for thing in rebuild.things(self.store, system))

    async def _gone_within(self, system: str, seconds: float) -> tuple[str, ...]:
        deadline = self.clock.monotonic() + seconds
        while True:
            seen = await self.node.request("observe")
            left = tuple(r["name"] for row in seen["rows"] if row["system"] == system for r in row["replicas"] if r["pid"] is not None)
            if not left or self.clock.monotonic() > deadline:
                return left
            await asyncio.sleep(0.02)
