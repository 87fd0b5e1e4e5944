"""A provider whose keys are ours: it can be made to say anything, as a real one never would."""

import base64
import hmac
import json

from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry, serialize_compact

ISSUER = "https://login.example.org/realms/ops"
NOW = 1_800_000_000
RSA = RSAKey.generate_key(2048, parameters={"kid": "one", "use": "sig", "alg": "RS256"}, private=True)
OTHER = RSAKey.generate_key(2048, parameters={"kid": "one"}, private=True)
EC = ECKey.generate_key("P-256", parameters={"kid": "two", "use": "sig"}, private=True)
ED = OKPKey.generate_key("Ed25519", parameters={"kid": "three"}, private=True)
KEYS = [key.as_dict(private=False) for key in (RSA, EC, ED)]
CLAIMS = {"iss": ISSUER, "aud": "quarterdeck", "sub": "u-1", "iat": NOW - 5, "exp": NOW + 300, "nonce": "a-nonce", "groups": ["ops"]}
EVERY = [*JWSRegistry.algorithms]


def part(value):
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def signed(claims=CLAIMS, key=RSA, alg="RS256", **header):
    """A token; a header of None is left out."""
    whole = {"alg": alg, "kid": key.kid, **header}
    bare = {name: value for name, value in key.as_dict(private=True).items() if name not in {"alg", "use"}}  # signs whatever it is told
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    return serialize_compact(
        {name: value for name, value in whole.items() if value is not None}, payload, type(key).import_key(bare), EVERY
    )


def unsigned(claims=CLAIMS, **header):
    return f"{part({'alg': 'none', **header})}.{part(claims)}."


def by_secret(secret, claims=CLAIMS, **header):
    """Signed with a shared secret: what is known of the public key, as an attacker would who hopes that it is taken for one."""
    head = f"{part({'alg': 'HS256', 'kid': 'one', **header})}.{part(claims)}"
    return f"{head}.{part(hmac.digest(secret, head.encode(), 'sha256'))}"


def but(**claims):
    """The claims, with others; None leaves one out."""
    return {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
