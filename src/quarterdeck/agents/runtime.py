"""The life of one replica: import the agent, connect, start, receive, and end without losing a message.

Runs on the loop that does the work, so that its heartbeat tells the truth about it. The node speaks to it over the channel.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from quarterdeck.agents.agent import Agent, Background, hook
from quarterdeck.agents.blobs import Blobs
from quarterdeck.agents.context import Context, Place
from quarterdeck.agents.desk import Desk, run, verbs
from quarterdeck.agents.entry import EntryError, load
from quarterdeck.agents.line import Ask, Line
from quarterdeck.agents.measure import Measures
from quarterdeck.agents.payload import loads
from quarterdeck.agents.taskwork import Taskwork
from quarterdeck.agents.waits import Reporter, Waits
from quarterdeck.bus import subjects
from quarterdeck.bus.chores import Chores
from quarterdeck.bus.client import Client
from quarterdeck.bus.connection import Login, Unanswered
from quarterdeck.bus.envelope import Limits
from quarterdeck.bus.links import Routes
from quarterdeck.bus.receiver import Intake
from quarterdeck.bus.session import Session
from quarterdeck.bus.tally import MOST, Worked
from quarterdeck.clock import SystemClock
from quarterdeck.errors import QuarterdeckError, Transient
from quarterdeck.model import ops
from quarterdeck.model.boot import Boot
from quarterdeck.model.table import Credential, link_from_json
from quarterdeck.states import BREAKER

log = logging.getLogger(__name__)

NODE_GONE: Final = 1.0
"""Seconds for what is being worked on when the node has vanished."""
HOOKS_SHARE: Final = 0.2
"""Part of a drain's time that is kept for the stop hooks, at most a second."""
RENEW_PAUSE: Final = 1.0
TURN_PAUSE_FIRST: Final = 0.5
TURN_PAUSE_MOST: Final = 30.0
"""Seconds before background work that failed is called again: doubling from the first to the most."""
PROBE_WITHIN: Final = 5.0


class Channel(Protocol):
    """The line to the node."""

    def send(self, message: dict[str, object]) -> None:
        """Hand a message over; raises OSError or BufferError when the node does not take it."""

    async def receive(self) -> dict[str, object] | None:
        """The next message; None when the node is gone."""


async def serve(boot: Boot, channel: Channel) -> None:
    """Be the replica that `boot` describes, until the node says drain; raises SystemExit(1) after a fatal start."""
    try:
        agent = load(boot.run, boot.code)
    except EntryError as error:
        channel.send({"t": "fatal", "error": error.error, "where": error.where, "trace": error.trace})
        raise SystemExit(1) from None
    _log_to_stderr()
    async with asyncio.TaskGroup() as tasks:
        await Runtime(boot, agent, channel, tasks).live()


class Runtime:
    """One replica's state: what counts its progress, its way to the bus, and the newest orders of the node."""

    def __init__(self, boot: Boot, agent: Agent, channel: Channel, tasks: asyncio.TaskGroup) -> None:
        self._boot = boot
        self._agent = agent
        self._channel = channel
        self._tasks = tasks
        self._chores = Chores(tasks)
        self._line = Line(self._asking(subjects.ledger), self._chores, Blobs(self._asking(subjects.blobs)))
        self._clock = SystemClock()
        self._credential = boot.credential
        self._bus_url = boot.bus_url
        self._routes = Routes(boot.cluster, boot.links)
        self._progress = 0
        self._paused = False
        self._gate = asyncio.Lock()
        self._session: Session | None = None
        self._client: Client | None = None
        self._intake: Intake | None = None
        self._taskwork: Taskwork | None = None
        self._worked = Worked()
        self._waits = Waits(self._clock)
        self._measures = Measures(self._clock, agent.concurrency)

    async def live(self) -> None:
        """From the first heartbeat to `drained`."""
        beat = self._tasks.create_task(self._beat())
        order = self._tasks.create_task(self._obey())
        starting = self._tasks.create_task(self._start())
        await asyncio.wait({order, starting}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.wait({starting})
        elif error := starting.result():
            self._send({"t": "fatal", "error": error.error, "where": error.where, "trace": error.trace})
            await self._drain(0.0, [])
            raise SystemExit(1)
        background = [self._tasks.create_task(self._repeat(work)) for work in self._agent.background if not order.done()]
        await self._drain(await order, background)
        if self._waits.reporter is not None:
            self._waits.reporter.stop()
        self._chores.cancel()
        self._send({"t": "drained"})
        beat.cancel()

    async def _start(self) -> EntryError | None:
        """Connect, run the start hooks, receive, say ready; what went wrong, if the user's code did."""
        client = await self._connect()
        place = self._place(client)
        self._taskwork = work = Taskwork(self._agent, place, self._line, self._tasks)
        reporter = Reporter(self._waits, self._line.call, self._chores)

        def word() -> None:
            work.word()
            reporter.word()

        desk = Desk(self._agent, place, incarnation=self._boot.incarnation, revision=self._boot.revision, word=word)
        try:
            for function in self._agent.starts:
                await run(hook(function), None, Context(place))
        except Exception as error:  # noqa: BLE001 the boundary to user code: the node reports it, with its line
            return EntryError(error, self._boot.code)
        boot = self._boot
        places, asks = self._agent.concurrency, self._waits.asks
        self._intake = Intake(boot.cluster, boot.agent, boot.n, places, desk.answer, desk.settle, self._worked, asks)
        self._waits.places = min(self._agent.concurrency, ops.MOST_HELD)
        self._waits.reporter = reporter
        await self._follow_pause()
        self._send({"t": "ready"})
        log.info("ready: %s, incarnation %d", boot.name, boot.incarnation)
        return None

    async def _connect(self) -> Client:
        """Until it works: the node decides when a start has taken too long, and may send newer credentials meanwhile."""
        boot = self._boot
        inbox = subjects.inbox(boot.agent, boot.n, boot.incarnation)
        while True:
            credential = self._credential
            try:
                self._session = await Session.open(Login(self._bus_url, boot.name, inbox, credential), self._tasks)
                break
            except Transient as error:
                log.warning("%s; trying on", error.message)
        if credential is not self._credential and self._credential is not None:
            self._chores.start(self._renew(self._session, self._credential))
        self._client = Client(self._session, subjects.Sender(boot.cluster, boot.agent, boot.n), self._routes, self._clock)
        return self._client

    def _asking(self, subject: Callable[[subjects.Sender, int], str]) -> Ask:
        """Requests to the control plane, in the name of this incarnation; they raise Transient when there is no answer."""
        boot = self._boot
        to = subject(subjects.Sender(boot.cluster, boot.agent, boot.n), boot.incarnation)

        async def ask(body: bytes, limit: float) -> bytes:
            if self._session is None:
                raise Transient("not connected to the bus yet")
            try:
                connection = await self._session.connection(limit)
                return bytes((await connection.request(to, body, {}, limit)).data)
            except Unanswered as error:
                raise Transient(f"no answer: {error.failure}") from error

        return ask

    def _place(self, client: Client) -> Place:
        return Place(
            self._boot.cluster,
            self._boot.agent,
            self._boot.n,
            client,
            self._clock,
            self._progressed,
            self._line,
            client.sent,
            self._waits,
            self._measures,
            self._worked,
            self._boot.mask,
        )

    def _progressed(self) -> None:
        self._progress += 1

    async def _beat(self) -> None:
        """One sign of life each interval, from the loop that works; `lag` is how late the loop was for it, in milliseconds."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            lag = round((loop.time() - due) * 1000, 1)
            inflight = (self._session.inflight if self._session else 0) + (self._taskwork.busy if self._taskwork else 0)
            self._send({"t": "beat", "progress": self._progress, "lag": lag, "inflight": inflight, **self._counts()})
            due = loop.time() + self._boot.heartbeat
            await asyncio.sleep(self._boot.heartbeat)

    def _counts(self) -> dict[str, object]:
        """What was worked off and sent since the start, and the breakers that are not closed; only what there is of it."""
        found: dict[str, object] = {"handled": self._worked.handled, "failed": self._worked.failed}
        if self._client is not None:
            open_ = (pair for pair in self._client.circuits().items() if pair[1] != BREAKER.first)
            found |= {"sent": self._client.sent.told(), "circuits": dict(itertools.islice(open_, MOST))}
        found |= self._measures.told()
        return {name: value for name, value in found.items() if value}

    async def _obey(self) -> float:
        """Carry out the node's orders until it wants a drain: within how many seconds."""
        while (message := await self._channel.receive()) is not None:
            match message:
                case {"t": "drain", "within": float() | int() as within}:
                    return float(within)
                case {"t": "credentials", "credential": dict() as credential}:
                    self._take_credential(Credential(**credential), str(message.get("url") or self._bus_url))
                case {"t": "links", "links": list() as links}:
                    self._take_routes(Routes(self._boot.cluster, tuple(link_from_json(link) for link in links)))
                case {"t": "pause", "on": bool() as on}:
                    self._paused = on
                    self._chores.start(self._follow_pause())
                case {"t": "probe", "id": identity, "probe": dict() as probe}:
                    self._chores.start(self._answer_probe(identity, probe))
                case _:
                    log.warning("the node said something this version does not know: %s", message.get("t"))
        log.error("the node is gone: stopping")
        return NODE_GONE

    def _take_credential(self, credential: Credential, url: str) -> None:
        """Where the bus is comes with it: it moves when somebody else sits on its port."""
        self._credential, self._bus_url = credential, url
        if self._session is not None:
            self._chores.start(self._renew(self._session, credential))

    async def _renew(self, session: Session, credential: Credential) -> None:
        """Reconnect with new credentials; given up only for newer ones."""
        while self._credential is credential and not session.closing:
            try:
                await session.renew(credential, self._bus_url)
            except Transient as error:
                log.warning("new credentials are not in use yet: %s", error.message)
                await asyncio.sleep(RENEW_PAUSE)
            else:
                self._send({"t": "credentials", "expires": credential.expires})
                return

    def _take_routes(self, routes: Routes) -> None:
        self._routes = routes
        if self._client is not None:
            self._client.routes = routes

    async def _follow_pause(self) -> None:
        """Receive or not, as last ordered. A quarantined replica finishes what it has and is otherwise left as it is."""
        async with self._gate:
            if self._session is None or self._intake is None:
                return
            if self._taskwork is not None:
                (self._taskwork.pause if self._paused else self._taskwork.open)()
            if self._paused:
                await self._session.pause()
            elif not self._session.receiving:
                await self._session.receive(self._intake)

    async def _answer_probe(self, identity: object, probe: dict[str, Any]) -> None:
        try:
            found = await self._probe(probe)
        except (QuarterdeckError, KeyError) as error:
            told: dict[str, object] = {"kind": type(error).__name__, "message": str(error)}
            self._send({"t": "reply", "id": identity, "error": told})
        else:
            self._send({"t": "reply", "id": identity, "ok": found})

    async def _probe(self, probe: dict[str, Any]) -> dict[str, object]:
        if probe["kind"] == "echo":
            return {"pid": os.getpid()}
        if probe["kind"] == "verbs":
            return verbs(self._agent)
        if self._client is None:
            msg = "not connected to the bus yet"
            raise Transient(msg)
        if probe["kind"] == "forbidden":
            return {"refused": await self._client.refuses(probe["subject"])}
        if probe["kind"] == "link":
            return await _ping(self._client, probe["cluster"], probe["agent"], float(probe.get("timeout", PROBE_WITHIN)))
        msg = f"{probe['kind']!r} is no probe of this version"
        raise QuarterdeckError(msg)

    async def _repeat(self, work: Background) -> None:
        """Background work, again and again until cancelled."""
        loop = asyncio.get_running_loop()
        failures = 0
        assert self._client is not None, "background work starts after the connection"  # noqa: S101
        while True:
            began = loop.time()
            context = Context(self._place(self._client))
            try:
                await run(hook(work.function), None, context)
            except Exception:  # the boundary to user code: one bad turn does not end the replica
                context.log.exception("background work failed", function=work.function.__qualname__)
                pause = min(TURN_PAUSE_MOST, TURN_PAUSE_FIRST * 2 ** min(failures, 16))
                failures += 1
            else:
                self._progressed()
                failures = 0
                pause = 0.0 if work.every is None else max(0.0, began + work.every - loop.time())
            await asyncio.sleep(pause)

    async def _drain(self, within: float, background: list[asyncio.Task[None]]) -> None:
        """End background work, take nothing new, finish what is being worked on, run the stop hooks, flush."""
        loop = asyncio.get_running_loop()
        end = loop.time() + within
        for task in background:
            task.cancel()
        if background:
            await asyncio.wait(background, timeout=within)
        if self._session is None or self._client is None:
            return
        kept = min(1.0, within * HOOKS_SHARE)
        share = max(0.0, end - kept - loop.time())
        tasks = self._taskwork.close(share) if self._taskwork else asyncio.sleep(0)
        calm, _ = await asyncio.gather(self._session.pause(share), tasks)
        if not calm:
            log.error("not everything was done within %g s; durable messages go to another replica", within)
        if self._intake is not None:
            await self._run_stops(Context(self._place(self._client)), max(kept, end - loop.time()))
        await self._session.close()

    async def _run_stops(self, context: Context, within: float) -> None:
        for function in self._agent.stops:
            try:
                async with asyncio.timeout(within):
                    await run(hook(function), None, context)
            except Exception:  # the boundary to user code: the other hooks still run
                context.log.exception("stop hook failed", function=function.__qualname__)

    def _send(self, message: dict[str, object]) -> None:
        try:
            self._channel.send(message)
        except (OSError, BufferError) as error:
            log.error("the node does not hear us (%s): %s", message["t"], error)  # noqa: TRY400 the trace says nothing more


async def _ping(client: Client, cluster: str, agent: str, within: float) -> dict[str, object]:
    """Ask over a link who is there: `{"ms", "from"}`."""
    began = time.perf_counter()
    answer = await client.ask(cluster, agent, "_ping", b"null", limits=Limits(within), guarded=False)
    return {"ms": round((time.perf_counter() - began) * 1000, 3), "from": loads(answer)["from"]}


def _log_to_stderr() -> None:
    """Log lines of the SDK and of the agent, unless the user's code has set up logging itself. UTC, to the millisecond."""
    root = logging.getLogger()
    if root.handlers:
        return
    shape = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    shape.converter = time.gmtime
    out = logging.StreamHandler()
    out.setFormatter(shape)
    root.addHandler(out)
    root.setLevel(logging.INFO)
