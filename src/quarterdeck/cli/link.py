"""`qd open`: into the dashboard."""

from __future__ import annotations

from quarterdeck.cli.render import show
from quarterdeck.cli.screen import clean
from quarterdeck.cli.session import Session


def open_link(session: Session) -> None:
    """Print a link that logs a browser in to the dashboard, once.

    $ xdg-open "$(qd open)"
    """
    document = session.client.post("/v1/login")
    show(session, document, lambda screen: screen.line(clean(document["url"])), name=document["url"])
