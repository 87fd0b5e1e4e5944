"""The circuit: builds the parts of the control plane, starts and stops them. Read it to see what is connected to what."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Final, TypeVar

import uvicorn
from fastapi import FastAPI

from quarterdeck import halts, linux, stop_order
from quarterdeck.api import listening
from quarterdeck.api.access import Guard
from quarterdeck.api.door import Door, Place
from quarterdeck.api.exchange import Streams
from quarterdeck.api.limits import Backoff, Rates
from quarterdeck.api.protocol import Protocol
from quarterdeck.api.server import build
from quarterdeck.api.services import Services
from quarterdeck.api.serving import Doors
from quarterdeck.api.sessions import Sessions
from quarterdeck.api.turnstile import Turnstile
from quarterdeck.bus.keys import Keys
from quarterdeck.clock import Clock, SystemClock
from quarterdeck.deploy.allowances import Allowances
from quarterdeck.deploy.composer import Composer
from quarterdeck.deploy.control import ControlProofs
from quarterdeck.deploy.fleet import Fleet
from quarterdeck.deploy.reach import Reach, Staff
from quarterdeck.deploy.reconcile import Look, Reconciler, StepHook, no_hook
from quarterdeck.deploy.stops import Stops
from quarterdeck.deploy.witness import EventWitness
from quarterdeck.engines.local.client import NodeClient
from quarterdeck.engines.local.engine import CREDENTIAL_TTL, LocalEngine
from quarterdeck.engines.local.stopping import LocalStopper
from quarterdeck.errors import QuarterdeckError, Transient, UserError
from quarterdeck.model.home import Home
from quarterdeck.model.steps import Step
from quarterdeck.signin.flow import Flow
from quarterdeck.store import overview
from quarterdeck.store.blobs import Blobs
from quarterdeck.store.fairness import Fairness
from quarterdeck.store.store import Store
from quarterdeck.store.turn import Turn
from quarterdeck.web import install, site
from quarterdeck.work.depot import Depot
from quarterdeck.work.desk import Work
from quarterdeck.work.gate import Gate
from quarterdeck.work.keeping import FORGET_EVERY, SEAL_EVERY, SWEEP_EVERY, Keeping
from quarterdeck.work.ledger import Ledger
from quarterdeck.work.output import Output
from quarterdeck.work.service import Lives, Service

T = TypeVar("T")
EXIT_STORE_FAILED: Final = 74
"""EX_IOERR of sysexits.h: the store cannot write; whoever restarts us gets a read-only control plane."""
BECOME_WRITABLE_EVERY: Final = 5.0


@dataclass(slots=True)
class App:
    """Everything one control plane consists of."""

    home: Home
    store: Store
    engine: LocalEngine
    reconciler: Reconciler
    fleet: Fleet
    stops: Stops
    ledger: Service
    depot: Depot
    api: FastAPI
    sockets: tuple[socket.socket, socket.socket]
    door: Door
    sessions: Sessions
    stopping: asyncio.Event


def serve(home: Home, port: int | None) -> int:
    """Be the control plane of a home until told to stop; returns the exit code."""
    try:
        _prepare(home)
        if stop_order.stands(home):
            return 0
        asyncio.run(_run(home, port))
    except QuarterdeckError as error:
        sys.stderr.write(error.told)  # `qd up` quotes these lines of our log
        return error.exit_code
    return 0


async def _run(home: Home, port: int | None) -> None:
    clock = SystemClock()
    store = Store.open(home, clock, on_fatal=_store_failed)
    try:
        app = await assemble(home, store, clock, port, os.environ)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, app.stopping.set)
        gc.enable()
        gc.freeze()  # what is there by now stays: looking through it again took 100 ms every few seconds under load
        await run(app)
    finally:
        store.close()
        _take_down(home)


async def assemble(home: Home, store: Store, clock: Clock, port: int | None, environ: Mapping[str, str]) -> App:
    """Connect the parts; nothing runs yet."""
    place = Place.of(environ)
    place.tls()  # files that cannot be used are refused before anything listens
    tcp = listening.tcp(home, place, port, environ)
    door = Door(place, tcp.getsockname()[1])
    node = NodeClient(home, _node_argv(home), clock)
    ttl = float(environ.get("QUARTERDECK_CREDENTIAL_TTL", CREDENTIAL_TTL))
    engine = LocalEngine(home, store, clock, node, Keys(home.keys), environ, ttl)
    control = ControlProofs(home, store, node, door.port, clock, door.here, place.trusting())
    composer = Composer(store, clock)
    stopping = asyncio.Event()
    looks: dict[str, Look] = {}
    depot = Depot(Blobs(home.blobs), clock)
    work, service = _work(store, clock, Reach(looks, composer), Allowances(looks, composer), engine, depot.blobs)
    service.ledger.watch.staff = Staff(looks)
    witness = EventWitness(store, [service.happened])
    reconciler = Reconciler(store, engine, composer, control.probers(), clock, witness, _hook(environ), looks)
    fleet = Fleet(home, store, engine, reconciler, clock)
    stops = Stops(store, clock, LocalStopper(home, clock, node), work.turn, reconciler.wake)
    flow = Flow.of(environ, door.url, clock)
    services = Services(home, store, fleet, clock, door.url, clock.now(), stopping, engine.ask, node.stop, work, stops, depot.blobs, flow)
    sessions, api, sockets = Sessions(store, clock, Streams()), application(services), (listening.unix(home), tcp)
    return App(home, store, engine, reconciler, fleet, stops, service, depot, api, sockets, door, sessions, stopping)


def _work(  # noqa: PLR0917 what both have in common
    store: Store, clock: Clock, reach: Reach, allowances: Allowances, engine: LocalEngine, blobs: Blobs
) -> tuple[Work, Service]:
    """The desk, on the doors' loop, and the ledger, on its own: what one writes, the other hears of."""
    fairness = Fairness()
    output = Output()
    service = Service(
        lambda tell: Ledger(store.write, clock, reach, tell, fairness, output=output, allowances=allowances, use=blobs.use),
        engine.ledger_login,
        _ledger_failed,
        Lives.known(store),
    )
    gate = _gate(store, clock, allowances)
    work = Work(
        store,
        clock,
        fairness,
        reach,
        lambda turn: service.call(lambda: service.ledger.heard(turn)),
        output,
        gate,
        allowances,
        took=lambda: service.ledger.took,
        use=blobs.use,
        asks=service.ledger.watch.asks,
    )
    doors = asyncio.get_running_loop()

    def heard(turn: Turn) -> None:
        work.stir(turn.touched)
        work.tallied.update(turn.tally)
        gate.heard(turn)

    service.ledger.listeners.append(lambda turn: _later(doors, heard, turn))

    def said(task: str) -> None:
        _later(doors, work.stir, frozenset((task,)))

    output.heard = said
    return work, service


def _later(loop: asyncio.AbstractEventLoop, work: Callable[[T], None], value: T) -> None:
    """On another thread's loop."""
    loop.call_soon_threadsafe(work, value)


def _gate(store: Store, clock: Clock, allowances: Allowances) -> Gate:
    def count(system: str) -> int:
        with store.read() as conn:
            return overview.unfinished(conn, system)

    def knows(system: str, keys: Sequence[str]) -> set[str]:
        with store.read() as conn:
            return overview.known_keys(conn, system, keys)

    return Gate(clock, allowances.intake, count, knows)


def application(services: Services) -> FastAPI:
    """Every route there is: the API, the documentation, the pages."""
    api = build(services)
    api.include_router(site.router)
    install(api)
    return api


async def run(app: App) -> None:
    """Until `stopping` is set: node, loops and doors together."""
    server = _server(app)
    app.depot.blobs.open()
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(app.engine.node.run()),
            group.create_task(app.reconciler.run()),
            group.create_task(app.engine.follow_watermarks()),
            group.create_task(app.engine.renew_credentials()),
            group.create_task(app.stops.keep()),
            group.create_task(app.depot.run(app.engine.blobs_login)),
            group.create_task(_housekeeping(app)),
            group.create_task(_sealing(app)),
        ]
        with contextlib.suppress(Transient):  # a store that cannot write: as soon as it can, by what the node keeps
            await app.stops.take_over_tasks(halts.read(app.home) or ())
        app.ledger.start()
        for name in app.fleet.names():
            app.reconciler.wake(name)
        doors = group.create_task(server.serve(sockets=list(app.sockets)))
        stopped = asyncio.create_task(app.stopping.wait())
        try:
            await asyncio.wait({doors, stopped}, return_when=asyncio.FIRST_COMPLETED)
            app.store.wake()  # event streams look up, and end
            server.should_exit = True
            await doors
            stopped.cancel()
        finally:
            await asyncio.to_thread(app.ledger.stop)
            with contextlib.suppress(Transient):  # a store that cannot write now seals at its next start
                await Keeping(app.store, app.engine.clock, app.depot.blobs).seal(hurry=True)
            await app.engine.close()
        for task in tasks:
            task.cancel()


async def _sealing(app: App) -> None:
    """Beside the housekeeping, which has to be in time: after a busy while it takes seconds."""
    while True:
        await asyncio.sleep(SEAL_EVERY)
        with contextlib.suppress(Transient):  # the store is away: the next time will do
            if app.store.writable:
                await Keeping(app.store, app.engine.clock, app.depot.blobs).seal()


async def _housekeeping(app: App) -> None:
    """Expire Changes, drop old revisions, and leave the read-only state when the disk allows."""
    rounds, keeping = 0, Keeping(app.store, app.engine.clock, app.depot.blobs)
    while True:
        await asyncio.sleep(1.0)
        rounds += 1
        app.sessions.end_streams()
        if not app.store.writable:
            if rounds % BECOME_WRITABLE_EVERY == 0:
                await asyncio.to_thread(app.store.try_become_writable)
            continue
        await app.fleet.expire()
        await app.sessions.write_uses()
        with contextlib.suppress(Transient):  # the store is away: the next time will do
            if rounds % FORGET_EVERY == 0:
                await keeping.forget()
            if rounds % SWEEP_EVERY == 0:
                await keeping.sweep()
        if rounds % 300 == 0:
            with contextlib.suppress(Transient):  # the engine or the store is away: the next time will do
                await app.fleet.retain()
                await app.sessions.forget()


def _server(app: App) -> uvicorn.Server:
    def is_agent(pid: int) -> bool:
        node = app.engine.node.pid
        return bool(node) and _descends(pid, linux.stat(pid)[2], node)

    clock, sessions, flow = app.engine.clock, app.sessions, app.api.state.services.sign_in
    limits = Rates(clock), Backoff(clock)
    host: Callable[[], str] = (lambda: flow.host) if flow else str
    guard = Guard(app.api, os.getuid(), app.door, sessions.known, is_agent, *limits, sessions.streams, host)
    config = uvicorn.Config(
        guard,
        http=partial(Protocol, turnstile=Turnstile(app.api.state.services.work.gate.refused, clock)),  # type: ignore[arg-type]
        ws="none",
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_keep_alive=30,
        server_header=False,
        proxy_headers=False,
    )
    server = Doors(config)
    server.tls = app.door.place.tls()
    return server


@lru_cache(4096)
def _descends(pid: int, began: int, ancestor: int) -> bool:
    """Whose child a process is never changes for the better; with when it began it is told from another that gets its number."""
    del began
    return linux.descends(pid, ancestor)


def _prepare(home: Home) -> None:
    """Folders that only we may enter, and the preallocated stop order."""
    for folder in (home.root, home.run.parent, home.run, home.keys, home.logs, home.bus, home.revisions):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_uid != os.getuid():
            raise UserError(f"{folder} belongs to another user", hint="set QUARTERDECK_HOME")
    if not stop_order.stands(home):
        stop_order.write(home, stay_down=False)


def _take_down(home: Home) -> None:
    """No socket file stays behind; the folder goes with its last door."""
    home.api_socket.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # the node's door is still in it: the node removes it
        home.run.rmdir()


def _node_argv(home: Home) -> list[str]:
    control = [sys.executable, "-m", "quarterdeck.cli.main", "--home", str(home.root), "serve"]
    return [sys.executable, "-m", "quarterdeck.engines.local.node", "--home", str(home.root), "--control-argv", json.dumps(control)]


def _store_failed(error: BaseException) -> None:
    with contextlib.suppress(OSError):  # our log lies on the same full disk
        sys.stderr.write(f"error: the store cannot write: {error}\nhint: make room on the disk; until then it is read-only\n")
        sys.stderr.flush()
    os._exit(EXIT_STORE_FAILED)


def _ledger_failed(error: BaseException) -> None:
    """Without its ledger a control plane would look well and give nobody work: start again."""
    with contextlib.suppress(OSError):
        sys.stderr.write("error: the ledger ended by itself:\n" + "".join(traceback.format_exception(error)))
        sys.stderr.flush()
    os._exit(EXIT_STORE_FAILED)


def _hook(environ: Mapping[str, str]) -> StepHook:
    """`QUARTERDECK_KILL_AT=<number>:<before|inside|after>` ends the process there with SIGKILL: for the crash scenarios.

    The node inherits our environment and starts our successor with it, which is not meant to end as well.
    """
    wanted = environ.get("QUARTERDECK_KILL_AT")
    os.environ.pop("QUARTERDECK_KILL_AT", None)
    if not wanted:
        return no_hook
    number, _, moment = wanted.partition(":")

    def kill(at: str, step_number: int, step: Step) -> None:
        if (at, step_number) == (moment, int(number)):
            os.kill(os.getpid(), signal.SIGKILL)

    return kill
