"""`qd version`: of this command and of the control plane that answers."""

from __future__ import annotations

from importlib.metadata import version as installed
from typing import Annotated

import typer

from quarterdeck.cli.render import show
from quarterdeck.cli.screen import Screen, clean
from quarterdeck.cli.session import Session
from quarterdeck.client.wire import Document
from quarterdeck.version import API_VERSION


def version(
    session: Session,
    client: Annotated[bool, typer.Option("--client", help="Only of this command; no control plane is asked.")] = False,
    server: Annotated[bool, typer.Option("--server", help="Only of the control plane; an error when none answers.")] = False,
) -> None:
    """Version of this command and of the control plane, if one runs.

    $ qd version -o json
    $ qd version --client          the same as qd --version
    $ qd version --server -o name
    """
    own = installed("quarterdeck")
    found: Document | None = session.client.get("/v1/version") if server else None if client else session.client.answers()
    parts = {"client": None if server and not client else {"version": own}, "server": found}
    document = {"apiVersion": API_VERSION, "kind": "Version", **parts}

    def text(screen: Screen) -> None:
        told = [*([] if found and server and not client else [f"qd {own}"]), *([_served(found)] if found else [])]
        screen.lines(*(line for one in told for line in screen.wrapped("", one)))

    show(session, document, text, name=str(found["version"]) if found and server and not client else own)
    if found and str(found["version"]) != own:
        session.warn([f"qd {own} talks to a control plane of {found['version']}: qd down, then qd up, runs the version of qd"])
    if client and not server:
        session.next("qd version")
    elif found is None:
        session.say("no control plane runs for this home; qd up starts one")
    else:
        session.next("qd status")


def _served(found: Document) -> str:
    return f"control plane {clean(found['version'])}, pid {found['pid']}, {found['engine']} engine, home {clean(found['home'])}"
