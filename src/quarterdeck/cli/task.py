"""`qd task`: give the fleet work, see what became of it, and answer what it asks."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from quarterdeck.cli.change import as_typed
from quarterdeck.cli.completing import state_names, target_names, task_names, verb_names
from quarterdeck.cli.render import show
from quarterdeck.cli.screen import clean
from quarterdeck.cli.session import Output, Session
from quarterdeck.cli.task_list import fetch, resolved
from quarterdeck.cli.task_view import drawn, events, forking, told, tree
from quarterdeck.cli.times import duration, lasting
from quarterdeck.cli.usage import UsageError
from quarterdeck.client.values import BLOB_WITHIN, referring, too_large
from quarterdeck.client.wire import Document
from quarterdeck.clock import SystemClock
from quarterdeck.errors import UserError

TaskArgument = Annotated[str, typer.Argument(metavar="TASK", help="Its id, or its key.", autocompletion=task_names)]
ReasonOption = Annotated[str, typer.Option(metavar="TEXT", help="Why; kept in the journal.")]
WaitOption = Annotated[bool, typer.Option("--wait", help="Wait for the end, and print the whole task.")]
WithinOption = Annotated[str | None, typer.Option(metavar="TIME", help="How long to wait; the task goes on after it.")]
_AMOUNTS: Final = ("calls", "tokens", "seconds", "money", "depth")


def task(session: Session) -> None:
    """Work that is accounted for.

    $ qd task submit collectors/intake --data @incident.json --key INC-4711 --wait
    $ qd task get INC-4711 --tree
    """


def submit(
    session: Session,
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="TARGET", show_default=False, help="cluster/agent; without it the entry of the spec.", autocompletion=target_names
        ),
    ] = None,
    *,
    data: Annotated[str, typer.Option("--data", "-d", metavar="JSON", help="The payload: JSON, @FILE, or - for stdin.")] = "null",
    key: Annotated[str | None, typer.Option(metavar="TEXT", help="The same key again is the same task, not a second one.")] = None,
    verb: Annotated[
        str, typer.Option(help="Which handler of the agent; not needed where it has one for tasks.", autocompletion=verb_names)
    ] = "",
    wait: WaitOption = False,
    within: WithinOption = None,
    timeout: Annotated[str | None, typer.Option(metavar="TIME", help="The task's deadline from now, e.g. 30s or 2h.")] = None,
    priority: Annotated[int, typer.Option(metavar="N", min=-100, max=100, help="Higher ones first.")] = 0,
    lane: Annotated[str | None, typer.Option(metavar="TEXT", help="Tasks of one lane are worked on one after the other.")] = None,
    tenant: Annotated[str | None, typer.Option(metavar="TEXT", help="For whom; tenants take turns.")] = None,
    attempts: Annotated[int | None, typer.Option(metavar="N", min=1, max=1000, help="How often it is tried.")] = None,
    budget: Annotated[str | None, typer.Option(metavar="LIMITS", help="For it and all below it: calls=20,money=1.5")] = None,
    delay: Annotated[str | None, typer.Option(metavar="TIME", help="Not before that much time.")] = None,
) -> int:
    """Give an agent work that is accounted for: once this returns, it is on disk and will be done.

    $ qd task submit collectors/intake --data @incident.json --key INC-4711 --wait
    $ echo '{"run": "first", "incident": "2023-01-29T08:43"}' | qd task submit --data - --timeout 2m --budget calls=20,money=1.5

    With --wait the exit code says how it ended: 0 done, 1 failed, dead or cancelled, 5 not in time, or an effect is unknown.
    """
    session, inside = session.aimed_at(target) if target else (session, None)
    limits = {"timeout": lasting(timeout) if timeout else None, "delay": duration(delay) if delay else None, "attempts": attempts}
    what = {"target": inside, "payload": _json(data, "the payload"), "key": key, "verb": verb or None, "budget": _budget(budget)}
    how = {"priority": priority or None, "lane": lane, "tenant": tenant}
    order: Document = {"system": session.system, **what, **how, **limits}
    if (kept := too_large(order, session.system)) is not None:
        order = referring(order, session.client.call(kept, BLOB_WITHIN))
    return _made(session, session.client.post("/v1/tasks", order), within, wait=wait)


def get(
    session: Session,
    task: TaskArgument,
    *,
    tree_: Annotated[bool, typer.Option("--tree", help="With everything delegated below it, as a tree.")] = False,
) -> int:
    """Everything about one task.

    $ qd task get INC-4711
    $ qd task get 01JD8Z0V7Q4W8X2N5R3T6Y9B1C --tree
    """
    name, now = resolved(session, task), SystemClock().now()
    if tree_:
        found: Document = session.client.get(f"/v1/tasks/{name}/tree")
        show(session, found, lambda screen: screen.lines(*tree(found["items"], screen, now)), name=name)
        session.next(f"qd explain {name} · qd task history {name}")
        return 0
    document: Document = session.client.get(f"/v1/tasks/{name}")
    show(session, document, lambda screen: screen.lines(*drawn(document, screen, now)), name=name)
    session.next(_after(document))
    return 0


def list_(
    session: Session,
    *,
    state: Annotated[
        str | None,
        typer.Option(metavar="STATE", help="One or more, with commas; open is any that has not ended.", autocompletion=state_names),
    ] = None,
    target: Annotated[str | None, typer.Option(metavar="TARGET", help="Of this agent.", autocompletion=target_names)] = None,
    key: Annotated[str | None, typer.Option(metavar="PREFIX", help="With a key that begins so.")] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="At most that many, the newest first.")] = 100,
    tops: Annotated[bool, typer.Option("--tops", help="Leave out what was delegated.")] = False,
) -> int:
    """Tasks, the newest first. The same as qd get tasks.

    $ qd task list --state open --target collectors/intake
    """
    from quarterdeck.cli.get import draw  # noqa: PLC0415 for this alone

    document = fetch(session, "tasks", state=state, target=target, key=key, limit=limit, tops=tops)
    draw(session, "tasks", document)
    if document["items"]:
        session.next(f"qd task get {document['items'][0]['id']} --tree")
    return 0


def cancel(session: Session, task: TaskArgument, reason: ReasonOption = "") -> None:
    """Have a task and all below it given up: who works on it is asked to stop, and after ten seconds it is taken away.

    $ qd task cancel INC-4711 --reason "solved by hand"
    """
    _changed(session, task, "cancel", {"reason": reason})


def retry(session: Session, task: TaskArgument, reason: ReasonOption = "") -> None:
    """Send a dead letter or a failed task back into the queue, with fresh attempts.

    $ qd get tasks --state dead
    $ qd task retry INC-4711 --reason "the service is back"
    """
    _changed(session, task, "retry", {"reason": reason})


def fork(
    session: Session,
    task: TaskArgument,
    *,
    step: Annotated[str | None, typer.Option("--from", metavar="STEP", help="Where to begin; without it at the very beginning.")] = None,
    key: Annotated[str | None, typer.Option(metavar="TEXT", help="Of the new task; the same key again is the same fork.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be kept, and what done again.")] = False,
    wait: WaitOption = False,
    within: WithinOption = None,
    reason: ReasonOption = "",
) -> int:
    """Run a task that has ended again, as a new one, from one of its steps: what it recorded before that is kept and not done again.

    $ qd task fork INC-4711 --from services --dry-run
    $ qd task fork INC-4711 --from services --reason "the analyst is mended" --wait

    The old task stays as it is. STEP is a step, a part that was delegated or a question; without it everything is done again, effects too.
    """
    asked = {"from": step, "key": key, "reason": reason, "dry_run": dry_run}
    made: Document = session.client.post(f"/v1/tasks/{resolved(session, task)}/fork", asked)
    if dry_run:
        show(session, made, lambda screen: screen.lines(*forking(made)), name=made["key"])
        session.next(as_typed("task", "fork", task, **{"from": step, "key": key, "reason": reason}))
        return 0
    return _made(session, made, within, wait=wait)


def resolve(
    session: Session,
    task: TaskArgument,
    key: Annotated[str, typer.Argument(metavar="KEY", help="The effect's, from qd get effects.")],
    value: Annotated[str | None, typer.Argument(metavar="VALUE", show_default=False, help="What it gave, as JSON; with --done.")] = None,
    *,
    done: Annotated[bool, typer.Option("--done", help="It happened.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="It did not happen.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Call it again: if it happened, it happens twice.")] = False,
    reason: ReasonOption = "",
) -> None:
    """Say what became of an effect that nobody knows the outcome of; its task goes on.

    $ qd get effects
    $ qd task resolve INC-4711 pay:17 --done '{"receipt": 5}' --reason "seen on the bank statement"
    """
    chosen = [word for word, said in (("done", done), ("failed", failed), ("again", again)) if said]
    if len(chosen) != 1:
        raise UsageError("say what became of it", hint="exactly one of --done [VALUE], --failed, --again")
    if value is not None and not done:
        raise UsageError("only what was done has a value", hint="--done VALUE")
    if not reason.strip():
        raise UsageError("this needs a reason", hint='--reason "how you know"; it is kept in the journal')
    said = {"key": key, "outcome": chosen[0], "value": _json(value, "the value") if value is not None else None, "reason": reason}
    _changed(session, task, "resolve", said)


def answer(
    session: Session,
    task: TaskArgument,
    text: Annotated[str | None, typer.Argument(metavar="TEXT", show_default=False, help="The answer; asked for in a terminal.")] = None,
    *,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Which question, where several are open.")] = None,
    reason: ReasonOption = "",
) -> None:
    """Answer what a task asks. In a terminal the question is shown, with what may be answered.

    $ qd get questions
    $ qd task answer INC-4711 approve --reason "discussed on the phone"
    """
    from quarterdeck.cli.task_ask import asked  # noqa: PLC0415 for this alone

    task = resolved(session, task)
    if text is None:
        name, text = asked(session, task, name)
    found: Document = session.client.post(f"/v1/tasks/{task}/answer", {"answer": text, "name": name, "reason": reason})
    show(session, found, lambda screen: screen.line(clean(f"{found['name']} of task {task}: {found['answer']}")), name=found["name"])
    session.next(f"qd task get {task}")


def history(
    session: Session, task: TaskArgument, after: Annotated[int, typer.Option(metavar="N", min=0, help="After that sequence.")] = 0
) -> None:
    """What happened to a task and to those below it, in order.

    $ qd task history INC-4711
    $ qd task history INC-4711 -o json
    """
    name = resolved(session, task)
    page = document = session.client.get(f"/v1/tasks/{name}/history", {"after": after})
    while page["next"]:
        page = session.client.get(f"/v1/tasks/{name}/history", {"after": page["next"]})
        document = {**document, "items": [*document["items"], *page["items"]], "next": None}
    if session.output is Output.name:
        session.screen.lines(*(str(one["sequence"]) for one in document["items"]))
        return
    show(session, document, lambda screen: screen.lines(*events(document["items"], name, screen)))
    session.next(f"qd task get {name} --tree · qd explain {name}")


def questions(session: Session) -> None:
    """What waits for an answer by a human, the most urgent first.

    $ qd task questions
    """
    from quarterdeck.cli.get import draw  # noqa: PLC0415 for this alone

    document = session.client.get("/v1/questions", {"system": session.system})
    draw(session, "questions", document)
    if document["items"]:
        session.next(f"qd task answer {document['items'][0]['task']}")


def _made(session: Session, made: Document, within: str | None, *, wait: bool) -> int:
    """A task that was given: what to do next, or with `wait` how it ended."""
    if wait:
        from quarterdeck.cli.task_wait import finish  # noqa: PLC0415 only who waits

        return finish(session, made, duration(within) if within else None)
    show(session, made, lambda screen: screen.line(told(made, screen)), name=made["id"])
    session.next(f"qd task get {made['id']} --tree")
    return 0


def _changed(session: Session, task: str, what: str, said: Document) -> None:
    name = resolved(session, task)
    document: Document = session.client.post(f"/v1/tasks/{name}/{what}", said)
    show(session, document, lambda screen: screen.line(told(document, screen)), name=name)
    session.next(f"qd task get {name} --tree")


def _after(document: Document) -> str:
    """What one would do next."""
    name = document["id"]
    match document["state"]:
        case "unknown":
            return f"qd task resolve {name} KEY --done|--failed|--again --reason TEXT"
        case "dead" | "failed":
            return f"qd task retry {name} · qd task history {name}"
        case "waiting" if any(one["kind"] == "human" for one in document["waits_on"]):
            return f"qd task answer {name}"
    return f"qd task history {name}" if not document["children"] else f"qd task get {name} --tree · qd task history {name}"


def _budget(text: str | None) -> dict[str, float] | None:
    """`calls=20,money=1.5`; raises UsageError."""
    if text is None:
        return None
    found: dict[str, float] = {}
    for part in text.split(","):
        kind, _, amount = part.strip().partition("=")
        try:
            number = float(amount)
        except ValueError:
            number = -1.0
        if kind not in _AMOUNTS or not 0 <= number < float("inf"):
            raise UsageError(f"{part.strip()!r} is no limit", hint=f"e.g. calls=20,money=1.5; there are {', '.join(_AMOUNTS)}")
        found[kind] = int(number) if kind in ("calls", "tokens", "depth") and number.is_integer() else number
    return found


def _json(text: str, what: str) -> object:
    try:
        if text.startswith("@"):
            text = Path(text[1:]).read_text()
        return json.loads(sys.stdin.read() if text == "-" else text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{what} is not JSON: {error}", hint="quote text twice: '\"hello\"'") from error
    except OSError as error:
        raise UserError(f"{text[1:]} cannot be read: {error.strerror}", hint="--data @FILE reads the payload from a file") from error
