"""What `qd doctor` looks at in the home and of the control plane: owner and mode, ports, leftovers of an earlier run, versions."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from quarterdeck.cli import leftovers
from quarterdeck.cli.checks import Check, Finding
from quarterdeck.cli.render import counted
from quarterdeck.client.wire import Document, Wire
from quarterdeck.errors import QuarterdeckError
from quarterdeck.model.home import Home
from quarterdeck.version import VERSION

_OTHERS_WRITE: Final = 0o022
_OTHERS: Final = 0o077
_SUDO: Final = "run qd as its owner, or chown it to you"


def of_home(home: Home, server: Document | None, environ: Mapping[str, str]) -> Iterator[tuple[str, Check]]:
    """Every check of a home by its name; `server` is the version document of the control plane that answers."""
    yield "home", lambda: owned(home.root)
    yield "keys", lambda: private((home.keys, home.secrets))
    yield "ports", lambda: ports(home, server, environ)
    yield "leftovers", lambda: earlier(home, running=server is not None)


def of_server(client: Wire, server: Document | None) -> Iterator[tuple[str, Check]]:
    """Every check of the control plane by its name."""
    yield "control plane", lambda: answering(client, server)
    yield "versions", lambda: versions(server)
    yield "weakened", lambda: weakened(client, server)


def owned(root: Path) -> Finding:
    """Ours, and written by nobody else."""
    if not root.exists():
        return Finding("home", "ok", f"{root} is not there yet; qd up makes it")
    found = root.stat()
    mode = stat.S_IMODE(found.st_mode)
    if not root.is_dir():
        return Finding("home", "failed", f"{root} is no folder", "set QUARTERDECK_HOME to a folder")
    if found.st_uid != os.getuid():
        return Finding("home", "failed", f"{root} belongs to uid {found.st_uid}, this is uid {os.getuid()}", _SUDO)
    if mode & _OTHERS_WRITE:
        return Finding("home", "failed", f"{root} can be written by others (mode {mode:o})", f"chmod 700 {root}")
    return Finding("home", "ok", f"{root}, yours, mode {mode:o}")


def private(folders: tuple[Path, ...]) -> Finding:
    """The folders of keys and secrets are for the owner alone, whatever the files in them say."""
    there = [folder for folder in folders if folder.exists()]
    open_ = [folder for folder in there if folder.stat().st_mode & _OTHERS]
    if open_:
        return Finding("keys", "failed", f"others can look into {open_[0]}", f"chmod 700 {' '.join(map(str, open_))}")
    return Finding("keys", "ok", f"{' and '.join(folder.name for folder in there)}: for you alone" if there else "none yet")


def ports(home: Home, server: Document | None, environ: Mapping[str, str]) -> Finding:
    """The dashboard's port: ours, or what `qd up` would find, tried at the address where it would listen.

    Raises UserError, as `qd up` would end with.
    """
    running = urlsplit(str((server or {}).get("url") or "")).port
    if running:
        return Finding("ports", "ok", f"the dashboard is at port {running}")
    from quarterdeck.api import listening  # noqa: PLC0415 TLS comes with it
    from quarterdeck.api.door import Place  # noqa: PLC0415

    place = Place.of(environ)
    place.tls()
    wanted = listening.choice(home, None, environ)
    with listening.found(place, wanted) as door:
        got = door.getsockname()[1]
    if not wanted.port:
        return Finding("ports", "ok", f"any free one at {place.bind} will be used for the dashboard")
    if got != wanted.port:
        before = ", used last time," if wanted.kept else ""
        return Finding("ports", "ok", f"{wanted.port}{before} is taken: any free one at {place.bind} will be used for the dashboard")
    return Finding("ports", "ok", f"{got} at {place.bind} is free for the dashboard")


def earlier(home: Home, *, running: bool) -> Finding:
    """What an earlier run left behind; while a control plane answers nothing is left, it runs."""
    if running:
        return Finding("leftovers", "ok", "none: the fleet is running")
    left = leftovers.left(home)
    if left:
        told = left.told()
        more = f" and {len(told) - 1} more" if len(told) > 1 else ""
        mend = "qd up takes them over; qd down --yes ends them"
        return Finding("leftovers", "warning", f"{told[0]}{more}, without a control plane", mend)
    return Finding("leftovers", "ok", "none")


def answering(client: Wire, server: Document | None) -> Finding:
    """Whether one answers, and can write."""
    if server is None:
        if isinstance(client.place, Home):
            return Finding("control plane", "ok", f"none answers at {client.place.root}; qd up starts one")
        mend = "start it on its machine with qd up, or choose another context: qd context list"
        return Finding("control plane", "failed", f"none answers at {client.place}", mend)
    if server.get("read_only"):
        return Finding("control plane", "failed", "its store cannot write", "make room on the disk; it goes on by itself")
    try:
        items = client.get("/v1/systems", timeout=5)["items"]
    except QuarterdeckError as error:
        return Finding("control plane", "failed", f"it answers, but: {error.message}", error.hint or "qd down, then qd up")
    unready = [str(item["name"]) for item in items if not item.get("ready")]
    if unready:
        return Finding("control plane", "warning", f"{', '.join(unready)} not ready", f"qd status -s {unready[0]}")
    return Finding("control plane", "ok", f"pid {server['pid']}, {counted(len(items), 'system')} ready")


def weakened(client: Wire, server: Document | None) -> Finding:
    """What the control plane tells of its machine and its agents beyond what the rows of the machine tell."""
    systems = client.get("/v1/systems", timeout=5)["items"] if server else []
    texts = {text for one in systems for text in client.get("/v1/status", {"system": one["name"]}, timeout=5).get("weakenings") or ()}
    mends = {text: mend for text in sorted(texts) if (mend := _mend(text))}
    if not mends:
        return Finding("weakened", "ok", "nothing beyond what the rows above tell")
    return Finding("weakened", "warning", "; ".join(mends), "; ".join(dict.fromkeys(mends.values())))


def _mend(weakening: str) -> str:
    """What helps against a weakening; nothing for one that a row of the machine tells: sandbox, Landlock, cgroups."""
    if weakening.startswith("room "):
        return "look at the control group named there: its limits were refused; qd get clusters -o wide shows the quotas"
    if weakening.startswith("some replicas are spawned"):
        return "begin threads in handlers, not where modules are imported: then replicas are forked, start faster and share memory"
    if weakening == "agents run as root":
        return "install Python and Quarterdeck where every user can read them, not below /root: then each replica gets a user of its own"
    if weakening == "read-only store":
        return "make room on the disk; it goes on by itself"
    told = ("unsandboxed", "same-uid", "no signal scope", "cgroup v1", "no cgroup", "no memory limit", "no process limit", "no cpu limit")
    return "" if weakening.startswith(told) else "qd support-bundle packs this for whoever helps you"


def versions(server: Document | None) -> Finding:
    """Command and control plane are of one version."""
    theirs = str((server or {}).get("version") or "")
    if theirs and theirs != VERSION:
        mend = "qd down, then qd up with this command; agents restart"
        return Finding("versions", "warning", f"this command is {VERSION}, the control plane {theirs}", mend)
    return Finding("versions", "ok", f"this command{' and the control plane' if theirs else ''}: {VERSION}")
