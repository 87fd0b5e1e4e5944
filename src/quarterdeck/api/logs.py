"""What replicas wrote, read from the node's rotated files: newest lines, then those to come."""

from __future__ import annotations

import heapq
import json
import math
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from quarterdeck.api import sse
from quarterdeck.api.nouns import absent
from quarterdeck.api.roles import needs
from quarterdeck.api.services import Given, Services
from quarterdeck.deploy import nouns
from quarterdeck.store import journal

router = APIRouter(prefix="/v1/logs")
POLL: Final = 0.2
TAIL: Final = 200
"""Lines where nothing else is asked for."""
_LIVES: Final = 20
"""Starts of a replica that are looked through for the one before the present one."""
_BIRTH: Final = 0.02
"""Seconds between its birth and the record of it, at most: it may have written by then."""
TAIL_BYTES: Final = 1 << 20
"""How far back a tail looks in one file."""


@dataclass(frozen=True, slots=True)
class Line:
    """One log line: RFC 3339 time, out or err, text."""

    replica: str
    at: str
    stream: str
    text: str

    def event(self) -> str:
        """As sent."""
        return sse.event("line", json.dumps({"replica": self.replica, "at": self.at, "stream": self.stream, "text": self.text}))


@router.get("", response_class=sse.EventStream, **needs("viewer", scope="cluster"))
async def logs(  # noqa: PLR0917 one parameter a filter
    given: Given,
    system: str | None = None,
    target: str | None = None,
    since: Annotated[float | None, Query(ge=0)] = None,
    tail: Annotated[int | None, Query(ge=0, le=10_000)] = None,
    each: bool = False,  # noqa: FBT001, FBT002 a query flag
    follow: bool = False,  # noqa: FBT001, FBT002 a query flag
    previous: bool = False,  # noqa: FBT001, FBT002 a query flag
) -> StreamingResponse:
    """Server-sent `line` events; `since` is seconds ago, `previous` only those of the incarnation before the present one.

    `tail`: that many last lines, of all replicas together or of `each`; without it 200, or with `since` all. A target that was removed is
    answered as long as its files are kept.
    """
    name = given.fleet.one(system)
    wanted = (target or "").rpartition(":")[2] or given.grant.cluster or ""
    given.grant.require(name, wanted)
    if wanted and not _files(given.home.logs / name, wanted):
        look = await given.fleet.look(name)
        if nouns.explain(look, wanted) is None:
            raise absent(look, wanted)
    after = given.clock.now() - since if since is not None else 0.0
    spans = await _previous(given, name, wanted) if previous else {}
    most = tail if tail is not None or since is not None else TAIL
    return sse.stream(_lines(given, name, wanted, Wanted(after, spans, most, each), follow=follow))


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines: written after that time, within the span of their replica, `most` of them in all or of `each` replica (None: all)."""

    after: float
    spans: Mapping[str, tuple[float, float]]
    most: int | None
    each: bool

    def newest(self, found: Iterator[Line]) -> Iterable[Line]:
        """What is left of the lines that were found, in their order."""
        if not self.each:
            return deque(filter(self._meant, found), self.most)
        kept: defaultdict[str, deque[Line]] = defaultdict(lambda: deque(maxlen=self.most))
        for line in filter(self._meant, found):
            kept[line.replica].append(line)
        return heapq.merge(*kept.values(), key=lambda line: line.at)

    def _meant(self, line: Line) -> bool:
        at, (begin, end) = _seconds(line.at), self.spans.get(line.replica, (0.0, math.inf))
        return at >= self.after and begin <= at < end


async def _previous(given: Services, system: str, target: str) -> dict[str, tuple[float, float]]:
    """When the incarnation before the present one was at work, by replica; of one without a process when the last one was."""
    found = {}
    for replica in (r for w in await given.fleet.workloads(system) for r in w.replicas if _meant(r.name, target)):
        with given.store.read() as conn:
            told = journal.read(conn, system=system, target=replica.name, verb="replica.started", limit=_LIVES, newest_first=True)
        now = replica.incarnation if replica.pid is not None else math.inf
        earlier = [r.at for r in told if isinstance(r.evidence, dict) and r.evidence.get("incarnation", now) < now]
        found[replica.name] = (earlier[0] - _BIRTH if earlier else 0.0, replica.started if replica.pid is not None else math.inf)
    return found


async def _lines(given: Services, system: str, target: str, wanted: Wanted, *, follow: bool) -> AsyncIterator[str]:
    folder = given.home.logs / system
    files = {path: path.stat().st_size for path in _files(folder, target)}
    found = heapq.merge(*(_old(path, _name(folder, path), size) for path, size in files.items()), key=lambda line: line.at)
    for line in wanted.newest(found):
        yield line.event()
    while follow and not given.stopping.is_set():
        await sse.pause(POLL, given.stopping)
        for path in _files(folder, target):
            for line in _new(path, _name(folder, path), files):
                yield line.event()
    yield sse.event("end", "{}")


def _files(folder: Path, target: str) -> list[Path]:
    """Of the whole system without a target; names are compared, never made into a path."""
    found = sorted(folder.glob("*/*.log"))
    return [p for p in found if _meant(_name(folder, p), target)]


def _meant(replica: str, target: str) -> bool:
    return not target or replica == target or replica.partition("/")[0] == target or replica.rpartition("-")[0] == target


def _name(folder: Path, path: Path) -> str:
    return str(path.relative_to(folder)).removesuffix(".log")


def _old(path: Path, replica: str, size: int) -> Iterator[Line]:
    with path.open("rb") as file:
        if size > TAIL_BYTES:
            file.seek(size - TAIL_BYTES)
            file.readline()
        yield from _parsed(file.read(max(size - file.tell(), 0)), replica)


def _new(path: Path, replica: str, offsets: dict[Path, int]) -> Iterator[Line]:
    """Whole lines written since the last look; a file that became shorter was rotated and is read from its start."""
    size = path.stat().st_size
    start = offsets.get(path, 0)
    if size < start:
        start = 0
    with path.open("rb") as file:
        file.seek(start)
        data = file.read(TAIL_BYTES)
    whole = data[: data.rfind(b"\n") + 1]
    offsets[path] = start + len(whole)
    yield from _parsed(whole, replica)


def _parsed(data: bytes, replica: str) -> Iterator[Line]:
    for raw in data.decode("utf-8", "replace").splitlines():
        at, _, rest = raw.partition(" ")
        stream, _, text = rest.partition(" ")
        if stream in ("out", "err"):
            yield Line(replica, at, stream, text)


def _seconds(at: str) -> float:
    try:
        return datetime.fromisoformat(at).timestamp()
    except ValueError:
        return 0.0
