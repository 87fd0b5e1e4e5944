"""A whole fleet where control groups cannot be used: there are none, or the user may make none. It works, says so, and ends whole."""

import os
import signal

import pytest
from tests.scenarios.hidden import AS_NOBODY, UNPRIVILEGED, WITHOUT_GROUPS, works

LACKS = "no cgroup: memory by rlimit in each process, clusters, cpu and processes without limit"
LIMIT = 256 << 20
SPAWNED = "some replicas are spawned, not forked: their imports start threads"
THREAD = "threading.Thread(target=threading.Event().wait, daemon=True).start()"
HOARDER = '''\
"""Takes memory, and leaves programs behind."""

import resource
import subprocess

from quarterdeck import Agent

agent = Agent("hoarder")


@agent.on("limit")
def limit() -> int:
    return resource.getrlimit(resource.RLIMIT_DATA)[0]


@agent.on("grab")
def grab(mib: int) -> int:
    return len(bytearray(mib << 20))


@agent.on("leave")
def leave() -> list[int]:
    """Nothing leads to them: a session of their own, an empty environment, a parent that has ended."""
    words = "env -i /bin/sh -c 'sleep 4711 >/dev/null & echo $$ $!; exec sleep 4712 >/dev/null' &"
    with subprocess.Popen(["setsid", "/bin/sh", "-c", words], stdout=subprocess.PIPE, text=True, env={}) as started:
        return [int(pid) for pid in started.stdout.readline().split()]
'''


@pytest.fixture(scope="module", params=["none there", "not allowed"])
def bare(request, make_fleet):
    """A deployed fleet without control groups. It is asked through `qd` alone, which runs where and as whom the fleet does."""
    allowed = request.param == "none there"
    through = works(WITHOUT_GROUPS if allowed else AS_NOBODY)
    with make_fleet("bare") as fleet:
        fleet.through = through if allowed else (*through, f"HOME={fleet.folder}")
        fleet.write(hoarder=HOARDER)
        fleet.edit("clerk.py", "import socket\n", "import socket\nimport threading\n")
        fleet.edit("clerk.py", '@agent.on("read")', f'{THREAD}\n\n\n@agent.on("read")')
        agents = f'worker: {{run: "worker:agent"}}\n        hoarder: {{run: "hoarder:agent", memory: {LIMIT >> 20}Mi}}\n'
        spec = fleet.spec.read_text()
        start, end = spec.index("worker: {run"), spec.index("  links:")
        fleet.spec.write_text(spec[:start] + agents + spec[end:])
        if not allowed:
            for path in (fleet.folder.parent, fleet.folder, *fleet.folder.iterdir()):
                os.chown(path, UNPRIVILEGED, UNPRIVILEGED)
        fleet.up()
        yield fleet


def asked(fleet, verb, *payload):
    """The answer of the one hoarder."""
    ran = fleet.qd("ask", "core/hoarder", verb, *payload, "-o", "json")
    assert ran.code == 0, ran
    return ran.json["reply"] if isinstance(ran.json, dict) else ran.json


def hoarder(fleet):
    """What is seen of it, once it is ready."""

    def look():
        found = fleet.qd("get", "replicas", "core/hoarder-0", "-o", "json").json
        one = found["items"][0] if "items" in found else found
        return one if one["state"] == "ready" else None

    return fleet.until(look)


def gone(fleet, pids, within):
    fleet.until(lambda: not any(map(fleet.alive, pids)), within=within, what=lambda: [f"{p} {fleet.command(p)}" for p in pids])


def left_behind(fleet):
    """Pids of what the hoarder leaves, which nothing tells from other people's programs."""
    pids = asked(fleet, "leave")
    assert all(map(fleet.alive, pids))
    assert not set(pids) & set(fleet.marked()), "their environment says nothing"
    return pids


def test_it_is_ready_and_status_tells_what_it_lacks(bare):
    document = bare.qd("status", "-o", "json").json
    assert (document["ready"], LACKS in document["weakenings"]) == (True, True), document
    assert SPAWNED in document["weakenings"], "found after the node told the control plane who it is"
    assert LACKS in bare.qd("status").out
    assert bare.groups() == []
    assert bare.qd("ask", "edge/front", "through").out.startswith('"one"')


def test_a_memory_limit_is_carried_out_and_what_is_beyond_it_is_the_agents_own_error(bare):
    before = hoarder(bare)
    assert asked(bare, "limit") == LIMIT
    refused = bare.qd("ask", "core/hoarder", "grab", LIMIT >> 19)
    assert (refused.code != 0, "MemoryError" in refused.err) == (True, True), refused
    assert asked(bare, "grab", 16) == 16 << 20
    after = hoarder(bare)
    assert (after["pid"], after["last_exit"]) == (before["pid"], None)


def test_what_a_killed_replica_left_behind_dies_and_its_end_is_not_called_one_for_want_of_memory(bare):
    before, pids = hoarder(bare), left_behind(bare)
    os.kill(before["pid"], signal.SIGKILL)
    gone(bare, [before["pid"], *pids], within=3)
    after = bare.until(lambda: (now := hoarder(bare))["last_exit"] and now)
    assert (after["last_exit"]["oom"], after["last_exit"]["signal"], after["pid"] != before["pid"]) == (False, 9, True)


def test_down_leaves_nothing_not_even_what_nothing_leads_to(bare):
    hoarder(bare)
    pids = left_behind(bare)
    ran = bare.qd("down", "--yes")
    assert (ran.code, [pid for pid in pids if bare.alive(pid)], bare.left()) == (0, [], []), ran
    assert not bare.home.run.exists()
