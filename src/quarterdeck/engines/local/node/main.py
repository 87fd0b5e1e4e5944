"""`python -m quarterdeck.engines.local.node --home H [--control-argv JSON]`, also called by `qd node`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from quarterdeck import linux, stop_order
from quarterdeck.clock import SystemClock
from quarterdeck.engines.local.node import ground, isolation, lifecycle
from quarterdeck.engines.local.node.events import Events
from quarterdeck.engines.local.node.logs import Logs
from quarterdeck.engines.local.node.node import Node
from quarterdeck.engines.local.node.place import Place
from quarterdeck.engines.local.node.server import Door
from quarterdeck.errors import QuarterdeckError
from quarterdeck.model.home import Home

_RUNTIME: Final = "quarterdeck.agents.runtime:serve"
_TERMINATED_DRAIN: Final = 10.0


def main(argv: Sequence[str] | None = None) -> int:
    """Be the node of a home until it is told to stop; returns the exit code. Closes every descriptor it inherited."""
    options = _options(argv)
    home = Home(Path(options.home).absolute())
    try:
        lifecycle.prepare(home)
        lifecycle.stand_alone()
        held = lifecycle.lock(home)
        boot = lifecycle.new_boot(home)
        lifecycle.sweep(boot)
        if stop_order.stands(home):
            sys.stderr.write("the order to stay down stands; not starting\n")
            return 0
        linux.set_title("qd node")
        asyncio.run(_run(home, boot, options))
        with contextlib.suppress(OSError):  # the control plane's door may still be in it: then its owner removes it
            home.run.rmdir()
        del held  # the lock is given back by the end of the process, not before
    except QuarterdeckError as error:
        sys.stderr.write(error.told)
        return error.exit_code
    return 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="qd node", description="The supervisor of one home on this machine.")
    parser.add_argument("--home", required=True, help="the folder in which everything lives")
    parser.add_argument("--control-argv", type=_argv, default=(), help="how to start the control plane when it is lost, a JSON list")
    parser.add_argument("--runtime", default=_RUNTIME, help="module:function that runs an agent in its process")
    return parser.parse_args(argv)


def _argv(text: str) -> tuple[str, ...]:
    items = json.loads(text)
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise argparse.ArgumentTypeError("a JSON list of strings is expected")
    return tuple(items)


async def _run(home: Home, boot: lifecycle.Boot, options: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    clock = SystemClock()
    events = Events(clock, boot.id)
    loop.set_exception_handler(lambda _, context: _unexpected(events, context))
    async with asyncio.TaskGroup() as tasks:
        place = Place(
            home,
            boot,
            clock,
            ground.find(boot.label),
            isolation.find(home),
            Logs(home.logs, clock),
            events,
            options.runtime,
            tasks,
        )
        node = Node(place, options.control_argv)
        door = Door(node, home.node_socket)
        server = await door.open()
        loop.add_signal_handler(signal.SIGTERM, lambda: tasks.create_task(_terminate(node)))
        node.carry_out()
        always = [tasks.create_task(node.tick()), tasks.create_task(node.control.keep_up())]
        await node.done.wait()
        server.close()
        await door.close()
        for task in always:
            task.cancel()


async def _terminate(node: Node) -> None:
    await node.stop(_TERMINATED_DRAIN)
    node.done.set()


def _unexpected(events: Events, context: dict[str, Any]) -> None:
    """An error in a callback: one replica's trouble must not end the others, so it is told and the node goes on."""
    error = context.get("exception")
    events.add("node.error", "node", message=str(context.get("message")), error=repr(error))
    sys.stderr.write(f"{context.get('message')}: {error!r}\n")
