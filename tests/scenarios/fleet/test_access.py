"""The TCP door as strangers meet it, over real sockets: slow ones, greedy ones, those who were bound by name, and TLS."""

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
from contextlib import ExitStack, closing
from urllib.parse import urlsplit

import pytest

EVERYWHERE = ".".join("0000")
SLOW = 10.0
"""Seconds a request may take to arrive."""


@pytest.fixture
def door(deployed):
    """(host, port) of the fleet's TCP door."""
    place = urlsplit(deployed.status()["url"])
    return place.hostname, place.port


@pytest.fixture
def token(deployed):
    return lambda *options: deployed.qd("token", "create", "--quiet", *options).out.strip()


def connect(door):
    return socket.create_connection(door, timeout=30)


def call(door, path, *, method="GET", body=None, tls=None, **headers):
    """(status, headers, body)."""
    made = http.client.HTTPSConnection(*door, timeout=30, context=tls) if tls else http.client.HTTPConnection(*door, timeout=30)
    with closing(made) as connection:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def read_all(sock):
    parts = []
    while part := sock.recv(65_536):
        parts.append(part)
    return b"".join(parts)


def head(door, *lines):
    host, port = door
    return "\r\n".join(("GET /healthz HTTP/1.1", f"Host: {host}:{port}", *lines, "", "")).encode()


def test_whoever_sends_slowly_is_hung_up_on_and_disturbs_nobody(door, token):
    whole = head(door)
    post = f"POST /v1/changes HTTP/1.1\r\nHost: {door[0]}:{door[1]}\r\nAuthorization: Bearer {token('--role', 'operator')}\r\n"
    beginnings = {
        "silent": b"",
        "half a line": whole[:7],
        "half a header": whole[:-6],
        "no end of headers": whole[:-2],
        "half a body": f"{post}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{".encode(),
        "half a chunk": f"{post}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nabc".encode(),
    }
    with ExitStack() as stack:
        kept = stack.enter_context(closing(http.client.HTTPConnection(*door, timeout=30)))
        assert _healthy(kept)
        began, ends = time.monotonic(), {}
        sockets = {name: stack.enter_context(connect(door)) for name in beginnings}
        for name, sock in sockets.items():
            sock.sendall(beginnings[name])

        def drip(name, sock):
            """A byte a second does not help."""
            try:
                sock.settimeout(1.0)
                while True:
                    try:
                        if not sock.recv(4096):
                            break
                    except TimeoutError:
                        if name == "half a header":
                            sock.sendall(b"x")
            except OSError:
                pass
            ends[name] = time.monotonic() - began

        threads = [threading.Thread(target=drip, args=item) for item in sockets.items()]
        for thread in threads:
            thread.start()
        assert call(door, "/healthz")[0] == 200
        for thread in threads:
            thread.join(SLOW + 10)
        assert _healthy(kept)  # on the same connection: one that waits for its next request is not slow
    print({name: round(seconds, 1) for name, seconds in ends.items()})
    assert set(ends) == set(beginnings)
    assert all(SLOW - 0.5 <= seconds <= SLOW + 3 for seconds in ends.values()), ends


def _healthy(connection):
    connection.request("GET", "/healthz")
    return connection.sock is not None and connection.getresponse().read() == b'{"ok":true}'


def test_headers_and_bodies_over_their_limits_are_refused(door, token):
    bearer = {"Authorization": f"Bearer {token('--role', 'operator')}"}
    for size in (70_000, 1_000_000):
        with connect(door) as sock:
            sock.sendall(head(door, "Connection: close", f"X: {'y' * size}")[:65_000])
            try:
                sock.sendall(head(door, "Connection: close", f"X: {'y' * size}")[65_000:])
                answer = read_all(sock)
            except OSError:  # hung up while we were still sending
                answer = b"HTTP/1.1 431 "
        assert answer.split(b" ")[1] in (b"400", b"431")
    with connect(door) as sock:
        sock.sendall(head(door, *(f"X-{n}: y" for n in range(3000)))[:-2] + b"\r\n")
        assert read_all_status(sock) in (200, 431)

    def pieces():
        for _ in range(80):
            yield b" " * 65_536

    assert call(door, "/v1/changes", method="POST", body=b"{}", **bearer)[0] == 422
    assert _status_of_chunked(door, pieces(), bearer) == 413
    assert call(door, "/v1/changes", method="POST", body=b"", **{**bearer, "Content-Length": str(5 << 20)})[0] == 413
    assert call(door, "/healthz")[0] == 200


def read_all_status(sock):
    return int(sock.recv(4096).split(b" ")[1])


def _status_of_chunked(door, pieces, headers):
    with closing(http.client.HTTPConnection(*door, timeout=30)) as connection:
        connection.putrequest("POST", "/v1/changes")
        for name, value in {**headers, "Transfer-Encoding": "chunked", "Content-Type": "application/json"}.items():
            connection.putheader(name, value)
        connection.endheaders()
        try:
            for piece in pieces:
                connection.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            connection.send(b"0\r\n\r\n")
        except OSError:  # answered and hung up before the end
            pass
        return connection.getresponse().status


def test_of_more_than_256_connections_the_last_are_turned_away_and_the_owner_still_gets_in(deployed, door):
    with ExitStack() as stack:
        for _ in range(256):
            stack.enter_context(connect(door))
        with connect(door) as late:
            assert b" 503 " in read_all(late)
        assert deployed.qd("version").code == 0
    deployed.until(lambda: call(door, "/healthz")[0] == 200, within=5)


def test_pages_of_other_sites_and_rebound_names_get_nothing(door, token):
    bearer = {"Authorization": f"Bearer {token('--role', 'admin')}"}
    port = door[1]
    assert call(door, "/v1/systems", **bearer)[0] == 200
    for host in ("rebound.example", f"rebound.example:{port}", f"127.0.0.1:{port + 1}", f"localhost.rebound.example:{port}"):
        status, _, body = call(door, "/v1/systems", Host=host, **bearer)
        assert (status, b"unknown Host" in body) == (403, True), host
    for origin in ("https://evil.example", "null", f"http://127.0.0.1:{port + 1}", f"https://127.0.0.1:{port}"):
        status, headers, _ = call(door, "/v1/systems", Origin=origin, **bearer)
        assert (status, headers["Access-Control-Allow-Origin"]) == (403, None), origin
    status, headers, _ = call(door, "/v1/changes", method="OPTIONS", Origin="https://evil.example")
    assert (status, headers["Access-Control-Allow-Origin"]) == (403, None)


def test_two_hosts_in_one_request_and_other_smuggling_is_refused(door):
    host = f"{door[0]}:{door[1]}"
    for lines in (
        ("Host: rebound.example",),
        ("Content-Length: 3", "Content-Length: 4"),
        ("Content-Length: 3", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: identity, chunked",),
        ("Content-Length: +3",),
    ):
        with connect(door) as sock:
            sock.sendall("\r\n".join(("POST /healthz HTTP/1.1", f"Host: {host}", *lines, "", "")).encode())
            status = read_all_status(sock)
        assert status in (400, 403, 405, 413, 501), lines
    for target in (
        "//healthz/../v1/systems",
        "/healthz/../v1/systems",
        "/healthz%2f..%2fv1/systems",
        "/v1/systems;/healthz",
        "/V1/systems",
        "/healthz/",
    ):
        assert call(door, target)[0] == 403, target


def test_a_stream_ends_within_two_seconds_of_the_end_of_its_token(deployed, door):
    made = json.loads(deployed.qd("token", "create", "--role", "viewer", "-o", "json").out)
    with closing(http.client.HTTPConnection(*door, timeout=20)) as connection:
        headers = {"Authorization": f"Bearer {made['token']}", "Accept": "text/event-stream"}
        connection.request("GET", "/v1/journal", headers=headers)
        stream = connection.getresponse()
        assert stream.status == 200
        assert stream.readline()
        began = time.monotonic()
        assert deployed.qd("token", "revoke", made["id"], "--reason", "lost").code == 0
        while stream.readline():
            pass
        took = time.monotonic() - began
    print(f"a revoked token's stream ended after {took:.2f} s, the command included")
    assert took < 3.0
    assert call(door, "/v1/systems", Authorization=f"Bearer {made['token']}")[0] == 403


def test_a_token_bound_to_a_cluster_sees_that_one_alone(door, token):
    bearer = {"Authorization": f"Bearer {token('--role', 'admin', '--cluster', 'edge')}"}
    found = {item["cluster"] for item in json.loads(call(door, "/v1/replicas", **bearer)[2])["items"]}
    assert found == {"edge"}
    assert call(door, "/v1/revisions", **bearer)[0] == 403
    assert b"nowhere" not in call(door, "/v1/explain?target=nowhere/x", **bearer)[2]


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=fleet", "-addext", names]
    subprocess.run([*argv, "-keyout", folder / "key.pem", "-out", folder / "cert.pem"], check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


def test_beyond_loopback_nothing_starts_without_tls(fleet):
    ran = fleet.qd("up", "--bind", EVERYWHERE)
    assert ran.code == 1
    assert f"refused to listen on {EVERYWHERE} without TLS" in ran.err
    assert "--tls-cert" in ran.err
    assert fleet.qd("up", QUARTERDECK_BIND=EVERYWHERE).code == 1
    assert fleet.left() == []


@pytest.fixture(scope="module")
def secured(make_fleet, certificate):
    """A fleet that listens everywhere, with a certificate that it signed itself."""
    cert, key = certificate
    with make_fleet("secured") as fleet:
        fleet.up("--bind", EVERYWHERE, "--tls-cert", cert, "--tls-key", key)
        yield fleet


@pytest.fixture
def far(secured, certificate, tmp_path):
    """`qd` as on another machine: no home, and a context for the https URL; takes the options of `context add` that are to differ."""
    secret = tmp_path / "token"
    secret.touch(mode=0o600)
    secret.write_text(secured.qd("token", "create", "--quiet", "--role", "operator").out)
    environ = {"XDG_CONFIG_HOME": str(tmp_path), "QUARTERDECK_HOME": ""}
    names = iter(range(10))

    def reached(host="localhost", ca=certificate[0]):
        name = f"far-{next(names)}"
        url = f"https://{host}:{urlsplit(secured.status()['url']).port}"
        trust = ("--ca", ca) if ca else ()
        added = secured.qd("context", "add", name, "--url", url, "--token-file", secret, *trust, **environ)
        assert added.code == 0, added
        return lambda *words: secured.qd("--context", name, *words, **environ)

    return reached


def test_a_context_over_https_works_with_the_file_of_who_signed(secured, far):
    qd = far()
    assert qd("status", "-o", "json").json["url"] == secured.status()["url"]
    assert {r["name"] for r in qd("get", "replicas", "-o", "json").json["items"]} == {r["name"] for r in secured.items("replicas")}
    held = qd("hold", "core/worker", "--reason", "from afar", "-o", "json")
    assert held.json["actor"].startswith("token:"), held
    assert "from afar" in qd("explain", "core/worker").out
    assert qd("release", "core/worker", "--reason", "and back").code == 0
    assert secured.journal("change.revert", "core/worker")[-1]["reason"] == "and back"
    assert qd("ask", "edge/front", "through").out.strip().endswith('"one"')
    assert "asked through" in qd("logs", "edge/front").out
    assert "is not on this machine" in qd("down", "--yes").err
    assert secured.client.answers(), "the home is not within reach"


def test_a_context_over_https_follows_what_happens(secured, far, tmp_path):
    far()
    environ = {**secured.environment, "XDG_CONFIG_HOME": str(tmp_path), "QUARTERDECK_HOME": ""}
    argv = [secured.program, "--context", "far-0", "journal", "-f"]
    with subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as follower:
        try:
            assert follower.stdout.readline()
            secured.qd("hold", "edge", "--reason", "seen from afar")
            assert any("seen from afar" in line for line in follower.stdout)
        finally:
            follower.kill()
    secured.qd("release", "edge", "--reason", "seen")


def test_a_context_over_https_is_refused_by_whoever_does_not_know_the_server(secured, far, certificate):
    for qd in (far(ca=None), far(host=_addresses()[0]) if _addresses() else far(ca=None)):
        ran = qd("status")
        assert ran.code != 0
        assert "certificate" in ran.err
        assert "hint:" in ran.err
        assert "Traceback" not in ran.err


def test_with_tls_it_listens_everywhere_and_still_after_a_crash(secured, certificate):
    fleet, (cert, _) = secured, certificate
    url = urlsplit(fleet.status()["url"])
    door = ("127.0.0.1", url.port)
    trusting = ssl.create_default_context(cafile=cert)
    secret = fleet.qd("token", "create", "--quiet", "--role", "viewer").out.strip()
    bearer = {"Authorization": f"Bearer {secret}"}
    assert url.scheme == "https"
    assert call(door, "/v1/systems", tls=trusting, **bearer)[0] == 200
    for address in _addresses():
        blind = ssl.create_default_context(cafile=cert)
        blind.check_hostname = False  # the certificate is not for this address
        assert call((address, url.port), "/v1/systems", tls=blind, **bearer)[0] == 200, address
    assert call(door, "/v1/systems", tls=trusting, Host=f"rebound.example:{url.port}", **bearer)[0] == 403
    assert call(door, "/v1/systems", tls=trusting, Origin=f"http://127.0.0.1:{url.port}", **bearer)[0] == 403
    link = urlsplit(fleet.qd("open", "--print").out.strip())
    status, headers, _ = call(door, f"{link.path}?{link.query}", tls=trusting)
    assert (link.scheme, status, "Secure" in headers["set-cookie"]) == ("https", 303, True)
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        call(door, "/healthz")  # in clear
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    assert call(door, "/healthz", tls=old)[0] == 200
    assert _proof(fleet, "AnonymousRefused")["status"] == "true"
    before = fleet.control()
    os.kill(before, signal.SIGKILL)
    fleet.until(lambda: not fleet.alive(before), within=5)
    fleet.ready()  # by the node, with the environment of the first one
    assert fleet.control() != before
    assert urlsplit(fleet.status()["url"]).port == url.port
    assert call(door, "/v1/systems", tls=trusting, **bearer)[0] == 200


def test_a_certificate_that_cannot_be_used_is_named(fleet, certificate):
    ran = fleet.qd("up", "--tls-cert", certificate[0], "--tls-key", certificate[0])
    assert ran.code == 1
    assert "the certificate cannot be used" in ran.err
    assert fleet.left() == []


def _addresses():
    """This machine's own beyond loopback."""
    told = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=True).stdout.split()
    return [address for address in told if ":" not in address]


def _proof(fleet, kind):
    return next(c for c in fleet.items("conditions") if c["kind"] == kind)
