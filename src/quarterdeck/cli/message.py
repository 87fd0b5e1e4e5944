"""`qd message`: durable messages that the database keeps, and those that nobody could handle."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from quarterdeck.cli.completing import state_names, target_names
from quarterdeck.cli.get import draw, following
from quarterdeck.cli.render import named, show
from quarterdeck.cli.screen import clean
from quarterdeck.cli.session import Session
from quarterdeck.cli.task_list import fetch
from quarterdeck.client.wire import Document

MessageArgument = Annotated[str, typer.Argument(metavar="MESSAGE", help="Its id, as qd message list shows it.")]
_SHOWN: Final = ("from", "verb", "key", "order", "reason", "deliveries", "attempt", "seq", "created_at", "sent_at", "ended_at", "body")


def message(session: Session) -> None:
    """Durable messages: with a key or an order, from tasks, and those that nobody could handle.

    $ qd message list --state dead
    $ qd message retry 01939f1c8a2b7c3d9e0f1a2b3c4d5e6f --reason "the agent is mended"
    """


def list_(
    session: Session,
    state: Annotated[
        str | None,
        typer.Option(metavar="STATE", show_default=False, help="behind, waiting, sent, done, dead, or open.", autocompletion=state_names),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(metavar="TARGET", show_default=False, help="Only those for this cluster/agent.", autocompletion=target_names),
    ] = None,
    key: Annotated[str | None, typer.Option(metavar="PREFIX", show_default=False, help="Only those with a key that begins so.")] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="At most that many.")] = 100,
) -> int:
    """Durable messages that the database keeps, the newest first: those with a key or an order, from tasks, and dead ones.

    $ qd message list --state dead
    """
    document = fetch(session, "messages", state=state, target=target, key=key, limit=limit)
    draw(session, "messages", document)
    dead = next((one["id"] for one in document["items"] if one["state"] == "dead"), None)
    if dead:
        session.next(f"qd message get {dead} · qd message retry {dead}")
    else:
        session.next(following("messages", document["items"]))
    return 0


def get(session: Session, message: MessageArgument) -> int:
    """Everything about one message; its body until it was handled.

    $ qd message get 01939f1c8a2b7c3d9e0f1a2b3c4d5e6f
    """
    document: Document = session.client.get(f"/v1/messages/{message}")
    lines = [f"message {document['id']} {document['state']} · {document['target']}"]
    lines += [f"  {named(name, document[name])}" for name in _SHOWN if document.get(name) not in (None, "", 0)]
    show(session, document, lambda screen: screen.lines(*map(clean, lines)), name=document["id"])
    session.next(f"qd message retry {document['id']}" if document["state"] == "dead" else "qd message list")
    return 0


def retry(
    session: Session,
    message: MessageArgument,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is journalled.")] = "",
) -> int:
    """Send a dead message again.

    $ qd message retry 01939f1c8a2b7c3d9e0f1a2b3c4d5e6f --reason "the agent is mended"
    """
    document: Document = session.client.post(f"/v1/messages/{message}/retry", {"reason": reason})
    show(session, document, lambda screen: screen.line(clean(f"message {document['id']} is sent again")), name=document["id"])
    session.next(f"qd message get {document['id']}")
    return 0
