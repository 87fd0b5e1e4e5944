"""Whose a connection and whose a process is, from what cannot be made up."""

import os
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from quarterdeck import linux
from quarterdeck.bus import claims, subjects
from quarterdeck.bus.keys import Key
from quarterdeck.engines.local.living import Living, living, of
from quarterdeck.engines.local.proving import _user
from quarterdeck.model.home import Home

ACCOUNT = Key.fresh("account")


def connection(cluster="core", agent="worker", n=0, **told):
    sender = subjects.Sender(cluster, agent, n)
    user = claims.replica_user(ACCOUNT, Key.fresh("user"), sender, 3, peers=(), linked=(), issued=0, expires=9e9)
    return {"name": "whatever", "name_tag": f"trio.{cluster}", "jwt": user.jwt, **told}


def test_a_connection_belongs_to_whom_its_jwt_names_whatever_it_calls_itself():
    mine = connection(name="edge/front-0")
    assert _user(mine, "trio", "core/worker") == "trio:core/worker-0:3"
    assert [bool(_user(mine, *place)) for place in (("", ""), ("trio", ""), ("trio", "core"), ("", "core/worker"))] == [True] * 4
    assert [_user(mine, *place) for place in (("other", ""), ("trio", "edge"), ("trio", "core/work"), ("trio", "edge/front"))] == [""] * 4
    assert _user(connection(agent="worker-2"), "trio", "core/worker") == ""
    assert _user({"name": "qd serve", "name_tag": "SYS", "jwt": mine["jwt"]}, "trio", "") == ""
    assert _user({"name": "core/worker-0"}, "trio", "") == "", "without an account it is nobody of ours"


@pytest.mark.parametrize(
    ("one", "covered"),
    [
        (Living(1, "replica", "trio", "core", "worker"), [True, True, True, False, False]),
        (Living(1, "replica", "trio", "core", "other"), [True, True, False, False, False]),
        (Living(1, "fork", "trio", "core"), [True, True, False, False, False]),
        (Living(1, "service"), [False] * 5),
        (Living(1, "stray"), [True] * 5),
        (Living(1, "stray", "trio", "core"), [True, True, True, False, False]),
    ],
)
def test_what_may_be_of_a_target(one, covered):
    places = (("trio", ""), ("", "core"), ("trio", "core/worker"), ("trio", "edge"), ("other", ""))
    assert [one.may_be_of(*place) for place in places] == covered


SLEEP = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(600)"]
FAMILY = """
import ctypes, os, subprocess, sys, time
home, kind = sys.argv[1:]
env = {"QD_TEST": f"{os.environ['MARK']}:00", "HOME": f"{home}/node/work/trio/core"}
child = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(600)"]
inner = f"import subprocess, sys, time; p = subprocess.Popen({child!r}, env={{}}); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", inner], env=env)
time.sleep(600)
"""


@contextmanager
def started(*argv, **environment):
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, start_new_session=True) as process:
        try:
            process.stdout.readline()
            yield process.pid
        finally:
            for pid in (*_below(process.pid), process.pid):
                linux.kill(pid)


def _below(pid):
    return [lower for child in linux.children_of(pid) for lower in (*_below(child), child)]


def test_without_groups_the_mark_and_descent_tell(tmp_path):
    home = Home(tmp_path)
    mark = f"{home.mark}:0123"
    with (
        started(*SLEEP, QD_TEST=mark, HOME=f"{home.node}/work/trio/core/worker-3") as mine,
        started(*SLEEP, QD_TEST=mark) as nowhere,
        started(*SLEEP, QD_TEST="another:0123") as foreign,
        started(sys.executable, "-c", FAMILY, str(tmp_path), "x", MARK=home.mark) as above,
    ):
        deadline = time.monotonic() + 10
        while len(_below(above)) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        bare = next(pid for pid in _below(above) if not linux.marked("QD_TEST", ".*").get(pid))
        found = {one.pid: one for one in living(home, "QD_TEST", os.getpid() + 10**9)}
        assert found[mine] == Living(mine, "stray", "trio", "core", "worker", "worker-3")
        assert found[nowhere] == Living(nowhere, "stray")
        assert foreign not in found
        assert above not in found
        assert (found[bare].system, found[bare].cluster) == ("trio", "core"), "its environment is empty, its parent's is not"
        assert {one.pid for one in of(found.values(), "trio", "core/worker")} >= {mine, nowhere, bare}
        assert mine not in {one.pid for one in of(found.values(), "trio", "core/other")}
