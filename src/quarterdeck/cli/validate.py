"""`qd validate`: prove again that the whole works."""

from __future__ import annotations

from typing import Annotated

import typer

from quarterdeck.cli.render import cell, show, table
from quarterdeck.cli.screen import Screen, clean
from quarterdeck.cli.session import Session


def validate(
    session: Session,
    deep: Annotated[bool, typer.Option("--deep", help="Also what takes longer: the whole journal, all code on disk.")] = False,
) -> int:
    """Run the whole-system checks now and show each with its evidence. Exit 1 when one does not hold.

    $ qd validate --deep
    """
    document = session.client.post("/v1/validate", {"system": session.system, "deep": deep}, timeout=300)

    def text(screen: Screen) -> None:
        rows = [(item["name"], item["status"], _age(item.get("age_seconds")), cell(item.get("evidence"))) for item in document["items"]]
        table(screen, ("CHECK", "STATUS", "AGE", "EVIDENCE"), rows)
        readiness = session.aimed_in(document.get("readiness") or {})
        following = " · ".join(readiness.get("next") or ())
        if readiness:
            told = f"readiness {readiness['score']} of 100" + (f" (next: {following})" if following else "")
            screen.lines(*screen.wrapped("", clean(told)))

    show(session, document, text, name="ok" if document["ok"] else "failed")
    session.next("qd get conditions" if document["ok"] else "qd get conditions · qd journal")
    return 0 if document["ok"] else 1


def _age(seconds: float | None) -> str:
    return f"{seconds:.0f} s" if seconds is not None else ""
