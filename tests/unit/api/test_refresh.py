"""A refresh token opens nothing itself: it is traded for access tokens of an hour, which act under its id and end with it."""

import asyncio

import pytest
from sqlalchemy import func, select

from quarterdeck.store import tables

HOUR = 3_600


def bearer(secret):
    return {"authorization": f"Bearer {secret}"}


def made(control, **body):
    answer = control.post("/v1/tokens", {"role": "viewer", "refresh": True, **body})
    assert answer.status == 200, answer.text
    return answer.json


def trade(control, secret):
    return control.stranger("POST", "/v1/login/token", json={"secret": secret})


def opens(control, secret):
    return control.stranger("GET", "/v1/systems", headers=bearer(secret)).status


def test_it_opens_nothing_itself(control):
    token = made(control)
    assert token["token"].startswith("qdr_")
    assert opens(control, token["token"]) == 403
    cookie = {"cookie": f"quarterdeck-7410={token['token']}"}
    assert control.stranger("GET", "/v1/systems", headers=cookie).status == 403
    assert control.stranger("GET", f"/login?code={token['token']}").status == 403


def test_it_is_traded_for_an_hour_again_and_again(control):
    token = made(control, role="operator", cluster="one", user="alice")
    first = trade(control, token["token"]).json
    assert (first["kind"], first["expires_in"], first["role"], first["cluster"], first["user"]) == (
        "AccessToken", HOUR, "operator", "one", "alice",
    )  # fmt: skip
    control.engine.clock.advance(HOUR - 1)
    second = trade(control, token["token"]).json
    assert opens(control, first["token"]) == opens(control, second["token"]) == 200
    control.engine.clock.advance(1)
    assert (opens(control, first["token"]), opens(control, second["token"])) == (403, 200)


def test_what_it_was_traded_for_has_its_rights_and_acts_under_its_id(control):
    control.up()
    token = made(control, role="operator", cluster="one", user="alice")
    access = trade(control, token["token"]).json["token"]
    assert control.stranger("GET", "/v1/revisions", headers=bearer(access)).status == 403
    change = {"target": "one/reader", "field": "hold", "value": True, "reason": "x"}
    answer = control.stranger("POST", "/v1/changes", json=change, headers=bearer(access))
    assert answer.json["actor"] == f"alice (token:{token['id']})"


def test_only_the_refresh_token_is_listed_with_the_minute_of_its_last_use(control):
    token = made(control)
    trade(control, token["token"])
    (listed,) = control.get("/v1/tokens").json["items"]
    assert (listed["id"], listed["type"]) == (token["id"], "refresh")
    assert listed["used"] is not None


def test_no_access_token_outlives_what_it_was_traded_for(control):
    token = made(control, ttl=HOUR + 600)
    control.engine.clock.advance(HOUR)
    access = trade(control, token["token"]).json
    assert access["expires_in"] == 600
    control.engine.clock.advance(599)
    assert opens(control, access["token"]) == 200
    control.engine.clock.advance(1)
    assert opens(control, access["token"]) == 403
    assert trade(control, token["token"]).status == 403


@pytest.mark.parametrize("by", ["its id", "the id of an access token"])
def test_revoking_it_ends_what_it_was_traded_for(control, by):
    token = made(control)
    access = trade(control, token["token"]).json["token"]
    named = token["id"] if by == "its id" else access.split("_")[1]
    done = control.delete(f"/v1/tokens/{named}?reason=lost")
    assert (done.status, done.json["id"]) == (200, token["id"])
    assert opens(control, access) == 403
    assert trade(control, token["token"]).status == 403


def test_what_is_no_refresh_token_is_traded_for_nothing(control):
    plain = control.post("/v1/tokens", {"role": "viewer"}).json["token"]
    token = made(control)
    access = trade(control, token["token"]).json["token"]
    code = control.post("/v1/login").json["url"].partition("code=")[2]
    for secret in (plain, access, code, f"qdr_{token['id']}_guess", "qdr_", "qdr__", token["token"].replace("qdr_", "qd_")):
        assert trade(control, secret).status in (403, 404, 429), secret
        control.engine.clock.advance(600)
    assert trade(control, "").status == 422


def test_wrong_ones_make_their_address_wait(control):
    codes = [trade(control, "qdr_00000000_guess").status for _ in range(8)]
    assert codes[:5] == [403] * 5
    assert codes[5:] == [429] * 3
    assert trade(control, made(control)["token"]).status == 200, "a right one is let in all the same"


def test_a_trade_costs_more_than_a_request(control):
    token = made(control)
    codes = [trade(control, token["token"]).status for _ in range(30)]
    assert codes.count(200) == 20
    assert codes[-1] == 429
    control.engine.clock.advance(1)
    assert [trade(control, token["token"]).status for _ in range(6)].count(200) == 5


def test_every_token_lives_an_hour_unless_somebody_says_otherwise(control):
    answer = control.post("/v1/tokens", {"role": "viewer"}).json
    assert answer["warnings"] == []
    assert opens(control, answer["token"]) == 200
    control.engine.clock.advance(HOUR)
    assert opens(control, answer["token"]) == 403
    assert "whoever finds it" in control.post("/v1/tokens", {"role": "viewer", "ttl": 2 * HOUR}).json["warnings"][0]
    assert made(control, ttl=30 * 86_400)["warnings"] == []


def test_access_tokens_are_forgotten_after_a_day_and_the_journal_tells_of_none(control):
    token = made(control)
    before = control.journalled()
    for _ in range(3):
        trade(control, token["token"])
    assert control.journalled() == before
    control.engine.clock.advance(HOUR + 86_401)
    control.run(control.sessions.forget())
    with control.store.read() as conn:
        assert conn.execute(select(func.count()).select_from(tables.tokens)).scalar() == 1


def test_the_streams_of_an_access_token_end_with_it(control):
    """Also while the refresh token lives: what was stolen is worth nothing after its hour."""
    streams = control.sessions.streams

    class Open:
        until = control.engine.clock.now() + HOUR

        def __init__(self):
            self.over = asyncio.Event()

    token, stream = made(control), Open()
    streams.running[stream] = f"token:{token['id']}"
    control.sessions.end_streams()
    assert not stream.over.is_set()
    control.engine.clock.advance(HOUR)
    control.sessions.end_streams()
    assert stream.over.is_set()
