"""`qd ask`: one request to an agent."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from quarterdeck.cli.completing import verb_names
from quarterdeck.cli.explain import TargetArgument
from quarterdeck.cli.render import dump, show
from quarterdeck.cli.screen import clean
from quarterdeck.cli.session import Session
from quarterdeck.cli.times import lasting
from quarterdeck.cli.usage import UsageError
from quarterdeck.client.wire import Document
from quarterdeck.errors import QuarterdeckError
from quarterdeck.version import API_VERSION


def ask(
    session: Session,
    target: TargetArgument,
    verb: Annotated[str, typer.Argument(help="What the agent listens to.", autocompletion=verb_names)],
    payload: Annotated[str, typer.Argument(metavar="PAYLOAD", help="JSON, or - for stdin.")] = "null",
    timeout: Annotated[str, typer.Option(metavar="TIME", help="How long to wait for the answer.")] = "10s",
) -> None:
    """Send one request to an agent, or to one replica of it, and print the answer as JSON.

    $ qd ask front/greeter greet '{"name": "Ada"}'
    $ cat name.json | qd ask front/greeter greet -

    Work that is accounted for is no request: qd task submit gives it.
    """
    session, inside = agent_in(session, target)
    within = lasting(timeout)
    document = send(session, inside, verb, payload_of(sys.stdin.read() if payload == "-" else payload), within)
    show(session, document, lambda screen: dump(document["reply"], screen.out), name=str(document.get("from", "")))
    if not session.machine:
        session.say(answered(document))
        session.next(f"qd logs {document['from'] or inside}")


def agent_in(session: Session, target: str) -> tuple[Session, str]:
    """The session for the system of a target that has to be an agent or a replica, and the target inside it. Raises UsageError."""
    session, inside = session.aimed_at(target)
    if inside.count("/") != 1:
        raise UsageError(
            f"{inside!r} is no agent", hint="write cluster/agent, or cluster/agent-n for one replica; qd get agents lists them"
        )
    return session, inside


def send(session: Session, inside: str, verb: str, payload: object, within: float) -> Document:
    """One request and its answer, `within` seconds. Raises whatever it is refused with, never without a hint."""
    body = {"system": session.system, "target": inside, "verb": verb, "payload": payload, "timeout": within}
    try:
        answer: Document = session.client.post("/v1/ask", body, timeout=within + 5)
    except QuarterdeckError as error:
        error.hint = error.hint or f"qd explain {inside} · qd logs {inside}"
        raise
    return {"apiVersion": API_VERSION, "kind": "Answer", **answer}


def answered(document: Document) -> str:
    """Who answered, and how fast."""
    return f"{clean(document['from']) or 'somebody unnamed'} answered in {document['ms']:.1f} ms"


def payload_of(text: str, hint: str = "quote text twice: '\"hello\"'") -> object:
    """The payload that JSON says. Raises UsageError with the hint."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the payload is not JSON: {error}", hint=hint) from error
