"""`qd token`: secrets for programs and people, each with a role, perhaps for one cluster, and an end."""

from __future__ import annotations

import re
from typing import Annotated, Final

import typer

from quarterdeck.cli.completing import token_ids
from quarterdeck.cli.get import draw, following
from quarterdeck.cli.link import Role, UserOption, check_cluster, check_user
from quarterdeck.cli.render import show
from quarterdeck.cli.screen import Screen, clean
from quarterdeck.cli.session import Session
from quarterdeck.cli.times import duration
from quarterdeck.cli.usage import UsageError

_LEAST, _MOST = "1s", "365d"
_LONGEST_NOTE: Final = 200
_ID: Final = re.compile(r"[0-9a-f]{1,64}")


def token(session: Session) -> None:
    """Tokens for people and programs, each with a role, perhaps for one cluster, and an end.

    $ qd token create --role viewer --note "wall display"
    $ qd token list
    """


def create(
    session: Session,
    *,
    role: Annotated[Role, typer.Option(help="What it allows; each role includes those before it.")],
    cluster: Annotated[str | None, typer.Option(metavar="NAME", help="Only for this cluster: CLUSTER or SYSTEM/CLUSTER.")] = None,
    ttl: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long it works, at most 365d; 1h by itself, with --refresh 30d.")
    ] = None,
    refresh: Annotated[bool, typer.Option("--refresh", help="Make a refresh token, for what works longer than an hour.")] = False,
    user: UserOption = "",
    note: Annotated[str, typer.Option(metavar="TEXT", help="What it is for.")] = "",
) -> None:
    """Make a token and print its secret, which is shown this once and kept nowhere; -o name prints nothing else either.

    $ qd token create --role viewer --note "wall display"
    $ qd token create --role operator --cluster analysts --ttl 12h
    $ (umask 077; qd token create --role operator --user alice --refresh > token)

    viewer reads; operator also changes, asks and validates; deployer also deploys and rolls back; admin may do everything.
    With --refresh it opens nothing itself: qd and the clients trade it, each hour, for what they send.
    """
    ttl = ttl or ("30d" if refresh else "1h")
    seconds = duration(ttl)
    if not duration(_LEAST) <= seconds <= duration(_MOST):
        raise UsageError(f"no token works for {ttl}", hint=f"--ttl takes {_LEAST} to {_MOST}, for example 12h or 30d")
    if len(note) > _LONGEST_NOTE:
        raise UsageError(f"a note of {len(note)} characters is too long", hint=f"--note takes {_LONGEST_NOTE} characters")
    check_cluster(cluster)
    check_user(user)
    body = {"role": role.value, "cluster": cluster, "ttl": seconds, "refresh": refresh, "note": note, "user": user or None}
    made = session.client.post("/v1/tokens", body)
    session.warn(made["warnings"])
    show(session, made, lambda screen: screen.line(clean(made["token"])), name=made["token"])
    use = "qd context add NAME --url URL --token-file FILE" if refresh else "send it as Authorization: Bearer TOKEN"
    session.say(f"token {clean(made['id'])} works until {clean(made['expires'])} · {use} · next: qd token list")


def list_(session: Session) -> None:
    """Tokens that work, newest first; login links that nobody used yet and sessions of browsers are among them. USED is to the minute.

    $ qd token list -o json
    """
    document = session.client.get("/v1/tokens")
    draw(session, "tokens", document)
    session.say(f"next: {following('tokens', document['items'])}")


def revoke(
    session: Session,
    id: Annotated[  # noqa: A002 as on the command line
        str,
        typer.Argument(
            metavar="ID", help="As in qd token list; also the part of a secret between its first two _.", autocompletion=token_ids
        ),
    ],
    *,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the journal.")] = "",
) -> None:
    """End a token at once; what it has open ends within two seconds.

    $ qd token revoke 0b55d336 --reason "laptop lost"
    """
    if not _ID.fullmatch(id):
        raise UsageError(f"{id!r} is no token's id", hint="qd token list shows them, for example 0b55d336")
    done = session.client.delete(f"/v1/tokens/{id}", {"reason": reason or None})

    def text(screen: Screen) -> None:
        screen.line(f"token {clean(done['id'])} is revoked")

    show(session, done, text, name=done["id"])
    session.say("next: qd token list")
