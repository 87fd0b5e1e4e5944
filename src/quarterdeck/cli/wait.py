"""`qd wait --for …`: an exit code for scripts."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from quarterdeck.cli.completing import goals, target_names
from quarterdeck.cli.news import News
from quarterdeck.cli.render import show
from quarterdeck.cli.session import Session
from quarterdeck.cli.times import duration
from quarterdeck.cli.usage import UsageError
from quarterdeck.client.wire import Wire
from quarterdeck.errors import NotFound, Transient
from quarterdeck.model.wording import nearest
from quarterdeck.states import REPLICA
from quarterdeck.version import API_VERSION

EVERY: Final = 0.1
SELDOM: Final = 0.5
"""Seconds between two looks: without news, and with them."""
_SLICE: Final = 5.0


def wait(
    session: Session,
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="TARGET",
            show_default=False,
            help="cluster, cluster/agent or cluster/agent-n; without it the whole system.",
            autocompletion=target_names,
        ),
    ] = None,
    goal: Annotated[
        str,
        typer.Option(
            "--for", metavar="GOAL", help="ready (or condition=Ready), a state of replicas, or TARGET=STATE.", autocompletion=goals
        ),
    ] = "ready",
    timeout: Annotated[str, typer.Option(metavar="TIME", help="How long, e.g. 90s.")] = "1m",
) -> int:
    """Wait until the system is ready, or all replicas of a target are in a state. Exit 5 when time is up.

    $ qd wait --for ready --timeout 90s
    $ qd wait analysts/analyst --for ready
    $ qd wait --for collectors/collector-1=ready
    $ qd wait -o json              what was waited for, and for how many seconds
    """
    name, state = _meant(target, goal)
    session, name = session.aimed_at(name)
    if state and not name:  # `system:`
        name, state = "", _whole(goal, state)
    begun = session.client.clock.monotonic()
    deadline = begun + duration(timeout)
    if state:
        _require(session.client, session.system, name)
    news = None
    while True:
        met, seen, found = _look(session.client, session.system, name, state)
        if met:
            took = round(session.client.clock.monotonic() - begun, 3)
            waited = {"for": goal, "target": found, "state": state or "ready", "seconds": took}
            show(session, {"apiVersion": API_VERSION, "kind": "Wait", **waited}, name=found)
            session.next(f"qd explain {name}" if state else "qd status")
            return 0
        if session.client.clock.monotonic() >= deadline:
            raise Transient(f"{goal} was not reached within {timeout}: {seen}", hint=f"qd explain {name}" if state else "qd status")
        news = news or News(session.client, session.system)
        news.wait(min(SELDOM if news.heard else EVERY, max(0.0, deadline - session.client.clock.monotonic())))


def _require(client: Wire, system: str | None, name: str) -> None:
    """Raise NotFound for a place that a deployed system does not have; a replica, and anything before a deployment, may still come."""
    try:
        agents = [str(one["name"]) for one in client.get("/v1/agents", {"system": system}, timeout=_SLICE)["items"]]
    except (Transient, NotFound):  # it is waited for like anything else
        return
    places = [*agents, *{agent.partition("/")[0] for agent in agents}, *{agent.partition("/")[2] for agent in agents}]
    if agents and not {name, name.rpartition("-")[0]} & {*places}:
        near = nearest(name, places)
        raise NotFound(f"there is no {name!r}", hint=f"did you mean {near!r}?" if near else "qd get agents lists what there is")


def _meant(target: str | None, goal: str) -> tuple[str, str]:
    """(target, the state of its replicas); ("", "") is the whole system, ready. Raises UsageError for what cannot be waited for."""
    kind, mark, state = goal.partition("=")
    if kind == "condition":
        if state.lower() != "ready":
            raise UsageError(
                f"the condition {state!r} cannot be waited for", hint="--for condition=Ready; qd get conditions shows the others"
            )
        kind, mark, state = "ready", "", ""
    if mark and target is not None:
        raise UsageError(f"{target} and {goal} name two targets", hint=f"qd wait {target} --for {state or 'ready'}")
    if not mark:
        if target is None:
            return "", _whole(goal, kind)
        kind, state = target, kind
    if state not in REPLICA.moves:
        raise UsageError(f"no replica is ever {state!r}", hint=f"one of {', '.join(REPLICA.moves)}")
    return kind, state


def _whole(goal: str, state: str) -> str:
    """A system is waited for to be ready, and nothing else."""
    if state != "ready":
        hint = "write ready, or name a target: qd wait collectors/collector-1 --for ready"
        raise UsageError(f"{goal!r} is nothing that a whole system is waited for", hint=hint)
    return ""


def _look(client: Wire, system: str | None, name: str, state: str) -> tuple[bool, str, str]:
    """Whether the goal is met, what is seen, and what is looked at. Absent things may still come, so they are only "not yet"."""
    try:
        if not state:
            status = client.get("/v1/status", {"system": system}, timeout=_SLICE)
            return bool(status["ready"]), str(status.get("sentence", "not ready")), f"{status['system']}:"
        items = client.get("/v1/replicas", {"system": system}, timeout=_SLICE)["items"]
    except (Transient, NotFound) as error:
        return False, error.message, name
    places = ((item["state"], (item["name"], f"{item['cluster']}/{item['agent']}", item["agent"], item["cluster"])) for item in items)
    states = [state for state, names in places if name in names]
    return bool(states) and all(one == state for one in states), ", ".join(states) or f"there is no replica {name}", name
