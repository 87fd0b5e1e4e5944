"""`qd explain E1201`: what the code of an error means, without asking anybody."""

from __future__ import annotations

from dataclasses import asdict

from quarterdeck.cli.codes import KINDS
from quarterdeck.cli.render import show
from quarterdeck.cli.screen import Screen
from quarterdeck.cli.session import Session
from quarterdeck.errors import NotFound
from quarterdeck.model.wording import nearest
from quarterdeck.version import API_VERSION


def explain_code(session: Session, code: str) -> None:
    """Its meaning, an example and what to do. Raises NotFound with the nearest for a code that no error has."""
    code = code.upper()
    if code not in KINDS:
        near = nearest(code, KINDS)
        hint = f"{f'did you mean {near}? ' if near else ''}qd open docs leads to the list of all"
        raise NotFound(f"no error has the code {code}", hint=hint)
    kind = KINDS[code]

    def text(screen: Screen) -> None:
        screen.lines(*screen.wrapped(f"{screen.paint(code, 'bold')}: ", kind.meaning))
        screen.lines(*screen.wrapped("  e.g. ", kind.example), *screen.wrapped("  do   ", kind.mend))

    show(session, {"apiVersion": API_VERSION, "kind": "ErrorCode", "code": code, **asdict(kind)}, text, name=code)
    session.next("qd open docs")
