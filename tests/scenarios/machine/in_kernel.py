"""What is done on a machine with control groups of version 2: fleets from a session, of a user, from a unit. Prints a JSON line of each.

Carried out as root, by a systemd; whoever waits for this machine reads the lines.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
QD = Path(sys.executable).with_name("qd")
ADAS = "/run/ada/fleet"
"""The home of a user who lingers."""
SPEC = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: one}
spec:
  clusters:
    core:
      quota: {replicas: 3, cpu: 1.5, memory: 512Mi}
      agents:
        hoarder: {run: "hoarder:agent", memory: 64Mi, rollout: {ready_within: 60s}}
"""
HOARDER = '''\
"""Takes memory."""

from quarterdeck import Agent

agent = Agent("hoarder")
kept = []


@agent.on("grab")
def grab(mib: int) -> int:
    kept.append(b"x" * (mib << 20))
    return len(kept)
'''


def run(home, *words, check=True):
    by = ("setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups", "env", "TMPDIR=/run/ada") if home == ADAS else ()
    ran = subprocess.run([*by, QD, "--home", home, *words], capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 0 or not check, f"{words}: {ran.returncode}\n{ran.stdout}{ran.stderr}"
    return ran


def document(home, *words):
    return json.loads(run(home, *words, "-o", "json").stdout)


def eventually(look, within=60.0):
    deadline = time.monotonic() + within
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def groups():
    """Folders of our scopes and of the groups in them."""
    return [str(found) for found in GROUPS.rglob("*qd-*") if found.is_dir()]


def left():
    """Groups of ours that are there still once systemd has had time to take its scope away."""
    eventually(lambda: not groups(), within=10)
    return groups()


def replicas(home):
    return [one for one in document(home, "get", "replicas")["items"] if one["state"] == "ready"]


def fleet(home):
    """What a fleet that is up lives in, what becomes of one that takes too much, and of the node when it is killed."""
    found = {"weakenings": document(home, "status")["weakenings"], "doctor": doctor(home), "before": limits_of(home)}
    run(home, "ask", "core/hoarder", "grab", "200", "--timeout", "20s", check=False)
    found["ended"] = eventually(lambda: next((one["last_exit"] for one in replicas(home) if one["last_exit"]), None))
    node = (Path(home) / "node/lock").read_text().strip()
    os.kill(int(node), 9)
    run(home, "wait", "--for", "ready", "--timeout", "90s")
    eventually(lambda: replicas(home))
    found["after"] = limits_of(home)
    return found


def limits_of(home):
    """What the kernel holds the cluster and its replica to: bytes, processes, processor time; and who lives there."""
    one = replicas(home)[0]
    group = GROUPS / Path(f"/proc/{one['pid']}/cgroup").read_text().strip().removeprefix("0::/")
    return {
        "below": group.parents[2].name,
        "cluster": {name: (group.parent / name).read_text().strip() for name in ("memory.max", "pids.max", "cpu.max")},
        "replica": (group / "memory.max").read_text().strip(),
        "alone": (group / "cgroup.procs").read_text().split() == [str(one["pid"])],
        "row": one,
    }


def doctor(home):
    ran = run(home, "doctor", "-o", "json", check=False)
    return next(one for one in json.loads(ran.stdout)["items"] if one["name"] == "cgroups")


def systemctl(*words):
    return subprocess.run(["systemctl", *words], capture_output=True, text=True, check=True).stdout


def keeper(name):
    return int(systemctl("show", "--property=MainPID", "--value", name))


def moves_in():
    """A user who lingers, and who may read the interpreter wherever it is."""
    for name, line in (("passwd", "ada:x:1000:1000::/run/ada:/bin/sh"), ("group", "ada:x:1000:")):
        with Path("/etc", name).open("a") as file:
            file.write(f"{line}\n")
    for folder in {above for path in (QD, Path(sys.executable).resolve(), Path(__file__)) for above in path.parents}:
        folder.chmod(folder.stat().st_mode | 0o055)
    Path("/run/ada").mkdir()
    os.chown("/run/ada", 1000, 1000)
    subprocess.run(["loginctl", "enable-linger", "ada"], check=True)
    assert eventually(Path("/run/user/1000/bus").exists), "the user's systemd runs"


def told(name, what):
    print(json.dumps({"name": name, **what}), flush=True)


def main():
    os.environ.update(HOME="/run/person", NO_COLOR="1", QUARTERDECK_PORT="0")
    project = Path("/run/project")
    project.mkdir()
    (project / "quarterdeck.yaml").write_text(SPEC)
    (project / "hoarder.py").write_text(HOARDER)
    os.chdir(project)

    run("/run/one", "up")
    told("session", fleet("/run/one"))
    down = run("/run/one", "down", "--yes")
    told("down", {"said": down.stdout, "left": left()})

    moves_in()
    run(ADAS, "up")
    told("user", fleet(ADAS))
    run(ADAS, "down", "--yes")

    run("/run/two", "service", "install", "--system-wide")
    run("/run/two", "up")
    told("unit", fleet("/run/two"))
    name = document("/run/two", "service", "status", "--system-wide")["name"]
    os.kill(keeper(name), 9)
    back = eventually(lambda: run("/run/two", "service", "status", "--system-wide", check=False).returncode == 0, within=30)
    time.sleep(3)
    after = run("/run/two", "service", "status", "--system-wide", check=False)
    told("keeper", {"back": back, "code": after.returncode, "state": after.stdout, "replicas": len(replicas("/run/two"))})

    once = Path(f"/run/systemd/system/{name}.d/once.conf")
    once.parent.mkdir(parents=True)
    once.write_text("[Service]\nRestart=no\n")
    systemctl("daemon-reload")
    os.kill(keeper(name), 9)
    eventually(lambda: "failed" in run("/run/two", "service", "status", "--system-wide", check=False).stdout)
    failed = {"state": run("/run/two", "service", "status", "--system-wide", check=False).stdout, "replicas": len(replicas("/run/two"))}
    run("/run/two", "service", "uninstall", "--system-wide")
    told("failed", {**failed, "left": left()})


main()
