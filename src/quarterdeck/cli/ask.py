"""`qd ask`: one request to an agent."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from quarterdeck.cli.explain import TargetArgument
from quarterdeck.cli.render import dump, show
from quarterdeck.cli.screen import clean
from quarterdeck.cli.session import Session
from quarterdeck.cli.times import duration
from quarterdeck.cli.usage import UsageError
from quarterdeck.errors import QuarterdeckError


def ask(
    session: Session,
    target: TargetArgument,
    verb: Annotated[str, typer.Argument(help="What the agent listens to.")],
    payload: Annotated[str, typer.Argument(metavar="PAYLOAD", help="JSON, or - for stdin.")] = "null",
    timeout: Annotated[str, typer.Option(metavar="TIME", help="How long to wait for the answer.")] = "10s",
) -> None:
    """Send one request to an agent, or to one replica of it, and print the answer as JSON.

    $ qd ask collectors/intake submit '{"text": "hello"}'
    $ cat task.json | qd ask collectors/intake submit -
    """
    session, inside = session.aimed_at(target)
    if inside.count("/") != 1:
        raise UsageError(
            f"{inside!r} is no agent", hint="write cluster/agent, or cluster/agent-n for one replica; qd get agents lists them"
        )
    within = duration(timeout)
    body = {"system": session.system, "target": inside, "verb": verb, "payload": _json(payload), "timeout": within}
    try:
        document = session.client.post("/v1/ask", body, timeout=within + 5)
    except QuarterdeckError as error:
        error.hint = error.hint or f"qd explain {inside} · qd logs {inside}"
        raise
    show(session, document, lambda screen: dump(document["reply"], screen.out), name=str(document.get("from", "")))
    if not session.machine:
        session.say(f"{clean(document['from']) or 'somebody unnamed'} answered in {document['ms']:.1f} ms")
        session.next(f"qd logs {document['from'] or inside}")


def _json(text: str) -> object:
    try:
        return json.loads(sys.stdin.read() if text == "-" else text)
    except ValueError as error:
        raise UsageError(f"the payload is not JSON: {error}", hint="quote text twice: '\"hello\"'") from error
