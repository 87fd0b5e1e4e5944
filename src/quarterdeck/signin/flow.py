"""Signing in: a browser is sent to the provider and comes back with a code (OpenID Connect Core, section 3.1; PKCE, RFC 7636).

What has to be known when it comes back lies in a cookie of that browser, sealed with a key of this process: nothing is kept here, so nobody
can fill anything up, and a restart means to begin again.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
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
from quarterdeck.signin.settings import VARIABLE, Claims, SignIn, read, shown

BACK: Final = "/login/callback"
LOOK_EVERY: Final = 1.0
"""Seconds between two looks at the file."""
LIVES: Final = 600.0
"""Seconds from the first page to the last."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody (or a program) whom the provider names: `subject` is unique at the `issuer`, `user` is for people.

    The word was given at `since` and ends at `until`, in epoch seconds.
    """

    grant: Grant
    user: str
    issuer: str
    subject: str
    since: float
    until: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What a browser brings back (OpenID Connect Core, section 3.1.2.5). `issuer`: where it says that it comes from (RFC 9207)."""

    state: str
    code: str = ""
    issuer: str | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class _Begun:
    """What a browser keeps until it comes back; `until` in epoch seconds."""

    state: str
    nonce: str
    verifier: str
    landing: str
    until: float
    issuer: str


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
    _provider: Provider | None = None
    _fault: str = ""
    _marks: tuple[tuple[int, ...], ...] = ()
    """Of what the provider was read from, as it was then."""
    _looked_at: float = -math.inf

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
        return self._fault

    def _looked(self) -> Provider | None:
        """Who is named by what the file, the secret and the authority are now, as of a second ago at most."""
        now = self.clock.monotonic()
        if now - self._looked_at < LOOK_EVERY:
            return self._provider
        self._looked_at, old = now, self._provider
        if old is not None and self._marks == tuple(map(_mark, old.settings.files)):
            return old
        try:
            settings = read(self.file, self.environ)
            self._fault, self._marks = "", tuple(map(_mark, settings.files))
        except (QuarterdeckError, OSError, RuntimeError, ValueError) as error:  # whatever it holds, everybody else is served
            message = error.message if isinstance(error, QuarterdeckError) else str(error)
            self._fault = "\n".join((message, *(error.problems if isinstance(error, SpecError) else ())))
            self._provider = None
            return None
        self._provider = old if old is not None and old.settings == settings else Provider(settings, self.clock)
        return self._provider

    async def begin(self, landing: str) -> tuple[str, str]:
        """(where the browser goes, what it has to bring back): for the page `landing`, once."""
        provider = self.provider
        sign_in = provider.settings.sign_in
        begun = _Begun(_secret(), _secret(), _secret(), landing, self.clock.now() + LIVES, sign_in.issuer)
        asked = {
            "response_type": "code",
            "client_id": sign_in.client_id,
            "redirect_uri": self.back,
            "scope": " ".join(sign_in.scopes),
            "state": begun.state,
            "nonce": begun.nonce,
            "code_challenge": _unpadded(hashlib.sha256(begun.verifier.encode()).digest()),
            "code_challenge_method": "S256",
        }
        return await provider.sends_to(asked), _unpadded(self._box.encrypt(json.dumps(astuple(begun)).encode()))

    async def finish(self, kept: str, answer: Answer) -> tuple[Person, str]:
        """(who came back, the page to land on). Raises Forbidden."""
        begun, provider = self._opened(kept), self.provider
        sign_in = provider.settings.sign_in
        if not hmac.compare_digest(begun.state.encode(), answer.state.encode()) or self.clock.now() >= begun.until:
            raise _again("this sign-in was begun in another browser, or more than ten minutes ago")
        if begun.issuer != sign_in.issuer:
            raise _again("the provider is another one since this sign-in was begun")
        always = (await provider.about()).get("authorization_response_iss_parameter_supported") is True
        if answer.issuer != sign_in.issuer and (answer.issuer is not None or always):
            raise _again("the answer comes from another provider")
        if answer.error:
            raise _again(f"{sign_in.host} let nobody in: {shown(answer.error)}")
        token = await provider.redeem(answer.code, begun.verifier, self.back)
        claims, _ = await self._claims(provider, token, sign_in.client_id)
        jwt.meant_for_us(claims, sign_in.client_id, begun.nonce)
        return _person(sign_in, claims), begun.landing

    async def recognised(self, token: str) -> Person:
        """Whom a token of the provider names that a program shows. Raises Forbidden."""
        provider = self.provider
        sign_in = provider.settings.sign_in
        if not sign_in.audience:
            raise Forbidden("programs do not sign in here", hint="an administrator names the audience of their tokens in the sign-in file")
        claims, typ = await self._claims(provider, token, sign_in.audience)
        jwt.of_a_program(claims, typ)
        return _person(sign_in, claims)

    async def _claims(self, provider: Provider, token: str, audience: str) -> tuple[Claims, str]:
        """The claims of a token that is right, and its type."""
        sign_in = provider.settings.sign_in
        kid, typ = jwt.head_of(token, sign_in.algorithm)
        key = jwt.fitting(await provider.keys(), sign_in.algorithm, kid)
        if key is None:  # it may be new
            key = jwt.fitting(await provider.keys(fresh=True), sign_in.algorithm, kid)
        if key is None:
            raise jwt.Refused("no key of the provider fits it")
        return jwt.verified(token, key, sign_in, audience, self.clock.now()), typ

    def _opened(self, kept: str) -> _Begun:
        try:
            return _Begun(*json.loads(self._box.decrypt(base64.urlsafe_b64decode(kept + "=" * (-len(kept) % 4)))))
        except (CryptoError, ValueError) as error:
            raise _again("this sign-in was not begun in this browser, or the control plane was restarted since") from error


def _person(sign_in: SignIn, claims: Claims) -> Person:
    grant, user = sign_in.grant(claims), sign_in.name(claims)
    if grant is None:
        hint = "an administrator adds a line to the grants of the sign-in file"
        raise Forbidden(f"{sign_in.host} knows {user}, and nothing here allows {user} anything", hint=hint)
    return Person(grant, user, sign_in.issuer, str(claims["sub"]), float(claims["iat"]), float(claims["exp"]))


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
