"""Who may come in, and who may not: a second control plane, strangers on the port, agents from inside, a journal that was touched."""

import http.client
import os
import re
import signal
import socket
import sqlite3
import stat
import subprocess
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from quarterdeck.bus.subjects import Sender, blobs, ledger, subject

COUNTS = ("memory.usage_in_bytes", "memory.current")
"""What a control group of memory tells of itself, in version 1 and 2."""
REFUSED = ("PermissionError", "ConnectionResetError", "BrokenPipeError", "FileNotFoundError", "ConnectionRefusedError", "")


def get(fleet, path, **headers):
    """(status, headers) of a GET on the TCP port, as anybody on this machine could send it."""
    place = urlsplit(fleet.status()["url"])
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=5)
    with closing(connection):
        connection.putrequest("GET", path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers


def test_answers_over_a_connection_that_is_kept_come_at_once(deployed):
    """Not after the 40 ms in which a client's kernel holds back its acknowledgement, for which ours would wait with the second half."""
    place = urlsplit(deployed.status()["url"])
    with closing(http.client.HTTPConnection(place.hostname, place.port, timeout=5)) as kept:
        took = []
        for _ in range(20):
            began = time.monotonic()
            kept.request("GET", "/healthz")
            assert kept.getresponse().read()
            took.append(time.monotonic() - began)
    assert sorted(took)[10] < 0.02, took


def test_a_second_control_plane_on_the_same_home_is_refused_and_told_who_is_first(deployed):
    fleet = deployed
    first = fleet.control()
    tried, ended = trying(fleet)
    assert ended.returncode == 1, ended
    assert f"pid {first}" in ended.stderr
    assert tried < 1.0
    assert fleet.control() == first
    print(f"\nsecond control plane refused after {tried * 1000:.0f} ms, start of the interpreter included")


def trying(fleet):
    """(seconds, how it ended) of one more control plane on this home."""
    began = time.monotonic()
    argv = [str(fleet.program), "--home", str(fleet.home.root), "serve"]
    ended = subprocess.run(argv, env=fleet.environment, capture_output=True, text=True, timeout=20, check=False)
    return time.monotonic() - began, ended


def test_a_cluster_tells_what_it_uses_of_its_quota_as_its_limits_count_it(deployed):
    def used():
        return {c["name"]: c["quota"]["used"] for c in deployed.items("clusters")}["core"]

    now = deployed.until(lambda: (found := used())["cpu"] is not None and found, within=10)
    kept = [file for group in deployed.groups() for name in COUNTS if (file := Path(group, "trio.core", name)).exists()]
    assert now["replicas"] == sum(name.startswith("core/") for name in deployed.replicas())
    assert (now["memory"] is not None) is bool(kept), "where the kernel counts nothing, nothing is told"
    if kept:
        assert now["memory"] == pytest.approx(int(kept[0].read_text()), rel=0.5)


def test_an_agent_is_asked_at_its_endpoint_and_who_is_not_answered_is_told_why(deployed):
    fleet = deployed
    (core,) = (c for c in fleet.items("clusters") if c["name"] == "core")
    (endpoint,) = core["endpoints"]
    path = "/" + endpoint.partition("//")[2].partition("/")[2]
    assert fleet.client.post(path, {"verb": "version"})["reply"] == "one"
    refused = fleet.qd("ask", "core/worker", "end")
    assert refused.code != 0
    assert re.search(r"core/worker end: .*; core/worker-\d ended meanwhile: exit code 3", refused.err), refused
    fleet.ready()


def test_a_taken_port_is_said_so_and_leaves_nothing_running(make_fleet):
    with make_fleet("port") as fleet, socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        ran = fleet.qd("up", "--port", port)
        assert ran.code == 1, ran
        assert f"port {port} is taken" in ran.err
        assert "--port 0" in ran.err
        assert [line for line in fleet.left() if "serve" in line] == []


def test_the_port_of_the_command_holds_over_a_restart_of_the_control_plane(make_fleet):
    with make_fleet("restarted") as fleet:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        fleet.up("--port", str(port), QUARTERDECK_PORT="7999")
        old = fleet.control()
        os.kill(old, signal.SIGKILL)
        fleet.until(lambda: (found := fleet.client.answers()) and found["pid"] != old, what=fleet.logs)
        assert urlsplit(fleet.status()["url"]).port == port


def test_strangers_on_the_port_are_refused(deployed):
    fleet = deployed
    url = fleet.status()["url"]
    assert get(fleet, "/v1/systems")[0] == 403
    assert get(fleet, "/v1/systems", Authorization="Bearer qd_00000000_wrong")[0] == 403
    assert get(fleet, "/healthz")[0] == 200
    assert get(fleet, "/healthz", Host="evil.example")[0] == 403
    assert get(fleet, "/healthz", Origin="http://evil.example")[0] == 403
    assert get(fleet, "/healthz", Origin=url)[0] == 200
    assert stat.S_IMODE(fleet.home.api_socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(fleet.home.node_socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(fleet.home.run.stat().st_mode) == 0o700


def test_a_login_link_works_once(deployed):
    fleet = deployed
    link = fleet.qd("open").out.split()[-1]
    path = link.removeprefix(fleet.status()["url"])
    status, headers = get(fleet, path)
    assert status == 303
    cookie = headers["Set-Cookie"].split(";")[0]
    assert {"HttpOnly", "SameSite=strict"} <= {part.strip() for part in headers["Set-Cookie"].split(";")}
    assert get(fleet, "/v1/systems", Cookie=cookie)[0] == 200
    assert get(fleet, path)[0] in (401, 403)


def test_an_agent_reaches_neither_sockets_nor_files_of_the_platform_nor_of_another_replica(deployed):
    fleet = deployed
    home = fleet.home
    work = home.node / "work" / "trio"
    other = work / "edge" / "front-0"
    home.secrets.mkdir(mode=0o700, exist_ok=True)
    (home.secrets / "canary").write_text("hush")
    (other / "canary").write_text("hush")
    for door in (home.api_socket, home.node_socket):
        answer = fleet.ask("edge/clerk", "knock", str(door), timeout=8)
        assert answer in REFUSED or "403" in answer.split("\r\n")[0], answer
    node = [home.node / name for name in ("lock", "table.json", "incarnations")]
    secrets = [home.secrets / "canary", other / "canary", *home.keys.iterdir()]
    database = [home.database, home.database.with_name("quarterdeck.db-wal")]
    files = [*database, home.stop_order, home.root / "journal.head", home.bus / "nats-server.conf", *node, *secrets]
    assert [path for path in files if not path.is_file()] == []
    for path in files:
        assert fleet.ask("edge/clerk", "read", str(path)) == "PermissionError", path
    for folder in (home.root, home.secrets, home.keys, home.bus, home.logs, home.node, home.run, work, other):
        assert fleet.ask("edge/clerk", "list", str(folder)) == "PermissionError", folder
    for pid in (fleet.control(), fleet.node()):
        assert fleet.ask("edge/clerk", "read", f"/proc/{pid}/environ") == "PermissionError", pid
    assert fleet.ask("edge/clerk", "read", "/etc/hostname") not in ("", "PermissionError")


def test_an_agent_publishes_on_no_foreign_subject(deployed):
    fleet = deployed
    clerk, other = Sender("edge", "clerk", 0), Sender("edge", "front", 0)
    own = subject("ask", clerk, "edge", "front", "version")
    foreign = [
        subject("ask", other, "edge", "clerk", "read"),
        subject("in", other, "core", "worker", "take"),
        ledger(other, 1),
        blobs(other, 1),
        "$JS.API.STREAM.INFO.IN_clerk",
        "$JS.API.STREAM.DELETE.IN_front",
        "$JS.API.CONSUMER.MSG.NEXT.IN_front.IN_front",
        "$SYS.REQ.SERVER.PING",
        "anything",
    ]
    assert fleet.ask("edge/clerk", "publish", own) == "sent"
    for one in foreign:
        assert fleet.ask("edge/clerk", "publish", one) == "refused", one


def test_the_journal_verifies_offline_and_a_flipped_byte_is_found(deployed, tmp_path):
    fleet = deployed
    ran = fleet.qd("journal", "verify")
    assert ran.code == 0, ran
    head = tmp_path / "head.json"
    head.write_text(fleet.qd("journal", "head", "-o", "json").out)
    copy = tmp_path / "copy.db"
    with closing(sqlite3.connect(fleet.home.database)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    assert fleet.qd("journal", "verify", copy, "--head", head).code == 0

    content, text = copy.read_bytes(), b"not open"  # the reason of the step that opened the link: kept in journal records alone
    places = [n for n in range(len(content)) if content.startswith(text, n)]
    assert places
    for at in places:
        copy.write_bytes(content[:at] + b"N" + content[at + 1 :])
        found = fleet.qd("journal", "verify", copy, "--head", head)
        assert found.code == 1, found
        assert "✘" in found.out


def test_up_into_a_pipe_returns_when_the_fleet_runs(make_fleet):
    with make_fleet("pipe") as fleet:
        began = time.monotonic()
        done = subprocess.run(
            ["sh", "-c", f"{fleet.program} up | cat"],
            cwd=fleet.folder,
            env=fleet.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=60,
            check=True,
        )
        assert b" Ready in " in done.stdout
        assert b"\x1b" not in done.stdout
        assert fleet.status()["ready"]
        print(f"\nqd up | cat returned after {time.monotonic() - began:.1f} s")


def test_what_up_leaves_running_holds_no_descriptor_of_its_caller(deployed):
    fleet = deployed
    for pid in (fleet.control(), fleet.node(), *fleet.marked()):
        targets = {str(Path(f"/proc/{pid}/fd/{n}").readlink()) for n in (0, 1, 2)}
        assert all(t == "/dev/null" or str(fleet.home.root) in t or t.startswith("pipe:") for t in targets), (fleet.command(pid), targets)
