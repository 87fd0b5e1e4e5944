"""Whether a JSON Web Token is what it says (RFC 7519; RFC 8725, the best practices; OpenID Connect Core, section 3.1.3.7).

The key is looked up by its id among those of the provider, and by nothing that the token brings (`jku`, `jwk`, `x5u` are not looked at).
The algorithm is the one of the settings, and the key's kind has to be that of the algorithm: a token chooses neither.
"""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from quarterdeck.errors import Forbidden
from quarterdeck.signin.settings import Claims, SignIn

if TYPE_CHECKING:  # the library takes 100 ms to import, which only those shall wait for who sign in
    from joserfc.jwk import Key
    from joserfc.jwt import ClaimsOption

LEEWAY: Final = 60
"""Seconds by which two clocks may differ."""
LONGEST: Final = 16_384
"""Characters of a token."""
_PARTS: Final = 3
_RSA_BITS: Final = 2_048
_KINDS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA", ())),
    **{f"ES{bits}": ("EC", (curve,)) for bits, curve in ((256, "P-256"), (384, "P-384"), (512, "P-521"))},
    "Ed25519": ("OKP", ("Ed25519",)),
}
_LAST: Final = 253_402_300_800
"""The year 10,000, where times of the standard library end."""
_LONGEST_SUB: Final = 255
"""OpenID Connect Core, section 2."""


_TYPES: Final = frozenset({"", "jwt", "at+jwt"})
_CLAIMS: Final = {
    "iss": "another issuer made it (iss)",
    "aud": "it is for another audience (aud)",
    "nbf": "it is not valid yet (nbf)",
    "iat": "it was made in the future (iat)",
}


class Refused(Forbidden):
    """A token that is not believed."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the provider's token is refused: {why}", hint="docs/access tells what is asked of it; get a fresh one there")


def head_of(token: str, algorithm: str) -> tuple[str | None, str]:
    """(the id of the key that a token says it was signed with, or None; its type, or ""). Raises Refused for what cannot be one of ours."""
    if len(token) > LONGEST:
        raise Refused(f"it is longer than {LONGEST:,} characters")
    parts = token.split(".")
    if len(parts) != _PARTS:
        raise Refused("it is no signed JSON Web Token, which has three parts")
    try:
        header = json.loads(urlsafe_b64decode(parts[0] + "=" * (-len(parts[0]) % 4)))
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise Refused("its header cannot be read")
    if header.get("alg") != algorithm:
        raise Refused(f"it is signed with {str(header.get('alg'))[:20]!r}, and the settings say {algorithm}")
    kid = header.get("kid")
    if kid is not None and not isinstance(kid, str):
        raise Refused("the id of its key is no text")
    return kid, str(header.get("typ", "")).lower().removeprefix("application/")


def fitting(keys: Sequence[object], algorithm: str, kid: str | None) -> Key | None:
    """The one key of a provider's set that a token can have been signed with; None when there is none, or more than one."""
    from joserfc.errors import JoseError, SecurityWarning  # noqa: PLC0415
    from joserfc.jwk import ECKey, OKPKey, RSAKey, import_key  # noqa: PLC0415

    found = [one for one in keys if isinstance(one, dict) and _fits(one, algorithm) and kid in (None, one.get("kid"))]
    if len(found) != 1:
        return None
    try:
        key = import_key({name: value for name, value in found[0].items() if name not in ("x5c", "x5u", "x5t", "x5t#S256")})
    except (JoseError, ValueError, TypeError, SecurityWarning):
        return None
    if isinstance(key, RSAKey) and key.public_key.key_size < _RSA_BITS:
        return None
    return key if isinstance(key, RSAKey | ECKey | OKPKey) else None


def verified(token: str, key: Key, sign_in: SignIn, audience: str, now: float) -> Claims:
    """The claims of a token whose signature, issuer, audience and times are right at `now` (epoch seconds). Raises Refused."""
    from joserfc import jwt  # noqa: PLC0415
    from joserfc.errors import JoseError  # noqa: PLC0415

    asked: dict[str, ClaimsOption] = {
        "iss": {"essential": True, "value": sign_in.issuer},
        "aud": {"essential": True, "value": audience},
        **{name: {"essential": True} for name in ("sub", "exp", "iat")},
    }
    try:
        claims = jwt.decode(token, key, algorithms=[sign_in.algorithm]).claims
        jwt.JWTClaimsRegistry(now=int(now), leeway=LEEWAY, **asked).validate(claims)
    except (JoseError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise Refused(_told(error)) from error
    if not 0 < len(claims["sub"]) <= _LONGEST_SUB or not claims["sub"].isprintable():
        raise Refused("its sub names nobody")
    if claims["exp"] > _LAST or claims["iat"] < 0:
        raise Refused("its times are none")
    return claims


def of_a_program(claims: Claims, typ: str) -> None:
    """Raise Refused for a token that says something else than who a program is (RFC 8725, section 3.11), e.g. that somebody logged out."""
    if typ not in _TYPES or "events" in claims:
        raise Refused("it is of another kind than an access token (typ)")


def meant_for_us(claims: Claims, client: str, nonce: str) -> None:
    """Raise Refused unless an ID token answers the question that we asked, and was given to us where it is for several (azp)."""
    if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
        raise Refused("it does not belong to this sign-in (nonce)")
    audience = claims.get("aud")
    if claims.get("azp", client) != client or (isinstance(audience, list) and len(audience) > 1 and "azp" not in claims):
        raise Refused("it was given to another client (azp)")


def _told(error: Exception) -> str:
    """What is wrong, in words of ours where the library names a claim alone."""
    if type(error).__name__ == "InvalidClaimError":
        named = str(getattr(error, "claim", ""))
        return _CLAIMS.get(named, f"its {named} is not what it must be")
    said = str(getattr(error, "description", "") or error or type(error).__name__)
    return f"{said[:1].lower()}{said[1:200]}"


def _fits(key: Mapping[str, Any], algorithm: str) -> bool:
    kind, curves = _KINDS[algorithm]
    of_kind = key.get("kty") == kind and (not curves or key.get("crv") in curves)
    operations = key.get("key_ops", ["verify"])
    verifies = key.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations
    return of_kind and verifies and key.get("alg", algorithm) == algorithm
