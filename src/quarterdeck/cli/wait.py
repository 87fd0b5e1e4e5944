"""`qd wait --for …`: an exit code for scripts."""

from __future__ import annotations

import time
from typing import Annotated, Final

import typer

from quarterdeck.cli.completing import goals
from quarterdeck.cli.session import Session
from quarterdeck.cli.times import duration
from quarterdeck.cli.usage import UsageError
from quarterdeck.client.wire import Wire
from quarterdeck.errors import NotFound, Transient
from quarterdeck.states import REPLICA

EVERY: Final = 0.1
_SLICE: Final = 5.0


def wait(
    session: Session,
    goal: Annotated[
        str,
        typer.Option(
            "--for", metavar="GOAL", help="ready, or NAME=STATE of a replica or of all replicas of an agent.", autocompletion=goals
        ),
    ] = "ready",
    timeout: Annotated[str, typer.Option(metavar="TIME", help="How long, e.g. 90s.")] = "1m",
) -> int:
    """Wait until the system is ready, or a replica or agent is in a state. Exit 5 when time is up.

    $ qd wait --for ready --timeout 90s
    $ qd wait --for collectors/collector-1=ready
    """
    name, mark, state = goal.partition("=")
    if not mark and name != "ready":
        raise UsageError(f"{goal!r} is nothing to wait for", hint="write ready, or NAME=STATE, e.g. collectors/collector-1=ready")
    if mark and state not in REPLICA.moves:
        raise UsageError(f"no replica is ever {state!r}", hint=f"one of {', '.join(REPLICA.moves)}")
    session, name = session.aimed_at(name)
    deadline = session.client.clock.monotonic() + duration(timeout)
    while True:
        met, seen = _look(session.client, session.system, name, state)
        if met:
            session.next(f"qd explain {name}" if mark else "qd status")
            return 0
        if session.client.clock.monotonic() >= deadline:
            raise Transient(f"{goal} was not reached within {timeout}: {seen}", hint=f"qd explain {name}" if mark else "qd status")
        time.sleep(EVERY)


def _look(client: Wire, system: str | None, name: str, state: str) -> tuple[bool, str]:
    """Whether the goal is met, and what is seen. Absent things may still come, so they are only "not yet"."""
    try:
        if not state:
            status = client.get("/v1/status", {"system": system}, timeout=_SLICE)
            return bool(status["ready"]), str(status.get("sentence", "not ready"))
        items = client.get("/v1/replicas", {"system": system}, timeout=_SLICE)["items"]
    except (Transient, NotFound) as error:
        return False, error.message
    states = [item["state"] for item in items if name in (item["name"], f"{item['cluster']}/{item['agent']}", item["agent"])]
    return bool(states) and all(one == state for one in states), ", ".join(states) or f"there is no replica {name}"
