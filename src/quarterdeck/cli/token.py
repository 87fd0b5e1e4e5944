"""`qd token`: secrets for programs and people, each with a role, perhaps for one cluster, and an end."""

from __future__ import annotations

import re
from typing import Annotated, Final

import typer

from quarterdeck.cli.completing import token_ids, token_users
from quarterdeck.cli.get import draw, following
from quarterdeck.cli.link import Role, UserOption, check_cluster, check_user
from quarterdeck.cli.render import clock_time, counted, show
from quarterdeck.cli.screen import Screen, clean
from quarterdeck.cli.session import Output, Session
from quarterdeck.cli.times import duration
from quarterdeck.cli.usage import UsageError
from quarterdeck.client.wire import Document
from quarterdeck.errors import NotFound
from quarterdeck.model.wording import nearest

_LEAST, _MOST = "1s", "365d"
_LONGEST_NOTE: Final = 200
WhoseOption = Annotated[str | None, typer.Option("--user", metavar="NAME", help="Those of this user.", autocompletion=token_users)]
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
    $ (umask 077; qd token create --role operator --cluster analysts --user alice --refresh > token)

    viewer reads; operator also changes, asks and validates; deployer also deploys and rolls back; admin may do everything.
    With --refresh it opens nothing itself: qd and the clients trade it, each hour, for what they send. An access token that works longer
    than an hour (--ttl) is warned of.
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
    session.say(f"token {clean(made['id'])} works until {clock_time(made['expires'])} · {use} · next: qd token list")


def list_(session: Session, user: WhoseOption = None) -> None:
    """Tokens that work, newest first; login links that nobody used yet and sessions of browsers are among them. USED is to the minute.

    $ qd token list -o json
    $ qd token list --user alice
    """
    document: Document = session.client.get("/v1/tokens")
    if user is not None:
        document = {**document, "items": _of(document, user)}
        if not (document["items"] or session.machine):
            session.say(f"{clean(user)} has no token that works; qd token list shows whose there are")
            return
    draw(session, "tokens", document)
    session.say(f"next: {following('tokens', document['items'])}")


def revoke(
    session: Session,
    id: Annotated[  # noqa: A002 as on the command line
        str | None,
        typer.Argument(
            metavar="ID",
            show_default=False,
            help="As in qd token list; also the part of a secret between its first two _.",
            autocompletion=token_ids,
        ),
    ] = None,
    *,
    user: WhoseOption = None,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the journal.")] = "",
) -> None:
    """End a token at once, or with --user all that a user has, sessions of browsers too; what they have open ends within two seconds.

    $ qd token revoke 0b55d336 --reason "laptop lost"
    $ qd token revoke --user alice --reason "has left"
    """
    if (id is None) == (not user):  # a variable that is empty names nobody
        raise UsageError("say which token: one by its id, or all of a user", hint="qd token revoke ID · qd token revoke --user NAME")
    if id is not None:
        _revoke_one(session, id, reason)
    else:
        _revoke_all(session, user or "", reason)
    session.say("next: qd token list")


def _revoke_one(session: Session, id: str, reason: str) -> None:  # noqa: A002 as on the command line
    if not _ID.fullmatch(id):
        raise UsageError(f"{id!r} is no token's id", hint="qd token list shows them, for example 0b55d336")
    done = _revoked(session, id, reason)

    def text(screen: Screen) -> None:
        screen.line(f"token {clean(done['id'])} is revoked")

    show(session, done, text, name=done["id"])


def _revoke_all(session: Session, user: str, reason: str) -> None:
    """One after the other, so that what was ended stays ended where a later one fails. Raises NotFound for a user who has none."""
    document: Document = session.client.get("/v1/tokens")
    meant = _of(document, user)
    if not meant:
        near = nearest(user, {str(one["user"]) for one in document["items"] if one["user"]})
        raise NotFound(
            f"{user!r} has no token that works", hint=f"did you mean {near!r}?" if near else "qd token list shows whose there are"
        )
    done = [_revoked(session, str(one["id"]), reason) for one in meant]
    if session.output is Output.name:
        session.screen.lines(*(clean(one["id"]) for one in done))
        return
    told = f"{counted(len(done), 'token')} of {clean(user)} revoked"
    show(session, {**document, "items": done}, lambda screen: screen.line(told))


def _revoked(session: Session, id: str, reason: str) -> Document:  # noqa: A002 as on the command line
    done: Document = session.client.delete(f"/v1/tokens/{id}", {"reason": reason or None})
    return done


def _of(document: Document, user: str) -> list[Document]:
    """The tokens of a List that a user has."""
    return [one for one in document["items"] if one["user"] == user]
