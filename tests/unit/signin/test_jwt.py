"""What is refused of a provider's tokens: the attacks of RFC 8725 and of OWASP's list, each by a token that somebody could send."""

import json
import warnings

import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey
from tests.unit.signin.issuing import CLAIMS, EC, ED, ISSUER, KEYS, NOW, OTHER, RSA, but, by_secret, part, signed, unsigned

from quarterdeck.signin import jwt
from quarterdeck.signin.settings import SignIn

PUBLIC = RSA.as_pem(private=False)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it is too short: that is what it is for
    SMALL = RSAKey.generate_key(1024, parameters={"kid": "small"}, private=True)
ATTACKER = {**OTHER.as_dict(private=False), "kid": "one"}


def settings(algorithm="RS256", **more):
    grants = [{"claim": "groups", "has": "ops", "role": "admin"}]
    return SignIn.model_validate({"issuer": ISSUER, "client_id": "quarterdeck", "algorithm": algorithm, "grants": grants, **more})


def believed(token, algorithm="RS256", keys=KEYS, now=NOW, audience="quarterdeck"):
    """As the sign-in does it."""
    key = jwt.fitting(keys, algorithm, jwt.head_of(token, algorithm)[0])
    if key is None:
        raise jwt.Refused("no key of the provider fits it")
    return jwt.verified(token, key, settings(algorithm), audience, now)


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (EC, "ES256"), (ED, "Ed25519")])
def test_a_token_that_is_right_is_believed(key, algorithm):
    assert believed(signed(key=key, alg=algorithm), algorithm)["sub"] == "u-1"


@pytest.mark.parametrize("audience", ["quarterdeck", ["quarterdeck"], ["other", "quarterdeck"]])
def test_its_audience_is_one_or_several(audience):
    assert believed(signed(but(aud=audience)))["aud"] == audience


@pytest.mark.parametrize("moment", [NOW - 64, NOW + 359])
def test_two_clocks_may_differ_by_a_minute(moment):
    assert believed(signed(), now=moment)


FORGED = {
    "no signature": unsigned(),
    "no signature, by another name": unsigned(alg="None"),
    "no signature, in capitals": unsigned(alg="NONE"),
    "no signature, but a key is named": unsigned(kid="one"),
    "alg is left out": f"{part({'kid': 'one'})}.{part(CLAIMS)}.{signed().split('.')[2]}",
    "alg is a list": f"{part({'alg': ['RS256'], 'kid': 'one'})}.{part(CLAIMS)}.{signed().split('.')[2]}",
    "RS256 said, none signed": f"{part({'alg': 'RS256', 'kid': 'one'})}.{part(CLAIMS)}.",
    "the public key as a shared secret (PEM)": by_secret(PUBLIC),
    "the public key as a shared secret (its modulus)": by_secret(RSA.as_dict(private=False)["n"].encode()),
    "an empty shared secret": by_secret(b"\0"),
    "RS256 said, signed with a shared secret": (f"{part({'alg': 'RS256', 'kid': 'one'})}.{part(CLAIMS)}.{by_secret(PUBLIC).split('.')[2]}"),
    "another algorithm of the same key": signed(alg="RS512"),
    "another padding of the same key": signed(alg="PS256"),
    "another key of the provider": signed(key=EC, alg="ES256"),
    "another key under the right id": signed(key=OTHER),
    "a key of the attacker inside (jwk)": signed(key=OTHER, jwk=ATTACKER),
    "a key of the attacker elsewhere (jku)": signed(key=OTHER, jku="https://evil.example/keys"),
    "a certificate of the attacker elsewhere (x5u)": signed(key=OTHER, x5u="https://evil.example/cert"),
    "an id that nobody has": signed(kid="nobody"),
    "an id that is a path": signed(key=OTHER, kid="../../../../dev/null"),
    "an id that is SQL": signed(key=OTHER, kid="one' UNION SELECT 'secret"),
    "an id that is a command": signed(key=OTHER, kid="one|/bin/true"),
    "an id that is empty": f"{part({'alg': 'RS256', 'kid': ''})}.{part(CLAIMS)}.{signed().split('.')[2]}",
    "an id that is a number": f"{part({'alg': 'RS256', 'kid': 1})}.{part(CLAIMS)}.{signed().split('.')[2]}",
    "an id that is a list": f"{part({'alg': 'RS256', 'kid': ['one']})}.{part(CLAIMS)}.{signed().split('.')[2]}",
    "an id that is very long": f"{part({'alg': 'RS256', 'kid': 'k' * 501})}.{part(CLAIMS)}.{signed().split('.')[2]}",
    "an extension that has to be understood": f"{part({'alg': 'RS256', 'kid': 'one', 'crit': ['x'], 'x': 1})}.{part(CLAIMS)}.x",
    "a payload that is not encoded": f"{part({'alg': 'RS256', 'kid': 'one', 'b64': False, 'crit': ['b64']})}.{part(CLAIMS)}.x",
    "claims changed after signing": f"{signed().split('.')[0]}.{part(but(sub='root'))}.{signed().split('.')[2]}",
    "a signature cut short": signed()[:-4],
    "a signature of zeros": f"{'.'.join(signed().split('.')[:2])}.{part(bytes(256))}",
    "encrypted": f"{part({'alg': 'RSA-OAEP', 'enc': 'A256GCM', 'kid': 'one'})}.a.b.c.d",
    "two parts": ".".join(signed().split(".")[:2]),
    "four parts": signed() + ".x",
    "nothing": "",
    "dots": "..",
    "no base64": "ä.ö.ü",
    "a header that is no JSON": f"{part(b'{')}.{part(CLAIMS)}.x",
    "a header that is a list": f"{part(['RS256'])}.{part(CLAIMS)}.x",
    "a header of depth": f"{part(b'[' * 5_000)}.{part(CLAIMS)}.x",
    "claims that are no JSON": signed(b"{"),
    "claims that are a list": signed(b"[]"),
    "claims that are no UTF-8": signed(b'{"sub": "\xff"}'),
    "more than anybody needs": signed(but(x="y" * 20_000)),
}


@pytest.mark.parametrize("token", FORGED.values(), ids=FORGED)
def test_what_is_forged_is_refused(token):
    with pytest.raises(jwt.Refused):
        believed(token)


WRONG = {
    "another issuer": but(iss="https://evil.example"),
    "an issuer that only begins alike": but(iss=ISSUER + ".evil.example"),
    "an issuer with a slash more": but(iss=ISSUER + "/"),
    "an issuer in capitals": but(iss=ISSUER.upper()),
    "a list of issuers": but(iss=[ISSUER]),
    "no issuer": but(iss=None),
    "another audience": but(aud="other"),
    "an audience that only begins alike": but(aud="quarterdeck-staging"),
    "a list of other audiences": but(aud=["other", "another"]),
    "an empty list of audiences": but(aud=[]),
    "an audience within a mapping": but(aud={"quarterdeck": True}),
    "no audience": but(aud=None),
    "expired": but(exp=NOW - 60),
    "expired long ago": but(exp=1),
    "an end below nothing": but(exp=-1),
    "no end": but(exp=None),
    "an end in words": but(exp="tomorrow"),
    "an end that is true": but(exp=True),
    "made in the future": but(iat=NOW + 120),
    "no time at which it was made": but(iat=None),
    "not valid yet": but(nbf=NOW + 120),
    "a beginning in words": but(nbf="now"),
    "nobody": but(sub=None),
    "somebody without a name": but(sub=""),
    "somebody who is a number": but(sub=1),
    "somebody of 256 signs": but(sub="s" * 256),
    "somebody of half a sign": but(sub="\ud800"),
    "somebody of two lines": but(sub="a\nb"),
}


@pytest.mark.parametrize("claims", WRONG.values(), ids=WRONG)
def test_what_is_for_others_or_another_time_is_refused(claims):
    with pytest.raises(jwt.Refused):
        believed(signed(claims))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", "1" + "0" * 400])
def test_an_end_that_is_no_time_is_refused(number):
    text = json.dumps(but(exp="END")).replace('"END"', number).encode()
    with pytest.raises(jwt.Refused):
        believed(signed(text))


KEYSETS = {
    "a shared secret": [{**OctKey.import_key("a shared secret of some length").as_dict(), "kid": "one"}],
    "a key for encryption": [{**RSA.as_dict(private=False), "use": "enc"}],
    "a key for another algorithm": [{**RSA.as_dict(private=False), "alg": "PS256"}],
    "a key that may not verify": [{**RSA.as_dict(private=False), "use": "sig", "key_ops": ["encrypt"]}],
    "two keys of one id": [RSA.as_dict(private=False), ATTACKER],
    "no key": [],
    "what is no key": ["one", None, 1, {}, {"kty": "RSA", "kid": "one"}],
    "a key whose uses are no list": [{**RSA.as_dict(private=False), "key_ops": 5}],
    "half a key": [{"kty": "RSA", "kid": "one", "n": RSA.as_dict(private=False)["n"]}],
    "a key of no base64": [{"kty": "RSA", "kid": "one", "n": "!", "e": "AQAB"}],
}


@pytest.mark.parametrize("keys", KEYSETS.values(), ids=KEYSETS)
def test_a_key_that_is_not_for_it_verifies_nothing(keys):
    with pytest.raises(jwt.Refused):
        believed(signed(), keys=keys)


def test_a_short_key_verifies_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as it is outside of tests
        assert jwt.fitting([SMALL.as_dict(private=False)], "RS256", "small") is None


def test_a_curve_has_its_algorithm():
    large = ECKey.generate_key("P-384", parameters={"kid": "two"}, private=True)
    with pytest.raises(jwt.Refused):
        believed(signed(key=large, alg="ES384"), "ES256", [large.as_dict(private=False)])
    assert jwt.fitting([large.as_dict(private=False)], "ES256", "two") is None


def test_a_token_that_names_no_key_needs_a_provider_that_has_one():
    assert believed(signed(kid=None), keys=[RSA.as_dict(private=False)])
    with pytest.raises(jwt.Refused):
        believed(signed(kid=None), keys=[RSA.as_dict(private=False), {**OTHER.as_dict(private=False), "kid": "later"}])


def test_no_setting_allows_a_shared_secret_or_no_signature():
    for algorithm in ("none", "HS256", "HS512", "RS1", ""):
        with pytest.raises(ValueError, match="algorithm"):
            settings(algorithm)


ANOTHERS = {
    "another nonce": but(nonce="another"),
    "no nonce": but(nonce=None),
    "given to another client": but(azp="other"),
    "for several, and not said for whom": but(aud=["quarterdeck", "other"]),
    "for several, and given to another": but(aud=["quarterdeck", "other"], azp="other"),
}


@pytest.mark.parametrize("claims", ANOTHERS.values(), ids=ANOTHERS)
def test_an_id_token_of_another_sign_in_is_refused(claims):
    with pytest.raises(jwt.Refused):
        jwt.meant_for_us(believed(signed(claims)), "quarterdeck", "a-nonce")


def test_an_id_token_of_this_one_is_taken():
    for claims in (CLAIMS, but(azp="quarterdeck"), but(aud=["quarterdeck", "other"], azp="quarterdeck")):
        jwt.meant_for_us(believed(signed(claims)), "quarterdeck", "a-nonce")


KINDS = {
    "that somebody logged out": ({"typ": "logout+jwt"}, CLAIMS),
    "that something happened": ({}, but(events={"http://schemas.openid.net/event/backchannel-logout": {}})),
    "a security event": ({"typ": "application/secevent+jwt"}, CLAIMS),
}


@pytest.mark.parametrize(("header", "claims"), KINDS.values(), ids=KINDS)
def test_a_token_that_says_something_else_names_no_program(header, claims):
    token = signed(claims, **header)
    with pytest.raises(jwt.Refused):
        jwt.of_a_program(believed(token), jwt.head_of(token, "RS256")[1])


@pytest.mark.parametrize("typ", [None, "JWT", "jwt", "at+jwt", "application/at+jwt"])
def test_an_access_token_names_one(typ):
    token = signed(typ=typ)
    jwt.of_a_program(believed(token), jwt.head_of(token, "RS256")[1])


def test_a_refusal_says_why_in_words():
    for claims, words in ((but(aud="other"), "another audience"), (but(exp=1), "expired"), (but(sub=None), "missing claim: 'sub'")):
        with pytest.raises(jwt.Refused, match=words):
            believed(signed(claims))
