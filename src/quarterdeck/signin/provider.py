"""The provider as it is reached: its description, its keys, and the trade of a code for an ID token (OpenID Connect Core and Discovery)."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import math
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from quarterdeck.client.doors import LOOPBACK
from quarterdeck.clock import Clock
from quarterdeck.errors import Forbidden, QuarterdeckError, Terminal, Transient
from quarterdeck.signin.settings import Settings, shown

PATIENCE: Final = 10.0
"""Seconds for one answer."""
KEEP: Final = 600.0
"""Seconds after which description and keys are asked for anew."""
APART: Final = 30.0
"""Seconds between two looks for a key that nobody knows: whoever makes tokens up cannot make us ask all the time."""
APART_FAILED: Final = 5.0
"""Seconds between two looks while nothing is known of the provider."""
OLDEST: Final = 86_400.0
"""Seconds that keys are believed while the provider cannot say whether they are still its own."""
ASKING: Final = 2
"""Requests to the provider at a time."""
QUEUE: Final = 16
"""Requests under way or waiting: one more is refused at once."""
_MOST: Final = 1 << 20
_PIECE: Final = 1 << 16
_NONE: Final = "is issuer the address of an OpenID Connect provider?"
_WITHOUT: Final = "try again; qd open on the machine of the control plane works without it"
Document = Mapping[str, Any]


class _Stay(urllib.request.HTTPRedirectHandler):
    """A provider answers where it says it is: secrets are not carried to wherever an answer points."""

    def redirect_request(self, *_: object) -> None:
        return None


@dataclass(slots=True)
class _Kept:
    """Something of the provider's that is kept and asked for anew; `asked` and `got` are monotonic seconds."""

    value: Any = None
    asked: float = -math.inf
    got: float = -math.inf
    failed: QuarterdeckError | None = None
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def fresh(self, clock: Clock, after: float, ask: Callable[[], Awaitable[Any]]) -> Any:
        """The value, asked for again when that was done `after` seconds ago; what is known while the provider cannot say, for a day.

        Raises Transient or Terminal when nothing is known, for some seconds without asking again.
        """
        async with self.asking:
            now = clock.monotonic()
            if now - self.asked >= (APART_FAILED if self.failed and self.value is None else after):
                self.asked = now
                try:
                    self.value, self.got, self.failed = await ask(), now, None
                except QuarterdeckError as error:
                    self.failed = error
            if self.failed and now - self.got > OLDEST:
                raise self.failed.with_traceback(None)
            return self.value


@dataclass(slots=True)
class Provider:
    """`settings` say who it is. Of one loop; every call raises Transient when it cannot be reached, Terminal when it makes no sense."""

    settings: Settings
    clock: Clock
    _about: _Kept = field(default_factory=_Kept)
    _keys: _Kept = field(default_factory=_Kept)
    _threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(ASKING, "sign-in"))
    _waiting: int = 0

    async def about(self) -> Document:
        """Its description."""
        found: Document = await self._about.fresh(self.clock, KEEP, self._described)
        return found

    async def keys(self, *, fresh: bool = False) -> list[object]:
        """Its keys as JSON Web Keys (RFC 7517). `fresh`: asked for now, unless that was done just before."""

        async def ask() -> list[object]:
            found = (await self._fetch(self._checked(await self.about(), "jwks_uri"))).get("keys")
            if not isinstance(found, list):
                raise Terminal("the provider has no keys", hint=_NONE)
            return found

        keys: list[object] = await self._keys.fresh(self.clock, APART if fresh else KEEP, ask)
        return keys

    async def sends_to(self, asked: Mapping[str, str]) -> str:
        """Where a browser goes to sign in, with what is asked of it there."""
        address = self._checked(await self.about(), "authorization_endpoint")
        return f"{address}{'&' if urlsplit(address).query else '?'}{urlencode(asked)}"

    async def redeem(self, code: str, verifier: str, back: str) -> str:
        """The ID token for a code. Raises Forbidden when the code is refused."""
        about, sign_in = await self.about(), self.settings.sign_in
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": back, "code_verifier": verifier}
        headers: dict[str, str] = {}
        ways = about.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if self.settings.secret and "client_secret_basic" in ways:  # RFC 6749, section 2.3.1
            pair = f"{quote(sign_in.client_id, safe='')}:{quote(self.settings.secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form |= {"client_id": sign_in.client_id} | ({"client_secret": self.settings.secret} if self.settings.secret else {})
        answer = await self._fetch(self._checked(about, "token_endpoint"), form, headers)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise Terminal(f"{sign_in.host} gave no ID token", hint="the scopes of the sign-in file need openid")
        return token

    async def _described(self) -> Document:
        issuer = self.settings.sign_in.issuer
        found = await self._fetch(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if found.get("issuer") != issuer:  # OpenID Connect Discovery, section 4.3
            said = shown(found.get("issuer"))
            raise Terminal(
                f"the provider calls itself {said}", hint="issuer in the sign-in file is written to the letter as the provider does"
            )
        return found

    def _checked(self, about: Document, name: str) -> str:
        """An address of the description. One that would be spoken to in clear is taken of a provider on this machine only."""
        found, near = about.get(name), urlsplit(self.settings.sign_in.issuer).hostname in LOOPBACK
        try:
            parts = urlsplit(found) if isinstance(found, str) else urlsplit("")
        except ValueError:  # half an IPv6 address
            parts = urlsplit("")
        clear = parts.scheme == "http" and parts.hostname in LOOPBACK and near
        if not parts.hostname or parts.username is not None or not (parts.scheme == "https" or clear):
            raise Terminal(f"the provider has no usable {name}", hint=_NONE)
        return str(found)

    async def _fetch(self, address: str, form: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None) -> Document:
        """A JSON object. Few at a time, in threads of their own: a provider that hangs holds up nothing but sign-ins."""
        host = self.settings.sign_in.host
        if self._waiting >= QUEUE:
            raise Transient(f"{host} is being asked too much at once", hint=_WITHOUT)
        request = urllib.request.Request(  # noqa: S310 https, or http on loopback: checked
            address, urlencode(form).encode() if form else None, {"Accept": "application/json", **(headers or {})}
        )
        self._waiting += 1
        try:
            async with asyncio.timeout(PATIENCE):
                text = await asyncio.get_running_loop().run_in_executor(self._threads, self._read, request)
            found = json.loads(text)
        except urllib.error.HTTPError as error:
            raise _refused(host, error, asked=form is not None) from error
        except (OSError, http.client.HTTPException) as error:  # TimeoutError is an OSError
            reason = getattr(error, "reason", error)
            raise Transient(f"{host} cannot be reached: {str(reason)[:200] or 'no answer'}", hint=_WITHOUT) from error
        except (ValueError, RecursionError) as error:
            raise Terminal(f"{host} gave no JSON", hint=_NONE) from error
        finally:
            self._waiting -= 1
        if not isinstance(found, dict):
            raise Terminal(f"{host} gave no JSON object", hint=_NONE)
        return found

    def _read(self, request: urllib.request.Request) -> bytes:
        """The body, within a time that dripping bytes do not prolong."""
        authority, until = self.settings.authority, time.monotonic() + PATIENCE
        context = ssl.create_default_context(cafile=str(authority) if authority else None)
        opener = urllib.request.build_opener(_Stay(), urllib.request.HTTPSHandler(context=context))
        parts: list[bytes] = []
        with opener.open(request, timeout=PATIENCE / 2) as answer:
            while part := answer.read1(_PIECE):
                parts.append(part)
                if sum(map(len, parts)) > _MOST:
                    raise ValueError("too long")
                if time.monotonic() > until:
                    raise TimeoutError("it answers too slowly")
        return b"".join(parts)


def _refused(host: str, error: urllib.error.HTTPError, *, asked: bool) -> QuarterdeckError:
    """What a provider says when it refuses (RFC 6749, section 5.2); `asked`: it was asked for a token, so that the refusal is of us."""
    try:
        said = json.loads(error.read(_PIECE))
        why = shown(said.get("error_description") or said.get("error"))
    except (OSError, ValueError, AttributeError, RecursionError):
        said, why = None, f"it answered {error.code}"
    if asked and said is not None and error.code < http.client.INTERNAL_SERVER_ERROR:
        return Forbidden(f"{host} refused the sign-in: {why}", hint="begin again; if it stays so, look at client_id and client_secret")
    return Transient(f"{host} does not work now: {why}", hint=_WITHOUT)
