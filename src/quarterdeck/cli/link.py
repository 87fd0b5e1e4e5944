"""`qd open`: into the dashboard."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

import typer

from quarterdeck.cli.render import show
from quarterdeck.cli.screen import clean
from quarterdeck.cli.session import Session


class Role(StrEnum):
    """The roles, from least to most."""

    viewer = "viewer"
    operator = "operator"
    deployer = "deployer"
    admin = "admin"


def open_link(
    session: Session,
    *,
    role: Annotated[Role, typer.Option(help="What the browser may do.")] = Role.admin,
    cluster: Annotated[str | None, typer.Option(metavar="NAME", help="Only this cluster is seen.")] = None,
    print_: Annotated[bool, typer.Option("--print", help="Only print the link.")] = False,
) -> None:
    """Open the dashboard in a browser, logged in. The link is printed too; it logs in once.

    $ qd open
    $ qd open --print                    for a browser elsewhere
    $ qd open --role viewer --print      for somebody who may look, not touch

    No browser is started in CI, in a pipe, or without a display.
    """
    document = session.client.post("/v1/login", {"role": role.value, "cluster": cluster})
    show(session, document, lambda screen: screen.line(clean(document["url"])), name=document["url"])
    if print_ or session.machine or not (sys.stdout.isatty() and displays(os.environ)):
        return
    import webbrowser  # noqa: PLC0415 only where there is one

    if webbrowser.open(document["url"]):
        session.say("opened in your browser · next: qd status")
    else:
        session.say("no browser was found: open the link yourself; it logs you in once")


def displays(environ: Mapping[str, str]) -> bool:
    """Whether a browser would be seen: there is a display or a browser that the user named, and nobody is away (CI)."""
    return not environ.get("CI") and any(environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
