"""Signing in with a provider: the way of a browser there and back, the trade of a token, and everything that lets nobody in."""

import base64
import hashlib
from dataclasses import replace
from http.cookies import SimpleCookie
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from joserfc.jwk import RSAKey
from tests.unit.signin.answering import answering
from tests.unit.signin.issuing import EC, NOW, OTHER, RSA, but, by_secret, signed, unsigned

from quarterdeck.signin import provider as providers
from quarterdeck.signin.flow import LIVES, LOOK_EVERY, Flow

PAGE = {"accept": "text/html,*/*"}
FILE = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: SignIn
spec:
  issuer: {issuer}
  client_id: quarterdeck
  client_secret: file:oidc.secret
  audience: quarterdeck
  session: 8h
  grants:
    - {{claim: groups, has: ops, role: admin}}
    - {{claim: groups, has: readers, role: viewer, cluster: one}}
"""


@pytest.fixture
def provider():
    with answering() as found:
        yield found


@pytest.fixture
def control(control, provider, tmp_path):
    """With a sign-in file, in the time of the provider's tokens."""
    file = tmp_path / "signin.yaml"
    file.write_text(FILE.format(issuer=provider.issuer))
    (tmp_path / "oidc.secret").write_text("the secret\n")
    clock = control.engine.clock
    clock.advance(NOW - clock.now())
    flow = Flow(file, {}, "http://127.0.0.1:7410/login/callback", clock)
    state = control.guard.app.state
    state.services = replace(state.services, sign_in=flow)
    control.guard = replace(control.guard, sign_in=lambda: flow.host)
    control.file = file
    return control


class Browser:
    """Keeps cookies by name, and goes where it is sent."""

    def __init__(self, control):
        self.control, self.cookies = control, {}

    def get(self, path, **headers):
        cookie = {"cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())} if self.cookies else {}
        answer = self.control.stranger("GET", path, headers={**PAGE, **cookie, **headers})
        for name, morsel in SimpleCookie(answer.headers.get("set-cookie", "")).items():
            if morsel["max-age"] == "0":
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = morsel.value
        return answer

    def begin(self, landing="/"):
        """What the provider is asked."""
        answer = self.get(f"/login/start?{urlencode({'next': landing})}")
        assert answer.status == 303, answer.text
        return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}

    def back(self, **answer):
        return self.get(f"/login/callback?{urlencode(answer)}")


@pytest.fixture
def browser(control):
    return Browser(control)


def signs_in(browser, provider, landing="/", **claims):
    asked = browser.begin(landing)
    provider.says["/token"] = {"id_token": provider.token(**{"nonce": asked["nonce"], **claims})}
    return browser.back(code="a-code", state=asked["state"], iss=provider.issuer)


def trade(control, secret):
    return control.stranger("POST", "/v1/login/token", json={"secret": secret})


def test_a_browser_goes_to_the_provider_and_comes_back_to_the_page_it_wanted(control, browser, provider):
    control.up()
    refused = browser.get("/clusters/one?x=1")
    assert refused.status == 403
    assert 'href="/login/start?next=%2Fclusters%2Fone%3Fx%3D1"' in refused.text
    answer = signs_in(browser, provider, "/clusters/one?x=1", preferred_username="ada")
    assert (answer.status, answer.headers["location"]) == (303, "/clusters/one?x=1")
    assert browser.get("/clusters/one").status == 200
    (token,) = control.get("/v1/tokens").json["items"]
    assert (token["role"], token["user"], token["note"]) == ("admin", "ada", "signed in: u-1")
    record = control.get("/v1/journal?verb=token.create").json["items"][-1]
    assert (record["actor"], record["on_behalf_of"]) == ("oidc:u-1", "ada")


def test_what_is_asked_is_bound_to_this_browser_and_this_moment(browser):
    first, second = browser.begin(), browser.begin()
    assert first["code_challenge_method"] == "S256"
    assert first["redirect_uri"] == "http://127.0.0.1:7410/login/callback"
    for name in ("state", "nonce", "code_challenge"):
        assert first[name] != second[name]
        assert len(first[name]) >= 43


def test_the_code_is_traded_with_the_verifier_and_our_secret(browser, provider):
    begun = browser.begin()
    provider.says["/token"] = {"id_token": provider.token(nonce=begun["nonce"])}
    assert browser.back(code="a-code", state=begun["state"], iss=provider.issuer).status == 303
    (asked,) = [one for one in provider.asked if one["path"] == "/token"]
    assert base64.b64decode(asked["authorization"].removeprefix("Basic ")).decode() == "quarterdeck:the%20secret"
    assert asked["form"]["grant_type"] == "authorization_code"
    made = hashlib.sha256(asked["form"]["code_verifier"].encode()).digest()  # RFC 7636, section 4.6
    assert base64.urlsafe_b64encode(made).decode().rstrip("=") == begun["code_challenge"]


def test_a_provider_may_take_the_secret_in_the_form_only(browser, provider):
    provider.says["/.well-known/openid-configuration"]["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
    assert signs_in(browser, provider).status == 303
    (asked,) = [one for one in provider.asked if one["path"] == "/token"]
    assert (asked["form"]["client_id"], asked["form"]["client_secret"], asked["authorization"]) == ("quarterdeck", "the secret", None)


def test_the_cookies_are_closed_to_scripts_and_to_other_sites(browser, provider):
    begun = browser.get("/login/start").headers["set-cookie"]
    assert "HttpOnly" in begun
    assert "samesite=lax" in begun.lower(), "the provider's page is another site, and sends the browser back"
    assert "Path=/;" in begun
    done = signs_in(browser, provider).headers["set-cookie"]
    assert "HttpOnly" in done
    assert "samesite=strict" in done.lower()
    assert "Max-Age=28800" in done
    assert "quarterdeck-7410-sign-in" not in browser.cookies, "it has done its work"


def test_a_session_has_what_the_grant_says_and_ends_when_the_file_says(control, browser, provider):
    control.up()
    assert signs_in(browser, provider, groups=["readers"]).status == 303
    assert browser.get("/v1/clusters", accept="application/json").status == 200
    assert browser.get("/v1/tokens", accept="application/json").status == 403
    control.engine.clock.advance(8 * 3600 - 1)
    assert browser.get("/clusters/one").status == 200
    control.engine.clock.advance(1)
    assert browser.get("/clusters/one").status == 403


def test_somebody_whom_no_grant_means_is_told_so(browser, provider):
    answer = signs_in(browser, provider, groups=["cooks"], preferred_username="<b>eve</b>")
    assert answer.status == 403
    assert "knows &lt;b&gt;eve&lt;/b&gt;, and nothing here allows" in answer.text
    assert "quarterdeck-7410" not in browser.cookies


def test_an_answer_belongs_to_the_browser_that_asked(control, browser, provider):
    asked = browser.begin()
    provider.says["/token"] = {"id_token": provider.token(nonce=asked["nonce"])}
    stranger, other = Browser(control), Browser(control)
    other.begin()
    for who, state in ((stranger, asked["state"]), (other, asked["state"]), (browser, "another"), (browser, "")):
        answer = who.back(code="a-code", state=state, iss=provider.issuer)
        assert answer.status == 403, answer.text
        assert "quarterdeck-7410" not in who.cookies
        control.engine.clock.advance(1)
    assert provider.count("/token") == 0, "the code was not even looked at"


def test_a_cookie_that_was_changed_or_made_elsewhere_is_none(control, browser, provider):
    asked = browser.begin()
    kept = browser.cookies["quarterdeck-7410-sign-in"]
    for wrong in (kept[:-2], "A" + kept[1:], "", "x", "%C3%A4", "e30", kept + "A" * 8):
        browser.cookies["quarterdeck-7410-sign-in"] = wrong
        answer = browser.back(code="a-code", state=asked["state"], iss=provider.issuer)
        assert answer.status in (403, 429), wrong
        control.engine.clock.advance(600)


def test_an_answer_comes_within_ten_minutes(control, browser, provider):
    asked = browser.begin()
    provider.says["/token"] = {"id_token": provider.token(nonce=asked["nonce"])}
    control.engine.clock.advance(LIVES)
    assert browser.back(code="a-code", state=asked["state"], iss=provider.issuer).status == 403
    assert provider.count("/token") == 0


@pytest.mark.parametrize("issuer", ["https://evil.example", None])
def test_an_answer_of_another_provider_is_refused(browser, provider, issuer):
    asked = browser.begin()
    said = {"iss": issuer} if issuer else {}
    assert browser.back(code="a-code", state=asked["state"], **said).status == 403
    assert provider.count("/token") == 0, "its code is not carried to ours"


def test_a_provider_that_never_says_who_it_is_may_leave_it_out(browser, provider):
    del provider.says["/.well-known/openid-configuration"]["authorization_response_iss_parameter_supported"]
    asked = browser.begin()
    provider.says["/token"] = {"id_token": provider.token(nonce=asked["nonce"])}
    assert browser.back(code="a-code", state=asked["state"]).status == 303


BAD = {
    "another nonce": {"nonce": "another"},
    "no nonce": {"nonce": None},
    "another audience": {"aud": "other"},
    "another client": {"azp": "other"},
    "expired": {"exp": NOW - 61},
    "from the future": {"iat": NOW + 120},
    "another issuer": {"iss": "https://evil.example"},
    "nobody": {"sub": None},
    "signed by another": {"key": OTHER},
    "signed in another way": {"key": EC},
}


@pytest.mark.parametrize("claims", BAD.values(), ids=BAD)
def test_an_id_token_that_is_not_right_lets_nobody_in(browser, provider, claims):
    asked = browser.begin()
    whole = {"iss": provider.issuer, "nonce": asked["nonce"], **claims}
    key = whole.pop("key", RSA)
    provider.says["/token"] = {"id_token": signed(but(**whole), key, "ES256" if key is EC else "RS256")}
    assert browser.back(code="a-code", state=asked["state"], iss=provider.issuer).status == 403
    assert "quarterdeck-7410" not in browser.cookies


def test_what_the_provider_says_of_a_refusal_is_shown_as_text(browser, provider):
    said = {"error": "access_denied", "error_description": f"<script>alert(1)</script>\x1b[2J{'x' * 500}"}
    answer = browser.back(state=browser.begin()["state"], iss=provider.issuer, **said)
    assert (answer.status, "&lt;script&gt;" in answer.text) == (403, True)
    assert not any(text in answer.text for text in ("<script>", "\x1b", "x" * 200))


def test_a_stranger_writes_nothing_on_our_page(control, browser, provider):
    for said in ({}, {"state": "guess"}, {"state": "guess", "iss": provider.issuer}):
        answer = browser.back(error="x", error_description="Call 555 now", **said)
        assert (answer.status, "555" in answer.text) == (403, False)
    asked = browser.begin()
    assert "555" not in browser.back(state=asked["state"], iss="https://evil.example", error_description="Call 555 now", error="x").text


def test_a_code_that_is_refused_is_told(browser, provider):
    asked = browser.begin()
    provider.says["/token"] = (400, {"error": "invalid_grant", "error_description": "the code was used"})
    answer = browser.back(code="a-code", state=asked["state"], iss=provider.issuer)
    assert answer.status == 403
    assert "the code was used" in answer.text


ODD = {
    "it is down": (500, b"oops"),
    "it speaks no JSON": b"<html>",
    "it says a list": [],
    "it says depth": b"[" * 100_000,
    "it says too much": b" " * (2 << 20),
    "it says nothing": b"",
    "it gives no token": {"access_token": "x"},
    "it gives a token that is no text": {"id_token": 1},
    "it sends elsewhere": (302, "http://127.0.0.1:1/token"),
}


@pytest.mark.parametrize("answer", ODD.values(), ids=ODD)
def test_a_provider_that_answers_oddly_is_a_clear_error(browser, provider, answer):
    asked = browser.begin()
    provider.says["/token"] = answer
    refused = browser.back(code="a-code", state=asked["state"], iss=provider.issuer)
    assert refused.status in (500, 502, 503), refused.text
    assert "127.0.0.1" in refused.text
    assert "quarterdeck-7410" not in browser.cookies


@pytest.mark.parametrize("field", ["authorization_endpoint", "token_endpoint", "jwks_uri"])
@pytest.mark.parametrize("address", [None, 1, "", "http://login.example.org/x", "file:///etc/passwd", "ftp://127.0.0.1/x", "//x"])
def test_a_description_that_leads_to_the_clear_or_to_a_file_is_not_followed(browser, provider, field, address):
    provider.says["/.well-known/openid-configuration"][field] = address
    answer = browser.get("/login/start")
    if answer.status == 303:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}
        provider.says["/token"] = {"id_token": provider.token(nonce=asked["nonce"])}
        answer = browser.back(code="a-code", state=asked["state"], iss=provider.issuer)
    assert answer.status >= 500, answer.text
    assert field in answer.text


def test_a_provider_that_calls_itself_another_is_not_believed(browser, provider):
    provider.says["/.well-known/openid-configuration"]["issuer"] = "https://evil.example"
    assert "calls itself https://evil.example" in browser.get("/login/start").text


def test_a_page_to_land_on_is_one_of_ours(browser, provider):
    for landing in ("https://evil.example", "//evil.example", "/login/start", "/v1/tokens", "/nowhere"):
        assert signs_in(browser, provider, landing).headers["location"] == "/"


def test_a_browser_that_came_by_another_name_is_first_sent_to_ours(control):
    answer = control.stranger("GET", "/login/start?next=/settings", headers={"host": "localhost:7410", **PAGE})
    assert (answer.status, answer.headers["location"]) == (303, "http://127.0.0.1:7410/login/start?next=%2Fsettings")
    assert "set-cookie" not in answer.headers


def test_a_token_of_the_provider_is_traded_for_one_of_an_hour(control, provider):
    control.up()
    given = trade(control, provider.token(exp=NOW + 86_400))
    assert given.status == 200, given.text
    assert (given.json["role"], given.json["expires_in"]) == ("admin", 3_600)
    bearer = {"authorization": f"Bearer {given.json['token']}"}
    assert control.stranger("GET", "/v1/tokens", headers=bearer).status == 200
    control.engine.clock.advance(3_600)
    assert control.stranger("GET", "/v1/tokens", headers=bearer).status == 403


def test_what_is_given_for_it_ends_no_later_than_it(control, provider):
    assert trade(control, provider.token(exp=NOW + 120)).json["expires_in"] == 120
    assert trade(control, provider.token(exp=NOW - 30)).status == 403, "believed within the leeway, and worth nothing"


@pytest.mark.parametrize("name", ["none", "shared", "key", "audience", "issuer", "expired", "nobody", "grant", "words"])
def test_a_token_that_is_not_right_is_traded_for_nothing(control, provider, name):
    secret = {
        "none": unsigned(but(iss=provider.issuer)),
        "shared": by_secret(b"quarterdeck", but(iss=provider.issuer)),
        "key": provider.token(key=OTHER),
        "audience": provider.token(aud="other"),
        "issuer": provider.token().replace(".", "x", 1),
        "expired": provider.token(exp=NOW - 61),
        "nobody": provider.token(sub=None),
        "grant": provider.token(groups=[]),
        "words": "let me in",
    }[name]
    assert trade(control, secret).status == 403
    assert control.get("/v1/tokens").json["items"] == []


def test_a_token_of_the_provider_opens_nothing_itself(control, provider):
    assert control.stranger("GET", "/v1/systems", headers={"authorization": f"Bearer {provider.token()}"}).status == 403


def test_a_new_key_is_looked_for_once_in_a_while_and_not_at_each_guess(control, provider):
    assert trade(control, provider.token()).status == 200
    fresh = but(iss=provider.issuer)
    new = RSAKey.generate_key(2048, parameters={"kid": "new"}, private=True)
    control.engine.clock.advance(providers.APART)
    before = provider.count("/keys")
    for _ in range(4):
        assert trade(control, signed(fresh, key=new)).status == 403
    assert provider.count("/keys") == before + 1
    provider.says["/keys"] = {"keys": [new.as_dict(private=False)]}
    control.engine.clock.advance(providers.APART)
    assert trade(control, signed(but(iss=provider.issuer, exp=NOW + 600), key=new)).status == 200
    assert trade(control, provider.token(exp=NOW + 600)).status == 403, "the old one is gone"


def test_known_keys_are_used_while_the_provider_is_away(control, provider):
    assert trade(control, provider.token()).status == 200
    provider.says["/keys"] = provider.says["/.well-known/openid-configuration"] = (503, b"away")
    control.engine.clock.advance(providers.KEEP + 1)
    assert trade(control, provider.token(exp=NOW + 3_600)).status == 200


def test_the_file_is_read_anew_when_it_changes_and_lets_nobody_in_while_it_has_faults(control, browser, provider):
    assert trade(control, provider.token(groups=["cooks"])).status == 403
    control.file.write_text(FILE.format(issuer=provider.issuer) + "    - {claim: groups, has: cooks, role: viewer}\n")
    control.engine.clock.advance(LOOK_EVERY)
    assert trade(control, provider.token(groups=["cooks"])).json["role"] == "viewer"
    control.file.write_text(FILE.format(issuer=provider.issuer) + "    - {claim: groups, has: SECRET, roll: viewer}\n")
    control.engine.clock.advance(LOOK_EVERY)
    refused = trade(control, provider.token())
    assert (refused.status, "SECRET" in refused.text) == (503, False)
    assert "Sign in with" not in browser.get("/").text
    assert 'did you mean "role"?' in control.get("/v1/version").json["sign_in"]["fault"]
    viewer = control.post("/v1/tokens", {"role": "viewer"}).json["token"]
    told = control.stranger("GET", "/v1/version", headers={"authorization": f"Bearer {viewer}"}).json["sign_in"]
    assert told["fault"] == "it has faults"
    control.file.unlink()
    control.engine.clock.advance(LOOK_EVERY)
    assert trade(control, provider.token()).status == 503
    control.file.write_text(FILE.format(issuer=provider.issuer))
    control.engine.clock.advance(LOOK_EVERY)
    assert trade(control, provider.token()).status == 200


def test_without_a_file_there_is_no_provider(make_control):
    with make_control() as control:
        for path in ("/login/start", "/login/callback?code=x"):
            assert control.stranger("GET", path, headers=PAGE).status == 404
        assert trade(control, "eyJhbGciOiJub25lIn0.e30.").status == 404
        assert "Sign in" not in control.stranger("GET", "/", headers=PAGE).text
