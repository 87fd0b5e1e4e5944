"""`qd context`: names for control planes, here and elsewhere."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from quarterdeck.cli.completing import context_names
from quarterdeck.cli.render import listing, show
from quarterdeck.cli.screen import Screen, clean
from quarterdeck.cli.session import Session
from quarterdeck.cli.usage import UsageError
from quarterdeck.client.contexts import VARIABLE, Context, Contexts, made
from quarterdeck.errors import Conflict
from quarterdeck.version import API_VERSION

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A context of qd context list.", autocompletion=context_names)]
_COLUMNS = [("NAME", "name"), ("CURRENT", "current"), ("PRODUCTION", "production"), ("WHERE", "where")]


def show_(session: Session) -> None:
    """Which control plane is used, and why.

    $ qd context show
    $ qd context add prod --url https://fleet.example.com:7410 --token-file ~/.qd-prod --production
    $ qd context use prod

    First come, first served: --home, --context, QUARTERDECK_CONTEXT, QUARTERDECK_HOME, the context of qd context use, the usual home.
    In a production context every verb that changes something says PRODUCTION and wants the context's name typed, or --yes.
    """
    found = session.context
    where = found.where if found else str(session.home.root)
    document: dict[str, Any] = {"apiVersion": API_VERSION, "kind": "Context", "name": found.name if found else ""}
    document |= {"where": where, "production": bool(found and found.production), "file": str(Contexts.read(os.environ).path)}

    def text(screen: Screen) -> None:
        mark = f" {screen.paint('PRODUCTION', 'bold', 'red')}" if document["production"] else ""
        screen.line(f"{clean(found.name) if found else 'no context'}{mark}: {clean(where)}")

    show(session, document, text, name=str(document["name"]))
    session.say("next: qd context list" if Contexts.read(os.environ).known else "next: qd context add NAME")


def list_(session: Session) -> None:
    """Every context.

    $ qd context list -o json
    """
    contexts = Contexts.read(os.environ)
    items = [
        {"name": c.name, "current": c == session.context, "production": c.production, "where": c.where} for c in contexts.known.values()
    ]
    document = {"apiVersion": API_VERSION, "kind": "List", "items": items}
    listing(session, document, _COLUMNS, "no context yet; qd context add NAME gives this home a name")
    if items:
        session.say("next: qd context use NAME")
    else:
        session.next("qd context add NAME")


def use(session: Session, name: NameArgument) -> None:
    """Use a context from now on, in every terminal.

    $ qd context use staging
    """
    contexts = Contexts.read(os.environ)
    found = contexts.named(name)
    replace(contexts, current=name).write()
    _told(session, found, f"{name} is used from now on")
    session.warn([f"{one} is set and comes first in this terminal" for one in (VARIABLE, "QUARTERDECK_HOME") if os.environ.get(one)])
    replace(session, said=(), system=None).say("next: qd status")  # what was said before the verb led elsewhere


def add(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name.")],
    *,
    url: Annotated[str | None, typer.Option(metavar="URL", help="https://HOST:PORT of a control plane elsewhere.")] = None,
    token_file: Annotated[Path | None, typer.Option(metavar="FILE", help="Holds the token for the URL; mode 600.")] = None,
    ca: Annotated[Path | None, typer.Option(metavar="FILE", help="PEM of who signed the server's certificate.")] = None,
    production: Annotated[bool, typer.Option("--production", help="Ask before every change.")] = False,
) -> None:
    """Give a control plane a name: the home of this command (say --home DIR), or a URL.

    $ qd context add staging --home /srv/staging
    $ qd context add prod --url https://fleet.example.com:7410 --token-file ~/.qd-prod --production
    """
    contexts = Contexts.read(os.environ)
    if name in contexts.known:
        hint = f"qd context remove {name}, then add it again"
        raise Conflict(f"there is a context {name} already: {contexts.known[name].where}", hint=hint)
    if url and token_file is None:
        raise UsageError(f"{url} is spoken to with a token", hint=f"qd context add {name} --url {url} --token-file FILE")
    found = made(name, None if url else session.home.root, url, token_file, ca, production=production)
    replace(contexts, known={**contexts.known, name: found}).write()
    _told(session, found, f"{name} is {found.where}{', PRODUCTION' if production else ''}")
    session.say(f"next: qd context use {name} · qd --context {name} status")


def remove(session: Session, name: NameArgument) -> None:
    """Forget a name. What it leads to stays as it is.

    $ qd context remove staging
    """
    contexts = Contexts.read(os.environ)
    found = contexts.named(name)
    kept = {other: context for other, context in contexts.known.items() if other != name}
    replace(contexts, known=kept, current="" if contexts.current == name else contexts.current).write()
    _told(session, found, f"{name} is forgotten; {found.where} stays")
    session.say("next: qd context list")


def _item(context: Context, *, current: bool) -> dict[str, Any]:
    return {"name": context.name, "current": current, "production": context.production, "where": context.where}


def _told(session: Session, context: Context, words: str) -> None:
    document: dict[str, Any] = {"apiVersion": API_VERSION, "kind": "Context", "name": context.name, **context.written()}
    show(session, document, lambda screen: screen.line(clean(words)), name=context.name)
