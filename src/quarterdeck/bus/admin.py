"""The control plane's hand on the running server: pushes accounts, makes streams, looks, and proves by doing.

What there should be is decided elsewhere (`accounts`, pure); here it is compared with what the server has, and the difference pushed.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Final, Self

from quarterdeck.bus import access, accounts, claims, probes, streams, subjects
from quarterdeck.bus.access import EVERYTHING, Access
from quarterdeck.bus.accounts import Revoked, account_name
from quarterdeck.bus.claims import AccountSpec
from quarterdeck.bus.connection import Connection
from quarterdeck.bus.keys import PLATFORM, SYSTEM, Keys
from quarterdeck.bus.probes import Answer, Refusal
from quarterdeck.bus.streams import USUAL, Requests, Shape
from quarterdeck.clock import Clock
from quarterdeck.errors import QuarterdeckError, Terminal, Transient
from quarterdeck.model.desired import Link, Namespace
from quarterdeck.model.world import BusSeen, StreamSeen

log = logging.getLogger(__name__)

_MOST_ACCOUNTS: Final = 100_000
_IN_FORCE_TRIES: Final = 5
_VISITS: Final = 3
"""Operations that visit accounts at the same time; each uses at most two of an account's `SPARE_CONNECTIONS`."""
_STREAMS: Final = ("$JS.API.>",)


@dataclass(frozen=True, slots=True)
class Live:
    """An account as the server has it: its public key, the digest of the spec it was made from, the accounts it imports from."""

    name: str
    public: str
    digest: str
    sources: frozenset[str]

    @classmethod
    def read(cls, jwt: str) -> Live:
        """From the JWT the server keeps."""
        found = claims.read(jwt)
        nats = found["nats"]
        sources = frozenset(each["account"] for each in nats.get("imports") or ())
        return cls(found["name"], found["sub"], nats.get("description", ""), sources)


@dataclass(frozen=True, slots=True)
class ServerSeen:
    """The server by its own word; `sync_always`: an acknowledged message is on disk."""

    version: str
    sync_always: bool


class Admin:
    """Everything the control plane does to the bus. All methods raise Transient when the server does not answer."""

    def __init__(self, url: str, keys: Keys, clock: Clock) -> None:
        self.url = url
        self._keys = keys
        self._clock = clock
        self._access = Access(url, keys, clock)
        self._applying = asyncio.Lock()
        self._visiting = asyncio.Semaphore(_VISITS)

    async def __aenter__(self) -> Self:
        """Connect, and give the control plane its account."""
        try:
            async with self._applying:
                await self._push_changed((), await self.live())
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; the server goes on."""
        await self._access.close()

    # Accounts.

    async def live(self) -> dict[str, Live]:
        """All accounts the server has, by name."""
        listed = (await self._access.system("CLAIMS.LIST"))["data"]
        try:
            async with asyncio.TaskGroup() as group:
                looks = [group.create_task(self._access.request(SYSTEM, f"$SYS.REQ.ACCOUNT.{key}.CLAIMS.LOOKUP")) for key in listed]
        except ExceptionGroup as failed:
            raise next(error for error in failed.exceptions if isinstance(error, QuarterdeckError)) from failed
        found = [_live(jwt) for jwt in (look.result() for look in looks) if jwt]
        return {account.name: account for account in found if account is not None}

    async def accounts(self) -> frozenset[str]:
        """The names of all clusters' accounts on the server."""
        return frozenset(filter(accounts.is_cluster, await self.live()))

    async def apply(
        self, system: str, namespaces: Iterable[Namespace], links: Iterable[Link] = (), revoked: Iterable[Revoked] = ()
    ) -> tuple[str, ...]:
        """Bring the accounts of a system and the paths between them up to date; gives the names of those that were pushed.

        Level-triggered and idempotent; takes nothing away but paths and users: an account ends by `remove`.
        """
        wanted = accounts.accounts(system, namespaces, links, revoked)
        async with self._applying:
            return await self._push_changed(wanted, await self.live())

    async def push(self, jwt: str) -> None:
        """Hand an account's JWT to the server, which keeps it and acts on it before it answers."""
        await self._access.system("CLAIMS.UPDATE", jwt.encode())

    async def remove(self, name: str) -> None:
        """End an account: its streams, the control plane's path to it, its users' connections, its key. Twice is once.

        Raises Transient while another cluster still has a link to it: an import from nowhere holds the server up at every look.
        """
        async with self._applying:
            live = await self.live()
            if name in live:
                self._check_key(name, live)
                rest = {other: account for other, account in live.items() if other != name}
                users = [a.name for a in rest.values() if accounts.is_cluster(a.name) and live[name].public in a.sources]
                if users:
                    raise Transient(f"account {name} cannot go yet: {', '.join(users)} still lead to it")
                for stream in [one for one in await self.streams() if one.account == name]:
                    await self._delete_stream(name, stream.name)
                await self._push_changed((), rest)
                order = claims.deletion(self._keys.operator, [self._keys.account(name)], issued=self._clock.now())
                await self._access.system("CLAIMS.DELETE", order.encode())
            self._keys.forget_account(name)

    async def _push_changed(self, wanted: tuple[AccountSpec, ...], live: Mapping[str, Live]) -> tuple[str, ...]:
        """New accounts first without imports, so that nothing is ever imported from an account the server does not know."""
        clusters = {name for name in live if accounts.is_cluster(name)} | {spec.name for spec in wanted}
        for name in (*clusters, PLATFORM):
            self._check_key(name, live)
        every = (*wanted, accounts.platform(clusters))
        changed = [s for s in every if s.name not in live or live[s.name].digest != claims.digest(s, self._keys.account)]
        born = [replace(spec, imports=()) for spec in changed if spec.name not in live]
        rest = [spec for spec in changed if spec.name in live or spec.imports]
        for spec in (*born, *rest):
            await self.push(claims.account(spec, self._keys.operator, self._keys.account, issued=self._clock.now()))
        for spec in changed if born else ():
            await self._put_in_force(spec)
        return tuple(spec.name for spec in changed)

    async def _put_in_force(self, spec: AccountSpec) -> None:
        """See that the server works by the newest form of an account.

        Clients that connect while an account is being born make the server load it, and it may then go on with the form it had read first,
        without imports. Pushing what it has already changes nothing, so each further push is dated a second later.
        """
        wanted = {path.local for path in spec.imports}
        for later in range(1, _IN_FORCE_TRIES + 1):
            told = json.loads(await self._access.request(SYSTEM, f"$SYS.REQ.ACCOUNT.{self._keys.account(spec.name).public}.INFO"))
            data = told.get("data")
            if data is None or wanted <= {path.get("local_subject") for path in data.get("imports") or ()}:
                return  # not loaded: then the newest form will be
            log.warning("account %s is in force without its imports: pushing it again", spec.name)
            await self.push(claims.account(spec, self._keys.operator, self._keys.account, issued=self._clock.now() + later))
        raise Transient(f"the bus does not take account {spec.name} as it should be")

    def _check_key(self, name: str, live: Mapping[str, Live]) -> None:
        """An account whose key is lost must not get a namesake: its streams would seem empty."""
        if name in live and not (self._keys.has_account(name) and self._keys.account(name).public == live[name].public):
            hint = "restore the home's keys folder from a backup"
            raise Terminal(f"the bus has account {name}, but its key is not the one in this home", hint=hint, where=name)

    # Looking.

    async def varz(self) -> ServerSeen:
        """Version and sync setting, from the server itself: a configuration file proves nothing."""
        data = (await self._access.system("SERVER.PING.VARZ"))["data"]
        config = data.get("jetstream", {}).get("config", {})
        return ServerSeen(data["version"], bool(config.get("sync_always", False)))

    async def streams(self) -> tuple[StreamSeen, ...]:
        """The streams of all clusters of all systems, by one request."""
        body = {"accounts": True, "streams": True, "consumer": True, "config": True, "limit": _MOST_ACCOUNTS}
        return streams.streams_seen((await self._access.system("SERVER.PING.JSZ", json.dumps(body).encode()))["data"])

    async def observe(self, *, probe: bool = True) -> BusSeen:
        """Everything at once; a server that does not answer, or does not sync what it acknowledges, is not ready and says why."""
        try:
            server = await self.varz()
            names, seen = await self.accounts(), await self.streams()
            took = await self.probe() if probe else None
        except Transient as error:
            return BusSeen(ready=False, reason=error.message, sync_always=False, version="", accounts=frozenset(), streams=())
        reason = "" if server.sync_always else "the server acknowledges messages before they are on disk"
        return BusSeen(not reason, reason, server.sync_always, server.version, names, seen, took)

    # Streams.

    async def ensure_stream(
        self,
        system: str,
        cluster: str,
        agent: str,
        *,
        inventory: Iterable[StreamSeen],
        shape: Shape = USUAL,
        epoch: int = 1,
        after: int = 0,
    ) -> StreamSeen:
        """Make an agent's stream unless it is there, see `streams.ensure`; raises StreamLost."""
        name = account_name(system, cluster)
        async with self._visiting, self._access.visit(name, publish=_STREAMS) as visitor:
            return await streams.ensure(_requests(visitor), name, agent, shape, inventory, epoch=epoch, after=after)

    async def look_at_stream(self, system: str, cluster: str, agent: str) -> StreamSeen | None:
        """An agent's stream by the word of its own account, which the server loads for it; None when there is none."""
        name = account_name(system, cluster)
        async with self._visiting, self._access.visit(name, publish=_STREAMS) as visitor:
            info = await streams.call(_requests(visitor), f"STREAM.INFO.{subjects.stream(agent)}")
        return None if info is None else streams.stream_seen(name, info)

    async def stream_exists(self, system: str, cluster: str, agent: str) -> bool:
        """Whether an agent has its stream."""
        wanted = (account_name(system, cluster), subjects.stream(agent))
        return any((stream.account, stream.name) == wanted for stream in await self.streams())

    async def delete_stream(self, system: str, cluster: str, agent: str) -> None:
        """Delete an agent's stream with all it holds; not there is fine. Whoever calls also takes it out of the inventory."""
        await self._delete_stream(account_name(system, cluster), subjects.stream(agent))

    async def _delete_stream(self, account: str, stream: str) -> None:
        async with self._visiting, self._access.visit(account, publish=_STREAMS) as visitor:
            await streams.call(_requests(visitor), f"STREAM.DELETE.{stream}")

    # Proving.

    async def probe(self) -> float:
        """Milliseconds of one publish with its acknowledgement, on disk, in the control plane's own account."""
        return await probes.publish_and_ack(_requests(await self._access.connection(PLATFORM)), self._clock)

    async def ask(
        self,
        system: str,
        cluster: str,
        to: str,
        verb: str,
        payload: bytes,
        *,
        within: float,
        headers: Mapping[str, str] | None = None,
        door: str = "control",
    ) -> Answer:
        """Ask agent `to` (or one replica, `agent-n`) of a cluster as `qd.<door>.0`; raises Transient when nobody answers in time."""
        sender = subjects.Sender(subjects.PLATFORM, door, 0)
        subject = subjects.subject("ask", sender, account_name(system, cluster), to, verb)
        ours = await self._access.connection(PLATFORM)
        told = f"{cluster}/{to} {verb}"
        return await probes.ask(ours, subject, payload, told, headers=headers or {}, within=within, clock=self._clock)

    async def forbidden(self, system: str, source: str, target: str) -> Refusal:
        """Try with full rights inside `source`'s account to reach `target`: there should be no way."""
        async with (
            self._visiting,
            self._access.visit(account_name(system, target), publish=EVERYTHING, subscribe=EVERYTHING) as there,
            self._access.visit(account_name(system, source), publish=EVERYTHING, subscribe=EVERYTHING) as here,
        ):
            return await probes.forbidden(here, there, system, source, target)

    async def open_link(self, system: str, source: str, target: str) -> float:
        """Milliseconds of a round trip from `source` to a listener of ours in `target`, with a replica's rights; Transient if closed."""
        subject = probes.link_subject(source, target)
        inner = subject.removeprefix(f"to.{target}.")
        async with (
            self._visiting,
            self._access.visit(account_name(system, target), publish=("_R_.>",), subscribe=(inner,)) as there,
            self._access.visit(account_name(system, source), publish=(subject,)) as here,
        ):
            return await probes.round_trip(here, there, subject, inner, self._clock)


def _live(jwt: bytes) -> Live | None:
    """An account as the server keeps it; None when its file is damaged: then it is pushed again."""
    try:
        return Live.read(jwt.decode())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("an account of the bus cannot be read: %s", error)
        return None


def _requests(connection: Connection) -> Requests:
    async def ask(subject: str, body: bytes) -> bytes:
        return await access.request(connection, subject, body)

    return ask
