"""`qd token`: secrets for programs and people, each with a role, perhaps for one cluster, and an end."""

from __future__ import annotations

from typing import Annotated

import typer

from quarterdeck.cli.link import Role
from quarterdeck.cli.render import listing, show
from quarterdeck.cli.screen import Screen, clean
from quarterdeck.cli.session import Session
from quarterdeck.cli.times import duration

_COLUMNS = [
    ("ID", "id"),
    ("ROLE", "role"),
    ("CLUSTER", "cluster"),
    ("NOTE", "note"),
    ("CREATED", "created"),
    ("EXPIRES", "expires"),
    ("USED", "used"),
]


def create(
    session: Session,
    *,
    role: Annotated[Role, typer.Option(help="What it allows; each role includes those before it.")],
    cluster: Annotated[str | None, typer.Option(metavar="NAME", help="Only for this cluster: CLUSTER or SYSTEM/CLUSTER.")] = None,
    ttl: Annotated[str, typer.Option(metavar="TIME", help="How long it works, e.g. 12h or 30d; at most 365d.")] = "30d",
    note: Annotated[str, typer.Option(metavar="TEXT", help="Whose it is, or what for.")] = "",
) -> None:
    """Make a token and print its secret, which is shown this once and kept nowhere.

    $ qd token create --role viewer --note "wall display"
    $ qd token create --role operator --cluster analysts --ttl 12h
    $ (umask 077; qd token create --role operator --note ci > token)

    viewer reads; operator also changes, asks and validates; deployer also deploys and rolls back; admin may do everything.
    """
    made = session.client.post("/v1/tokens", {"role": role.value, "cluster": cluster, "ttl": duration(ttl), "note": note})
    session.warn(made["warnings"])
    show(session, made, lambda screen: screen.line(clean(made["token"])), name=made["id"])
    session.say(f"token {made['id']} works until {clean(made['expires'])} · send it as Authorization: Bearer TOKEN · next: qd token list")


def list_(session: Session) -> None:
    """Tokens that work, newest first; login links that nobody used yet and sessions of browsers are among them. USED is to the minute.

    $ qd token list -o json
    """
    listing(session, session.client.get("/v1/tokens"), _COLUMNS, "no token yet; qd token create --role viewer makes one")
    session.say("next: qd token revoke ID")


def revoke(
    session: Session,
    id: Annotated[str, typer.Argument(metavar="ID", help="As in qd token list; also the part of a secret between its first two _.")],  # noqa: A002
    *,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the journal.")] = "",
) -> None:
    """End a token at once; what it has open ends within two seconds.

    $ qd token revoke 0b55d336 --reason "laptop lost"
    """
    done = session.client.delete(f"/v1/tokens/{id}", {"reason": reason or None})

    def text(screen: Screen) -> None:
        screen.line(f"token {clean(done['id'])} is revoked")

    show(session, done, text, name=done["id"])
    session.say("next: qd token list")
