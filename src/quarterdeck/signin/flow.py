"""Signing in: a browser is sent to the provider and comes back with a code (OpenID Connect Core, section 3.1; PKCE, RFC 7636).

What has to be known when it comes back lies in a cookie of that browser, sealed with a key of this process: nothing is kept here, so nobody
can fill anything up, and a restart means to begin again.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Final

from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from quarterdeck.clock import Clock
from quarterdeck.errors import Forbidden, QuarterdeckError, SpecError, Transient
from quarterdeck.model.grant import Grant
from quarterdeck.signin import jwt
from quarterdeck.signin.provider import Provider
from quarterdeck.signin.settings import VARIABLE, Claims, SignIn, read

BACK: Final = "/login/callback"
LIVES: Final = 600.0
"""Seconds from the first page to the last."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody (or a program) whom the provider names: `subject` is unique there, `user` is for people, `until` when its word ends."""

    grant: Grant
    user: str
    subject: str
    until: float


@dataclass(frozen=True, slots=True)
class _Begun:
    """What a browser keeps until it comes back; `until` in epoch seconds."""

    state: str
    nonce: str
    verifier: str
    landing: str
    until: float


@dataclass(slots=True)
class Flow:
    """The way in by a provider, as `file` says; it is read anew when it has changed, and while it has faults nobody gets in by it.

    `back` is where the provider sends browsers back to.
    """

    file: Path
    environ: Mapping[str, str]
    back: str
    clock: Clock
    _box: SecretBox = field(default_factory=lambda: SecretBox(secrets.token_bytes(SecretBox.KEY_SIZE)))
    _read: tuple[tuple[int, ...], Provider | None, str] = ((), None, "")
    """The file's mark when it was read, who it named, and what was wrong with it."""

    @classmethod
    def of(cls, environ: Mapping[str, str], url: str, clock: Clock) -> Flow | None:
        """By the file that the environment names; None without one. `url` is where browsers reach us."""
        named = environ.get(VARIABLE, "").strip()
        return cls(Path(named), environ, url + BACK, clock) if named else None

    @property
    def provider(self) -> Provider:
        """Who the file names now. Raises Transient while it has faults."""
        found = self._looked()
        if found is None:
            raise Transient("the sign-in file has faults, so nobody signs in by it", hint="qd version -o json tells which; qd open works")
        return found

    @property
    def sign_in(self) -> SignIn:
        """The settings. Raises Transient while they have faults."""
        return self.provider.settings.sign_in

    @property
    def host(self) -> str:
        """The provider, for people; nothing while nobody can sign in."""
        found = self._looked()
        return found.settings.sign_in.host if found else ""

    @property
    def fault(self) -> str:
        """What is wrong with the file; nothing when it can be used."""
        self._looked()
        return self._read[2]

    def _looked(self) -> Provider | None:
        mark = _mark(self.file)
        if mark != self._read[0] or not mark:
            try:
                settings = read(self.file, self.environ)
            except QuarterdeckError as error:
                self._read = mark, None, "\n".join((error.message, *(error.problems if isinstance(error, SpecError) else ())))
            else:
                old = self._read[1]
                same = old is not None and old.settings == settings
                self._read = mark, old if same else Provider(settings, self.clock), ""
        return self._read[1]

    async def begin(self, landing: str) -> tuple[str, str]:
        """(where the browser goes, what it has to bring back): for the page `landing`, once."""
        begun = _Begun(_secret(), _secret(), _secret(), landing, self.clock.now() + LIVES)
        asked = {
            "response_type": "code",
            "client_id": self.sign_in.client_id,
            "redirect_uri": self.back,
            "scope": " ".join(self.sign_in.scopes),
            "state": begun.state,
            "nonce": begun.nonce,
            "code_challenge": _unpadded(hashlib.sha256(begun.verifier.encode()).digest()),
            "code_challenge_method": "S256",
        }
        return await self.provider.sends_to(asked), _unpadded(self._box.encrypt(json.dumps(astuple(begun)).encode()))

    async def finish(self, kept: str, state: str, code: str, issuer: str | None) -> tuple[Person, str]:
        """(who came back, the page to land on). `issuer` is what the answer says of where it comes from (RFC 9207). Raises Forbidden."""
        begun = self._opened(kept)
        if not hmac.compare_digest(begun.state.encode(), state.encode()) or self.clock.now() >= begun.until:
            raise _again("this sign-in was begun in another browser, or more than ten minutes ago")
        about = await self.provider.about()
        if issuer != self.sign_in.issuer and (issuer is not None or about.get("authorization_response_iss_parameter_supported") is True):
            raise _again("the answer comes from another provider")
        token = await self.provider.redeem(code, begun.verifier, self.back)
        claims = await self._claims(token, self.sign_in.client_id)
        jwt.meant_for_us(claims, self.sign_in.client_id, begun.nonce)
        return self._person(claims), begun.landing

    async def recognised(self, token: str) -> Person:
        """Whom a token of the provider names that a program shows. Raises Forbidden."""
        return self._person(await self._claims(token, self.sign_in.expects))

    async def _claims(self, token: str, audience: str) -> Claims:
        algorithm = self.sign_in.algorithm
        kid = jwt.key_id(token, algorithm)
        key = jwt.fitting(await self.provider.keys(), algorithm, kid)
        if key is None:  # it may be new
            key = jwt.fitting(await self.provider.keys(fresh=True), algorithm, kid)
        if key is None:
            raise jwt.Refused("no key of the provider fits it")
        return jwt.verified(token, key, self.sign_in, audience, self.clock.now())

    def _person(self, claims: Claims) -> Person:
        grant, user = self.sign_in.grant(claims), self.sign_in.name(claims)
        if grant is None:
            hint = "an administrator adds a line to grants in the sign-in file; it looks at " + ", ".join(
                sorted({rule.claim for rule in self.sign_in.grants})
            )
            raise Forbidden(f"{self.sign_in.host} knows {user}, and nothing here allows {user} anything", hint=hint)
        return Person(grant, user, str(claims["sub"]), float(claims["exp"]))

    def _opened(self, kept: str) -> _Begun:
        try:
            return _Begun(*json.loads(self._box.decrypt(base64.urlsafe_b64decode(kept + "=" * (-len(kept) % 4)))))
        except (CryptoError, ValueError) as error:
            raise _again("this sign-in was not begun in this browser, or the control plane was restarted since") from error


def _again(why: str) -> Forbidden:
    return Forbidden(why, hint="begin again: /login/start")


def _mark(file: Path) -> tuple[int, ...]:
    try:
        found = file.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _secret() -> str:
    """256 random bits, as long as a verifier has to be (RFC 7636, section 4.1)."""
    return secrets.token_urlsafe(32)


def _unpadded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
