"""Tokens of the API: 256 random bits, stored as SHA-256 only, compared in constant time; login codes are tokens that work once."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from sqlalchemy import Connection, select

from quarterdeck.errors import Forbidden, NotFound
from quarterdeck.model.grant import Grant, Role
from quarterdeck.model.records import PLATFORM, Actor, Entry
from quarterdeck.store import journal, rows, tables
from quarterdeck.store.writing import Writing


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
    revoked: float | None
    used: float | None
    user: str = ""


def create(
    tx: Writing, grant: Grant, ttl: float, note: str, user: str = "", *, once: bool = False, actor: Actor = PLATFORM
) -> tuple[str, str]:
    """(id, secret): the secret is shown once and cannot be found again. `ttl` is seconds."""
    id_, bits = secrets.token_hex(4), secrets.token_urlsafe(32)
    secret = f"qd_{id_}_{bits}"
    times = {"created": tx.now, "expires": tx.now + ttl, "revoked": None, "used": None}
    allowed = {"role": grant.role, "cluster": grant.cluster, "system": grant.system}
    rows.insert(tx, tables.tokens, id=id_, hash=_hash(secret), note=note, once=once, user=user, **allowed, **times)
    verb = "token.code" if once else "token.create"
    journal.append(tx, Entry(actor, verb, f"token:{id_}", note, after={**allowed, "user": user, "ttl": ttl}))
    return id_, secret


def check(connection: Connection, secret: str, now: float) -> Token:
    """The token behind a secret; raises Forbidden when it is unknown, expired, revoked, or a login code."""
    row = _found(connection, secret, now)
    if row["once"]:
        raise Forbidden("this is a login code, not a token", hint="open the link that was printed with it")
    return _token(row)


def check_code(connection: Connection, code: str, now: float) -> None:
    """Raise Forbidden unless a login code would be redeemed: reading costs the writer nothing, however often somebody guesses."""
    _code(connection, code, now)


def redeem(tx: Writing, code: str, ttl: float) -> tuple[str, str]:
    """Turn a login code into (id, secret) of a session token that allows the same; the code works once. Raises Forbidden."""
    row = _code(tx.connection, code, tx.now)
    rows.update(tx, tables.tokens, row, revoked=tx.now)
    user = str(row["user"])
    return create(tx, _grant(row), ttl, f"login with {row['id']}", user, actor=Actor(f"token:{row['id']}", "login", user))


def revoke(tx: Writing, id: str, actor: Actor, reason: str) -> None:  # noqa: A002 the noun's own word
    """From now on refused; raises NotFound."""
    row = rows.one(tx.connection, tables.tokens, id=id)
    if row is None:
        msg = f"there is no token {id}"
        raise NotFound(msg, hint="its id is the part between the first two underscores: qd_ID_…")
    if row["revoked"] is None:
        rows.update(tx, tables.tokens, row, revoked=tx.now)
        journal.append(tx, Entry(actor, "token.revoke", f"token:{id}", reason))


def list_(connection: Connection, now: float) -> list[Token]:
    """Those that still work, newest first."""
    t = tables.tokens
    query = select(t).where(t.c.revoked.is_(None), t.c.expires > now).order_by(t.c.created.desc(), t.c.id)
    return [_token(row) for row in rows.many(connection, t, query)]


def living(connection: Connection, ids: frozenset[str], now: float) -> frozenset[str]:
    """Those of these that still work."""
    t = tables.tokens
    query = select(t).where(t.c.id.in_(ids), t.c.revoked.is_(None), t.c.expires > now)
    return frozenset(str(row["id"]) for row in rows.many(connection, t, query))


def touch(tx: Writing, uses: Mapping[str, float]) -> None:
    """Keep the minute in which each token (by id) was used last; not journalled."""
    t = tables.tokens
    for row in rows.many(tx.connection, t, select(t).where(t.c.id.in_(uses))):
        minute = uses[str(row["id"])] // 60 * 60
        if row["used"] != minute:
            rows.update(tx, t, row, used=minute)


def prune(tx: Writing) -> int:
    """Delete those that ended more than a day ago; their journal records stay. Gives how many."""
    t = tables.tokens
    old = rows.many(tx.connection, t, select(t).where(t.c.expires < tx.now - 86_400))
    for row in old:
        rows.delete(tx, t, row)
    return len(old)


def _found(connection: Connection, secret: str, now: float) -> rows.Row:
    parts = secret.split("_", 2)
    row = rows.one(connection, tables.tokens, id=parts[1]) if len(parts) == 3 else None  # noqa: PLR2004 qd, id, bits
    stored = str(row["hash"]) if row else _hash("")
    matches = hmac.compare_digest(stored, _hash(secret))
    if row is None or not matches or row["revoked"] is not None or now >= float(str(row["expires"])):
        raise Forbidden("the token is unknown, expired or revoked", hint="qd open makes a fresh login link")
    return row


def _code(connection: Connection, code: str, now: float) -> rows.Row:
    row = _found(connection, code, now)
    if not row["once"]:
        raise Forbidden("this is a token, not a login code", hint="send it as Authorization: Bearer TOKEN; qd open makes a login link")
    return row


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _grant(row: rows.Row) -> Grant:
    return Grant(cast("Role", row["role"]), cast("str | None", row["cluster"]), cast("str | None", row["system"]))


def _token(row: rows.Row) -> Token:
    kept = {name: row[name] for name in ("id", "note", "created", "expires", "once", "revoked", "used", "user")}
    return Token(grant=_grant(row), **kept)  # type: ignore[arg-type]
