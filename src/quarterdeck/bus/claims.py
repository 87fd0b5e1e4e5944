"""The JWTs of nats-server's operator mode: minted here, checked by the server. Pure: keys and times are arguments.

Form: github.com/nats-io/jwt v2 (header alg `ed25519-nkey`; claims iat, iss, sub, name, `nats{type, version: 2, …}`; jti = base32 of the
SHA-512/256 over the claims). Times in claims are whole seconds since the Unix epoch.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from quarterdeck.bus import subjects
from quarterdeck.bus.keys import Key
from quarterdeck.bus.subjects import Sender
from quarterdeck.model.table import Credential

Body = dict[str, object]
KeyOf = Callable[[str], Key]
_HEADER: Final = {"typ": "JWT", "alg": "ed25519-nkey"}
_UNLIMITED: Final = -1
_FORM: Final = 1
"""Raised when the same AccountSpec is to be written differently, so that accounts pushed by an older version are pushed again."""
ANSWERS: Final = ("_INBOX.>", "_R_.>")
"""Where a replica may answer: inboxes of its own account, and the server's stand-ins for those of other accounts.

Not by nats-server's response permission (`resp`): that allows whatever reply subject a received message names, and a replica that asks
itself with the reply subject `$JS.API.STREAM.DELETE.…`, or in another's name, would thereby get the right to it.
"""
REPLICA_SUBSCRIPTIONS: Final = 16
"""A replica needs three: its agent's, its own, its inbox."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What an account may use at most: connections, subscriptions, bytes of one message, bytes on disk, streams, consumers."""

    connections: int
    subscriptions: int
    payload: int
    disk: int = 0
    streams: int = 0
    consumers: int = 0


@dataclass(frozen=True, slots=True)
class Export:
    """Requests on `subject` are answered for account `to`, and for no other."""

    subject: str
    to: str


@dataclass(frozen=True, slots=True)
class Import:
    """Requests on `local` go out to account `source` as `subject`. Both end in the same wildcard."""

    source: str
    subject: str
    local: str


@dataclass(frozen=True, slots=True)
class AccountSpec:
    """An account as it should be. `revocations`: (public key of a user, epoch seconds): its JWTs issued until then no longer count."""

    name: str
    limits: Limits
    exports: tuple[Export, ...] = ()
    imports: tuple[Import, ...] = ()
    revocations: tuple[tuple[str, int], ...] = ()


def digest(spec: AccountSpec, key_of: KeyOf) -> str:
    """Equal for equal specs under equal keys; written into the account's JWT, so that what the server has can be compared.

    The keys count because a cluster that was removed and made again is another account to import from.
    """
    sources = {wanted.source: key_of(wanted.source).public for wanted in spec.imports}
    return hashlib.sha256(_json([_FORM, asdict(spec), sources])).hexdigest()


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def mint(subject: str, name: str, nats: Body, signer: Key, *, issued: float, expires: float | None = None) -> str:
    """Sign one claim about `subject` (a public key)."""
    claims: Body = {"iat": int(issued), "iss": signer.public, "sub": subject, "name": name, "nats": {"version": 2, **nats}}
    if expires is not None:
        claims["exp"] = int(expires)
    digest = hashlib.new("sha512_256", _json(claims)).digest()
    claims["jti"] = base64.b32encode(digest).rstrip(b"=").decode()
    signed = f"{_base64(_json(_HEADER))}.{_base64(_json(claims))}"
    return f"{signed}.{_base64(signer.sign(signed.encode()))}"


def read(jwt: str) -> dict:  # type: ignore[type-arg]
    """The claims of a JWT, its signature unchecked: only for what the server itself has checked. Raises ValueError when it is none."""
    parts = jwt.split(".")
    if len(parts) != 3:  # noqa: PLR2004 header, claims, signature
        msg = "not a JWT: it has no three parts"
        raise ValueError(msg)
    claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    if not isinstance(claims, dict):
        msg = "not a JWT: its claims are no object"
        raise ValueError(msg)  # noqa: TRY004 for the caller it is a malformed text, not a wrong type
    return claims


def operator(key: Key, system: Key, *, issued: float) -> str:
    """The self-signed root: names the system account."""
    return mint(key.public, "quarterdeck", {"type": "operator", "system_account": system.public}, key, issued=issued)


def account(spec: AccountSpec, operator: Key, key_of: KeyOf, *, issued: float) -> str:
    """An account's JWT. Every import carries the exporter's consent: neither side's JWT alone opens a path."""
    own = key_of(spec.name)
    nats: Body = {
        "type": "account",
        "description": digest(spec, key_of),
        "limits": _limits(spec.limits),
        "exports": [{"name": e.subject, "subject": e.subject, "type": "service", "token_req": True} for e in _subjects(spec.exports)],
        "imports": [_import(i, own, key_of(i.source), issued) for i in spec.imports],
        "revocations": dict(spec.revocations),
        "default_permissions": {"pub": {}, "sub": {}},
    }
    return mint(own.public, spec.name, nats, operator, issued=issued)


def _subjects(exports: tuple[Export, ...]) -> tuple[Export, ...]:
    """One export a subject, though it may be meant for several accounts."""
    return tuple({export.subject: export for export in exports}.values())


def _limits(limits: Limits) -> Body:
    return {
        "subs": limits.subscriptions,
        "data": _UNLIMITED,
        "payload": limits.payload,
        "imports": _UNLIMITED,
        "exports": _UNLIMITED,
        "wildcards": True,
        "disallow_bearer": True,
        "conn": limits.connections,
        "leaf": 0,
        "mem_storage": 0,
        "disk_storage": limits.disk,
        "streams": limits.streams,
        "consumer": limits.consumers,
        "max_bytes_required": True,
    }


def _import(wanted: Import, importer: Key, exporter: Key, issued: float) -> Body:
    consent: Body = {"type": "activation", "kind": "service", "subject": wanted.subject}
    return {
        "name": wanted.local,
        "subject": wanted.subject,
        "local_subject": wanted.local,
        "account": exporter.public,
        "type": "service",
        "token": mint(importer.public, wanted.subject, consent, exporter, issued=issued),
    }


def deletion(operator: Key, accounts: Sequence[Key], *, issued: float) -> str:
    """The operator's order to delete accounts, for `$SYS.REQ.CLAIMS.DELETE`."""
    nats: Body = {"type": "generic", "accounts": [key.public for key in accounts]}
    return mint(operator.public, "delete", nats, operator, issued=issued)


def user(
    account: Key,
    key: Key,
    name: str,
    *,
    publish: Sequence[str],
    subscribe: Sequence[str],
    issued: float,
    expires: float | None,
    subscriptions: int = _UNLIMITED,
    incarnation: int = 0,
) -> Credential:
    """A user of an account with exact allow lists; an empty list allows nothing.

    `expires` None is for the control plane's own connections, whose seeds live in its memory only.
    """
    nats: Body = {
        "type": "user",
        "pub": _permission(publish),
        "sub": _permission(subscribe),
        "subs": subscriptions,
        "data": _UNLIMITED,
        "payload": _UNLIMITED,
        "allowed_connection_types": ["STANDARD"],
    }
    jwt = mint(key.public, name, nats, account, issued=issued, expires=expires)
    return Credential(incarnation, jwt, key.seed, math.inf if expires is None else float(int(expires)))


def _permission(allowed: Sequence[str]) -> Body:
    """For nats-server an empty allow list means everything."""
    return {"allow": list(allowed)} if allowed else {"deny": [">"]}


def replica_user(
    account: Key,
    key: Key,
    sender: Sender,
    incarnation: int,
    *,
    peers: tuple[str, ...],
    linked: tuple[str, ...],
    issued: float,
    expires: float,
) -> Credential:
    """The user of one incarnation of a replica: it speaks only in its own name, to agents of its cluster and over its cluster's links."""
    return user(
        account,
        key,
        f"{sender.cluster}/{sender.agent}-{sender.n}:{incarnation}",
        publish=(*subjects.publish_allowed(sender, incarnation, peers, linked), *ANSWERS),
        subscribe=subjects.subscribe_allowed(sender, incarnation),
        issued=issued,
        expires=expires,
        subscriptions=REPLICA_SUBSCRIPTIONS,
        incarnation=incarnation,
    )
