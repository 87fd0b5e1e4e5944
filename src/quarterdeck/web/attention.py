"""What needs attention, the worst first and each cause once. Pure.

What is stopped or failed, what is less than it should be, what nobody knows or was given up, what a human is asked; and at the end what
happened lately, and what somebody holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Final

from quarterdeck.deploy.held import WITHIN_BUDGET
from quarterdeck.deploy.stopped import way_back
from quarterdeck.web.inner import Json
from quarterdeck.web.text import counted

RECENT: Final = 600.0
"""Seconds for which an end that nobody asked for is told of."""
FAILED, DEGRADED, UNDECIDED, ASKED, LATELY = range(5)
"""How bad it is; the least is the worst."""
NAMED: Final = 3
"""Agents of one cause that are named."""
TOLD: Final = (
    (UNDECIDED, "unknown_effects", "unknown", "effect", "/tasks/unknown", "may have happened or not: say so", "qd get effects"),
    (UNDECIDED, "dead_letters", "dead", "dead letter", "/tasks/dead", "given up after the last attempt", "qd get tasks --state dead"),
    (UNDECIDED, "dead_messages", "dead", "message", "/messages?state=dead", "could be handled by nobody", "qd get messages --state dead"),
    (ASKED, "questions", "waiting", "question", "/waiting", "of tasks, waiting for an answer", "qd get questions"),
)


@dataclass(frozen=True, slots=True)
class Worry:
    """One row. `at` is an ISO time of which the age is shown, where there is one."""

    rank: int
    state: str
    target: str
    path: str
    text: str
    command: str
    at: str | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What it is read from: documents of the API, and the time in epoch seconds. `exits`: records of replicas that ended, newest first.

    `gone`: how many effects are unknown of each system that was taken down.
    """

    status: Json
    agents: Sequence[Json]
    replicas: Sequence[Json]
    links: Sequence[Json]
    changes: Sequence[Json]
    exits: Sequence[Json]
    for_humans: Mapping[str, int]
    now: float
    gone: Mapping[str, int] = field(default_factory=dict)


def worries(seen: Seen) -> list[Worry]:
    """All of them, in the order in which they are to be looked at."""
    changes = [change for change in seen.changes if change["state"] == "live"]
    failing = {agent["name"] for agent in seen.agents if agent["reason"]}
    found = chain(
        _stopped(changes),
        _faults(seen.status["failure"], seen.agents, seen.replicas),
        map(_incident, seen.status["incidents"]),
        _short(seen.agents),
        _kept_apart(seen.replicas),
        _links(seen.links),
        for_humans(seen.for_humans, seen.gone),
        _ended(seen.exits, seen.now, failing),
        _held(changes),
    )
    return sorted(found, key=lambda worry: worry.rank)


def _stopped(changes: Iterable[Json]) -> Iterable[Worry]:
    """What a person has stopped and nobody has started since."""
    for stop in (change for change in changes if change["patch"]["field"] == "stopped"):
        text = f"stopped by {stop['actor']} since {stop['at'][:19]}Z: {stop['reason']}"
        yield Worry(FAILED, "stopped", stop["target"].rstrip(":"), _page(stop["target"]), text, way_back(stop["target"]))


def _page(target: str) -> str:
    if target.endswith(":"):
        return "/changes"
    return f"/{'agents' if '/' in target else 'clusters'}/{target}"


def _faults(failure: Json | None, agents: Sequence[Json], replicas: Sequence[Json]) -> Iterable[Worry]:
    """One row a cause, with whatever fails by it; that of the deployment first, and with it the agent that it is about."""
    causes: dict[str, tuple[list[Json], list[str]]] = {}
    by_agent = {agent["name"]: agent for agent in agents}
    for agent in agents:
        if agent["reason"]:
            causes.setdefault(agent["reason"], ([], []))[0].append(agent)
    for replica in replicas:
        if replica["state"] == "failed":
            whose = by_agent.get(replica["name"].rpartition("-")[0], {"reason": ""})
            causes.setdefault(replica["reason"] or whose["reason"] or "failed", ([], []))[1].append(replica["name"])
    if failure:
        same = next((cause for cause in causes if failure["cause"].endswith(cause)), None)
        also, names = causes.pop(same) if same is not None else ([], [])
        more = _with([agent["name"] for agent in also if agent["name"] != failure["target"]], names)
        told = f"{failure['phase']}: {failure['cause']}{more}"
        yield Worry(FAILED, "failed", failure["target"], "/deployments", told, f"qd explain {failure['target']}")
    for cause, (failing, names) in causes.items():
        yield _fault(cause, failing, names)


def _fault(cause: str, failing: Sequence[Json], replicas: Sequence[str]) -> Worry:
    """An agent that still answers in part is degraded, not failed."""
    whole = [agent["name"] for agent in failing]
    rank, state = (FAILED, "failed") if not whole or any(not a["replicas"]["ready"] for a in failing) else (DEGRADED, "degraded")
    first = whole[0] if whole else replicas[0]
    path = f"/agents/{first}" if whole else f"/replicas/{first}"
    if len(whole) <= 1:
        others = "" if len(replicas) <= 1 else f" ({counted(len(replicas), 'replica')})"
        return Worry(rank, state, first, path, f"{cause}{others}", f"qd explain {first}")
    return Worry(rank, state, first, path, f"{cause}{_with(whole[1:], replicas)}", f"qd explain {first}")


def _with(agents: Sequence[str], replicas: Sequence[str]) -> str:
    """What else fails by the same cause, behind it."""
    named = [*agents[:NAMED], *([f"{len(agents) - NAMED} agents more"] if len(agents) > NAMED else [])]
    parts = ["also " + ", ".join(named)] if named else []
    parts += [counted(len(replicas), "replica") + " in all"] if len(replicas) > 1 else []
    return f" ({'; '.join(parts)})" if parts else ""


def _incident(told: Json) -> Worry:
    """A cluster's reader is not told what of the system's is spent, only that it holds work back."""
    held = told["kind"] == WITHIN_BUDGET
    path, command = ("/budgets", "qd budget resume") if held else ("/messages", f"qd explain {told['target'].partition('->')[0]}")
    return Worry(FAILED, "failed", told["target"], path, told["message"] or "its tasks are held back", command)


def _short(agents: Iterable[Json]) -> Iterable[Worry]:
    for agent in agents:
        count = agent["replicas"]
        if not agent["reason"] and count["ready"] < count["desired"]:
            text = f"{count['ready']} of {count['desired']} answering"
            yield Worry(DEGRADED, "starting", agent["name"], f"/agents/{agent['name']}", text, f"qd explain {agent['name']}")


def _kept_apart(replicas: Iterable[Json]) -> Iterable[Worry]:
    for name, reason in ((r["name"], r["reason"]) for r in replicas if r["state"] == "quarantined"):
        text = reason if reason not in ("", "quarantined") else "kept for inspection, without work"
        yield Worry(DEGRADED, "quarantined", name, f"/replicas/{name}", text, f"qd explain {name}")


def _links(links: Iterable[Json]) -> Iterable[Worry]:
    for link in links:
        circuits, path, command = link.get("circuits", {}), f"/links#{link['name']}", f"qd explain {link['name'].partition('->')[0]}"
        if not link["open"]:
            yield Worry(DEGRADED, "pending", link["name"], path, "the link is not open", command)
        elif circuits.get("open") or circuits.get("half-open"):
            text = f"the breaker of {counted(circuits.get('open', 0), 'replica')} is open"
            yield Worry(DEGRADED, "failed", link["name"], path, text, command)


def for_humans(counts: Mapping[str, int], gone: Mapping[str, int]) -> Iterable[Worry]:
    """What waits for somebody's word, also of systems that were taken down."""
    for rank, name, state, noun, path, text, command in TOLD:
        if counts[name]:
            yield Worry(rank, state, counted(counts[name], noun), path, text, command)
    for system, count in gone.items():
        text = f"of {system}, which was taken down: may have happened or not: say so"
        yield Worry(UNDECIDED, "unknown", counted(count, "effect"), f"/tasks/unknown?system={system}", text, f"qd get effects -s {system}")


def _ended(exits: Iterable[Json], now: float, failing: set[str]) -> Iterable[Worry]:
    """Replicas that ended of themselves lately and run again: an agent a row. Those that fail now are told of above."""
    lately: dict[str, list[Json]] = {}
    for one in exits:
        agent = one["target"].rpartition("-")[0]
        asked = isinstance(one["evidence"], Mapping) and one["evidence"].get("asked")
        if not asked and agent not in failing and now - datetime.fromisoformat(one["at"]).timestamp() <= RECENT:
            lately.setdefault(agent, []).append(one)
    for agent, ends in lately.items():
        names = {one["target"] for one in ends}
        single = ends[0]["target"] if len(names) == 1 else ""
        often = "once" if len(ends) == 1 else f"{len(ends)} times"
        told = f"{'' if single else f'{len(names)} of its replicas '}ended of {'itself' if single else 'themselves'} {often}"
        path = f"/replicas/{single}" if single else f"/agents/{agent}"
        text = f"{told} within {RECENT / 60:.0f} minutes, last: {_cause(ends[0])}"
        yield Worry(LATELY, "ended", single or agent, path, text, f"qd explain {single or agent}", ends[0]["at"])


def _cause(end: Json) -> str:
    """What a record says of an end, and the last line of what was written with it."""
    detail = end["evidence"].get("detail") if isinstance(end["evidence"], Mapping) else ""
    lines = str(detail or "").strip().splitlines()
    return f"{end['reason'] or 'an end that nobody saw'}{f': {lines[-1]}' if lines else ''}"


def _held(changes: Iterable[Json]) -> Iterable[Worry]:
    """Where somebody keeps all automation off."""
    for hold in (change for change in changes if change["patch"]["field"] == "hold"):
        until = f" until {hold['until'][:19]}Z" if hold["until"] else ""
        text = f"automation is off{until}, held by {hold['actor']}: {hold['reason']}"
        yield Worry(LATELY, "quarantined", hold["target"], _page(hold["target"]), text, f"qd release {hold['target']}", hold["at"])
