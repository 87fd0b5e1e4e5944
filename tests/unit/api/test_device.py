"""A program is let in by a code that somebody confirms who is logged in: with no more than that one may do, once, for ten minutes."""

import re
from http.cookies import SimpleCookie

import pytest

from quarterdeck.api.csrf import token_of
from quarterdeck.api.devices import LIVES, MOST, Devices
from quarterdeck.api.errors import TooMany
from quarterdeck.store.tokens import MOST_LET_IN

PAGE = {"accept": "text/html,*/*"}
HOUR = 3_600


def ask(control, host="laptop"):
    answer = control.stranger("POST", "/v1/login/device", json={"host": host})
    assert answer.status == 200, answer.text
    return answer.json


def collect(control, asked):
    return control.stranger("POST", "/v1/login/device/token", json={"secret": asked["secret"]})


def bearer(secret):
    return {"authorization": f"Bearer {secret}"}


def somebody(control, **body):
    """The headers of a token."""
    return bearer(control.post("/v1/tokens", {"role": "operator", **body}).json["token"])


def let_in(control, asked, who, **body):
    return control.stranger("POST", f"/v1/login/device/{asked['code']}", json=body, headers=who)


def access(control, refresh):
    return control.stranger("POST", "/v1/login/token", json={"secret": refresh}).json["token"]


def test_a_program_gets_a_refresh_token_for_whom_let_it_in(control):
    control.up()
    asked = ask(control)
    assert re.fullmatch(r"[B-DF-HJ-NP-TV-XZ]{4}-[B-DF-HJ-NP-TV-XZ]{4}", asked["code"])
    assert asked["url"] == f"http://127.0.0.1:7410/login/device?code={asked['code']}"
    assert collect(control, asked).json["state"] == "waiting"
    seen = control.stranger("GET", f"/v1/login/device/{asked['code']}", headers=somebody(control)).json
    assert (seen["host"], seen["address"], seen["state"]) == ("laptop", "127.0.0.1", "waiting")
    assert let_in(control, asked, somebody(control, cluster="one", user="ada")).json["state"] == "allowed"
    given = collect(control, asked).json
    assert (given["state"], given["role"], given["cluster"], given["user"]) == ("allowed", "operator", "one", "ada")
    secret = access(control, given["token"])
    assert control.stranger("GET", "/v1/clusters", headers=bearer(secret)).status == 200
    assert control.stranger("GET", "/v1/revisions", headers=bearer(secret)).status == 403
    record = control.get("/v1/journal?verb=token.create").json["items"][-1]
    assert (record["on_behalf_of"], record["reason"], record["after"]["refresh"]) == ("ada", "qd login on laptop", True)


def test_what_it_gets_is_told_once(control):
    asked = ask(control)
    let_in(control, asked, somebody(control))
    assert collect(control, asked).json["state"] == "allowed"
    assert collect(control, asked).status == 403


def test_it_ends_with_the_session_that_let_it_in(control):
    asked = ask(control)
    let_in(control, asked, somebody(control, ttl=2 * HOUR))
    given = collect(control, asked).json
    control.engine.clock.advance(2 * HOUR - 1)
    assert access(control, given["token"])
    control.engine.clock.advance(1)
    assert control.stranger("POST", "/v1/login/token", json={"secret": given["token"]}).status == 403


def test_nobody_gives_away_more_than_they_have(control):
    asked = ask(control)
    refused = let_in(control, asked, somebody(control), role="admin")
    assert (refused.status, refused.json["error"]["message"]) == (403, "nobody gives away the role admin who is operator")
    assert let_in(control, asked, somebody(control), role="viewer").json["role"] == "viewer"
    assert collect(control, asked).json["role"] == "viewer"


def test_a_session_that_is_nearly_over_lets_nobody_in(control):
    assert let_in(control, ask(control), somebody(control, ttl=30)).status == 400


def test_no_is_an_answer(control):
    asked = ask(control)
    assert let_in(control, asked, somebody(control), allow=False).json["state"] == "refused"
    assert let_in(control, asked, somebody(control)).status == 409, "and the only one"
    assert collect(control, asked).json == {"apiVersion": "quarterdeck.dev/v1alpha1", "kind": "DeviceLogin", "state": "refused"}
    assert control.get("/v1/journal?verb=token.create").json["items"][-1]["reason"] == ""


def test_who_is_not_logged_in_sees_and_answers_nothing(control):
    asked = ask(control)
    for method in ("GET", "POST"):
        assert control.stranger(method, f"/v1/login/device/{asked['code']}", json={}).status == 403


def test_a_code_means_something_for_ten_minutes(control):
    asked, who = ask(control), somebody(control)
    control.engine.clock.advance(LIVES)
    assert let_in(control, asked, who).status == 404
    assert collect(control, asked).status == 403


@pytest.mark.parametrize("code", ["BCDF-GHJK", "bcdf-ghjk", "x", "AEIO-UAEI", "BCDF-GHJK%0A", "..%2F"])
def test_a_code_that_nobody_has_is_told(control, code):
    assert control.stranger("GET", f"/v1/login/device/{code}", headers=somebody(control)).status in (404, 422)


def test_wrong_secrets_make_their_address_wait(control):
    codes = [collect(control, {"secret": "guess"}).status for _ in range(7)]
    assert codes == [403] * 5 + [429] * 2


def test_nobody_who_waits_is_pushed_out_and_no_address_can_fill_the_room(control):
    first = ask(control)
    statuses = [control.stranger("POST", "/v1/login/device", json={}).status for _ in range(20)]
    assert statuses.count(200) == 2, "one of three was the first"
    control.engine.clock.advance(10)
    assert [control.stranger("POST", "/v1/login/device", json={}).status for _ in range(20)].count(200) == 3
    assert collect(control, first).json["state"] == "waiting"
    assert MOST > LIVES, "of one a second"
    waiting = Devices()
    for number in range(MOST):
        waiting.begin("", f"10.0.{number}", 0.0)
    with pytest.raises(TooMany):
        waiting.begin("", "10.1.1.1", 0.0)
    assert waiting.begin("", "10.1.1.1", LIVES)


def test_it_ends_with_the_token_that_let_it_in(control):
    """Before it was collected, after it, and when it was traded: whoever revokes a stolen one ends what was made by it."""
    for when in ("before", "after"):
        asked, made = ask(control), control.post("/v1/tokens", {"role": "operator"}).json
        let_in(control, asked, bearer(made["token"]))
        given = collect(control, asked).json if when == "after" else None
        secret = access(control, given["token"]) if given else None
        control.delete(f"/v1/tokens/{made['id']}?reason=stolen")
        if given is None:
            assert collect(control, asked).status == 403
            continue
        assert control.stranger("POST", "/v1/login/token", json={"secret": given["token"]}).status == 403
        assert control.stranger("GET", "/v1/systems", headers=bearer(secret)).status == 403
        assert given["id"] not in control.get("/v1/tokens").text


def test_leaving_the_dashboard_ends_what_was_let_in_from_there(control, page):
    asked = ask(control)
    assert page[1](code=asked["code"], role="viewer", answer="allow").status == 200
    given = collect(control, asked).json
    assert access(control, given["token"])
    session = next(t for t in control.get("/v1/tokens").json["items"] if t["note"].startswith("login with"))
    control.delete(f"/v1/tokens/{session['id']}")
    assert control.stranger("POST", "/v1/login/token", json={"secret": given["token"]}).status == 403


def test_one_who_was_let_in_lets_in_few_and_the_journal_stays_readable(control):
    control.up()
    who, before, given = somebody(control, role="viewer"), control.journalled(), 0
    for _ in range(60):
        control.engine.clock.advance(5)
        asked = ask(control)
        if let_in(control, asked, who).status == 200:
            given += collect(control, asked).status == 200
    assert given == MOST_LET_IN
    assert control.journalled() - before <= MOST_LET_IN + 2
    asked = ask(control)
    codes = [let_in(control, asked, who).status for _ in range(8)]
    assert 429 in codes


def test_of_two_who_collect_at_once_one_is_given_something(control):
    asked = ask(control)
    let_in(control, asked, somebody(control))
    found = control.guard.app.state.services.devices.collect(asked["secret"], control.engine.clock.now())
    assert control.guard.app.state.services.devices.forget(found)
    assert not control.guard.app.state.services.devices.forget(found)
    assert collect(control, asked).status == 403


@pytest.fixture
def page(control):
    """Of somebody with a browser: (get, post)."""
    control.up()
    link = control.post("/v1/login", {"role": "operator"}).json["url"].removeprefix("http://127.0.0.1:7410")
    secret = SimpleCookie(control.stranger("GET", link).headers["set-cookie"])["quarterdeck-7410"].value
    shown = {"cookie": f"quarterdeck-7410={secret}", "origin": "http://127.0.0.1:7410", **PAGE}

    def post(**fields):
        return control.stranger("POST", "/login/device", data={"csrf": token_of(secret), **fields}, headers=shown)

    return lambda path: control.stranger("GET", path, headers=shown), post


def test_the_page_shows_who_waits_and_lets_it_in(control, page):
    get, post = page
    assert control.stranger("POST", "/v1/login/device", json={"host": "Support: press Let it in"}).status == 422
    asked = ask(control)
    shown = get(f"/login/device?code={asked['code'].lower()}")
    assert shown.status == 200
    assert asked["code"] in shown.text
    assert "It calls itself" in shown.text
    assert "deployer" not in shown.text, "no more than one's own"
    done = post(code=asked["code"], role="viewer", answer="allow")
    assert "It is let in" in done.text
    assert collect(control, asked).json["role"] == "viewer"


def test_the_page_says_no(control, page):
    asked = ask(control)
    assert "It is not let in" in page[1](code=asked["code"], answer="refuse").text
    assert collect(control, asked).json["state"] == "refused"


def test_the_page_asks_for_a_code_and_tells_a_wrong_one(control, page):
    get, post = page
    assert 'name="code"' in get("/login/device").text
    wrong = get("/login/device?code=BCDF-GHJK")
    assert (wrong.status, "no program waits with the code BCDF-GHJK" in wrong.text) == (404, True)
    assert post(code="x", answer="allow").status == 422
    asked = ask(control)
    assert post(code=asked["code"], role="admin", answer="allow").status == 403
    assert collect(control, asked).json["state"] == "waiting"


def test_who_is_not_logged_in_comes_back_to_the_page(control):
    """After the login: the link of another terminal is opened once more, a provider brings back by itself."""
    assert control.stranger("GET", "/login/device?code=BCDF-GHJK", headers=PAGE).status == 403
    link = control.post("/v1/login", {"next": "/login/device?code=BCDF-GHJK"})
    assert link.status == 200


def test_leaving_ends_the_token_that_asks(control):
    refresh = control.post("/v1/tokens", {"role": "viewer", "refresh": True}).json
    secret = access(control, refresh["token"])
    assert control.stranger("DELETE", "/v1/login", headers=bearer(secret)).json["id"] == refresh["id"]
    assert control.stranger("GET", "/v1/systems", headers=bearer(secret)).status == 403
    assert control.stranger("POST", "/v1/login/token", json={"secret": refresh["token"]}).status == 403
    assert control.delete("/v1/login").status == 400
