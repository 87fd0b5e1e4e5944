"""`qd budget`: let work go on that was held back because it cost too much too fast."""

from __future__ import annotations

from typing import Annotated

import typer

from quarterdeck.cli.completing import cluster_names
from quarterdeck.cli.render import show
from quarterdeck.cli.screen import clean
from quarterdeck.cli.session import Session


def budget(session: Session) -> None:
    """What work may cost, in the spec; here it goes on when it was held back for spending too fast.

    $ qd get budgets
    $ qd budget resume analysts --reason "a test run"
    """


def resume(
    session: Session,
    scope: Annotated[str, typer.Argument(help="The cluster; without it the whole system.", autocompletion=cluster_names)] = "",
    reason: Annotated[str, typer.Option("--reason", help="Why, for the journal.")] = "",
) -> int:
    """Let the tasks of a cluster or system begin again after money was spent too fast.

    $ qd get budgets
    $ qd budget resume analysts --reason "a test run"
    """
    document = session.client.post("/v1/budgets/resume", {"system": session.system, "scope": scope, "reason": reason})
    text = f"{clean(document['name'])} goes on; it was held back since {clean(document['was'])}"
    show(session, document, lambda screen: screen.line(text), name=document["name"])
    session.next("qd get budgets · qd task list --state open")
    return 0
