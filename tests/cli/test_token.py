"""`qd token`: the secret alone on stdout, everything else beside it."""

TOKEN = {
    "name": "0b55d336", "id": "0b55d336", "role": "viewer", "cluster": None, "user": "alice", "note": "wall", "once": False,
    "created": "2026-11-28T16:00:00.000Z", "expires": "2026-12-28T16:00:00.000Z", "used": None,
}  # fmt: skip
SECRET = "qd_0b55d336_bits"  # noqa: S105 no secret of anything


def test_whom_it_is_for_goes_with_a_token_and_a_link(qd, fake):
    fake.answers["POST", "/v1/tokens"] = {**TOKEN, "token": SECRET, "warnings": []}
    assert qd("token", "create", "--role", "viewer", "--user", "alice").code == 0
    assert fake.asked("POST", "/v1/tokens")[-1][1]["user"] == "alice"
    assert qd("open", "--user", "alice", "--print").code == 0
    assert fake.asked("POST", "/v1/login")[-1][1]["user"] == "alice"
    refused = qd("token", "create", "--role", "viewer", "--user", "a\nb")
    assert (refused.code, "is no name of a user" in refused.err) == (2, True)


def test_the_secret_is_alone_on_stdout(fake, qd):
    fake.answers["POST", "/v1/tokens"] = {**TOKEN, "token": SECRET, "warnings": ["no system has a cluster won now"]}
    ran = qd("token", "create", "--role", "viewer", "--cluster", "won", "--ttl", "12h", "--note", "wall")
    assert (ran.code, ran.out) == (0, SECRET + "\n")
    assert "warning: no system has a cluster won now" in ran.err
    assert "next: qd token list" in ran.err
    asked = fake.asked("POST", "/v1/tokens")[-1]
    assert asked[1] == {"role": "viewer", "cluster": "won", "ttl": 43_200.0, "refresh": False, "note": "wall"}
    assert qd("token", "create", "--role", "viewer", "-o", "json").json["token"] == SECRET
    assert qd("token", "create", "--role", "viewer", "-o", "name").out == SECRET + "\n"  # nobody would ever see it again


def test_a_role_is_asked_for_and_must_be_one(fake, qd):
    ran = qd("token", "create")
    assert (ran.code, "--role" in ran.err) == (2, True)
    ran = qd("token", "create", "--role", "root")
    assert (ran.code, "viewer" in ran.err) == (2, True)
    assert qd("token", "create", "--role", "viewer", "--ttl", "soon").code == 2
    assert fake.asked("POST", "/v1/tokens") == []


def test_tokens_are_listed(fake, qd):
    fake.answers["GET", "/v1/tokens"] = {"apiVersion": "quarterdeck.dev/v1alpha1", "kind": "List", "items": [TOKEN]}
    ran = qd("token", "list")
    assert ran.out.splitlines()[0].split() == ["ID", "ROLE", "CLUSTER", "USER", "NOTE", "CREATED", "EXPIRES", "USED"]
    assert "0b55d336" in ran.out
    assert qd("token", "list", "-o", "json").json["items"] == [TOKEN]
    fake.answers["GET", "/v1/tokens"] = {"apiVersion": "quarterdeck.dev/v1alpha1", "kind": "List", "items": []}
    assert "qd token create" in qd("token", "list").err


def test_get_tokens_is_the_same_list(fake, qd):
    fake.answers["GET", "/v1/tokens"] = {"apiVersion": "quarterdeck.dev/v1alpha1", "kind": "List", "items": [TOKEN]}
    for form in ("table", "wide", "json", "name"):
        assert qd("get", "tokens", "-o", form).out == qd("token", "list", "-o", form).out
    assert qd("get", "token", "0b55d336", "-o", "name").out == "0b55d336\n"


def test_a_token_is_revoked_with_a_reason(fake, qd):
    fake.answers["DELETE", "/v1/tokens/0b55d336"] = {"kind": "Token", "id": "0b55d336", "state": "revoked"}
    ran = qd("token", "revoke", "0b55d336", "--reason", "lost")
    assert (ran.code, ran.out) == (0, "token 0b55d336 is revoked\n")


def test_the_tokens_of_one_user(fake, qd):
    others = [{**TOKEN, "id": "aa", "name": "aa", "user": "bob"}, {**TOKEN, "id": "bb", "name": "bb", "user": ""}]
    fake.answers["GET", "/v1/tokens"] = {"apiVersion": "quarterdeck.dev/v1alpha1", "kind": "List", "items": [TOKEN, *others]}
    assert qd("token", "list", "--user", "alice", "-o", "json").json["items"] == [TOKEN]
    nobody = qd("token", "list", "--user", "carol")
    assert (nobody.code, nobody.out) == (0, "")
    assert nobody.err == "carol has no token that works; qd token list shows whose there are\n"
    assert qd("token", "list", "--user", "carol", "-o", "json").json["items"] == []


def test_all_tokens_of_a_user_are_revoked_and_counted_and_nobody_elses(fake, qd):
    items = [TOKEN, {**TOKEN, "id": "aa", "user": "bob"}, {**TOKEN, "id": "bb"}, {**TOKEN, "id": "cc", "user": ""}]
    fake.answers["GET", "/v1/tokens"] = {"apiVersion": "quarterdeck.dev/v1alpha1", "kind": "List", "items": items}
    for one in items:
        done = {"apiVersion": "quarterdeck.dev/v1alpha1", "kind": "Token", "id": one["id"], "state": "revoked"}
        fake.answers["DELETE", f"/v1/tokens/{one['id']}"] = done
    ran = qd("token", "revoke", "--user", "alice", "--reason", "has left")
    assert (ran.code, ran.out) == (0, "2 tokens of alice revoked\n")
    ended = [(path, query) for method, path, query, _ in fake.requests if method == "DELETE"]
    assert ended == [(f"/v1/tokens/{name}", {"reason": "has left"}) for name in ("0b55d336", "bb")]
    document = qd("token", "revoke", "--user", "alice", "-o", "json").json
    assert (document["kind"], [one["id"] for one in document["items"]]) == ("List", ["0b55d336", "bb"])
    assert qd("token", "revoke", "--user", "alice", "-o", "name").out == "0b55d336\nbb\n"
    nobody = qd("token", "revoke", "--user", "alize")
    assert (nobody.code, "did you mean 'alice'?" in nobody.err) == (3, True)
