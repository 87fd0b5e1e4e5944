"""`qd stop` and `qd start`: end everything, a cluster, an agent or a task now, prove it, and let it run again."""

from __future__ import annotations

import getpass
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Annotated, Any, Final

import typer

from quarterdeck.cli import direct, direct_task
from quarterdeck.cli.change import DryRunOption, ReasonOption, as_typed, rehearse
from quarterdeck.cli.completing import agent_names, cluster_names, task_names
from quarterdeck.cli.render import show
from quarterdeck.cli.screen import Screen, clean
from quarterdeck.cli.session import Output, Session
from quarterdeck.cli.task_list import resolved
from quarterdeck.cli.times import duration
from quarterdeck.cli.usage import UsageError
from quarterdeck.client.wire import Document, Wire
from quarterdeck.clock import SystemClock
from quarterdeck.deploy.stopped import way_back
from quarterdeck.errors import NotFound, StoreReadOnly, Transient
from quarterdeck.model.home import Home
from quarterdeck.model.stops import EXIT_CODES, FLEET, KIND
from quarterdeck.model.work import is_task_id

DrainOption = Annotated[str, typer.Option("--drain", metavar="TIME", help="Time for what runs to finish; 0 kills at once.")]
ClusterArgument = Annotated[str, typer.Argument(metavar="NAME", help="A cluster.", autocompletion=cluster_names)]
AgentArgument = Annotated[str, typer.Argument(metavar="NAME", help="An agent: cluster/agent.", autocompletion=agent_names)]
TaskArgument = Annotated[str, typer.Argument(metavar="ID", help="A task's id, or its key.", autocompletion=task_names)]
ANSWER_WITHIN: Final = 0.8
"""Seconds for the control plane to say that it is there; then the node is told without it."""
_MARGIN: Final = 8.0
BACK_WITHIN: Final = 20.0
"""Seconds to wait for a control plane that hung or died, so that it fences the work: its node notices within 5."""


def stop(session: Session) -> None:
    """Stop a fleet, a cluster, an agent or a task now, and prove it: no process, no connection, no task, no effect is left.

    $ qd stop agent analysts/analyst --reason "it mails customers"
    $ qd stop fleet --reason "incident 4711"
    $ qd stop cluster analysts --drain 10s --reason "moving house"

    Works while the control plane hangs, the bus is down or the disk is full. It stays stopped, over every restart, until qd start.
    Exit 0: all is zero. 1: something lives. 5: something cannot be seen.
    """


def fleet(session: Session, reason: ReasonOption, drain: DrainOption = "0", dry_run: DryRunOption = False) -> int:
    """Stop everything: every replica of every system, or of the one that -s names.

    $ qd stop fleet --reason "incident 4711"
    $ qd stop fleet --reason "incident 4711" --dry-run     the plan of it
    """
    command = as_typed("stop", "fleet", reason=reason, drain=None if drain == "0" else drain)
    return _stop(session, ("", "/v1/stops/fleet", {}), reason, duration(drain), rehearsed=command if dry_run else "")


def cluster(session: Session, name: ClusterArgument, reason: ReasonOption, drain: DrainOption = "0", dry_run: DryRunOption = False) -> int:
    """Stop every agent of a cluster.

    $ qd stop cluster analysts --reason "wrong data"
    """
    return _inside(session, name, 0, reason, drain, dry_run=dry_run)


def agent(session: Session, name: AgentArgument, reason: ReasonOption, drain: DrainOption = "0", dry_run: DryRunOption = False) -> int:
    """Stop every replica of an agent.

    $ qd stop agent analysts/analyst --reason "it mails customers" --drain 5s
    """
    return _inside(session, name, 1, reason, drain, dry_run=dry_run)


def task(session: Session, task: TaskArgument, reason: ReasonOption, drain: DrainOption = "0") -> int:
    """Cancel a task and all below it, and take it from whoever has it: a late result is refused.

    $ qd stop task 01JD8Z0V7Q4W8X2N5R3T6Y9B1C --reason "asked for by mistake"
    """
    _needs(reason)
    seconds = duration(drain)
    task = _task_id(session, task)

    def past(home: Home, began: float) -> Document:
        return direct_task.stop(home, direct.Wish("", task, reason, getpass.getuser(), 0.0, began)).to_json()

    return _by_either(session, f"/v1/stops/tasks/{task}", {"reason": reason, "drain": seconds}, past)


def _task_id(session: Session, task: str) -> str:
    """Its id; a key is looked up by the control plane, so past one that is away only an id will do."""
    if is_task_id(task):
        return task
    try:
        return resolved(session, task)
    except Transient as error:
        raise UsageError(f"without a control plane {task!r} can only be stopped by its id", hint="qd stop task ID") from error


def _inside(session: Session, name: str, slashes: int, reason: str, drain: str, *, dry_run: bool) -> int:
    words = ("stop", "agent" if slashes else "cluster", name)
    command = as_typed(*words, reason=reason, drain=None if drain == "0" else drain)
    session, target = session.aimed_at(name)
    if target.count("/") != slashes or not all(target.split("/")):
        raise UsageError(f"{name!r} is no {'agent' if slashes else 'cluster'}", hint="qd stop cluster NAME, qd stop agent CLUSTER/AGENT")
    return _stop(session, (target, "/v1/stops", {"target": target}), reason, duration(drain), rehearsed=command if dry_run else "")


def _stop(session: Session, wish: tuple[str, str, Document], reason: str, drain: float, *, rehearsed: str) -> int:
    """Stop what is wished; only plan it where `rehearsed` is the command that would do it."""
    _needs(reason)
    target, path, fields = wish
    body = {"system": session.system, **fields, "reason": reason, "drain": drain}
    if rehearsed:
        rehearse(session, session.client.post(path, {**body, "dry_run": True}), rehearsed)
        return 0

    def past(home: Home, began: float) -> Document:
        return _past(home, direct.Wish(session.system or "", target, reason, getpass.getuser(), drain, began))

    return _by_either(session, path, body, past)


def _by_either(session: Session, path: str, body: Document, past: Callable[[Home, float], Document]) -> int:
    """By the control plane; past it when it does not answer, as long as this is its machine."""
    drain = body["drain"]
    if not isinstance(session.place, Home):
        return _report(session, session.client.post(path, body, timeout=drain + _MARGIN))
    began, client = time.monotonic(), Wire(session.place, SystemClock(), absence=0)
    try:
        client.get("/v1/version", timeout=ANSWER_WITHIN)
        return _report(session, client.post(path, body, timeout=drain + _MARGIN))
    except StoreReadOnly:
        raise
    except Transient as error:
        _require_a_fleet(session.place)
        session.say(f"the control plane does not do it ({clean(error.message)}); telling the node")
    return _report(session, _completed(session, client, path, body, past(session.place, began)))


def _require_a_fleet(home: Home) -> None:
    """Raise NotFound where nothing ever ran: a stop order there would be the first thing in it."""
    if not (home.database.exists() or home.node.exists()):
        hint = "QUARTERDECK_HOME or --home names another one; qd up deploys a fleet"
        raise NotFound(f"nothing was ever deployed in the home {home.root}", hint=hint)


def _past(home: Home, wish: direct.Wish) -> Document:
    kept = direct.halt(home, wish)
    time.sleep(wish.drain)
    return direct.prove(home, wish, kept).to_json()


def _completed(session: Session, client: Wire, path: str, body: Document, first: Document) -> Document:
    """The proof with the work fenced, where a control plane comes back in time to do that; else the first one."""
    left = {source["source"] for source in first["sources"] if source["found"] != 0}
    if left != {direct.LEDGER}:
        return first
    session.say(f"nothing of it runs any more after {first['ms'] / 1000:.2f} s; waiting for a control plane to take its work back")
    if not direct.comes_to_answer(lambda: client.get("/v1/version", timeout=ANSWER_WITHIN), BACK_WITHIN):
        return first
    with suppress(Transient):
        return dict(client.post(path, {**body, "drain": 0.0}, timeout=_MARGIN))
    return first


def start(session: Session) -> None:
    """Let a fleet, a cluster or an agent that was stopped run again; what waits in its queue is done then.

    $ qd start agent analysts/analyst --reason "mended"
    """


def start_fleet(session: Session, reason: ReasonOption = "") -> None:
    """End the stop of everything. What else is stopped stays so.

    $ qd start fleet --reason "incident closed"
    """
    _start(session, "/v1/starts/fleet", {}, reason)


def start_cluster(session: Session, name: ClusterArgument, reason: ReasonOption = "") -> None:
    """End the stop of a cluster.

    $ qd start cluster analysts --reason "data is right again"
    """
    session, target = session.aimed_at(name)
    _start(session, "/v1/starts", {"target": target}, reason)


def start_agent(session: Session, name: AgentArgument, reason: ReasonOption = "") -> None:
    """End the stop of an agent.

    $ qd start agent analysts/analyst --reason "mended"
    """
    session, target = session.aimed_at(name)
    _start(session, "/v1/starts", {"target": target}, reason)


def _start(session: Session, path: str, fields: Document, reason: str) -> None:
    ended: Document = session.client.post(path, {"system": session.system, **fields, "reason": reason})
    told = [f"change {c['id']} has ended: {c['target']} runs again" for c in ended["items"]]
    if session.output is Output.name:
        session.screen.lines(*(str(c["id"]) for c in ended["items"]))
    else:
        show(session, ended, lambda screen: screen.lines(*map(clean, told)))
    session.next("qd status · qd get tasks")


def _needs(reason: str) -> None:
    if not reason.strip():
        raise UsageError("a stop needs a reason", hint='--reason "why"; it is shown wherever it matters')


def _report(session: Session, document: Document) -> int:
    proofs: list[Document] = [document] if document["kind"] == KIND else document["items"]
    show(session, document, lambda screen: _draw(screen, proofs), name=" ".join(proof["outcome"] for proof in proofs))
    codes = {EXIT_CODES[proof["outcome"]] for proof in proofs}
    if codes - {0}:
        session.next("qd get replicas -o wide · qd doctor")
    else:
        session.within(proofs).next(" · ".join(dict.fromkeys(_ways_back(proofs))))
    return 1 if 1 in codes else max(codes, default=0)


def _ways_back(proofs: list[Document]) -> Iterator[str]:
    """The command that lets each go on, then where it is to be seen."""
    for proof in proofs:
        target = str(proof["target"])
        if target.startswith("task "):
            yield f"qd task get {target.removeprefix('task ')}"
        else:
            yield way_back(f"{proof['system']}:" if target == FLEET else target)
    yield "qd get changes"


def _draw(screen: Screen, proofs: list[Document]) -> None:
    for proof in proofs:
        words = {"done": ("✔ stopped", "green"), "failed": ("✘ not stopped", "red"), "unknown": ("? not proved", "yellow")}
        word, colour = words[proof["outcome"]]
        place = clean(f"{proof['system'] or 'every system'} {proof['target']}")
        kept = clean(", ".join(proof["kept"]) or "nowhere")
        told = f"{place} in {proof['ms'] / 1000:.2f} s · written down: {kept}"
        screen.lines(*screen.wrapped(f"{screen.paint(word, colour)} ", told))
        screen.lines(*(line for source in proof["sources"] for line in _lines(screen, source)))


def _lines(screen: Screen, source: dict[str, Any]) -> list[str]:
    found = source["found"]
    colour = "green" if found == 0 else "red" if isinstance(found, int) else "yellow"
    told = f"{clean(source['claim'])} · {clean(source['source'])}: {clean(source['evidence'])}"
    return screen.wrapped(f"  {screen.paint(f'{found!s:>7}', colour)} ", told)
