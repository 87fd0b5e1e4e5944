"""`qd version`: of this command and of the control plane that answers."""

from __future__ import annotations

from importlib.metadata import version as installed
from typing import Annotated

import typer

from quarterdeck.cli.render import show
from quarterdeck.cli.screen import Screen, clean
from quarterdeck.cli.session import Session


def version(
    session: Session, client: Annotated[bool, typer.Option("--client", help="Only of this command; no control plane is asked.")] = False
) -> None:
    """Version of this command and of the control plane, if one runs.

    $ qd version -o json
    $ qd version --client          the same as qd --version
    """
    own, server = installed("quarterdeck"), None if client else session.client.answers()
    document = {"apiVersion": "quarterdeck.dev/v1alpha1", "kind": "Version", "client": {"version": own}, "server": server}

    def text(screen: Screen) -> None:
        screen.line(f"qd {own}")
        if server:
            screen.line(
                f"control plane {clean(server['version'])}, pid {server['pid']}, {server['engine']} engine, home {clean(server['home'])}"
            )

    show(session, document, text, name=own)
    if client:
        session.next("qd version")
    elif server is None:
        session.say("no control plane runs for this home; qd up starts one")
    else:
        session.next("qd status")
