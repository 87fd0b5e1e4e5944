"""The fork server: a warm process, one per cluster and code tree, that turns into replicas at the node's request.

It imports the runtime and the user's module once, then forks a child per request in a few milliseconds. It is single-threaded; where an
import has started threads, children are spawned afresh instead, because a fork would copy their locks. It is the subreaper of everything
below it: it reports each replica's end and then kills whatever that replica left behind. It confines itself before it imports user code.

Requests and answers are datagrams of JSON on a SOCK_SEQPACKET socket: {"id", "module", "shell", "spawn"} with descriptors (see Handles)
is answered by {"id", "pid", "forked"} with a pidfd, or {"id", "failed": {error, where, trace}}; {"exited": pid, "status"} comes by itself.
"""

from __future__ import annotations

import argparse
import asyncio  # noqa: F401 imported for the children: it is most of their start-up time
import concurrent.futures.thread  # noqa: F401 the same: what is not async runs in a thread
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
from typing import Any

from quarterdeck import linux
from quarterdeck.agents import confine, replica
from quarterdeck.agents.entry import read_ahead
from quarterdeck.bus import connection
from quarterdeck.bus.rehearsal import rehearse

_LONGEST = 1 << 16
_MOST_DESCRIPTORS = 16
_PURGE_EVERY_MS = 10


class ForkServer:
    """State of the one loop: live replicas, and what importing each module came to."""

    def __init__(self, sock: socket.socket, code: str, runtime: str) -> None:
        self._sock = sock
        self._code = code
        self._runtime = runtime
        self._replicas: set[int] = set()
        self._imports: dict[str, dict[str, object] | None] = {}
        self._grants: list[confine.Grant] | None = None
        self._purging = False
        self._wake_in, self._wake_out = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def confine(self, view: confine.View | None, shared_work: str, *, keep_powers: bool) -> None:
        """Lock this process, and so every replica, out of the platform's files; `shared_work` is where its replicas' folders are."""
        if view is not None:
            abi = linux.landlock_abi()
            self._grants = confine.grants(view, abi)
            confine.restrict([*self._grants, *confine.own(shared_work, abi)], abi)
        if os.getuid() == 0 and not keep_powers:
            linux.drop_capabilities()

    def serve(self) -> None:
        """Answer until the node closes its end."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_out)
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        poll.register(self._wake_in, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll(_PURGE_EVERY_MS if self._purging else None)}
            if self._wake_in in ready:
                os.read(self._wake_in, _LONGEST)
            self._reap()
            if self._sock.fileno() in ready and not self._request():
                return
            if self._purging:
                self._purge()

    def _request(self) -> bool:
        data, descriptors, _, _ = socket.recv_fds(self._sock, _LONGEST, _MOST_DESCRIPTORS)
        if not data:
            return False
        request = json.loads(data)
        failed = self._import(request["module"]) if request["module"] else None
        if failed:
            os.write(replica.Handles.of(descriptors).err, str(failed["trace"]).encode())  # into the log of whom it was asked for
            self._sock.send(json.dumps({"id": request["id"], "failed": failed}).encode())
        else:
            self._start(request, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        return True

    def _import(self, name: str) -> dict[str, object] | None:
        if self._imports.get(name, {}) is not None:
            importlib.invalidate_caches()
            try:
                read_ahead(importlib.import_module(name))
            except BaseException as error:  # noqa: BLE001 user code at import may raise anything, SystemExit too; it is reported
                self._imports[name] = replica.describe(error, self._code)
                return self._imports[name]
            self._imports[name] = None
            sys.stdout.flush()
            gc.collect()
            gc.freeze()
        return None

    def _start(self, request: dict[str, Any], descriptors: list[int]) -> None:
        shell = replica.Shell(**request["shell"], parent=os.getpid(), runtime=self._runtime)
        handles = replica.Handles.of(descriptors)
        threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208 only their number
        pid = os.fork()
        if pid == 0:
            try:
                self._become(shell, handles, fork=threads == 1)
            finally:
                os._exit(1)
        self._replicas.add(pid)
        pidfd = os.pidfd_open(pid)
        answer = json.dumps({"id": request["id"], "pid": pid, "forked": threads == 1}).encode()
        socket.send_fds(self._sock, [answer], [pidfd])
        os.close(pidfd)

    def _become(self, shell: replica.Shell, handles: replica.Handles, *, fork: bool) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        for descriptor in (self._sock.fileno(), self._wake_in, self._wake_out):
            os.close(descriptor)
        if fork:
            replica.main(shell, handles, self._grants)
        opened = [grant.descriptor for grant in self._grants or ()]
        for descriptor in (handles.channel, handles.out, handles.err, handles.config, handles.dump, *handles.cgroups, *opened):
            os.set_inheritable(descriptor, True)
        arguments = [sys.executable, "-P", "-m", "quarterdeck.agents.replica", replica.to_argument(shell, handles, self._grants)]
        os.execve(sys.executable, arguments, {**shell.environment, **_import_path()})  # noqa: S606 no shell is meant

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:  # no children at all
                self._purging = False
                return
            if pid == 0:
                break
            if pid in self._replicas:
                self._replicas.remove(pid)
                self._purging = True
                self._sock.send(json.dumps({"exited": pid, "status": status}).encode())

    def _purge(self) -> None:
        left = [pid for pid in linux.children_of(os.getpid()) if pid not in self._replicas]
        for pid in left:
            linux.kill(pid)
        self._purging = bool(left)


def _import_path() -> dict[str, str]:
    return {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}


def main(argv: list[str] | None = None) -> int:
    """Start as the node's child; ends with it."""
    parser = argparse.ArgumentParser(prog="forkserver")
    parser.add_argument("--socket", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--title", required=True)
    parser.add_argument("--code", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--runtime", default="quarterdeck.agents.runtime:serve")
    parser.add_argument("--hide", action="append", default=[])
    parser.add_argument("--own-uids", action="store_true")
    options = parser.parse_args(argv)
    linux.become_subreaper()
    linux.die_with_parent()
    if os.getppid() != options.parent:
        return 1
    linux.set_title(options.title)
    sys.path.insert(0, options.code)
    server = ForkServer(socket.socket(fileno=options.socket), options.code, options.runtime)
    replica.entry(options.runtime)
    connection.preload()
    rehearse()
    server.confine(_view(options), options.work, keep_powers=options.own_uids)
    gc.freeze()
    server.serve()
    return 0


def _view(options: argparse.Namespace) -> confine.View | None:
    if not linux.landlock_abi():
        return None
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120 start-up time counts
    return confine.View(tuple(options.hide), (options.code, package, sys.prefix, sys.base_prefix), ())


if __name__ == "__main__":
    sys.exit(main())
