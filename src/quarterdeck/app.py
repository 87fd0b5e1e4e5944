"""The circuit: builds the parts of the control plane, starts and stops them. Read it to see what is connected to what."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import uvicorn
from fastapi import FastAPI

from quarterdeck import linux, stop_order
from quarterdeck.api.access import Guard, PeerAwareProtocol
from quarterdeck.api.server import build
from quarterdeck.api.services import Services
from quarterdeck.bus.keys import Keys
from quarterdeck.clock import Clock, SystemClock
from quarterdeck.deploy.composer import Composer
from quarterdeck.deploy.control import ControlProofs
from quarterdeck.deploy.fleet import Fleet
from quarterdeck.deploy.reconcile import Reconciler, StepHook, no_hook
from quarterdeck.deploy.witness import EventWitness
from quarterdeck.engines.local.client import NodeClient
from quarterdeck.engines.local.engine import CREDENTIAL_TTL, LocalEngine
from quarterdeck.errors import QuarterdeckError, Transient, UserError
from quarterdeck.model.home import Home
from quarterdeck.model.steps import Step
from quarterdeck.store import tokens
from quarterdeck.store.store import Store
from quarterdeck.web import overview

EXIT_STORE_FAILED: Final = 74
"""EX_IOERR of sysexits.h: the store cannot write; whoever restarts us gets a read-only control plane."""
DEFAULT_PORT: Final = 7410
BECOME_WRITABLE_EVERY: Final = 5.0


@dataclass(slots=True)
class App:
    """Everything one control plane consists of."""

    home: Home
    store: Store
    engine: LocalEngine
    reconciler: Reconciler
    fleet: Fleet
    api: FastAPI
    sockets: list[socket.socket]
    port: int
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
        await run(app)
    finally:
        store.close()
        _take_down(home)


async def assemble(home: Home, store: Store, clock: Clock, port: int | None, environ: Mapping[str, str]) -> App:
    """Connect the parts; nothing runs yet."""
    tcp = _tcp(home, port, environ)
    bound = tcp.getsockname()[1]
    node = NodeClient(home, _node_argv(home), clock)
    ttl = float(environ.get("QUARTERDECK_CREDENTIAL_TTL", CREDENTIAL_TTL))
    engine = LocalEngine(home, store, clock, node, Keys(home.keys), environ, ttl)
    control = ControlProofs(home, store, node, bound, clock)
    composer = Composer(store, clock)
    reconciler = Reconciler(store, engine, composer, control.probers(), clock, EventWitness(store), _hook(environ))
    fleet = Fleet(home, store, engine, reconciler, clock)
    stopping = asyncio.Event()
    services = Services(home, store, fleet, clock, f"http://127.0.0.1:{bound}", clock.now(), stopping, engine.ask, node.stop)
    api = build(services)
    api.include_router(overview.router)
    return App(home, store, engine, reconciler, fleet, api, [_unix(home), tcp], bound, stopping)


async def run(app: App) -> None:
    """Until `stopping` is set: node, loops and doors together."""
    server = _server(app)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(app.engine.node.run()),
            group.create_task(app.reconciler.run()),
            group.create_task(app.engine.follow_watermarks()),
            group.create_task(app.engine.renew_credentials()),
            group.create_task(_housekeeping(app)),
        ]
        for name in app.fleet.names():
            app.reconciler.wake(name)
        doors = group.create_task(server.serve(sockets=app.sockets))
        stopped = asyncio.create_task(app.stopping.wait())
        try:
            await asyncio.wait({doors, stopped}, return_when=asyncio.FIRST_COMPLETED)
            server.should_exit = server.force_exit = True
            await doors
            stopped.cancel()
        finally:
            await app.engine.close()
        for task in tasks:
            task.cancel()


async def _housekeeping(app: App) -> None:
    """Expire Changes, drop old revisions, and leave the read-only state when the disk allows."""
    rounds = 0
    while True:
        await asyncio.sleep(1.0)
        rounds += 1
        if not app.store.writable:
            if rounds % BECOME_WRITABLE_EVERY == 0:
                await asyncio.to_thread(app.store.try_become_writable)
            continue
        await app.fleet.expire()
        if rounds % 300 == 0:
            with contextlib.suppress(Transient):  # the engine or the store is away: the next time will do
                await app.fleet.retain()


class Doors(uvicorn.Server):
    """uvicorn without its signal handlers: ours end the loops too."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


def _server(app: App) -> uvicorn.Server:
    def role(secret: str) -> tuple[str, str] | None:
        try:
            with app.store.read() as conn:
                found = tokens.check(conn, secret, app.engine.clock.now())
        except QuarterdeckError:
            return None
        return found.id, found.role

    def is_agent(pid: int) -> bool:
        return bool(app.engine.node.pid) and linux.descends(pid, app.engine.node.pid)

    guard = Guard(app.api, os.getuid(), app.port, role, is_agent)
    config = uvicorn.Config(
        guard,
        http=PeerAwareProtocol,
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_keep_alive=30,
        h11_max_incomplete_event_size=64 * 1024,
        server_header=False,
    )
    return Doors(config)


def _prepare(home: Home) -> None:
    """Folders that only we may enter, and the preallocated stop order."""
    for folder in (home.root, home.run, home.keys, home.logs, home.bus, home.revisions):
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


def _unix(home: Home) -> socket.socket:
    """Bound by us with 0600 (a server that binds it itself makes it open to all); the store's lock says that an old file is stale."""
    home.api_socket.unlink(missing_ok=True)
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old = os.umask(0o177)
    try:
        door.bind(str(home.api_socket))
    finally:
        os.umask(old)
    door.listen(128)
    return door


def _tcp(home: Home, port: int | None, environ: Mapping[str, str]) -> socket.socket:
    """The port asked for; else the one of the last start, so that a restart keeps the URL; else 7410, or any when that is taken."""
    kept = home.root / "port"
    asked = port if port is not None else _number(environ.get("QUARTERDECK_PORT"))
    tries = [asked] if asked else [_number(kept.read_text())] if kept.exists() else [0] if asked == 0 else [DEFAULT_PORT]
    door = _bound(tries[0] or 0)
    kept.write_text(str(door.getsockname()[1]))
    return door


def _bound(port: int) -> socket.socket:
    door = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        door.bind(("127.0.0.1", port))
        door.listen(128)
    except OSError as error:
        door.close()
        raise UserError(f"port {port} is taken", hint="qd up --port 0 takes any free one; QUARTERDECK_PORT sets it for good") from error
    return door


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.strip().isdecimal():
        raise UserError(f"{text!r} is no port", hint="QUARTERDECK_PORT is a number, 0 for any")
    return int(text)


def _node_argv(home: Home) -> list[str]:
    control = [sys.executable, "-m", "quarterdeck.cli.main", "--home", str(home.root), "serve"]
    return [sys.executable, "-m", "quarterdeck.engines.local.node", "--home", str(home.root), "--control-argv", json.dumps(control)]


def _store_failed(error: BaseException) -> None:
    with contextlib.suppress(OSError):  # our log lies on the same full disk
        sys.stderr.write(f"error: the store cannot write: {error}\nhint: make room on the disk; until then it is read-only\n")
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
