"""What is gone from the lines that programs write, what stays readable in them, and which lines are left alone."""

import base64
import json
import time

import pytest

from quarterdeck.cli.redaction import GONE, Redactor

S = "s3cr3t-Va1ue"
"""Stands for the secret in the lines below."""
LOGIN = base64.b64encode(f"ada:{S}".encode()).decode()
NAMED = {"password": S, "user": "ada"}
PEM = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC"

LINES = {
    # headers
    f"> Authorization: Basic {LOGIN}": "> Authorization:",
    f"Authorization: Basic {LOGIN} status=200 took=3ms": "status=200 took=3ms",
    f"Authorization: Bearer {S}, status 200": "status 200",
    f"authorization=Token {S} path=/x": "path=/x",
    f"Authorization: Custom {S} then": "then",
    f"Proxy-Authorization: Negotiate {LOGIN}": "Proxy-Authorization:",
    f'Authorization: Digest username="ada", realm="x", response="{S}"': "Authorization:",
    f"Authorization: AWS4-HMAC-SHA256 Credential=x/eu/s3, SignedHeaders=host, Signature={S}": "Authorization:",
    f"{{'Authorization': 'Basic {LOGIN}', 'Accept': '*/*'}}": "'Accept': '*/*'",
    f"headers['Authorization'] = 'Token {S}' # sent": "# sent",
    f"sent Basic {LOGIN} to db": "to db",
    f"Cookie: theme=dark; session={S}": "Cookie:",
    f'Cookie: theme="dark one"; session={S}': "Cookie:",
    f"'Cookie: a=b; session={S}\\r\\nHost: x'": "Host: x",
    f"Set-Cookie: id={S}; Path=/; HttpOnly": "Set-Cookie:",
    f"Cookie: token=eyJhbGciOiJIUzI1NiJ9.e30.c2ln; session={S}": "Cookie:",
    f"cookies={{'session': '{S}', 'theme': 'dark'}} next": "next",
    f"X-Api-Key: {S}": "X-Api-Key:",
    f"curl -H 'X-Auth-Token: {S}' https://x.example/y": "https://x.example/y",
    f"curl -u ada:{S} https://x.example": "curl -u ada:",
    # JSON, escaped once, twice and three times
    json.dumps({"req": NAMED}): '"user": "ada"',
    json.dumps({"req": json.dumps(NAMED)}): "ada",
    json.dumps({"req": json.dumps({"in": json.dumps(NAMED)})}): "ada",
    json.dumps([json.dumps([json.dumps([json.dumps(NAMED)])])]): "ada",
    json.dumps({"req": json.dumps({"password": f'a"b {S}', "user": "ada"})}): "ada",
    json.dumps({"password": f'a"b\\ {S}', "user": "ada"}): "ada",
    json.dumps({"tokens": [S, "x"], "user": "ada"}): "ada",
    repr(NAMED): "'user': 'ada'",
    repr({b"api_key": S.encode()}): "api_key",
    f"Config(user='ada', token=SecretStr('{S}'), n=1)": "n=1",
    f'cut off {{"user": "ada", "password": "one {S}': '"user": "ada"',
    # commands and variables
    f"pg_dump --password {S} DB_PWD={S} --host db": "--host db",
    f"tool --api-key={S} --verbose": "--verbose",
    f"tool --client-secret '{S} x' --verbose": "--verbose",
    f"sshpass -p {S} ssh db": "ssh db",
    f"ALTER USER ada WITH PASSWORD '{S}' VALID": "VALID",
    f"openai_key={S} model=x": "model=x",
    f"OPENAI_API_KEY={S}": "OPENAI_API_KEY=",
    f"MYSQL_PWD={S} mysql": "mysql",
    f"SMTP_PASS={S}": "SMTP_PASS=",
    f"Server=db;Uid=sa;Pwd={S};Database=x": "Database=x",
    f"AccountName=x;AccountKey={S}==;EndpointSuffix=y": "EndpointSuffix=y",
    f"password={S},with;all&signs next": "next",
    f"token => {S} next": "token => ",
    f"token := {S}": "token := ",
    f"clientSecret: {S}": "clientSecret: ",
    f"secret_id={S}": "secret_id=",
    f"<db><password>{S}</password><host>db</host></db>": "<host>db</host>",
    f"<ns:apiToken>{S}</ns:apiToken>": "</ns:apiToken>",
    f"GET /x?access_token={S}&page=2": "&page=2",
    f"GET /x?sig={S}&page=2": "&page=2",
    # addresses
    f"postgres://ada:{S}@db/x": "@db/x",
    f"redis://:{S}@db:6379/0": "@db:6379/0",
    f"amqp://ada:p@ss{S}@mq/x": "@mq/x",
    f"https://ada:p/a{S}@host/x": "@host/x",
    f"https://{'a1b2' * 6}{S}@host/x": "@host/x",
    f"https://hooks.slack.com/services/T0/B0/{S.replace('-', '')}".replace(S.replace("-", ""), "s3cr3tVa1ue"): "https://",
    # blocks
    f"-----BEGIN RSA PRIVATE KEY-----\n{S}{PEM}\n-----END RSA PRIVATE KEY-----\nafter": "after",
    f"-----BEGIN OPENSSH PRIVATE KEY-----\\n{S}\\n-----END OPENSSH PRIVATE KEY----- after": "after",
    f"-----BEGIN PGP PRIVATE KEY BLOCK-----\n{S}\n-----END PGP PRIVATE KEY BLOCK-----\nafter": "after",
    f"before\n-----BEGIN EC PRIVATE KEY-----\n{S}{PEM}": "before",
    f"{S}{PEM}\n{PEM}\n-----END PRIVATE KEY-----\nafter": "after",
}


@pytest.mark.parametrize(("line", "stays"), LINES.items(), ids=range(len(LINES)))
def test_the_secret_of_a_line_is_gone_and_the_rest_can_be_read(line, stays):
    redactor = Redactor()
    left = redactor.text(line)
    for gone in (S, S.replace("-", ""), LOGIN, PEM, "theme=dark", "dark one"):
        assert gone not in left
    assert stays in left
    assert GONE in left
    assert redactor.count > 0
    assert Redactor().text(left) == left, "what is redacted is not redacted again"


@pytest.mark.parametrize(
    "secret",
    [
        "github_pat_11ABCDEFG0aBcDeFgHiJkL_mNoPqRsTuVwXyZ0123456789abcdefghij",
        "gho_" + "a1B2" * 9,
        "glpat-" + "a1B2c" * 4,
        "AIza" + "SyA1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6q",
        "ya29.a0AfH6SMBx1234567890abcdef",
        "GOCSPX-" + "a1B2c3D4" * 3,
        "ASIAABCDEFGHIJKLMNOP",
        "xoxb-1234567890-abcdefGHIJ",
        "xapp-1-A1B2C3-1234567890-abcdef",
        "sk-ant-api03-" + "a1B2c3D4" * 8,
        "sk_live_" + "a1B2c3D4" * 3,
        "whsec_" + "a1B2c3D4" * 4,
        "hf_" + "aBcDeFgHiJ" * 3 + "k1L2",
        "npm_" + "a1B2c3" * 6,
        "pypi-AgEIcHlwaS5vcmc" + "a1B2" * 12,
        "SG." + "a1B2c3D4" * 2 + "abcdef." + "a1B2c3D4" * 5,
        "hvs.CAESI" + "a1B2c3D4" * 4,
        "123456789:AAE" + "a1B2c3D4" * 4,
        "AGE-SECRET-KEY-1" + "QPZRY9X8" * 7,
        "eyJhbGciOiJkaXIifQ..aXY.Y2lwaGVy.dGFn",
        "Bearer abcDEFghi",
    ],
)
def test_the_shape_of_a_known_service_is_enough(secret):
    assert Redactor().text(f"before {secret} after") == f"before {GONE} after"


UNTOUCHED = [
    "the token bucket is full, next token in 3 s",
    "tokens=20,money=1.5",
    '{"tokens": 20, "prompt_tokens": 512, "max_tokens": "4096", "total_tokens": 532}',
    "tokens_per_second: 34.2, tokens: [1, 2, 3]",
    "password must be changed",
    "password: must be changed at the next login",
    "error: invalid token: expected a name",
    "Authorization: required",
    "basic information about basic authentication: Basic usage",
    "bearer authentication is wanted",
    "commit 9fceb02d0ae598e95dc970b74767f19372d61af8 is deployed",
    "digest sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "task 550e8400-e29b-41d4-a716-446655440000 is done",
    "https://example.com:8443/path@v2?page=2#top",
    "see https://docs.example.com/a:b/c and http://[::1]:7410/x@y",
    "mailto:ada@example.com, git@github.com:ada/x.git",
    "docker run -u 1000:1000 image; chown --user ada:staff x",
    "PWD=/home/ada OLDPWD=/tmp",
    "token_url=https://x.example/token token_type: bearer token_count=7",
    "tool --token-file /run/x --password-stdin --secret-name PAGER",
    "secrets: [PAGER_KEY]",
    "secrets: {PAGER_TOKEN: env:PAGER_TOKEN, OTHER: file:/run/x}",
    "password=${DB_PASSWORD} token=<token> secret=%s key={}",
    'api_key = None, token: null, password=""',
    "KeyError: 'name'; Monkey: x; keyboard: us; tokenizer=cl100k; secretary: Bob; cookiecutter: 2.1",
    "primary_key=id partition_key: user idempotency-key: 7 public_key=ssh-ed25519",
    "passed=12 pass: 12 fail: 0 compass: north passenger: Ada",
    "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
    "keyword arguments: x=1",
    "pk_messages_by_agent is an index",
    "a secret -> a link",
    'cid:97 - "ABKEY/triage.reporting/jwt:UBKQ7XVJ5" - Publish Violation',
]


@pytest.mark.parametrize("line", UNTOUCHED)
def test_what_is_no_secret_is_left_alone(line):
    redactor = Redactor()
    assert (redactor.text(line), redactor.count) == (line, 0)


def test_in_documents_too():
    document = {
        "openai_key": S,
        "cookies": {"session": S},
        "pass_through": "yes",
        "tokens": "20",
        "token_url": "https://x.example",
        "key": S,
        "password": "no " + S,
        "nested": [{"clientSecret": S}],
    }
    made = Redactor().document(document)
    assert S not in json.dumps(made)
    assert {name: made[name] for name in ("pass_through", "tokens", "token_url")} == {
        name: document[name] for name in ("pass_through", "tokens", "token_url")
    }


PIECES = [
    "a", "token", 'token="', 'token=\\"', "token_id=", "secret_key.", "Authorization: ", "Authorization: Digest a=", "Cookie: a=", "a=b; ",
    "\\", '\\"', '"', "eyJaaaaaaaa-", "eyJaaaaaaaa.", "://", "://a:", "sk-aaaaaaaaaa-", "-----BEGIN ", "-----BEGIN PRIVATE KEY-----",
    "Basic aaaa", "bearer a", "curl -u a:", "<token>", "tokens=[", "tokens={", "password=,a", "token=}", "token=a(", "SUA", "--token ", "-",
    "ada@", "SG.aaaa", "?sig=",
]  # fmt: skip


@pytest.mark.parametrize("piece", PIECES)
def test_it_takes_time_in_proportion_to_a_line(piece):
    def took(size):
        line = (piece * (size // len(piece) + 1))[:size]
        before = time.process_time()
        Redactor(("a known value",)).text(line)
        return time.process_time() - before

    first = took(1 << 17)
    assert first < 2.0, "not even a short line is done soon"
    assert took(1 << 20) < 8 * 3 * max(first, 0.05)
