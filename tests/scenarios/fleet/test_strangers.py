"""What strangers, and the pages of other sites, are refused over real sockets, and that nobody else is by that."""

import http.client
import json
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from threading import Thread
from urllib.parse import urlsplit

from tests.scenarios.fleet.test_access import call, door, token

__all__ = ["door", "token"]


def test_a_change_that_another_site_makes_a_browser_ask_for_is_refused(deployed, door):
    """CSRF: the cookie alone, which a browser sends along whoever asked for it, changes nothing."""
    host, port = door
    link = urlsplit(deployed.client.post("/v1/login", {"role": "operator"})["url"])
    _, headers, _ = call(door, f"{link.path}?{link.query}", Host=f"{host}:{port}")
    cookie = headers["set-cookie"].partition(";")[0]
    _, _, page = call(door, "/settings", Host=f"{host}:{port}", Cookie=cookie, Accept="text/html")
    word = re.search(rb'name="csrf" value="([0-9a-f]{64})"', page)[1].decode()
    ours = {"Host": f"{host}:{port}", "Cookie": cookie, "Content-Type": "application/json", "Origin": f"http://{host}:{port}"}
    body = json.dumps({"target": "core/worker", "field": "hold", "value": True, "reason": "asked for by a page"})

    def changes(**headers):
        sent = {name: value for name, value in {**ours, "X-CSRF-Token": word, **headers}.items() if value is not None}
        return call(door, "/v1/changes", method="POST", body=body, **sent)[0]

    refused = [
        {"X-CSRF-Token": None},
        {"X-CSRF-Token": "0" * 64},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": None},
        {"Cookie": None},
        {"Cookie": f"{cookie}x"},
        {"X-CSRF-Token": None, "Content-Type": "application/x-www-form-urlencoded"},
        {"X-CSRF-Token": None, "Content-Type": "text/plain"},
    ]
    assert [changes(**headers) for headers in refused] == [403] * len(refused)
    assert deployed.items("changes") == []
    assert changes() == 200
    assert [one["reason"] for one in deployed.items("changes")] == ["asked for by a page"]


def test_who_asks_too_much_without_a_token_is_slowed_down_and_nobody_else(deployed, door, token):
    bearer = {"Authorization": f"Bearer {token('--role', 'viewer')}"}
    slowed = []

    def asks(_):
        with closing(http.client.HTTPConnection(*door, timeout=30)) as kept:
            for number in range(1_000):
                kept.request("GET", "/v1/systems")
                answer = kept.getresponse()
                answer.read()
                if answer.status == 429:
                    slowed.append(answer.headers["Retry-After"])
                if slowed:
                    return number
        return None

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(asks, range(4)))
    assert slowed, "more than 50 a second, after 200"
    assert set(slowed) <= {"1"}
    assert call(door, "/v1/systems", **bearer)[0] == 200
    link = urlsplit(deployed.client.post("/v1/login", {})["url"])
    assert call(door, f"{link.path}?{link.query}")[0] == 303


def test_who_is_bound_to_a_cluster_follows_that_one_alone(deployed, door, token):
    """P20 for what is subscribed to: journal, output and the dashboard's news, while another cluster is busy."""
    bearer = {"Authorization": f"Bearer {token('--role', 'viewer', '--cluster', 'edge')}", "Accept": "text/event-stream"}
    heard, connections = {}, []

    def follow(path):
        connection = http.client.HTTPConnection(*door, timeout=60)
        connections.append(connection)
        connection.request("GET", path, headers=bearer)
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        lines = heard.setdefault(path, [])

        def read():
            with suppress(OSError, ValueError, AttributeError, http.client.HTTPException):
                while line := answer.readline():
                    lines.append(line.decode())

        Thread(target=read, daemon=True).start()

    paths = ["/v1/journal", "/v1/logs?tail=100", "/live"]
    for path in paths:
        follow(path)
    for cluster in ("core/worker", "edge/front"):
        deployed.client.post("/v1/changes", {"target": cluster, "field": "hold", "value": True, "reason": f"seen-{cluster}"})
    core = deployed.client.post("/v1/tasks", {"target": "core/worker", "verb": "work", "payload": {"n": 1}})["id"]
    edge = deployed.client.post("/v1/tasks", {"target": "edge/front", "verb": "work", "payload": {"n": 1}})["id"]
    deployed.until(lambda: any("seen-edge/front" in line for line in heard["/v1/journal"]), within=20)
    deployed.until(lambda: any(edge in line for line in heard["/live"]), within=20)
    everything = {path: "".join(lines) for path, lines in heard.items()}
    for connection in connections:
        connection.close()
    for path, text in everything.items():
        assert "core" not in text.replace("score", ""), f"{path}: {[line for line in text.splitlines() if 'core' in line][:3]}"
        assert core not in text, path
    for path in ("/v1/logs?target=core/worker", "/v1/logs?target=core/worker-0&follow=true", f"/v1/tasks/{core}/events"):
        assert call(door, path, **bearer)[0] == 403, path
