from __future__ import annotations

import base64
import hashlib
import json
import math

import nkeys
import pytest

from quarterdeck.bus import claims
from quarterdeck.bus.claims import AccountSpec, Export, Import, Limits
from quarterdeck.bus.keys import Key
from quarterdeck.bus.subjects import Sender

OPERATOR, A, B = Key.fresh("operator"), Key.fresh("account"), Key.fresh("account")
KEYS = {"s.a": A, "s.b": B}
LIMITS = Limits(10, 100, 1024, 2048, 3, 4)
SPEC = AccountSpec(
    "s.a",
    LIMITS,
    (Export("ask.b.>", "s.b"), Export("ask.b.>", "QD")),
    (Import("s.b", "ask.a.>", "to.b.ask.a.>"),),
    (("UX", 7),),
)


def nats_of(jwt):
    return claims.read(jwt)["nats"]


def test_a_jwt_is_signed_by_its_issuer_and_its_id_is_the_digest_of_its_claims():
    jwt = claims.operator(OPERATOR, A, issued=1000.9)
    header, body, signature = jwt.split(".")
    pad = "=" * (-len(signature) % 4)
    reference = nkeys.from_seed(bytearray(OPERATOR.seed.encode()))
    assert reference.verify(f"{header}.{body}".encode(), base64.urlsafe_b64decode(signature + pad))
    read = claims.read(jwt)
    jti = read.pop("jti")
    text = json.dumps(read, sort_keys=True, separators=(",", ":")).encode()
    assert jti == base64.b32encode(hashlib.new("sha512_256", text).digest()).decode().rstrip("=")
    assert (read["iss"], read["sub"], read["iat"]) == (OPERATOR.public, OPERATOR.public, 1000)
    assert read["nats"] == {"type": "operator", "system_account": A.public, "version": 2}


def test_the_same_keys_and_times_give_the_same_text():
    assert claims.account(SPEC, OPERATOR, KEYS.__getitem__, issued=5) == claims.account(SPEC, OPERATOR, KEYS.__getitem__, issued=5)


def test_an_account_says_its_limits_paths_and_revocations():
    read = claims.read(claims.account(SPEC, OPERATOR, KEYS.__getitem__, issued=5))
    nats = read["nats"]
    assert (read["iss"], read["sub"], read["name"]) == (OPERATOR.public, A.public, "s.a")
    limits = nats["limits"]
    assert (limits["conn"], limits["subs"], limits["payload"]) == (10, 100, 1024)
    assert (limits["disk_storage"], limits["streams"], limits["consumer"], limits["mem_storage"]) == (2048, 3, 4, 0)
    assert (limits["leaf"], limits["disallow_bearer"]) == (0, True)
    assert [(e["subject"], e["token_req"]) for e in nats["exports"]] == [("ask.b.>", True)]
    assert nats["revocations"] == {"UX": 7}


def test_an_import_carries_the_consent_of_its_exporter_for_this_importer_and_subject_only():
    (path,) = nats_of(claims.account(SPEC, OPERATOR, KEYS.__getitem__, issued=5))["imports"]
    assert (path["account"], path["subject"], path["local_subject"]) == (B.public, "ask.a.>", "to.b.ask.a.>")
    consent = claims.read(path["token"])
    assert (consent["iss"], consent["sub"]) == (B.public, A.public)
    assert consent["nats"] == {"version": 2, "type": "activation", "kind": "service", "subject": "ask.a.>"}


def test_the_digest_follows_the_spec_and_the_keys_it_imports_from():
    same = claims.digest(SPEC, KEYS.__getitem__)
    assert same == claims.digest(AccountSpec(SPEC.name, LIMITS, SPEC.exports, SPEC.imports, SPEC.revocations), KEYS.__getitem__)
    assert same == nats_of(claims.account(SPEC, OPERATOR, KEYS.__getitem__, issued=9))["description"]
    other = {"s.a": A, "s.b": Key.fresh("account")}
    different = [
        claims.digest(AccountSpec(SPEC.name, LIMITS, SPEC.exports, SPEC.imports), KEYS.__getitem__),
        claims.digest(AccountSpec(SPEC.name, LIMITS, (), SPEC.imports, SPEC.revocations), KEYS.__getitem__),
        claims.digest(SPEC, other.__getitem__),
    ]
    assert len({same, *different}) == 4


def test_a_user_with_an_empty_list_is_denied_everything_because_nats_reads_an_empty_list_as_everything():
    user = claims.user(A, Key.fresh("user"), "x", publish=(), subscribe=("a",), issued=0, expires=10)
    nats = nats_of(user.jwt)
    assert nats["pub"] == {"deny": [">"]}
    assert nats["sub"] == {"allow": ["a"]}


def test_a_user_ends_when_it_says():
    key = Key.fresh("user")
    ends = claims.user(A, key, "x", publish=("a",), subscribe=("a",), issued=0.5, expires=10.9)
    assert (claims.read(ends.jwt)["exp"], ends.expires, ends.seed) == (10, 10.0, key.seed)
    never = claims.user(A, key, "x", publish=("a",), subscribe=("a",), issued=0, expires=None)
    assert "exp" not in claims.read(never.jwt)
    assert never.expires == math.inf


def test_a_replica_gets_its_exact_lists_and_no_response_permission():
    sender = Sender("a", "worker", 2)
    user = claims.replica_user(A, Key.fresh("user"), sender, 7, peers=("other",), linked=("b",), issued=0, expires=10)
    nats = nats_of(user.jwt)
    assert user.incarnation == 7
    assert nats["pub"]["allow"] == [
        "ask.a.worker.2.>",
        "in.a.worker.2.other.*",
        "to.b.ask.a.worker.2.>",
        "to.b.in.a.worker.2.>",
        "$JS.API.CONSUMER.MSG.NEXT.IN_worker.IN_worker",
        "$JS.ACK.IN_worker.IN_worker.>",
        "ledger.a.worker.2.7",
        "blobs.a.worker.2.7",
        "_INBOX.>",
        "_R_.>",
    ]
    assert nats["sub"]["allow"] == ["ask.*.*.*.worker.*", "ask.*.*.*.worker-2.*", "_INBOX.worker-2-7.>"]
    assert "resp" not in nats
    assert nats["allowed_connection_types"] == ["STANDARD"]


def test_a_deletion_is_signed_by_the_operator_about_itself():
    read = claims.read(claims.deletion(OPERATOR, [A, B], issued=3))
    assert (read["iss"], read["sub"]) == (OPERATOR.public, OPERATOR.public)
    assert read["nats"]["accounts"] == [A.public, B.public]


@pytest.mark.parametrize("text", ["", "a.b", "a.!!!.c", "a." + base64.urlsafe_b64encode(b"[1]").decode() + ".c"])
def test_what_is_no_jwt_is_refused(text):
    with pytest.raises(ValueError, match=r".*"):
        claims.read(text)
