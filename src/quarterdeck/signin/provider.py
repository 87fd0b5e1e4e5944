"""The provider as it is reached: its description, its keys, and the trade of a code for an ID token (OpenID Connect Core and Discovery)."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from quarterdeck.clock import Clock
from quarterdeck.errors import Forbidden, Terminal, Transient
from quarterdeck.signin.settings import LOOPBACK, Settings

PATIENCE: Final = 10.0
"""Seconds for one answer."""
KEEP: Final = 600.0
"""Seconds after which description and keys are asked for anew."""
APART: Final = 30.0
"""Seconds between two looks for a key that nobody knows: whoever makes tokens up cannot make us ask all the time."""
_MOST: Final = 1 << 20
_NONE: Final = "is issuer the address of an OpenID Connect provider?"
_WITHOUT: Final = "try again; qd open on the machine of the control plane works without it"
Document = Mapping[str, Any]


class _Stay(urllib.request.HTTPRedirectHandler):
    """A provider answers where it says it is: secrets are not carried to wherever an answer points."""

    def redirect_request(self, *_: object) -> None:
        return None


@dataclass(slots=True)
class Provider:
    """`settings` say who it is. Of one loop; every call raises Transient when it cannot be reached, Terminal when it makes no sense."""

    settings: Settings
    clock: Clock
    _about: tuple[float, Document] | None = None
    _keys: tuple[float, list[object]] | None = None
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def about(self) -> Document:
        """Its description; an old one while it cannot be reached."""
        async with self._asking:
            now = self.clock.monotonic()
            if self._about is None or now - self._about[0] > KEEP:
                try:
                    self._about = now, await self._described()
                except Transient:
                    if self._about is None:
                        raise
            return self._about[1]

    async def keys(self, *, fresh: bool = False) -> list[object]:
        """Its keys as JSON Web Keys (RFC 7517). `fresh`: asked for now, unless that was done just before."""
        about = await self.about()
        async with self._asking:
            age = self.clock.monotonic() - self._keys[0] if self._keys else KEEP
            if self._keys is None or age >= (APART if fresh else KEEP):
                try:
                    found = (await self._fetch(_checked(about, "jwks_uri"))).get("keys")
                except Transient:
                    if self._keys is None:
                        raise
                    found = self._keys[1]
                self._keys = self.clock.monotonic(), found if isinstance(found, list) else []
            return self._keys[1]

    async def sends_to(self, asked: Mapping[str, str]) -> str:
        """Where a browser goes to sign in, with what is asked of it there."""
        address = _checked(await self.about(), "authorization_endpoint")
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
        answer = await self._fetch(_checked(about, "token_endpoint"), form, headers)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise Terminal(f"{sign_in.host} gave no ID token", hint="the scopes of the sign-in file need openid")
        return token

    async def _described(self) -> Document:
        issuer = self.settings.sign_in.issuer
        found = await self._fetch(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if found.get("issuer") != issuer:  # OpenID Connect Discovery, section 4.3
            hint = f"the sign-in file says {issuer}; write it to the letter as the provider does"
            raise Terminal(f"the provider calls itself {str(found.get('issuer'))[:200]}", hint=hint)
        return found

    async def _fetch(self, address: str, form: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None) -> Document:
        host = self.settings.sign_in.host
        request = urllib.request.Request(  # noqa: S310 https, or http on loopback: checked
            address, urlencode(form).encode() if form else None, {"Accept": "application/json", **(headers or {})}
        )
        try:
            text = await asyncio.to_thread(self._read, request)
            found = json.loads(text)
        except urllib.error.HTTPError as error:
            raise _refused(host, error) from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise Transient(f"{host} cannot be reached: {str(reason)[:200]}", hint=_WITHOUT) from error
        except (ValueError, RecursionError) as error:
            raise Terminal(f"{host} gave no JSON at {address}", hint=_NONE) from error
        if not isinstance(found, dict):
            raise Terminal(f"{host} gave no JSON object at {address}", hint=_NONE)
        return found

    def _read(self, request: urllib.request.Request) -> bytes:
        authority = self.settings.authority
        context = ssl.create_default_context(cafile=str(authority) if authority else None)
        opener = urllib.request.build_opener(_Stay(), urllib.request.HTTPSHandler(context=context))
        with opener.open(request, timeout=PATIENCE) as answer:
            text: bytes = answer.read(_MOST + 1)
        if len(text) > _MOST:
            raise ValueError("too long")
        return text


def _refused(host: str, error: urllib.error.HTTPError) -> Exception:
    """What a provider says when it refuses (RFC 6749, section 5.2)."""
    try:
        said = json.loads(error.read(_MOST))
        why = str(said.get("error_description") or said.get("error"))[:200]
    except (OSError, ValueError, AttributeError, RecursionError):
        said, why = None, f"it answered {error.code}"
    if said is not None and error.code < http.client.INTERNAL_SERVER_ERROR:
        return Forbidden(f"{host} refused the sign-in: {why}", hint="begin again; if it stays so, look at client_id and client_secret")
    return Transient(f"{host} does not work now: {why}", hint=_WITHOUT)


def _checked(about: Document, name: str) -> str:
    """An address of the description; one that would be spoken to in clear is not taken."""
    found = about.get(name)
    parts = urlsplit(found) if isinstance(found, str) else urlsplit("")
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)):
        raise Terminal(f"the provider has no usable {name}: {str(found)[:200]}", hint=_NONE)
    return str(found)
