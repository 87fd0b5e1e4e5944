"""What of a home is alive below its node, and where it belongs: read from /proc alone, so that it can be asked of nobody and by anybody.

A process belongs where its control group says; where the machine gives no groups, where its parents do. Its words about itself (its title)
count for a fork server's own children only, and where all is silent it is taken for what is looked for: rather too many than too few.
Standard library only; the node kills by it, the control plane and `qd` prove by it.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from quarterdeck import linux
from quarterdeck.engines.local import birthmark
from quarterdeck.model.home import Home

Kind = Literal["replica", "fork", "service", "stray"]
"""replica: of an agent, or below one. fork: a fork server, which imports a cluster's code. service: ours. stray: nobody knows whose."""
_TITLE: Final = re.compile(r"qd replica ([^/\s]+)/([^/\s]+)/(\S+-\d+)")
_GONE: Final = frozenset({"", "Z", "X"})


@dataclass(frozen=True, slots=True)
class Living:
    """A process. `system`, `cluster`, `agent` and `replica` (`agent-n`) are empty where nobody knows."""

    pid: int
    kind: Kind
    system: str = ""
    cluster: str = ""
    agent: str = ""
    replica: str = ""

    def may_be_of(self, system: str, target: str) -> bool:
        """Whether it is, or could be, of a system (empty: any), a cluster or an agent. A fork server is of a cluster, not of its agents."""
        cluster, _, agent = target.partition("/")
        if self.kind == "service" or (agent and self.kind == "fork"):
            return False
        mine = ((self.system, system), (self.cluster, cluster), (self.agent, agent))
        return all(not wanted or not own or own == wanted for own, wanted in mine)

    @property
    def told(self) -> str:
        """For people."""
        place = "/".join(part for part in (self.system, self.cluster, self.agent) if part)
        return f"pid {self.pid} ({self.kind}{f' of {place}' if place else ''})"


def living(home: Home, variable: str, node: int | None = None) -> tuple[Living, ...]:
    """Everything alive that carries the home's mark in `variable` or from birth, is in its groups, or descends from its node."""
    seen = _Seen(home, variable, _node_of(home) if node is None else node)
    return tuple(found for pid in sorted(seen.parents) if (found := seen.judge(pid)) is not None)


def of(found: Iterable[Living], system: str, target: str) -> tuple[Living, ...]:
    """Those that are or may be of a target."""
    return tuple(one for one in found if one.may_be_of(system, target))


def _node_of(home: Home) -> int | None:
    """The node that lives, by its lock; None when there is none."""
    with contextlib.suppress(OSError, ValueError):  # there never was one, or it is just being born
        pid = int((home.node / "lock").read_text())
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
        if b"qd node" in words or b"quarterdeck.engines.local.node" in words:
            return pid
    return None


class _Seen:
    """One look at /proc."""

    def __init__(self, home: Home, variable: str, node: int | None) -> None:
        self._label = home.mark
        self._root, self._work = str(home.root), str(home.node / "work")
        self._mark = re.compile(rb"(?:\A|\0)" + re.escape(f"{variable}={self._label}:").encode())
        self._node = node
        self._judged: dict[int, Living | None] = {}
        stats = ((pid, *linux.stat(pid)) for pid in linux.pids())
        self.parents: Mapping[int, int] = {pid: parent for pid, state, parent, _ in stats if state not in _GONE}

    def judge(self, pid: int) -> Living | None:
        """What a process is; None when it is none of the home's agents."""
        if pid not in self._judged:
            self._judged[pid] = None  # a pid that came again since the parents were read could lead in a circle
            self._judged[pid] = self._judge(pid)
        return self._judged[pid]

    def _judge(self, pid: int) -> Living | None:
        if pid in (self._node, os.getpid()) or pid not in self.parents:
            return None
        group, environment = self._group(pid), _bytes(pid, "environ")
        above = self.judge(self.parents[pid])
        if group:
            return _by_group(pid, group)
        if above is not None:
            return self._below(pid, above)
        if self.parents[pid] == self._node or self._mark.search(environment) or birthmark.has(pid, self._label):
            return self._top(pid, environment)
        return None

    def _below(self, pid: int, above: Living) -> Living:
        """Without groups: children of a fork server are told apart by their titles, what is further below is of its parent's."""
        if above.kind != "fork":
            return replace(above, pid=pid)
        replica = _titled(pid, above)
        return _replica(pid, "replica" if replica else "stray", above.system, above.cluster, replica)

    def _top(self, pid: int, environment: bytes) -> Living:
        """Without groups and without a parent that is known: where it was born is in its environment."""
        found = re.search(rb"(?:\A|\0)HOME=([^\0]+)", environment)
        born = found.group(1).decode("utf-8", "replace") if found else ""
        ours = self.parents[pid] == self._node
        if ours and born == self._root:
            return Living(pid, "service")
        inside = born.removeprefix(f"{self._work}/").split("/") if born.startswith(f"{self._work}/") else []
        system, cluster, slot = (*inside, "", "", "")[:3]
        if ours and cluster and _bytes(pid, "cmdline").startswith(f"qd fork {system}/{cluster}".encode()):
            return Living(pid, "fork", system, cluster)
        return _replica(pid, "stray", system, cluster, slot)

    def _group(self, pid: int) -> str:
        """The part of its control group's path below the home's."""
        for line in _bytes(pid, "cgroup").decode("utf-8", "replace").splitlines():
            _, mark, below = line.partition(f"/{self._label}/")
            if mark:
                return below
        return ""


def _by_group(pid: int, group: str) -> Living:
    room, _, leaf = group.partition("/")
    if room == "services":
        return Living(pid, "service")
    system, _, cluster = room.partition(".")
    if leaf.startswith("fork-") and "." not in leaf:
        return Living(pid, "fork", system, cluster)
    return _replica(pid, "replica", system, cluster, leaf.rpartition(".")[0])


def _replica(pid: int, kind: Kind, system: str, cluster: str, replica: str) -> Living:
    return Living(pid, kind, system, cluster, replica.rpartition("-")[0], replica)


def _titled(pid: int, above: Living) -> str:
    title = _TITLE.match(_bytes(pid, "cmdline").decode("utf-8", "replace"))
    return title.group(3) if title and title.group(1, 2) == (above.system, above.cluster) else ""


def _bytes(pid: int, file: str) -> bytes:
    with contextlib.suppress(OSError):  # it ended, or is another user's
        return Path(f"/proc/{pid}/{file}").read_bytes()
    return b""
