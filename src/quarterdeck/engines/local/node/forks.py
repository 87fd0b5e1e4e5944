"""The node's side of fork servers: starts them, asks them for replicas, hears of ends, notices when one dies. See agents/forkserver.py."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from quarterdeck import linux
from quarterdeck.engines.local import birthmark
from quarterdeck.engines.local.node.isolation import package_root
from quarterdeck.engines.local.node.place import Place
from quarterdeck.engines.local.node.rooms import Limits, name_of

_LONGEST: Final = 1 << 16
_WITHIN: Final = 5.0


class Born(Protocol):
    """Whoever asked for a replica."""

    def born(self, pid: int, pidfd: int, *, forked: bool) -> None:
        """It runs."""

    def refused(self, failed: dict[str, Any]) -> None:
        """It never will."""

    def exited(self, status: int) -> None:
        """It was reaped."""


@dataclass(frozen=True, slots=True)
class Key:
    """One fork server serves one cluster and one code tree."""

    system: str
    cluster: str
    code: str

    @property
    def group(self) -> str:
        """Its cgroup, inside its cluster's."""
        return f"{name_of(self.system, self.cluster)}/fork-{self.code[:12]}"


class ForkServer:
    """A running fork server."""

    def __init__(self, key: Key, place: Place, gone: Callable[[ForkServer], None]) -> None:
        self.key = key
        self.alive = True
        self._place = place
        self._gone = gone
        self._loop = asyncio.get_running_loop()
        self._asked: dict[int, Born] = {}
        self._replicas: dict[int, Born] = {}
        self._queue: list[tuple[bytes, list[int]]] = []
        self._next = 1
        self._sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._pipes = [place.logs.reader(f"{key.system}/{key.cluster}/fork", stream) for stream in ("out", "err")]
        try:
            self._process = self._start(theirs)
        except OSError:
            self._sock.close()
            for pipe in self._pipes:
                pipe.finish()
            raise
        finally:
            theirs.close()
            for pipe in self._pipes:
                pipe.started()
        self._pidfd = os.pidfd_open(self._process.pid)
        self._sock.setblocking(False)
        self._loop.add_reader(self._sock, self._answer)
        self._loop.add_reader(self._pidfd, self._died)

    @property
    def pid(self) -> int:
        """The fork server's own."""
        return self._process.pid

    def _start(self, theirs: socket.socket) -> subprocess.Popen[bytes]:
        key, place = self.key, self._place
        place.cgroups.make(key.group, Limits(), leaf=True)
        doors = place.cgroups.doors(key.group)
        work = place.work(key.system, key.cluster)
        out, err = (pipe.write_end for pipe in self._pipes)
        try:
            return subprocess.Popen(
                self._argv(theirs.fileno(), str(work)),
                env={**place.environment(work), "PYTHONPATH": str(package_root())},
                cwd=work,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                preexec_fn=lambda: _enter(doors, place.boot.label),  # noqa: PLW1509 the node has one thread
            )
        finally:
            for door in doors:
                os.close(door)

    def _argv(self, descriptor: int, work: str) -> list[str]:
        home, key = self._place.home, self.key
        hide = [f"--hide={folder}" for folder in (home.root, home.run)]
        return [
            sys.executable,
            "-P",
            "-m",
            "quarterdeck.agents.forkserver",
            f"--socket={descriptor}",
            f"--parent={os.getpid()}",
            f"--title=qd fork {key.system}/{key.cluster}",
            f"--code={home.revisions / key.code}",
            f"--work={work}",
            f"--runtime={self._place.runtime}",
            *hide,
            *(["--own-uids"] if self._place.isolation.uid else []),
        ]

    def spawn(self, module: str, shell: dict[str, Any], descriptors: list[int], born: Born) -> None:
        """Ask for a replica; `born` is told. The descriptors are closed once they are sent."""
        self._asked[self._next] = born
        request = {"id": self._next, "module": module, "shell": shell}
        self._next += 1
        self._queue.append((json.dumps(request).encode(), descriptors))
        self._flush()

    def _flush(self) -> None:
        while self._queue:
            data, descriptors = self._queue[0]
            try:
                socket.send_fds(self._sock, [data], descriptors)
            except BlockingIOError:
                self._loop.add_writer(self._sock, self._flush)
                return
            except OSError:  # it died; `_died` answers those who asked
                self._loop.remove_writer(self._sock)
                return
            for descriptor in descriptors:
                os.close(descriptor)
            del self._queue[0]
        self._loop.remove_writer(self._sock)

    def _answer(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._sock, _LONGEST, 1)
        except BlockingIOError:  # nothing there
            return
        except OSError:  # reset by its end
            data, descriptors = b"", []
        if not data:
            self._loop.remove_reader(self._sock)
            return
        message = json.loads(data)
        if "exited" in message:
            self._replicas.pop(message["exited"]).exited(message["status"])
        elif "failed" in message:
            self._asked.pop(message["id"]).refused(message["failed"])
        else:
            born = self._asked.pop(message["id"])
            self._replicas[message["pid"]] = born
            born.born(message["pid"], descriptors[0], forked=message["forked"])

    def _died(self) -> None:
        while self._sock.fileno() >= 0 and self.alive and self._more():
            self._answer()
        self.alive = False
        self._process.wait()
        self._close()
        for born in list(self._asked.values()):
            born.refused({"error": "the fork server ended", "where": "", "retry": True})
        self._gone(self)

    def _more(self) -> bool:
        try:
            return bool(self._sock.recv(1, socket.MSG_PEEK))
        except OSError:  # nothing left, or reset
            return False

    def _close(self) -> None:
        self._loop.remove_reader(self._pidfd)
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        os.close(self._pidfd)
        self._sock.close()
        for descriptor in (descriptor for _, descriptors in self._queue for descriptor in descriptors):
            os.close(descriptor)
        self._queue.clear()
        for pipe in self._pipes:
            pipe.finish()

    def kill(self) -> None:
        """End it, and so its replicas."""
        if self.alive:
            linux.kill(self.pid)


def _enter(doors: list[int], label: str) -> None:
    join(doors)
    birthmark.put(label)


def join(doors: list[int]) -> None:
    """In a child before exec: enter the cgroups."""
    for door in doors:
        os.write(door, b"0")


class Forks:
    """All fork servers, started when first needed."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._servers: dict[Key, ForkServer] = {}

    def get(self, key: Key) -> ForkServer:
        """The fork server for `key`, started now when there is none."""
        if key not in self._servers:
            self._servers[key] = ForkServer(key, self._place, self._gone)
            self._place.events.add("fork.started", f"{key.system}/{key.cluster}", pid=self._servers[key].pid, code=key.code)
        return self._servers[key]

    def _gone(self, server: ForkServer) -> None:
        if self._servers.get(server.key) is server:
            del self._servers[server.key]
        self._place.events.add("fork.exited", f"{server.key.system}/{server.key.cluster}", pid=server.pid)
        self._place.cgroups.kill(server.key.group)
        self._place.cgroups.remove(server.key.group)

    def keep_only(self, keys: set[Key]) -> None:
        """End those that nobody needs."""
        for key in self._servers.keys() - keys:
            self._servers[key].kill()

    @property
    def pids(self) -> set[int]:
        """Of all running fork servers."""
        return {server.pid for server in self._servers.values()}


def reap(pid: int) -> int | None:
    """The wait status of an orphan that became ours, None while it is not one or still runs."""
    with contextlib.suppress(ChildProcessError):  # somebody else's, or reaped before
        done, status = os.waitpid(pid, os.WNOHANG)
        return status if done else None
    return None
