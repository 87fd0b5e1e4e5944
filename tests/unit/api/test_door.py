"""Where the TCP door may listen, and by which names it may be called."""

import ssl
import subprocess
from pathlib import Path

import pytest

from quarterdeck.api.door import Door, Place
from quarterdeck.errors import UserError

CERT, KEY = "QUARTERDECK_TLS_CERT", "QUARTERDECK_TLS_KEY"
TLS = {CERT: "/c.pem", KEY: "/k.pem"}


def place(**environ):
    return Place.of({name if name.startswith("QUARTERDECK") else f"QUARTERDECK_{name}": value for name, value in environ.items()})


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=fleet.example.org"]
    subprocess.run([*argv, "-keyout", folder / "key.pem", "-out", folder / "cert.pem"], check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


@pytest.mark.parametrize("bind", ["", "127.0.0.1", "127.0.0.2", "::1", "[::1]"])
def test_loopback_needs_no_tls(bind):
    assert place(BIND=bind).cert is None


@pytest.mark.parametrize("bind", ["0.0.0.0", "::", "[::]", "192.0.2.7", "10.0.0.1", "fe80::1", "2001:db8::1"])  # noqa: S104 refused
def test_anything_else_without_tls_is_refused_with_what_to_do(bind):
    with pytest.raises(UserError, match="without TLS") as refused:
        place(BIND=bind)
    assert "--tls-cert" in refused.value.hint
    assert place(BIND=bind, **TLS).cert == Path("/c.pem")


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"BIND": "localhost.evil.example"}, "no address"),
        ({"BIND": "localhost"}, "no address"),
        ({"BIND": "127.1"}, "no address"),
        ({"BIND": "0x7f.0.0.1"}, "no address"),
        ({CERT: "/c.pem"}, "its key"),
        ({KEY: "/k.pem"}, "its key"),
        ({"PUBLIC_URL": "fleet.example.org"}, "no address of a dashboard"),
        ({"PUBLIC_URL": "ftp://x"}, "no address of a dashboard"),
        ({"PUBLIC_URL": "https://x/path"}, "no address of a dashboard"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_hint(environ, words):
    with pytest.raises(UserError, match=words) as refused:
        place(**environ)
    assert refused.value.hint


def test_files_that_cannot_be_used_are_named(certificate, tmp_path):
    cert, key = certificate
    assert place(**{CERT: str(cert), KEY: str(key)}).tls().minimum_version >= ssl.TLSVersion.TLSv1_2
    locked = tmp_path / "locked.pem"
    subprocess.run(["openssl", "rsa", "-in", key, "-aes256", "-passout", "pass:x", "-out", locked], check=True, capture_output=True)
    for bad in (tmp_path / "none.pem", cert, locked):
        with pytest.raises(UserError, match="cannot be used") as refused:
            place(**{CERT: str(cert), KEY: str(bad)}).tls()
        assert str(bad) in refused.value.where
        assert "PEM" in refused.value.hint


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:7410", "localhost:7410", "[::1]:7410"],
)
def test_its_own_names_are_ours(host):
    door = Door(place(), 7410)
    assert door.host_is_ours(host, "127.0.0.1")
    assert door.ours(f"http://{host}", "127.0.0.1")


@pytest.mark.parametrize(
    "host",
    [
        "",
        "127.0.0.1",
        "127.0.0.1:7411",
        "127.0.0.1:07410x",
        "127.0.0.1:",
        "localhost:99999",
        "localhost.evil.example:7410",
        "evil.example:7410",
        "evil.example",
        "127.0.0.1:7410@evil.example",
        "evil@127.0.0.1:7410",
        "127.0.0.1:7410/x",
        "127.0.0.1:7410#x",
        "127.0.0.1:7410?x",
        "127.0.0.1.:7410",
        "10.0.0.9:7410",
        "2130706433:7410",
        "[::ffff:127.0.0.1]:7410",
        "[::1:7410",
    ],
)
def test_other_names_are_not(host):
    assert not Door(place(), 7410).host_is_ours(host, "127.0.0.1")


@pytest.mark.parametrize(
    "origin", ["null", "", "https://127.0.0.1:7410", "http://evil.example", "http://127.0.0.1", "file://", "http://[::1"]
)
def test_other_origins_are_not(origin):
    assert not Door(place(), 7410).ours(origin, "127.0.0.1")


def test_a_door_to_the_network_answers_to_the_address_it_was_reached_at_and_to_no_name_but_its_own():
    door = Door(place(BIND="0.0.0.0", PUBLIC_URL="https://fleet.example.org", **TLS), 7410)  # noqa: S104 with TLS
    assert door.url == "https://fleet.example.org"
    assert door.host_is_ours("192.0.2.7:7410", "192.0.2.7")
    assert door.ours("https://192.0.2.7:7410", "192.0.2.7")
    assert not door.host_is_ours("192.0.2.8:7410", "192.0.2.7")
    assert door.host_is_ours("192.0.2.7:7410", "::ffff:192.0.2.7")
    assert door.host_is_ours("[2001:db8::7]:7410", "2001:db8::7")
    assert door.host_is_ours("fleet.example.org", "192.0.2.7")
    assert door.ours("https://fleet.example.org", "192.0.2.7")
    assert not door.ours("http://fleet.example.org", "192.0.2.7")
    assert not door.host_is_ours("rebound.example:7410", "192.0.2.7")


def test_the_usual_port_may_be_left_out():
    assert Door(place(**TLS), 443).host_is_ours("127.0.0.1", "127.0.0.1")
    assert not Door(place(**TLS), 80).host_is_ours("127.0.0.1", "127.0.0.1")


@pytest.mark.parametrize(
    ("bind", "url", "here"),
    [("", "http://127.0.0.1:7410", "127.0.0.1"), ("::1", "http://[::1]:7410", "::1"), ("127.0.0.2", "http://127.0.0.2:7410", "127.0.0.2")],
)
def test_its_url_is_where_a_browser_goes(bind, url, here):
    door = Door(place(BIND=bind), 7410)
    assert (door.url, door.here) == (url, here)
    assert Door(place(BIND="::", **TLS), 7410).here == "::1"
    assert Door(place(BIND="::", **TLS), 7410).url.startswith("https://")


def test_behind_a_proxy_that_speaks_tls_the_public_name_is_ours():
    door = Door(place(PUBLIC_URL="https://fleet.example.org/"), 7410)
    assert door.url == "https://fleet.example.org"
    assert door.host_is_ours("fleet.example.org", "127.0.0.1")
    assert door.ours("https://fleet.example.org", "127.0.0.1")
    assert door.host_is_ours("127.0.0.1:7410", "127.0.0.1")
