"""The shell around one replica: turns a fresh child of the fork server into the agent's own confined process.

Order matters: join the cgroups while they can still be reached, set the environment, lose powers, then ask to die with the parent (a change
of uid clears that), and only then run anything of the user's. Whatever escapes from there is told to the node as `fatal`.
"""

from __future__ import annotations

import asyncio
import faulthandler
import importlib
import io
import json
import os
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import NoReturn

from quarterdeck import linux
from quarterdeck.agents import confine
from quarterdeck.agents.channel import Channel
from quarterdeck.model.boot import Boot

Serve = Callable[[Boot, Channel], Awaitable[None]]
_LONGEST_TRACE = 16_000
_DESCRIPTORS = 4096


@dataclass(frozen=True, slots=True)
class Handles:
    """Inherited descriptors: line to the node, output pipes, the Boot, where stack dumps go, and cgroups to join by writing `0`."""

    channel: int
    out: int
    err: int
    config: int
    dump: int
    cgroups: tuple[int, ...]

    @classmethod
    def of(cls, descriptors: list[int]) -> Handles:
        """In the order in which the node sends them."""
        channel, out, err, config, dump, *cgroups = descriptors
        return cls(channel, out, err, config, dump, tuple(cgroups))


@dataclass(frozen=True, slots=True)
class Shell:
    """How the process is set up. `memory` (bytes) is a data limit where no cgroup holds it; `environment` is all that is inherited.

    `uid` is None where all replicas share one user.
    """

    title: str
    parent: int
    runtime: str
    environment: dict[str, str]
    work: str
    uid: int | None
    memory: int | None


def entry(runtime: str) -> Serve:
    """The function `module:name` that runs an agent."""
    module, _, name = runtime.partition(":")
    serve: Serve = getattr(importlib.import_module(module), name)
    return serve


def describe(error: BaseException, code: str) -> dict[str, object]:
    """An error as the node reports it: one line, the place in the user's code nearest to it, and the trace."""
    line = " ".join(f"{type(error).__name__}: {error}".split())
    where = next(
        (
            f"{_inside(f.filename, code)}:{f.lineno}"
            for f in reversed(traceback.extract_tb(error.__traceback__))
            if _inside(f.filename, code)
        ),
        "",
    )
    if isinstance(error, SyntaxError) and error.filename and _inside(error.filename, code):
        where = f"{_inside(error.filename, code)}:{error.lineno}"
    return {"error": line[:1000], "where": where, "trace": trace(error, code)}


def trace(error: BaseException, code: str) -> str:
    """The trace from the user's code on, where that took part: how it came to be called is no help to whoever wrote it."""
    start = error.__traceback__
    while start and not _inside(start.tb_frame.f_code.co_filename, code):
        start = start.tb_next
    return "".join(traceback.format_exception(type(error), error, start or error.__traceback__))[-_LONGEST_TRACE:]


def _inside(filename: str, code: str) -> str:
    return os.path.relpath(filename, code) if code and filename.startswith(f"{code}/") else ""


def main(shell: Shell, handles: Handles, allowed: list[confine.Grant] | None) -> NoReturn:
    """Become the replica; never returns. `allowed` is what the fork server has opened to be seen, None where the kernel has no Landlock."""
    status = 1
    channel = Channel(socket.socket(fileno=handles.channel))
    code = ""
    try:
        boot = _read_boot(handles.config)
        code = boot.code
        _enter(shell, handles, boot)
        _confine(shell, allowed)
        _tie_to(shell.parent)
        faulthandler.register(signal.SIGUSR2, file=handles.dump, all_threads=True)
        linux.set_title(shell.title)
        status = _run(shell, boot, channel)
    except BaseException as error:  # noqa: BLE001 the last frame of the process: whatever it is, the node must hear of it
        channel.send_last({"t": "fatal", **describe(error, code)})
        sys.stderr.write(trace(error, code))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _read_boot(descriptor: int) -> Boot:
    with os.fdopen(descriptor, "rb") as file:
        file.seek(0)
        return Boot.from_json(json.load(file))


def _enter(shell: Shell, handles: Handles, boot: Boot) -> None:
    for cgroup in handles.cgroups:
        os.write(cgroup, b"0")
        os.close(cgroup)
    with open("/dev/null", "rb") as nothing:  # noqa: PTH123 a descriptor is what is wanted
        os.dup2(nothing.fileno(), 0)
    os.dup2(handles.out, 1)
    os.dup2(handles.err, 2)
    os.close(handles.out)
    os.close(handles.err)
    if isinstance(sys.stdout, io.TextIOWrapper):  # what an agent prints is to be read now, not when a buffer is full
        sys.stdout.reconfigure(line_buffering=True)
    os.environ.clear()
    os.environ.update(shell.environment)
    os.environ.update(boot.environment)
    os.umask(0o077)
    os.chdir(shell.work)
    if boot.code not in sys.path:
        sys.path.insert(0, boot.code)


def _confine(shell: Shell, allowed: list[confine.Grant] | None) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_DESCRIPTORS, most), min(_DESCRIPTORS, most)))
    if shell.memory is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (shell.memory, shell.memory))
    linux.become_subreaper()
    if allowed is not None:
        abi = linux.landlock_abi()
        opened = [*allowed, *confine.own(shell.work, abi)]
        confine.restrict(opened, abi)
        for grant in opened:
            os.close(grant.descriptor)
    if shell.uid is not None:
        os.setgroups([])
        os.setgid(shell.uid)
        os.setuid(shell.uid)
    elif os.getuid() == 0:
        linux.drop_capabilities()
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)


def _tie_to(parent: int) -> None:
    linux.die_with_parent()
    if os.getppid() != parent:
        raise SystemExit("the fork server ended meanwhile")


def _run(shell: Shell, boot: Boot, channel: Channel) -> int:
    try:
        asyncio.run(_served(entry(shell.runtime), boot, channel))
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    return 0


async def _served(serve: Serve, boot: Boot, channel: Channel) -> None:
    await serve(boot, channel)


def to_argument(shell: Shell, handles: Handles, allowed: list[confine.Grant] | None) -> str:
    """The one argument of `python -m quarterdeck.agents.replica`, where a replica is spawned because it cannot be forked."""
    grants = None if allowed is None else [asdict(grant) for grant in allowed]
    return json.dumps({"shell": asdict(shell), "handles": asdict(handles), "allowed": grants})


def from_argument(text: str) -> tuple[Shell, Handles, list[confine.Grant] | None]:
    """The reverse of `to_argument`."""
    data = json.loads(text)
    handles = Handles(**{**data["handles"], "cgroups": tuple(data["handles"]["cgroups"])})
    allowed = None if data["allowed"] is None else [confine.Grant(**grant) for grant in data["allowed"]]
    return Shell(**data["shell"]), handles, allowed


if __name__ == "__main__":
    main(*from_argument(sys.argv[1]))
