"""Tokens by the dashboard: for administrators only, the secret on one answer, and an end that was confirmed."""

import json
import re
import shlex
from html import unescape

import pytest

from quarterdeck.api.csrf import token_of

PAGE = {"accept": "text/html,*/*"}
SECRET = re.compile(r"qd_[0-9a-f]{8}_[\w-]{20,}")
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def pair(control):
    control.up()
    return control


def make(pair, **fields):
    return pair.post_form("/settings/tokens", {"role": "viewer", "ttl": "30d", **fields})


def tokens(pair):
    return pair.get("/v1/tokens").json["items"]


def test_the_secret_is_on_one_answer_and_works(pair):
    answer = make(pair, role="operator", cluster="one", ttl="12h", user="alice", note="ci")
    (secret,) = set(SECRET.findall(answer.text))
    assert answer.headers["cache-control"] == "no-store"
    (token,) = tokens(pair)
    assert {name: token[name] for name in ("role", "cluster", "user", "note")} == {
        "role": "operator", "cluster": "one", "user": "alice", "note": "ci",
    }  # fmt: skip
    assert pair.stranger("GET", "/v1/agents", headers={"authorization": f"Bearer {secret}"}).status == 200
    for path in ("/settings", f"/settings/tokens/{token['id']}", "/journal", "/v1/tokens"):
        assert secret not in pair.get(path).text, path
    again = pair.get("/settings/tokens")
    assert (again.status, again.headers["location"]) == (303, "/settings#tokens")


def test_the_answer_is_left_alone_by_scripts_and_tells_the_same_by_command(pair):
    page = make(pair, role="operator", cluster="one", ttl="12h", user="o'hara").text
    assert 'data-every="0.0"' in page
    shown = {name: unescape(re.sub("<[^>]*>", "", text)) for name, text in re.findall(r'id="as-(command|curl)">(.*?)</code>', page)}
    assert shlex.split(shown["command"]) == [
        "qd", "token", "create", "--role", "operator", "--cluster", "one", "--ttl", "12h", "--user", "o'hara",
    ]  # fmt: skip
    curl = shlex.split(shown["curl"])
    assert (curl[2], curl[-1]) == ("POST", "/v1/tokens")
    assert pair.post("/v1/tokens", json.loads(curl[curl.index("-d") + 1])).status == 200


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"ttl": "soon"}, "is no duration"),
        ({"ttl": "400d"}, "ttl"),
        ({"ttl": "0s"}, "ttl"),
        ({"role": "root"}, "role"),
        ({"cluster": "*"}, "cluster"),
        ({"cluster": HOSTILE}, "cluster"),
        ({"user": "a\x01b"}, "user"),
    ],
)
def test_what_is_refused_is_said_in_the_form_and_nothing_typed_is_lost(pair, fields, told):
    answer = make(pair, **{"note": "kept note", **fields})
    assert 400 <= answer.status < 500
    alert = answer.text[answer.text.index('role="alert">') :]
    assert told in alert[: alert.index("</div>")]
    assert 'value="kept note"' in answer.text
    assert HOSTILE not in answer.text
    assert tokens(pair) == []


def test_a_doubt_of_the_api_is_shown_with_the_way_back(pair):
    page = make(pair, cluster="won").text
    assert "no system has a cluster won now" in page
    assert f"/settings/tokens/{tokens(pair)[0]['id']}" in page
    assert "no system has" not in make(pair, cluster="one").text


def test_a_token_ends_only_when_that_was_confirmed(pair):
    make(pair, note=HOSTILE)
    (token,) = tokens(pair)
    path = f"/settings/tokens/{token['id']}"
    asked = pair.get(path)
    assert "There is no way back" in asked.text
    assert HOSTILE not in asked.text
    unconfirmed = pair.post_form(path, {"reason": "lost"})
    assert (unconfirmed.status, 'value="lost"' in unconfirmed.text, len(tokens(pair))) == (200, True, 1)
    done = pair.post_form(path, {"reason": "lost", "confirmed": "yes"})
    assert (done.status, done.headers["location"], tokens(pair)) == (303, "/settings#tokens", [])
    assert pair.get("/v1/journal?verb=token.revoke").json["items"][0]["reason"] == "lost"
    assert pair.get(path).status == 404
    assert pair.post_form(path, {"confirmed": "yes"}).status == 404


@pytest.mark.parametrize(("role", "cluster"), [("viewer", None), ("operator", None), ("deployer", None), ("admin", "one")])
def test_who_is_no_administrator_of_all_sees_and_makes_none(pair, role, cluster):
    body = {"role": role, **({"cluster": cluster} if cluster else {})}
    made = pair.post("/v1/tokens", body).json
    head = {"authorization": f"Bearer {made['token']}", **PAGE}
    page = pair.stranger("GET", "/settings", headers=head)
    assert page.status == 200
    assert "Only an administrator sees them" in page.text
    assert "Make a token" not in page.text
    own, form = f"/settings/tokens/{made['id']}", {"role": "admin", "ttl": "1d", "confirmed": "yes"}
    for method, path, data in (("POST", "/settings/tokens", form), ("GET", own, None), ("POST", own, form)):
        answer = pair.stranger(method, path, headers=head, data=data)
        assert answer.status == 403, path
        assert not SECRET.search(answer.text)
    assert len(tokens(pair)) == 1


def session(pair):
    link = pair.post("/v1/login", {}).json["url"].partition("7410")[2]
    return pair.stranger("GET", link).headers["set-cookie"].partition(";")[0]


def test_forms_of_a_browser_carry_the_word_of_its_session(pair):
    cookie = session(pair)
    head = {"cookie": cookie, "origin": "http://127.0.0.1:7410", **PAGE}
    fields = {"role": "viewer", "ttl": "1d"}
    assert pair.stranger("POST", "/settings/tokens", headers=head, data=fields).status == 403
    word = token_of(cookie.partition("=")[2])
    assert f'value="{word}"' in pair.stranger("GET", "/settings", headers=head).text
    assert SECRET.search(pair.stranger("POST", "/settings/tokens", headers=head, data={**fields, "csrf": word}).text)


def test_ones_own_session_is_said_to_be_one_and_its_end_leads_out(pair):
    cookie = session(pair)
    (own,) = tokens(pair)
    head = {"cookie": cookie, "origin": "http://127.0.0.1:7410", **PAGE}
    path = f"/settings/tokens/{own['id']}"
    assert "you will be logged out" in pair.stranger("GET", path, headers=head).text
    assert "you will be logged out" not in pair.get(path).text
    word = token_of(cookie.partition("=")[2])
    done = pair.stranger("POST", path, headers=head, data={"csrf": word, "confirmed": "yes"})
    assert (done.status, done.headers["location"]) == (303, "/login")
    assert pair.stranger("GET", "/", headers=head).status == 403
