"""The sign-in file: what it may say, where its faults are, and whom its grants mean."""

import pytest

from quarterdeck.errors import SpecError, UserError
from quarterdeck.model.grant import Grant
from quarterdeck.signin.settings import SignIn, looked_up, read

HEAD = "apiVersion: quarterdeck.dev/v1alpha1\nkind: SignIn\nspec:\n"
FIELDS = {"issuer": "https://login.example.org", "client_id": "quarterdeck", "grants": "[{claim: groups, has: ops, role: admin}]"}


def text(**fields):
    """A file; None leaves a field out."""
    return HEAD + "".join(f"  {name}: {value}\n" for name, value in {**FIELDS, **fields}.items() if value is not None)


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "signin.yaml"
        path.write_text(content)
        return path

    return write


def sign_in(*grants, **fields):
    rules = [dict(zip(("claim", "has", "role", "cluster"), grant, strict=False)) for grant in grants]
    return SignIn.model_validate({"issuer": "https://login.example.org", "client_id": "quarterdeck", "grants": rules, **fields})


def test_the_least_that_a_file_says(file):
    found = read(file(text()), {})
    assert (found.sign_in.algorithm, found.sign_in.session, found.sign_in.audience, found.secret) == ("RS256", 43_200, "", "")


def test_a_secret_is_read_from_where_the_file_says(file, tmp_path):
    (tmp_path / "oidc.secret").write_text("from a file\n")

    def kept(reference, **environ):
        return read(file(text(client_secret=reference)), environ).secret

    assert kept("file:oidc.secret") == "from a file"
    assert kept("env:OIDC", OIDC="from the environment") == "from the environment"
    with pytest.raises(UserError, match="OIDC is not set"):
        kept("env:OIDC")


WRONG = {
    "no issuer": ({"issuer": None}, "spec.issuer: this is needed"),
    "an issuer in the clear": ({"issuer": "http://login.example.org"}, "must be https"),
    "an issuer with a query": ({"issuer": "https://login.example.org?x=1"}, "must be https"),
    "an issuer with a person": ({"issuer": "https://a:b@login.example.org"}, "must be https"),
    "an issuer that is a file": ({"issuer": "file:///etc/passwd"}, "must be https"),
    "no client": ({"client_id": '""'}, "spec.client_id: this is empty"),
    "a secret in the file": ({"client_secret": "hunter2"}, "must be env:VARIABLE or file:PATH"),
    "a shared secret's algorithm": ({"algorithm": "HS256"}, "'HS256' is none of"),
    "no algorithm": ({"algorithm": "none"}, "'none' is none of"),
    "nobody": ({"grants": "[]"}, "give at least one grant"),
    "a role that is not": ({"grants": "[{claim: a, has: b, role: root}]"}, "'root' is none of"),
    "a cluster that is a pattern": ({"grants": '[{claim: a, has: b, role: viewer, cluster: "*"}]'}, "spec.grants.0.cluster"),
    "scopes that name nobody": ({"scopes": "[profile]"}, "must have openid among them"),
    "a session of a minute": ({"session": "1m"}, "must be from 5m to 7d"),
    "a session of a year": ({"session": "365d"}, "must be from 5m to 7d"),
    "a session in words": ({"session": "long"}, "a duration with its unit"),
    "a misspelt field": ({"isuer": "https://x.example"}, 'did you mean "issuer"?'),
    "a field of a grant": ({"grants": "[{claim: a, hass: b, role: viewer}]"}, 'did you mean "has"?'),
}


@pytest.mark.parametrize(("fields", "words"), WRONG.values(), ids=WRONG)
def test_a_fault_is_shown_with_its_line(file, fields, words):
    with pytest.raises(SpecError) as refused:
        read(file(text(**fields)), {})
    said = "\n".join(refused.value.problems)
    assert words in said
    assert "signin.yaml:" in said


@pytest.mark.parametrize("content", ["", "- a\n", "a: [", "kind: System\n", HEAD + "  issuer: *x\n", "\x00"])
def test_what_is_no_such_file_is_refused(file, content):
    with pytest.raises(SpecError):
        read(file(content), {})


def test_a_file_that_is_not_there_or_no_text_is_told(file, tmp_path):
    with pytest.raises(UserError, match="No such file"):
        read(tmp_path / "none.yaml", {})
    (tmp_path / "latin.yaml").write_bytes(b"kind: \xff\n")
    with pytest.raises(UserError, match="not UTF-8"):
        read(tmp_path / "latin.yaml", {})


@pytest.mark.parametrize("ca", ["none.pem", "~nobodyhere/x.pem", "x" * 5_000, ".", "signin.yaml"])
def test_an_authority_that_cannot_be_used_is_told(file, ca):
    with pytest.raises(UserError, match="cannot be used"):
        read(file(text(ca=ca)), {})


@pytest.mark.parametrize("path", ["none", "~nobodyhere/x", "x" * 5_000, "."])
def test_a_secret_that_cannot_be_read_is_told(file, path):
    with pytest.raises(UserError):
        read(file(text(client_secret=f"file:{path}")), {})


def test_the_first_grant_that_means_somebody_counts():
    found = sign_in(("groups", "ops", "admin"), ("groups", "analysts", "operator", "triage/analysts"), ("hd", "example.org", "viewer"))
    assert found.grant({"groups": ["analysts", "ops"]}) == Grant("admin")
    assert found.grant({"groups": ["analysts"], "hd": "example.org"}) == Grant("operator", "analysts", "triage")
    assert found.grant({"hd": "example.org"}) == Grant("viewer")


NOBODY = [
    {},
    {"groups": []},
    {"groups": None},
    {"groups": "operators"},
    {"groups": "ops,admins"},
    {"groups": ["OPS"]},
    {"groups": [["ops"]]},
    {"groups": {"ops": True}},
    {"group": ["ops"]},
]


@pytest.mark.parametrize("claims", NOBODY, ids=map(str, NOBODY))
def test_what_is_not_the_value_means_nobody(claims):
    assert sign_in(("groups", "ops", "admin")).grant(claims) is None


def test_true_is_not_one_and_one_is_not_true():
    assert sign_in(("staff", True, "viewer")).grant({"staff": True})
    assert sign_in(("staff", True, "viewer")).grant({"staff": 1}) is None
    assert sign_in(("level", 1, "viewer")).grant({"level": 1})
    assert sign_in(("level", 1, "viewer")).grant({"level": True}) is None


def test_an_email_counts_only_when_the_provider_has_verified_it():
    found = sign_in(("email", "ada@example.org", "admin"))
    assert found.grant({"email": "ada@example.org", "email_verified": True}) == Grant("admin")
    for verified in ({}, {"email_verified": False}, {"email_verified": "true"}, {"email_verified": 1}):
        claims = {"sub": "u-1", "email": "ada@example.org", **verified}
        assert found.grant(claims) is None
        assert found.name(claims) == "u-1"


def test_a_claim_is_found_by_its_whole_name_or_by_a_path():
    claims = {"realm_access": {"roles": ["ops"]}, "https://example.org/groups": ["a"], "a.b": 1, "a": {"b": 2}}
    assert looked_up(claims, "realm_access.roles") == ["ops"]
    assert looked_up(claims, "https://example.org/groups") == ["a"]
    assert looked_up(claims, "a.b") == 1
    assert looked_up(claims, "realm_access.roles.0") is None
    assert looked_up(claims, "none.at.all") is None


def test_the_name_in_the_journal_is_text_for_a_line():
    found = sign_in(("groups", "ops", "admin"))
    assert found.name({"sub": "u-1", "preferred_username": "ada"}) == "ada"
    assert found.name({"sub": "u-1", "preferred_username": "a\n\x1b[31mda\u202e"}) == "a[31mda"
    assert found.name({"sub": "u-1", "preferred_username": ["ada"]}) == "u-1"
    assert found.name({"sub": "u-1", "preferred_username": "a" * 500}) == "a" * 100
    assert found.name({"sub": "u-1", "preferred_username": "\u200b\u202e"}) == "u-1"
    assert sign_in(("groups", "ops", "admin"), user="oid").name({"sub": "u-1", "oid": "42", "preferred_username": "ada"}) == "42"
