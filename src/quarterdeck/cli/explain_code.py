"""`qd explain E1201`: what the code of an error means, without asking anybody."""

from __future__ import annotations

from dataclasses import asdict

from quarterdeck.cli.codes import KINDS
from quarterdeck.cli.render import show
from quarterdeck.cli.screen import Screen
from quarterdeck.cli.session import Session


def explain_code(session: Session, code: str) -> None:
    """Its meaning, an example and what to do. `code` is one of the table."""
    kind = KINDS[code]

    def text(screen: Screen) -> None:
        screen.lines(*screen.wrapped(f"{screen.paint(code, 'bold')}: ", kind.meaning))
        screen.lines(*screen.wrapped("  e.g. ", kind.example), *screen.wrapped("  do   ", kind.mend))

    show(session, {"apiVersion": "quarterdeck.dev/v1alpha1", "kind": "ErrorCode", "code": code, **asdict(kind)}, text, name=code)
    session.next("every code: docs/reference/errors.md, or the page Docs of the dashboard")
