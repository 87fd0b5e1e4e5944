"""What a provider, a sign-in file or a stranger may do to sign-in, and that everybody else is served meanwhile."""

import asyncio
import socket
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

import pytest
from tests.unit.api.test_signin import FILE, PAGE, Browser, browser, control, provider, signs_in, trade
from tests.unit.signin.issuing import NOW, RSA

from quarterdeck.api.door import Door, Place
from quarterdeck.clock import VirtualClock
from quarterdeck.errors import Transient
from quarterdeck.signin import provider as providers
from quarterdeck.signin.flow import LOOK_EVERY, Flow

__all__ = ["browser", "control", "provider"]
FAULTS = [
    "  ca: ~nobodyhere/x.pem",
    "  ca: none.pem",
    "  ca: .",
    f"  ca: {'x' * 5_000}",
    "  client_secret: file:~nobodyhere/x",
    "  client_secret: file:none",
    "  client_secret: file:.",
    "  client_secret: env:NOT_SET",
    "  nonsense: 1",
    "  issuer: 5",
    "\x00",
]


@pytest.mark.parametrize("fault", FAULTS, ids=range(len(FAULTS)))
def test_whatever_the_file_holds_everybody_else_is_served(control, provider, fault):
    text = FILE.format(issuer=provider.issuer).replace("  client_secret: file:oidc.secret\n", "" if "client_secret" in fault else "  \n")
    control.file.write_text(f"{text}{fault}\n")
    control.engine.clock.advance(LOOK_EVERY)
    assert control.get("/v1/systems").status == 200
    assert control.stranger("GET", "/healthz").status == 200
    assert control.post("/v1/login").status == 200
    assert control.stranger("GET", "/", headers=PAGE).status == 403
    assert trade(control, provider.token()).status == 503
    assert control.get("/v1/version").json["sign_in"]["fault"]


def test_a_secret_that_comes_later_or_is_another_one_is_seen(control, browser, provider):
    secret = control.file.parent / "oidc.secret"
    secret.unlink()
    control.engine.clock.advance(LOOK_EVERY)
    assert browser.get("/login/start").status == 503
    for text in ("one", "another"):
        secret.write_text(text)
        control.engine.clock.advance(LOOK_EVERY)
        assert control.guard.app.state.services.sign_in.provider.settings.secret == text
    assert signs_in(browser, provider).status == 303


def test_strangers_cannot_hammer_the_provider(control, browser, provider):
    provider.says["/token"] = (400, {"error": "invalid_grant"})
    for _ in range(40):
        begun = browser.get("/login/start")
        state = begun.headers.get("location", "").partition("state=")[2].partition("&")[0]
        browser.get(f"/login/callback?{urlencode({'code': 'bogus', 'state': state, 'iss': provider.issuer})}")
    assert provider.count("/token") <= 20


def test_strangers_are_slowed_down_and_whoever_brings_a_secret_is_not(control):
    codes = [control.stranger("GET", "/", headers=PAGE).status for _ in range(300)]
    assert codes.count(403) == 200
    assert codes[-1] == 429
    link = control.post("/v1/login").json["url"].removeprefix("http://127.0.0.1:7410")
    assert control.stranger("GET", link, headers=PAGE).status == 303
    refresh = control.post("/v1/tokens", {"role": "viewer", "refresh": True}).json["token"]
    assert trade(control, refresh).status == 200


@pytest.mark.parametrize("answer", [(429, {"error": "slow_down"}), (302, "http://127.0.0.1:1/"), b"<html>", {}, [], (500, b"")])
def test_a_provider_that_is_odd_for_a_while_keeps_nobody_out(control, provider, answer):
    assert trade(control, provider.token()).status == 200
    provider.says["/keys"] = provider.says["/.well-known/openid-configuration"] = answer
    control.engine.clock.advance(providers.KEEP + 1)
    before = len(provider.asked)
    assert [trade(control, provider.token(exp=NOW + 7_200)).status for _ in range(5)] == [200] * 5
    assert len(provider.asked) - before <= 2, "and is not asked at each"


def test_keys_are_believed_for_a_day_without_word_of_the_provider(control, provider):
    assert trade(control, provider.token()).status == 200
    provider.says["/keys"] = (503, b"away")
    control.engine.clock.advance(providers.OLDEST + 1)
    assert trade(control, provider.token(exp=NOW + 10 * 86_400)).status == 503


@contextmanager
def silent():
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as sock:
        yield sock.getsockname()[1]


def test_a_provider_that_hangs_holds_up_sign_ins_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(providers, "PATIENCE", 0.3)
    with silent() as port:
        (tmp_path / "signin.yaml").write_text(FILE.format(issuer=f"http://127.0.0.1:{port}"))
        (tmp_path / "oidc.secret").write_text("x")
        flow = Flow(tmp_path / "signin.yaml", {}, "http://127.0.0.1:7410/login/callback", VirtualClock())

        async def many():
            began = time.monotonic()
            asking = [asyncio.create_task(flow.begin("/")) for _ in range(30)]
            await asyncio.sleep(0.05)
            before = time.monotonic()
            await asyncio.to_thread(time.time)
            waited = time.monotonic() - before
            told = await asyncio.gather(*asking, return_exceptions=True)
            return waited, time.monotonic() - began, told

        waited, took, told = asyncio.run(many())
    assert waited < 0.2, "threads of everybody else are free"
    assert took < 2.0, "one look serves all who wait"
    assert all(isinstance(one, Transient) for one in told)


def test_all_that_the_provider_says_of_one_subject_is_one_identity_that_can_be_ended(control, provider):
    before = control.journalled()
    given = [trade(control, provider.token(iat=NOW - 5)).json["token"] for _ in range(5)]
    assert control.journalled() - before == 1
    (listed,) = control.get("/v1/tokens").json["items"]
    bearer = {"authorization": f"Bearer {given[0]}"}
    assert control.stranger("GET", "/v1/version", headers=bearer).status == 200
    assert control.delete(f"/v1/tokens/{given[0].split('_')[1]}").json["id"] == listed["id"]
    assert control.stranger("GET", "/v1/version", headers=bearer).status == 403
    refused = trade(control, provider.token(iat=NOW - 5))
    assert (refused.status, "was revoked here" in refused.text) == (403, True)
    control.engine.clock.advance(10)
    assert trade(control, provider.token(iat=NOW + 5)).status == 200, "what it says after that counts"


def test_what_a_grant_takes_away_is_gone_from_what_was_given(control, provider):
    control.up()
    first = trade(control, provider.token()).json["token"]
    control.file.write_text(FILE.format(issuer=provider.issuer).replace("role: admin", "role: viewer"))
    control.engine.clock.advance(LOOK_EVERY)
    assert trade(control, provider.token()).json["role"] == "viewer"
    assert control.stranger("GET", "/v1/tokens", headers={"authorization": f"Bearer {first}"}).status == 403


def test_without_an_audience_of_theirs_programs_stay_out(control, provider):
    """An ID token of a browser's sign-in, which stands in logs and links, opens nothing."""
    control.file.write_text(FILE.format(issuer=provider.issuer).replace("  audience: quarterdeck\n", ""))
    control.engine.clock.advance(LOOK_EVERY)
    refused = trade(control, provider.token())
    assert (refused.status, refused.json["error"]["message"]) == (403, "programs do not sign in here")


def test_a_sign_in_that_was_begun_with_another_provider_is_not_finished(control, browser, provider):
    asked = browser.begin()
    control.file.write_text(FILE.format(issuer=provider.issuer.replace("127.0.0.1", "localhost")))
    control.engine.clock.advance(LOOK_EVERY)
    assert browser.back(code="a-code", state=asked["state"], iss=provider.issuer).status == 403
    assert provider.count("/token") == 0


def test_a_provider_elsewhere_does_not_lead_us_to_this_machine(tmp_path):
    (tmp_path / "signin.yaml").write_text(FILE.format(issuer="https://login.example.org"))
    (tmp_path / "oidc.secret").write_text("x")
    found = Flow(tmp_path / "signin.yaml", {}, "https://x/login/callback", VirtualClock()).provider
    for address in ("http://127.0.0.1:6379/", "http://localhost/x", "https://a:b@login.example.org/", "https://[half", "https://"):
        with pytest.raises(Exception, match="no usable jwks_uri"):
            found._checked({"jwks_uri": address}, "jwks_uri")
    assert found._checked({"jwks_uri": "https://keys.example.org/x"}, "jwks_uri")


def test_where_tls_is_spoken_no_other_host_of_the_domain_sets_our_cookies():
    assert Door(Place(), 7410).cookie == "quarterdeck-7410"
    assert Door(Place(public_url="https://f.example"), 7410).cookie == "__Host-quarterdeck-7410"


def test_the_cookies_of_https_have_what_their_prefix_asks_for(control, provider):
    services = control.guard.app.state.services
    control.guard.app.state.services = replace(services, url="https://f.example")
    control.guard = replace(control.guard, door=Door(Place(public_url="https://f.example"), 7410))
    control.headers["host"] = "f.example"
    told = Browser(control).get("/login/start").headers["set-cookie"]
    assert told.startswith("__Host-quarterdeck-7410-sign-in=")
    assert {"Secure", "Path=/", "HttpOnly"} <= {part.strip() for part in told.split(";")}
    assert "Domain" not in told
    link = control.post("/v1/login").json["url"].removeprefix("https://f.example")
    session = control.stranger("GET", link, headers=PAGE).headers["set-cookie"]
    assert session.startswith("__Host-quarterdeck-7410=")
    assert {"Secure", "Path=/", "HttpOnly"} <= {part.strip() for part in session.split(";")}


def test_a_time_beyond_all_times_is_no_server_error(control, provider):
    for claims in ({"exp": 10**400}, {"exp": 10**13}, {"sub": "\ud800"}, {"iat": -(10**400)}):
        assert trade(control, provider.token(key=RSA, **claims)).status in (200, 403), claims


def test_files_named_by_the_settings_are_those_that_are_watched(control, provider):
    flow = control.guard.app.state.services.sign_in
    assert [Path(one).name for one in flow.provider.settings.files] == ["signin.yaml", "oidc.secret"]
