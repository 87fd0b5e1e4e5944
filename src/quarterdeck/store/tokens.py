"""Tokens of the API: 256 random bits, stored as SHA-256 only, compared in constant time.

A login code works once, and gives a session. A refresh token opens nothing itself: it is traded for access tokens of an hour, so that what
travels with each request is soon worth nothing (RFC 6749, section 1.5). An access token acts under the id of what it was traded for.

What came of another one, its parent, ends with it: an access token of a refresh token or of a provider's word, a refresh token of whoever
let a program in.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, cast

from sqlalchemy import Connection, and_, func, or_, select

from quarterdeck.errors import Conflict, Forbidden, NotFound
from quarterdeck.model.grant import Grant, Role
from quarterdeck.model.records import PLATFORM, Actor, Entry
from quarterdeck.store import journal, rows, tables
from quarterdeck.store.writing import Writing

MOST_LET_IN: Final = 20
"""Refresh tokens that live of one parent."""
ACCESS_LIVES: Final = 3600.0
"""Seconds that an access token works."""
REFRESHES: Final = "qdr_"
"""How the secret of a refresh token begins: clients see by it that it has to be traded."""
Kind = Literal["token", "code", "refresh"]
_VOUCHED: Final = 86_400.0
"""Seconds after its last token for which a subject is known, and for which tokens that ended are kept."""
_AT_ONCE: Final = 5_000
_VERBS: Final[Mapping[Kind, str]] = {"token": "token.create", "code": "token.code", "refresh": "token.create"}


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a token; the secret itself is nowhere. Times in epoch seconds; `used` is the minute of the last use.

    `user` is whom it was made for: what is done with it is journalled as done on behalf of that person or program; "" says nobody.
    """

    id: str
    grant: Grant
    note: str
    created: float
    expires: float
    once: bool
    refresh: bool
    revoked: float | None
    used: float | None
    user: str = ""


def create(  # noqa: PLR0917 what a token is
    tx: Writing, grant: Grant, ttl: float, note: str, user: str = "", kind: Kind = "token", *, actor: Actor = PLATFORM, parent: str = ""
) -> tuple[str, str]:
    """(id, secret): the secret is shown once and cannot be found again. `ttl` is seconds; with `parent` it ends with that token too.

    Raises Forbidden when that one has ended, Conflict when it has too many already.
    """
    if parent:
        _check_parent(tx, parent)
    id_, secret = _insert(tx, grant, ttl, note, user, kind, parent or None)
    after = {**_allowed(grant), "user": user, "ttl": ttl, **({"refresh": True} if kind == "refresh" else {})}
    journal.append(tx, Entry(actor, _VERBS[kind], f"token:{id_}", note, after=after))
    return id_, secret


def check(connection: Connection, secret: str, now: float) -> Token:
    """The token behind a secret, an access token's under the id of what it was traded for; `expires` is the secret's own.

    Raises Forbidden when it is unknown, expired, revoked, or one that is traded for another.
    """
    row = _found(connection, secret, now)
    if row["once"]:
        raise Forbidden("this is a login code, not a token", hint="open the link that was printed with it")
    if row["refresh"]:
        raise Forbidden("this is a refresh token", hint="trade it for an access token: POST /v1/login/token; qd and its clients do so")
    if row["parent"] is None:
        return _token(row)
    parent = rows.one(connection, tables.tokens, id=row["parent"])
    if parent is None:
        raise _unknown()
    return replace(_token(parent), expires=float(str(row["expires"])))


def check_code(connection: Connection, code: str, now: float) -> None:
    """Raise Forbidden unless a login code would be redeemed: reading costs the writer nothing, however often somebody guesses."""
    _code(connection, code, now)


def check_refresh(connection: Connection, secret: str, now: float) -> Token:
    """The refresh token behind a secret; raises Forbidden for any other."""
    return _token(_refresh(connection, secret, now))


def redeem(tx: Writing, code: str, ttl: float) -> tuple[str, str]:
    """Turn a login code into (id, secret) of a session token that allows the same; the code works once. Raises Forbidden."""
    row = _code(tx.connection, code, tx.now)
    rows.update(tx, tables.tokens, row, revoked=tx.now)
    user = str(row["user"])
    return create(tx, _grant(row), ttl, f"login with {row['id']}", user, actor=Actor(f"token:{row['id']}", "login", user))


def trade(tx: Writing, secret: str) -> tuple[Token, str]:
    """An access token for a refresh token: (the refresh token with `expires` of the access token, secret). Raises Forbidden."""
    row = _refresh(tx.connection, secret, tx.now)
    found = _token(row)
    lives = min(ACCESS_LIVES, found.expires - tx.now)
    _, access = _insert(tx, found.grant, lives, "", found.user, "token", parent=found.id)
    rows.update(tx, tables.tokens, row, used=tx.now // 60 * 60)
    return replace(found, expires=tx.now + lives), access


def vouched(tx: Writing, subject: str, since: float, grant: Grant, ttl: float, user: str, actor: Actor) -> tuple[str, float]:  # noqa: PLR0917
    """(secret, seconds) of an access token for somebody whom a provider names: `subject` is unique, `since` when its word was given.

    All of one subject have one parent, which allows what is allowed now, and which can be revoked: then only a later word counts. It is
    journalled when it begins, and forgotten a day after the last. Raises Forbidden.
    """
    id_ = hashlib.sha256(subject.encode()).hexdigest()[:16]
    row, until = rows.one(tx.connection, tables.tokens, id=id_), {"expires": tx.now + _VOUCHED, "used": tx.now // 60 * 60}
    if row is not None and row["revoked"] is not None and since <= float(str(row["revoked"])):
        raise Forbidden("what the provider said was revoked here", hint="get a fresh token there")
    if row is None:
        values = {**_allowed(grant), **until, "revoked": None, "created": tx.now, "note": f"vouched for: {subject}"[:200], "user": user}
        rows.insert(tx, tables.tokens, id=id_, hash="", once=False, refresh=True, parent=None, **values)
    else:
        rows.update(tx, tables.tokens, row, **_allowed(grant), **until, revoked=None, user=user)
    if row is None or row["revoked"] is not None or _grant(row) != grant:
        journal.append(
            tx, Entry(actor, "token.create", f"token:{id_}", f"vouched for: {subject}"[:200], after={**_allowed(grant), "user": user})
        )
    lives = min(ACCESS_LIVES, ttl)
    return _insert(tx, grant, lives, "", user, "token", parent=id_)[1], lives


def revoke(tx: Writing, id: str, actor: Actor, reason: str) -> str:  # noqa: A002 the noun's own word
    """From now on refused, and what it was traded for with it. Gives the id that ended: an access token's is the refresh token's.

    Raises NotFound.
    """
    row = rows.one(tx.connection, tables.tokens, id=id)
    if row is not None and row["parent"] is not None and not row["refresh"]:  # whoever has one may have the other
        return revoke(tx, str(row["parent"]), actor, reason)
    if row is None:
        msg = f"there is no token {id}"
        raise NotFound(msg, hint="its id is the part between the first two underscores: qd_ID_…")
    if row["revoked"] is None:
        rows.update(tx, tables.tokens, row, revoked=tx.now)
        journal.append(tx, Entry(actor, "token.revoke", f"token:{id}", reason))
    return id


def list_(connection: Connection, now: float) -> list[Token]:
    """Those that still work, newest first; without the access tokens that they were traded for."""
    t = tables.tokens
    listed = or_(t.c.parent.is_(None), t.c.refresh)
    query = select(t).where(t.c.revoked.is_(None), t.c.expires > now, listed).order_by(t.c.created.desc(), t.c.id)
    return [_token(row) for row in rows.many(connection, t, query) if _lives(connection, row, now)]


def living(connection: Connection, ids: frozenset[str], now: float) -> frozenset[str]:
    """Those of these that still work."""
    t = tables.tokens
    query = select(t).where(t.c.id.in_(ids), t.c.revoked.is_(None), t.c.expires > now)
    return frozenset(str(row["id"]) for row in rows.many(connection, t, query) if _lives(connection, row, now))


def touch(tx: Writing, uses: Mapping[str, float]) -> None:
    """Keep the minute in which each token (by id) was used last; not journalled."""
    t = tables.tokens
    for row in rows.many(tx.connection, t, select(t).where(t.c.id.in_(uses))):
        minute = uses[str(row["id"])] // 60 * 60
        if row["used"] != minute:
            rows.update(tx, t, row, used=minute)


def prune(tx: Writing) -> int:
    """Delete those that ended more than a day ago, access tokens that were traded at once; journal records stay. Gives how many."""
    t = tables.tokens
    traded = and_(t.c.parent.is_not(None), t.c.refresh.is_(False), t.c.expires < tx.now)
    old = rows.many(tx.connection, t, select(t).where(or_(t.c.expires < tx.now - _VOUCHED, traded)).limit(_AT_ONCE))
    for row in old:
        rows.delete(tx, t, row)
    return len(old)


def _insert(  # noqa: PLR0917 what a token is
    tx: Writing, grant: Grant, ttl: float, note: str, user: str, kind: Kind, parent: str | None = None
) -> tuple[str, str]:
    id_, bits = secrets.token_hex(8 if parent else 4), secrets.token_urlsafe(32)  # of those that are traded there are many
    secret = f"{REFRESHES if kind == 'refresh' else 'qd_'}{id_}_{bits}"
    times = {"created": tx.now, "expires": tx.now + ttl, "revoked": None, "used": None}
    kinds = {"once": kind == "code", "refresh": kind == "refresh", "parent": parent}
    rows.insert(tx, tables.tokens, id=id_, hash=digest(secret), note=note, user=user, **_allowed(grant), **kinds, **times)
    return id_, secret


def _allowed(grant: Grant) -> dict[str, str | None]:
    return {"role": grant.role, "cluster": grant.cluster, "system": grant.system}


def _found(connection: Connection, secret: str, now: float) -> rows.Row:
    parts = secret.split("_", 2)
    row = rows.one(connection, tables.tokens, id=parts[1]) if len(parts) == 3 else None  # noqa: PLR2004 qd, id, bits
    stored = str(row["hash"]) if row else digest("")
    matches = hmac.compare_digest(stored, digest(secret))
    if row is None or not matches or not _lives(connection, row, now):
        raise _unknown()
    return row


def _alive(row: rows.Row, now: float) -> bool:
    return row["revoked"] is None and now < float(str(row["expires"]))


def _lives(connection: Connection, row: rows.Row, now: float) -> bool:
    """Whether it works, and all that it came of."""
    if not _alive(row, now):
        return False
    if row["parent"] is None:
        return True
    parent = rows.one(connection, tables.tokens, id=row["parent"])
    return parent is not None and _lives(connection, parent, now)


def _check_parent(tx: Writing, id_: str) -> None:
    t = tables.tokens
    row = rows.one(tx.connection, t, id=id_)
    if row is None or not _lives(tx.connection, row, tx.now):
        raise Forbidden("who allowed it is not let in any more", hint="log in again, then let the program in")
    query = select(func.count()).where(t.c.parent == id_, t.c.refresh, t.c.revoked.is_(None), t.c.expires > tx.now)
    if int(tx.connection.execute(query).scalar() or 0) >= MOST_LET_IN:
        raise Conflict(f"{MOST_LET_IN} programs were let in by this session already", hint="qd logout ends one")


def _unknown() -> Forbidden:
    return Forbidden("the token is unknown, expired or revoked", hint="qd open makes a fresh login link")


def _code(connection: Connection, code: str, now: float) -> rows.Row:
    row = _found(connection, code, now)
    if not row["once"]:
        raise Forbidden("this is a token, not a login code", hint="send it as Authorization: Bearer TOKEN; qd open makes a login link")
    return row


def _refresh(connection: Connection, secret: str, now: float) -> rows.Row:
    row = _found(connection, secret, now)
    if not row["refresh"]:
        raise Forbidden("this is no refresh token", hint="an access token is sent as it is: Authorization: Bearer TOKEN")
    return row


def digest(secret: str) -> str:
    """What is kept of a secret: its SHA-256."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _grant(row: rows.Row) -> Grant:
    return Grant(cast("Role", row["role"]), cast("str | None", row["cluster"]), cast("str | None", row["system"]))


def _token(row: rows.Row) -> Token:
    kept = {name: row[name] for name in ("id", "note", "created", "expires", "once", "refresh", "revoked", "used", "user")}
    return Token(grant=_grant(row), **kept)  # type: ignore[arg-type]
