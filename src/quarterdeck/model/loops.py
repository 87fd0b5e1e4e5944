"""Messages that go round and round: each carries the path of what caused it, and a path that repeats itself is a loop.

Pure. Waiting for one another is another matter (`waiting`): here everybody works, and nothing comes of it. The path begins anew at every
change of state (a step, an effect, a result), so a loop is a row of messages that changed nothing. MAST (arXiv 2503.13657) calls it step
repetition, the most frequent failure of agents among themselves; IP counts hops for the same reason (RFC 791, time to live), only that a
count cannot tell a long chain from a loop.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote

Hop = tuple[str, str]
"""One message: the agent (`cluster/agent`) it went to, and the verb."""

MOST_HOPS: Final = 40
"""Hops that a path remembers: three rounds of the longest cycle, and one over."""
MOST_TEXT: Final = 1500
"""Characters of a path in a header."""
MOST_VERB: Final = 24
"""Characters of a verb that a path remembers: so the longest cycle of the longest names still fits the header."""
MOST_AGENTS: Final = 8
LONGEST: Final = 13
"""Messages of one round; more than agents, for one in the middle may send to the others by turns."""
ROUNDS: Final = 3
PING_PONG: Final = 18
"""Messages of a ping-pong: found within 20, and eight levels of two that delegate to one another on purpose stay below."""
_PLAIN: Final = re.compile(r"[a-z0-9_/-]*\Z")
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyzABCD"


@dataclass(frozen=True, slots=True)
class Path:
    """The last messages that led to this one since the last change of state, oldest first."""

    hops: tuple[Hop, ...] = ()

    def then(self, agent: str, verb: str) -> Path:
        """The path of a message that is sent to `agent` because of this one."""
        return Path((*self.hops, (agent, verb[:MOST_VERB]))[-MOST_HOPS:])

    def reset(self) -> Path:
        """The path after something has changed."""
        return Path()

    @property
    def text(self) -> str:
        """The header: agents, verbs, and two digits a hop that point at them, as `a/b,c/d;ask,tell;0011`. What does not fit is forgotten.

        Names are written once, so that even a loop of long ones fits; the oldest hops go first.
        """
        hops = self.hops
        while len(text := _written(hops)) > MOST_TEXT:
            hops = hops[1:]
        return text


def read(text: str) -> Path:
    """The path in a header; empty for whatever is none. Never raises."""
    parts = text.split(";") if len(text) <= MOST_TEXT and text.isascii() else ()
    if len(parts) != 3 or len(parts[2]) % 2 or len(parts[2]) > 2 * MOST_HOPS:  # noqa: PLR2004 agents, verbs, hops
        return Path()
    agents, verbs = ([unquote(name) for name in part.split(",")] if "%" in part else part.split(",") for part in parts[:2])
    points = [_DIGITS.find(digit) for digit in parts[2]]
    places = list(zip(points[::2], points[1::2], strict=True))
    if not all(0 <= agent < len(agents) and 0 <= verb < len(verbs) for agent, verb in places):
        return Path()
    return Path(tuple((agents[agent], verbs[verb][:MOST_VERB]) for agent, verb in places))


@dataclass(frozen=True, slots=True)
class Loop:
    """A cycle that messages went round in: the agents of one round, and how many messages that has been.

    The same cycle has the same value wherever in it one looks: it begins where it sorts first.
    """

    cycle: tuple[str, ...]
    messages: int

    @property
    def told(self) -> str:
        """`a/b → c/d → a/b: 18 messages, 9 rounds, without a change of state`."""
        rounds = self.messages // len(self.cycle)
        return f"{' → '.join((*self.cycle, self.cycle[0]))}: {self.messages} messages, {rounds} rounds, without a change of state"


def loop(path: Path) -> Loop | None:
    """The cycle of 2 to 8 agents that the path ends in, if it went round long enough: 18 messages for two in turn, 3 rounds for others.

    Verbs do not count: two that answer one another in ever new words get no further either.
    """
    agents = [agent for agent, _ in reversed(path.hops)]
    for length in range(2, min(LONGEST, len(agents) // ROUNDS) + 1):
        messages = _repeated(agents, length)
        if messages >= max(ROUNDS * length, PING_PONG if length == 2 else 0) and _is_round(agents[:length]):  # noqa: PLR2004
            return Loop(_turned(agents[:length][::-1]), messages)
    return None


def _repeated(agents: list[str], length: int) -> int:
    """How many of the agents, from the first on, repeat with this length."""
    same = length
    while same < len(agents) and agents[same] == agents[same - length]:
        same += 1
    return same


def _is_round(cycle: list[str]) -> bool:
    """Whether these are 2 to 8 agents, and not a shorter round written several times."""
    shorter = (part for part in range(1, len(cycle)) if len(cycle) % part == 0)
    return 2 <= len(set(cycle)) <= MOST_AGENTS and not any(cycle == cycle[:part] * (len(cycle) // part) for part in shorter)  # noqa: PLR2004


def _turned(cycle: list[str]) -> tuple[str, ...]:
    return min(tuple(cycle[at:] + cycle[:at]) for at in range(len(cycle)))


def _written(hops: tuple[Hop, ...]) -> str:
    if not hops:
        return ""
    agents = {agent: _DIGITS[n] for n, agent in enumerate(dict.fromkeys(agent for agent, _ in hops))}
    verbs = {verb: _DIGITS[n] for n, verb in enumerate(dict.fromkeys(verb for _, verb in hops))}
    names = (",".join(name if _PLAIN.match(name) else quote(name, errors="replace") for name in table) for table in (agents, verbs))
    return ";".join((*names, "".join(agents[agent] + verbs[verb] for agent, verb in hops)))
