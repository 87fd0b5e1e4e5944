"""Looks entry points up in a throw-away child process, because even `find_spec` runs a package's `__init__`.

The child (`entry_child.py`) is an isolated interpreter in its own session with a stripped environment, an address-space limit and a
deadline; everything it started in that session is killed with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from quarterdeck.errors import UserError
from quarterdeck.spec.problems import Finding, shown
from quarterdeck.spec.system import AgentSpec, SystemSpec

LIMIT: Final = 10.0
"""Seconds for all entry points of a spec together."""
_MEMORY: Final = 4 * 2**30
_MOST_OUTPUT: Final = 4 * 2**20
_CHILD: Final = Path(__file__).with_name("entry_child.py")
_EMPTY: Final = "qd-entry-"
_KEPT: Final = ("PATH", "HOME", "LANG", "TZ")


@dataclass(frozen=True, slots=True)
class Lookup:
    """What became of one entry point. `wrong`: the spec or the tree is at fault; else a failure may lie outside and is a warning.

    `error` is the text for people, with file:line where known; `names` are what the module offers instead.
    """

    name: str
    found: bool
    wrong: bool = False
    error: str = ""
    names: tuple[str, ...] = ()


def check(system: SystemSpec, base: Path) -> tuple[Finding, ...]:
    """Findings for every entry point that cannot be found; warnings for those that could not be looked up."""
    agents = {f"{cluster}/{agent}": (cluster, agent, spec) for cluster, agent, spec in system.agents()}
    looked = look_up({name: spec for name, (_, _, spec) in agents.items()}, (base / system.spec.code).resolve())
    return tuple(_finding(result, *agents[result.name]) for result in looked if not result.found)


def look_up(agents: dict[str, AgentSpec], code: Path, *, limit: float = LIMIT) -> tuple[Lookup, ...]:
    """Look up the entry point of each agent below `code`, within `limit` seconds in all, in one child unless the code ends it.

    Raises UserError where there is no place for a temporary file, or no room for a process.
    """
    deadline = time.monotonic() + limit
    results: dict[str, Lookup] = {}
    while waiting := {name: agent for name, agent in agents.items() if name not in results}:
        try:
            done, cause = _run(waiting, code, deadline)
        except OSError as error:
            hint = "make room for temporary files, or set TMPDIR to a folder that can be written"
            raise UserError(f"the code of agents cannot be looked at: {error.strerror or error}", hint=hint) from error
        results.update(done)
        stuck = next((name for name in waiting if name not in results), None)
        if stuck is None:
            break
        results[stuck] = Lookup(stuck, found=False, error=f"importing {agents[stuck].run.partition(':')[0]} {cause}")
        if time.monotonic() >= deadline:
            rest = (name for name in waiting if name not in results)
            results.update({name: Lookup(name, found=False, error="was not looked up: no time was left") for name in rest})
    return tuple(results[name] for name in agents)


def _run(agents: dict[str, AgentSpec], code: Path, deadline: float) -> tuple[dict[str, Lookup], str]:
    """One child: the results it gave, and in words how it ended."""
    request = {"code": str(code), "memory": _MEMORY, "seconds": int(LIMIT), "entries": [_entry(*item) for item in agents.items()]}
    _sweep()
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    with tempfile.TemporaryDirectory(prefix=f"{_EMPTY}{os.getpid()}-") as empty, tempfile.TemporaryFile() as given:
        given.write(json.dumps(request).encode())
        given.seek(0)
        child = subprocess.Popen(  # noqa: S603 our own interpreter and our own script
            [sys.executable, "-I", "-B", str(_CHILD)],
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd=empty,
            start_new_session=True,
        )
        output = child.stdout
        try:
            text = _read(output, deadline) if output else b""
        finally:
            late = time.monotonic() >= deadline
            _end(child, output, late=late)
    return _results(text, agents), "took too long" if late else _ending(child.returncode)


def _sweep() -> None:
    """Remove folders of lookups whose parent was killed."""
    for left in Path(tempfile.gettempdir()).glob(f"{_EMPTY}*"):
        parent = left.name.removeprefix(_EMPTY).partition("-")[0]
        if parent.isdecimal() and not Path(f"/proc/{parent}").exists():
            shutil.rmtree(left, ignore_errors=True)  # somebody else's stays


def _entry(name: str, agent: AgentSpec) -> dict[str, object]:
    return {"name": name, "run": agent.run, "env": agent.env, "secrets": sorted(agent.secrets)}


def _read(output: IO[bytes], deadline: float) -> bytes:
    """Everything until the pipe closes, the deadline passes or the bound is reached."""
    text = b""
    while (left := deadline - time.monotonic()) > 0 and len(text) < _MOST_OUTPUT:
        if not select.select([output], [], [], left)[0]:
            break
        chunk = os.read(output.fileno(), 65536)
        if not chunk:
            break
        text += chunk
    return text


def _end(child: subprocess.Popen[bytes], output: IO[bytes] | None, *, late: bool) -> None:
    """Kill the session while its leader is not reaped yet, so that its number cannot belong to anybody else."""
    if not late:  # the pipe is closed, the child is about to end by itself: keep its exit status
        with contextlib.suppress(ChildProcessError):  # reaped elsewhere; the wait below deals with it
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    with contextlib.suppress(ProcessLookupError):  # nothing of the session is left
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    if output:
        output.close()


def _ending(code: int) -> str:
    return f"ended the process with {signal.Signals(-code).name}" if code < 0 else f"ended the process with exit code {code}"


def _results(text: bytes, agents: dict[str, AgentSpec]) -> dict[str, Lookup]:
    """The lines that are results of agents asked for; a line cut short is dropped."""
    found: dict[str, Lookup] = {}
    for line in _json_lines(text.split(b"\n")):
        name = line.get("name")
        if isinstance(name, str) and name in agents:
            names = tuple(str(n) for n in line["names"])
            found[name] = Lookup(
                name, found=bool(line["found"]), wrong=line["kind"] in ("missing", "broken"), error=str(line["error"]), names=names
            )
    return found


def _json_lines(lines: Iterable[bytes]) -> Iterable[dict[str, Any]]:
    for line in lines:
        with contextlib.suppress(ValueError):  # the last line of a killed child may be half a line
            value = json.loads(line)
            if isinstance(value, dict):
                yield value


def _finding(result: Lookup, cluster: str, agent: str, spec: AgentSpec) -> Finding:
    module, _, attribute = spec.run.partition(":")
    missing_module = result.error.startswith("there is no module")
    return Finding(
        ("spec", "clusters", cluster, "agents", agent, "run"),
        f"{result.name}: {shown(result.error, 300)}",
        wrong=(module if missing_module else attribute) if result.names else "",
        allowed=result.names,
        warning=not result.wrong,
        hint="" if result.wrong else "the deployment will report it if it lasts",
        code=_code(result, missing_module=missing_module),
    )


def _code(result: Lookup, *, missing_module: bool) -> str:
    if not result.wrong:
        return "E1404"
    return "E1401" if missing_module else "E1402" if result.names or "neither an Agent nor a function" in result.error else "E1403"
