"""Sign-in with a real OpenID Connect provider: a browser goes there and comes back; programs trade what it gives them."""

import base64
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest

HERE = Path(__file__).parent / "provider"
PLACE = Path(sys.prefix) / "provider"
PASSWORD = "correct horse battery"  # noqa: S105 of two people who do not exist
FILE = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: SignIn
spec:
  issuer: {issuer}
  client_id: quarterdeck
  client_secret: file:oidc.secret
  audience: quarterdeck
  scopes: [openid, profile, email, groups]
  grants:
    - {{claim: groups, has: ops, role: operator}}
"""
REFUSED = "Failed to load resource: the server responded with a status of 403"


def free():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def answers(port):
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def program():
    """The Python of the provider's environment, which is made where it is not there yet or is another one."""
    locked = (HERE / "requirements.lock").read_text()
    mark = PLACE / "locked"
    if not mark.exists() or mark.read_text() != locked:
        uv, python = Path(sys.prefix) / "bin" / "uv", PLACE / "bin" / "python"
        subprocess.run([uv, "venv", "-q", "--clear", "--python", sys.executable, PLACE], check=True)
        subprocess.run([uv, "pip", "install", "-q", "--python", python, "--require-hashes", "-r", HERE / "requirements.lock"], check=True)
        mark.write_text(locked)
    return PLACE / "bin" / "python"


@pytest.fixture(scope="module")
def signing(program, make_fleet, tmp_path_factory):
    """(fleet, issuer): a fleet that believes a provider, and the provider."""
    folder, port, own = tmp_path_factory.mktemp("provider"), free(), free()
    issuer, back = f"http://127.0.0.1:{own}", f"http://127.0.0.1:{port}/login/callback"
    (folder / "signin.yaml").write_text(FILE.format(issuer=issuer))
    (folder / "oidc.secret").write_text("the secret\n")
    with (folder / "log").open("wb") as log, make_fleet("signing") as fleet:
        process = subprocess.Popen([program, HERE / "serve.py", str(own), back], cwd=folder, stdout=log, stderr=log)
        try:
            fleet.up("--port", port, "--sign-in", folder / "signin.yaml")
            deadline = time.monotonic() + 60
            while not answers(own):
                assert process.poll() is None, (folder / "log").read_text()[-3000:]
                assert time.monotonic() < deadline, (folder / "log").read_text()[-3000:]
                time.sleep(0.1)
            yield fleet, issuer
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


@pytest.fixture
def stranger(signing, browser):
    """A page of somebody who is not known; takes options of the context."""
    made = []

    def opened(**options):
        context = browser.new_context(**options)
        context.set_default_timeout(15_000)
        made.append(context)
        return context.new_page()

    yield opened
    for context in made:
        context.close()


def signs_in(page, name):
    """From the page of the provider on."""
    page.fill("input[name=login]", name)
    page.press("input[name=login]", "Enter")
    page.fill("input[name=password]", PASSWORD)
    page.press("input[name=password]", "Enter")


@pytest.mark.parametrize("scripts", [True, False])
def test_somebody_signs_in_and_comes_back_to_the_page_they_wanted(signing, stranger, scripts):
    fleet, _ = signing
    url = fleet.status()["url"]
    page = stranger(java_script_enabled=scripts)
    page.goto(f"{url}/settings")
    assert "You are not logged in" in page.inner_text("main")
    page.click("text=Sign in with 127.0.0.1")
    signs_in(page, "ada")
    page.wait_for_url(f"{url}/settings")
    assert "Versions" in page.inner_text("main")
    page.goto(f"{url}/")
    page.goto(f"{url}/settings")
    page.click("text=Log out")
    page.wait_for_url(f"{url}/login")
    assert "You are logged out" in page.inner_text("main")
    assert page.query_selector("text=Sign in with 127.0.0.1")
    token = next(one for one in fleet.items("journal", verb="token.create") if one["actor"] == "oidc:ada")
    assert token["on_behalf_of"] == "ada"


def test_somebody_whom_no_grant_means_is_told_and_stays_out(signing, stranger):
    url = signing[0].status()["url"]
    page = stranger()
    page.goto(f"{url}/")
    page.click("text=Sign in with")
    signs_in(page, "bob")
    page.wait_for_url(f"{url}/login/callback**")
    assert "knows bob, and nothing here allows bob anything" in page.inner_text("main")
    page.goto(f"{url}/")
    assert "You are not logged in" in page.inner_text("main")


def test_an_answer_that_is_shown_again_lets_nobody_in(signing, stranger):
    url = signing[0].status()["url"]
    page, seen = stranger(), []
    page.on("request", lambda asked: seen.append(asked.url) if asked.url.startswith(f"{url}/login/callback") else None)
    page.goto(f"{url}/")
    page.click("text=Sign in with")
    signs_in(page, "ada")
    page.wait_for_url(f"{url}/")
    other = stranger()
    other.goto(seen[0])
    assert "this sign-in was not begun in this browser" in other.inner_text("main")
    page.goto(seen[0])
    assert "this sign-in was not begun in this browser" in page.inner_text("main"), "it has done its work"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_of_a_stranger_is_for_everybody(signing, stranger, axe, scheme, width):
    page = stranger(color_scheme=scheme, viewport={"width": width, "height": 800}, bypass_csp=True)
    page.goto(f"{signing[0].status()['url']}/agents/some/where?x={'y' * 300}")
    assert axe(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("getComputedStyle(document.querySelector('.button')).backgroundColor") != "rgba(0, 0, 0, 0)", "its style is loaded"


def test_qd_login_is_let_in_by_who_is_signed_in(signing, stranger, axe, tmp_path):
    fleet, _ = signing
    url = fleet.status()["url"]
    away = {"XDG_CONFIG_HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "QUARTERDECK_HOME": "", "HOME": str(tmp_path)}
    argv = [*fleet.through, Path(sys.prefix) / "bin" / "qd", "login", url, "--name", "far"]
    with subprocess.Popen(argv, env={**fleet.environment, **away}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        link, code = process.stderr.readline().split()[-1], process.stderr.readline().split()[1].rstrip(",")
        page = stranger(bypass_csp=True)
        page.goto(link)
        page.click("text=Sign in with")
        signs_in(page, "ada")
        page.wait_for_selector("text=Does your terminal show this code?")
        assert code in page.inner_text("main")
        assert axe(page) == []
        page.select_option("#role", "viewer")
        page.click("text=Let it in")
        page.wait_for_selector("text=It is let in")
        out, said = process.communicate(timeout=20)
    assert process.returncode == 0, said
    assert re.match(r"ada is let into far as viewer until 20", out), out
    assert fleet.qd("get", "agents", "-o", "name", **away).code == 0
    assert fleet.qd("hold", "core/worker", "--reason", "x", **away).code == 4
    assert fleet.qd("logout", **away).code == 0
    again = fleet.qd("status", **away)
    assert again.code != 0
    assert "qd login" in again.err


def test_a_token_of_the_provider_in_a_file_is_traded(signing, stranger, tmp_path):
    """As a CI or Kubernetes puts it there; here it is had from the provider by a sign-in of our own."""
    fleet, issuer = signing
    url, seen = fleet.status()["url"], []
    page = stranger()
    page.on("request", lambda asked: seen.append(asked.url) if asked.url.startswith(f"{url}/login/callback") else None)
    asked = {"response_type": "code", "client_id": "quarterdeck", "redirect_uri": f"{url}/login/callback", "nonce": "n", "state": "s"}
    page.goto(f"{issuer}/oauth/authorize?{urlencode({**asked, 'scope': 'openid groups profile'})}")
    signs_in(page, "ada")
    page.wait_for_url(f"{url}/login/callback**")  # refused there before the code was looked at, as nobody began it
    code = parse_qs(urlsplit(seen[0]).query)["code"][0]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": f"{url}/login/callback"}
    token = httpx.post(f"{issuer}/oauth/token", data=form, auth=("quarterdeck", "the secret")).json()["id_token"]
    file = tmp_path / "token"
    file.touch(mode=0o600)
    file.write_text(token)
    away = {"XDG_CONFIG_HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "QUARTERDECK_HOME": ""}
    assert fleet.qd("context", "add", "ci", "--url", url, "--token-file", file, **away).code == 0
    held = fleet.qd("--context", "ci", "hold", "core/worker", "--reason", "by a job", "-o", "json", **away)
    assert held.code == 0, held
    assert held.json["actor"].startswith("ada (token:")
    head, claims, signature = token.split(".")
    forged = base64.urlsafe_b64encode(base64.urlsafe_b64decode(claims + "==").replace(b'"ada"', b'"bob"')).decode().rstrip("=")
    file.write_text(f"{head}.{forged}.{signature}")
    refused = fleet.qd("--context", "ci", "status", **away)
    assert refused.code == 4, refused
    assert fleet.qd("release", "core/worker", "--reason", "over").code == 0
