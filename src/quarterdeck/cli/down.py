"""`qd down`: stop everything and prove that nothing is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import typer

from quarterdeck import stop_order
from quarterdeck.cli import leftovers
from quarterdeck.cli.guard import confirm
from quarterdeck.cli.render import show
from quarterdeck.cli.screen import Screen, clean
from quarterdeck.cli.session import Session
from quarterdeck.cli.times import duration
from quarterdeck.client.wire import Document
from quarterdeck.errors import QuarterdeckError, Transient
from quarterdeck.version import API_VERSION

_SAFE: Final = "nothing was stopped"
_MARGIN: Final = 15.0
_SETTLE: Final = 5.0


def down(
    session: Session,
    purge: Annotated[bool, typer.Option("--purge", help="Also remove the state: revisions, journal, logs, keys.")] = False,
    within: Annotated[str, typer.Option(metavar="TIME", help="Time for replicas to finish their work.")] = "10s",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be ended; nothing is.")] = False,
) -> int:
    """Stop everything: replicas, bus, node, control plane. What is left is looked for and shown; exit 1 if anything is.

    $ qd down
    $ qd down --dry-run
    $ qd down --yes --purge
    $ qd down -s triage            only this system; the control plane goes on
    """
    drain = duration(within)
    if dry_run:
        return _rehearse(session, purge=purge)
    if session.system:
        return _one_system(session, session.system, drain, purge=purge)
    running = bool(leftovers.left(session.home))
    if not running and not (purge and session.home.root.exists()):
        return _report(session, [], leftovers.Left(), "nothing was running")
    if not session.yes:
        what = "stop everything and remove all of its state" if purge else "stop everything"
        confirm(session, _production(session) or _name(session), f"This will {what} ({session.home.root}).", _SAFE)
    stop_order.write(session.home, stay_down=True)  # before anything else: from here on nothing revives anything
    return _prove(session, _stop(session, drain, purge=purge) if running else [], purge=purge)


def _rehearse(session: Session, *, purge: bool) -> int:
    """Say what would be ended and removed."""
    if session.system:
        replicas = session.client.get("/v1/replicas", {"system": session.system})["items"]
        ends = [f"replica {one['name']}" + (f", pid {one['pid']}" if one.get("pid") else "") for one in replicas]
        removes = [f"system {session.system}"]
    else:
        found = leftovers.left(session.home)
        ends = found.told()
        removes = [f"state in {session.home.root}"] if purge and session.home.root.exists() else []
    document = {"apiVersion": API_VERSION, "kind": "Down", "dry_run": True, "ends": ends, "removes": removes}

    def text(screen: Screen) -> None:
        rows = [*((" would end     ", one) for one in ends), *((" would remove  ", one) for one in removes)]
        screen.lines(*(line for label, one in rows for line in screen.wrapped(label, clean(one))) if rows else (" nothing is running",))

    show(session, document, text, name="down")
    one = f" -s {session.system}" if session.system else ""
    session.next(f"qd down{one}{' --purge' if purge else ''}" if ends or removes else "qd up")
    return 0


def _stop(session: Session, drain: float, *, purge: bool) -> list[str] | None:
    """By the control plane, else by the node; None when neither does it."""
    try:
        answer: Document = session.client.post("/v1/down", {"purge": purge, "within": drain}, timeout=drain + _MARGIN)
    except Transient as error:
        session.say(f"the control plane does not do it ({clean(error.message)}); asking the node")
        return ["replicas", "node"] if leftovers.stop_node(session.home, drain) is not None else None
    return [str(one) for one in answer.get("stopped") or ()]


def _prove(session: Session, stopped: Sequence[str] | None, *, purge: bool) -> int:
    found = leftovers.gone(session.home, _SETTLE if stopped is not None else 0)
    if found:
        session.say("not ended by itself, ending it: " + "; ".join(map(clean, found.told())))
        found = leftovers.ended(session.home, _SETTLE)
        stopped = stopped or ["what was left of it"]
    stopped = list(stopped or ())
    leftovers.sweep_files(session.home)
    if purge and not found:
        leftovers.purge(session.home)
        stopped = [*stopped, f"state in {session.home.root} (removed)"]
    return _report(session, stopped, found, "")


def _report(session: Session, stopped: Sequence[str], found: leftovers.Left, words: str) -> int:
    document = {"apiVersion": API_VERSION, "kind": "Down", "stopped": list(stopped), "left": found.told()}

    def text(screen: Screen) -> None:
        if words:
            screen.line(f" {words}")
        elif not session.quiet:
            screen.lines(*(f" stopped {clean(one)}" for one in stopped), f" left    {len(found.told()) or 'nothing'}")

    show(session, document, text, name="down")
    for line in found.told():
        session.words.line(f"error: still there: {clean(line)}")
    session.next("qd doctor · qd down --yes" if found else "qd up")
    return 1 if found else 0


def _one_system(session: Session, system: str, drain: float, *, purge: bool) -> int:
    if not session.yes:
        where = session.context.where if session.context else session.home.root
        confirm(session, _production(session) or system, f"This will stop {system} ({where}).", _SAFE)
    answer = session.client.post("/v1/down", {"purge": purge, "within": drain, "system": system}, timeout=drain + _MARGIN)

    def text(screen: Screen) -> None:
        screen.lines(
            *(f" stopped {clean(one)}" for one in answer["stopped"]), f" left    {', '.join(map(clean, answer['left'])) or 'nothing'}"
        )

    show(session, answer, text, name=system)
    session.next("qd get systems")
    return 1 if answer["left"] else 0


def _production(session: Session) -> str:
    return session.context.name if session.context and session.context.production else ""


def _name(session: Session) -> str:
    """What has to be typed: the system's name when there is one, else that of the state folder."""
    try:
        systems = session.client.get("/v1/systems", timeout=2)["items"]
    except QuarterdeckError:
        return session.home.root.name
    return str(systems[0]["name"]) if len(systems) == 1 else session.home.root.name
