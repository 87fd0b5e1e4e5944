"""Tokens over the API: made, listed, used, revoked; login links that keep what they were made with."""

from http.cookies import SimpleCookie
from urllib.parse import urlsplit

import pytest
from sqlalchemy import func, select

from quarterdeck.api.csrf import token_of
from quarterdeck.errors import StoreReadOnly
from quarterdeck.store import tables

YEAR = 365 * 86_400


def bearer(secret):
    return {"authorization": f"Bearer {secret}"}


def made(control, **body):
    answer = control.post("/v1/tokens", {"role": "viewer", **body})
    assert answer.status == 200, answer.text
    return answer.json


def session_of(control, **body):
    """The cookie that a login link gives, and how it was set."""
    link = control.post("/v1/login", body).json["url"]
    answer = control.stranger("GET", link.removeprefix("http://127.0.0.1:7410"))
    assert (answer.status, answer.headers["location"]) == (303, "/")
    return SimpleCookie(answer.headers["set-cookie"])["quarterdeck-7410"]


def test_a_secret_is_told_once_and_lies_nowhere(control, tmp_path):
    token = made(control, note="wall display")
    secret = token["token"]
    assert control.stranger("GET", "/v1/systems", headers=bearer(secret)).status == 200
    listed = control.get("/v1/tokens")
    assert secret not in listed.text
    assert [(t["id"], t["role"], t["cluster"], t["note"], t["used"]) for t in listed.json["items"]] == [
        (token["id"], "viewer", None, "wall display", None)
    ]
    control.store.close()
    files = [path for path in control.home.root.rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if secret.split("_", 2)[2].encode() in path.read_bytes()] == []


def test_a_token_ends_when_its_time_is_over(control):
    token = made(control, ttl=60)
    control.engine.clock.advance(59)
    assert control.stranger("GET", "/v1/systems", headers=bearer(token["token"])).status == 200
    control.engine.clock.advance(1)
    assert control.stranger("GET", "/v1/systems", headers=bearer(token["token"])).status == 403
    assert control.get("/v1/tokens").json["items"] == []


def test_a_revoked_token_is_refused_from_then_on_and_the_journal_says_why(control):
    token = made(control)
    done = control.delete(f"/v1/tokens/{token['id']}?reason=lost")
    assert (done.status, done.json["state"]) == (200, "revoked")
    assert control.stranger("GET", "/v1/systems", headers=bearer(token["token"])).status == 403
    assert control.delete("/v1/tokens/0000").status == 404
    told = control.get("/v1/journal?verb=token.").json["items"]
    assert [(r["verb"], r["target"], r["reason"]) for r in told] == [
        ("token.create", f"token:{token['id']}", ""),
        ("token.revoke", f"token:{token['id']}", "lost"),
    ]
    assert told[0]["after"] == {"role": "viewer", "cluster": None, "system": None, "user": "", "ttl": 3_600}


@pytest.mark.parametrize(
    "body",
    [
        {"role": "root"},
        {"role": "approver"},
        {"ttl": 0},
        {"ttl": YEAR + 1},
        {"ttl": "NaN"},
        {"cluster": "*"},
        {"cluster": ""},
        {"cluster": "a/b/c"},
        {"cluster": "../x"},
        {"cluster": "one\n"},
        {"cluster": "One"},
        {"once": True},
        {"note": "x" * 201},
    ],
)
def test_a_token_that_makes_no_sense_is_refused(control, body):
    assert control.post("/v1/tokens", {"role": "viewer", **body}).status == 422


def test_a_token_for_a_cluster_that_nobody_has_is_warned_of(control):
    control.up()
    assert made(control, cluster="one")["warnings"] == []
    assert made(control, cluster="pair/one")["warnings"] == []
    assert control.post("/v1/login", {"cluster": "won"}).json["warnings"] == ["no system has a cluster won now"]
    assert made(control, cluster="won")["warnings"] == ["no system has a cluster won now"]
    assert made(control, cluster="other/one")["warnings"] == ["no system has a cluster other/one now"]


def test_the_minute_of_the_last_use_is_kept_lazily(control):
    token = made(control)
    at = control.engine.clock.now() // 60 * 60
    control.stranger("GET", "/v1/systems", headers=bearer(token["token"]))
    assert control.get("/v1/tokens").json["items"][0]["used"] is None
    before = control.journalled()
    control.run(control.sessions.write_uses())
    assert control.get("/v1/tokens").json["items"][0]["used"].startswith("2023-11-14T22:13:00")
    assert at == 1_699_999_980.0
    assert control.journalled() == before


def test_a_use_that_cannot_be_written_does_no_harm(control, monkeypatch):
    token = made(control)
    control.stranger("GET", "/v1/systems", headers=bearer(token["token"]))

    async def full(work):
        raise StoreReadOnly("full", hint="make room")

    with monkeypatch.context() as patch:
        patch.setattr(type(control.store), "write", lambda _, work: full(work))
        control.run(control.sessions.write_uses())
    control.stranger("GET", "/v1/systems", headers=bearer(token["token"]))
    control.run(control.sessions.write_uses())
    assert control.get("/v1/tokens").json["items"][0]["used"] is not None


def test_what_is_done_with_the_token_of_a_user_is_journalled_on_their_behalf(control):
    control.up()
    token = made(control, role="operator", user="alice")
    assert (token["user"], control.get("/v1/tokens").json["items"][0]["user"]) == ("alice", "alice")
    cookie = session_of(control, role="operator", user="bob")
    by = {
        "alice": bearer(token["token"]),
        "bob": {"cookie": f"quarterdeck-7410={cookie.value}", "x-csrf-token": token_of(cookie.value), "origin": "http://127.0.0.1:7410"},
    }
    for user, headers in by.items():
        body = {"target": "one/reader", "field": "hold", "value": True, "reason": user}
        answer = control.stranger("POST", "/v1/changes", json=body, headers=headers)
        assert answer.status == 200, answer.text
        assert answer.json["actor"].startswith(f"{user} (token:")
    told = {r["reason"]: (r["actor"][:6], r["on_behalf_of"]) for r in control.get("/v1/journal?verb=change.add").json["items"]}
    assert told == {"alice": ("token:", "alice"), "bob": ("token:", "bob")}
    assert control.post("/v1/tokens", {"role": "viewer", "user": "a\nb"}).status == 422


def test_a_token_that_ended_a_day_ago_is_forgotten(control):
    made(control, ttl=60)

    def kept():
        with control.store.read() as conn:
            return conn.execute(select(func.count()).select_from(tables.tokens)).scalar()

    control.engine.clock.advance(86_000)
    control.run(control.sessions.forget())
    assert kept() == 1
    control.engine.clock.advance(1000)
    control.run(control.sessions.forget())
    assert kept() == 0


def test_a_login_link_gives_what_it_was_made_for_and_no_more(control):
    control.up()
    cookie = session_of(control, role="viewer", cluster="one")
    assert (cookie["httponly"], cookie["samesite"], cookie["secure"], cookie["path"]) == (True, "strict", "", "/")
    assert int(cookie["max-age"]) == 12 * 3600
    shown = {"cookie": f"quarterdeck-7410={cookie.value}"}
    assert control.stranger("GET", "/v1/clusters", headers=shown).json["items"][0]["name"] == "one"
    assert control.stranger("GET", "/v1/revisions", headers=shown).status == 403
    change = {"target": "one/reader", "field": "hold", "value": True, "reason": "x"}
    meant = {**shown, "origin": "http://127.0.0.1:7410", "x-csrf-token": token_of(cookie.value)}
    assert control.stranger("POST", "/v1/changes", json=change, headers=meant).status == 403


def test_logging_out_ends_the_session_and_a_token_of_a_program_cannot(control):
    control.up()
    cookie = session_of(control, role="viewer")
    shown = {"cookie": f"quarterdeck-7410={cookie.value}"}
    meant = {**shown, "origin": "http://127.0.0.1:7410"}
    assert control.stranger("POST", "/logout", data={"csrf": "guess"}, headers=meant).status == 403
    assert control.stranger("GET", "/v1/systems", headers=shown).status == 200
    gone = control.stranger("POST", "/logout", data={"csrf": token_of(cookie.value)}, headers=meant)
    assert (gone.status, SimpleCookie(gone.headers["set-cookie"])["quarterdeck-7410"]["max-age"]) == (303, "0")
    assert control.stranger("GET", "/v1/systems", headers=shown).status == 403

    secret = made(control)["token"]
    assert control.stranger("POST", "/logout", data={"a": "b"}, headers=bearer(secret)).status == 303
    assert control.stranger("GET", "/v1/systems", headers=bearer(secret)).status == 200


def test_a_login_link_works_once_and_a_session_ends_after_half_a_day(control):
    link = control.post("/v1/login").json["url"].removeprefix("http://127.0.0.1:7410")
    first = control.stranger("GET", link)
    assert first.status == 303
    assert control.stranger("GET", link).status == 403
    shown = {"cookie": f"quarterdeck-7410={SimpleCookie(first.headers['set-cookie'])['quarterdeck-7410'].value}"}
    assert control.stranger("GET", "/v1/tokens", headers=shown).status == 200
    control.engine.clock.advance(12 * 3600)
    assert control.stranger("GET", "/v1/tokens", headers=shown).status == 403


def test_a_login_link_that_nobody_used_ends_after_a_quarter_of_an_hour(control):
    link = control.post("/v1/login").json["url"].removeprefix("http://127.0.0.1:7410")
    control.engine.clock.advance(900)
    assert control.stranger("GET", link).status == 403


def test_a_login_code_is_no_token_and_a_token_no_login_code(control):
    code = urlsplit(control.post("/v1/login").json["url"]).query.removeprefix("code=")
    assert control.stranger("GET", "/v1/systems", headers=bearer(code)).status == 403
    assert control.stranger("GET", f"/login?code={made(control)['token']}").status == 403
    assert control.stranger("GET", f"/login?code={code}").status == 303


def test_guessing_login_codes_costs_the_store_no_write(control):
    before = control.journalled()
    for _ in range(20):
        assert control.stranger("GET", "/login?code=qd_00000000_guess").status in (403, 429)
    assert control.journalled() == before
