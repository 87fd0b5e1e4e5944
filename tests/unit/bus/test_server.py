from __future__ import annotations

import json
import os
import socket
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from quarterdeck.bus import server
from quarterdeck.bus.keys import Keys
from quarterdeck.errors import UserError
from quarterdeck.model.home import Home


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


@pytest.fixture
def keys(home):
    return Keys(home.keys)


def program(tmp_path: Path, says: str) -> Path:
    path = tmp_path / "nats-server"
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def test_the_server_of_the_wheel_is_found_and_new_enough():
    assert server.version(server.binary({"PATH": ""})) >= server.OLDEST


def test_a_named_server_wins_and_one_that_is_not_there_is_an_error_with_its_place(tmp_path):
    path = program(tmp_path, "nats-server: v2.15.1")
    assert server.binary({"QUARTERDECK_NATS_SERVER": str(path)}) == path
    with pytest.raises(UserError, match="no nats-server to run") as error:
        server.binary({"QUARTERDECK_NATS_SERVER": str(tmp_path / "none")})
    assert error.value.where.startswith("QUARTERDECK_NATS_SERVER=")


def test_without_one_beside_python_path_is_searched(tmp_path, monkeypatch):
    path = program(tmp_path, "nats-server: v2.15.1")
    monkeypatch.setattr(server.sys, "executable", "/nowhere/python")
    assert server.binary({"PATH": str(tmp_path)}) == path
    with pytest.raises(UserError, match="no nats-server to run"):
        server.binary({"PATH": "/nowhere"})


@pytest.mark.parametrize(
    ("says", "matches"), [("nats-server: v2.13.9", "too old"), ("nats-server: v1.99.0", "too old"), ("hello", "is no nats-server")]
)
def test_a_server_that_is_too_old_or_none_is_refused(tmp_path, says, matches):
    with pytest.raises(UserError, match=matches):
        server.version(program(tmp_path, says))


def test_a_file_that_cannot_run_is_refused(tmp_path):
    path = tmp_path / "nats-server"
    path.write_bytes(b"\x7fELF nonsense")
    path.chmod(0o755)
    with pytest.raises(UserError, match="does not run"):
        server.version(path)


def test_the_port_is_kept(home, keys):
    port = server.claim_port(home, keys)
    assert server.claim_port(home, keys) == port
    assert server.claim_port(Home(home.root), Keys(home.keys)) == port


@pytest.mark.parametrize("text", ["", "none", "0", "70000", "-1"])
def test_a_port_file_that_holds_no_port_is_replaced(home, keys, text):
    home.bus.mkdir(parents=True)
    (home.bus / "port").write_text(text)
    assert 0 < server.claim_port(home, keys) < 65536


def greeting(name: str):
    """A listener that introduces itself as a nats-server would."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer:
                peer.sendall(f"INFO {json.dumps({'server_name': name})} \r\n".encode())

    threading.Thread(target=serve, daemon=True).start()
    return listener


def test_a_port_on_which_our_own_server_runs_is_kept_and_one_somebody_else_took_is_not(home, keys):
    for name, kept in ((server.server_name(keys), True), ("another", False)):
        listener = greeting(name)
        port = listener.getsockname()[1]
        home.bus.mkdir(parents=True, exist_ok=True)
        (home.bus / "port").write_text(str(port))
        assert (server.claim_port(home, keys) == port) is kept
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def test_a_server_that_is_just_ending_on_our_port_does_not_move_it(home, keys):
    kept = server.claim_port(home, keys)
    ending = socket.create_server((server.HOST, kept))  # it greets nobody any more
    gone = threading.Timer(0.5, ending.close)
    gone.start()
    assert server.claim_port(home, keys) == kept
    gone.join()


def test_whoever_only_asks_for_the_port_never_moves_it(home, keys):
    kept = server.port(home, keys)
    with socket.create_server((server.HOST, kept)):
        assert server.port(home, keys) == server.kept_port(home) == kept


def test_the_configuration_syncs_every_ack_listens_on_loopback_only_and_has_no_monitoring_port(home, keys):
    lines = server.configuration(home, keys, 4321).splitlines()
    settings = {name: json.loads(value) for name, value in (line.split(": ", 1) for line in lines)}
    assert settings["jetstream"]["sync_interval"] == "always"
    assert settings["listen"] == "127.0.0.1:4321"
    assert not {"http", "http_port", "https", "https_port", "monitor_port", "no_auth_user", "authorization"} & set(settings)
    assert settings["resolver"]["type"] == "full"
    assert settings["max_payload"] == 1024 * 1024


def test_no_seed_is_in_the_configuration(home, keys):
    text = server.configuration(home, keys, 4321)
    for path in home.keys.iterdir():
        assert path.read_text() not in text


def test_the_same_home_gives_the_same_digest_and_another_port_another(home, keys):
    first = server.service(home, keys, 4321, os.environ)
    written = (home.bus / "nats-server.conf").stat().st_mtime_ns
    again = server.service(Home(home.root), Keys(home.keys), 4321, os.environ)
    assert (first, written) == (again, (home.bus / "nats-server.conf").stat().st_mtime_ns)
    assert (first.name, first.port, first.argv[1:]) == ("bus", 4321, ("-c", str(home.bus / "nats-server.conf")))
    assert stat.S_IMODE(home.bus.stat().st_mode) == 0o700
    assert server.service(home, keys, 4322, os.environ).digest != first.digest


def test_threads_that_come_first_at_the_same_time_get_one_key_and_one_port(tmp_path):
    for n in range(20):
        home = Home(tmp_path / str(n))
        keys, start = Keys(home.keys), threading.Barrier(4)

        def first(home=home, keys=keys, start=start):
            start.wait()
            return keys.account("QD").public, server.claim_port(home, keys)

        with ThreadPoolExecutor(4) as threads:
            got = {asked.result() for asked in [threads.submit(first) for _ in range(4)]}
        assert got == {(Keys(home.keys).account("QD").public, server.kept_port(home))}
