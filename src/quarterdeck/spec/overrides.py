"""Which live Changes take effect: expired and reverted ones drop out, a hold keeps automation off, then rank and age decide.

Pure, and independent of the order in which the Changes are given.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from quarterdeck.errors import Conflict
from quarterdeck.model.records import RANK, Change
from quarterdeck.spec.system import SystemSpec
from quarterdeck.spec.targets import Target, find, resolve, unfit

KEEPS: Final = ("hold", "quarantined")
"""Fields of the Changes that a release ends."""
_LATEST: Final = 253_402_300_799.0
"""The last second of the year 9999, beyond which no date can be written."""


@dataclass(frozen=True, slots=True)
class Aimed:
    """A Change with its target found."""

    change: Change
    target: Target

    @property
    def order(self) -> tuple[int, float, int]:
        """Smaller wins: rank first, then the newest, then the larger number."""
        return RANK[self.change.author], -self.change.at, -self.change.id


@dataclass(frozen=True, slots=True)
class Overrides:
    """The Changes in force for one system at one time."""

    live: tuple[Aimed, ...]
    holds: tuple[Aimed, ...]

    @classmethod
    def of(cls, spec: SystemSpec, changes: Sequence[Change], now: float) -> Overrides:
        """Those of this system that are live, aimed at something that exists, and not held off by a person."""
        alive = {change.id: change for change in changes if change.system == spec.name and in_force(change, now)}
        aimed = [Aimed(change, target) for change in alive.values() if (target := find(spec, change.target)) is not None]
        fit = sorted((one for one in aimed if not unfit(one.target, one.change.patch)), key=lambda one: one.order)
        holds = _deciding(one for one in fit if one.change.patch.field == "hold" and one.change.author == "human")
        return cls(tuple(fit), tuple(one for one in holds if one.change.patch.value))

    def winner(self, field: str, target: Target) -> Change | None:
        """The Change that decides a field of exactly this target."""
        return next((one.change for one in self._of(field, target) if one.target == target), None)

    def covering(self, field: str, target: Target) -> tuple[Change, ...]:
        """All Changes of a field whose target is this one or contains it."""
        return tuple(one.change for one in self._of(field, target) if one.target.covers(target))

    def inside(self, field: str, target: Target) -> tuple[tuple[Target, Change], ...]:
        """For every target inside this one, the Change that decides the field."""
        places = dict.fromkeys(one.target for one in self.live if one.change.patch.field == field and target.covers(one.target))
        return tuple((place, change) for place in places if (change := self.winner(field, place)) is not None)

    def hold(self, target: Target) -> Change | None:
        """The hold that keeps automation off a target."""
        return next((one.change for one in self.holds if one.target.covers(target)), None)

    def _of(self, field: str, target: Target) -> tuple[Aimed, ...]:
        """The Changes of a field that may touch a target, the deciding one first."""
        held = self.hold(target) is not None
        return tuple(one for one in self.live if one.change.patch.field == field and (not held or one.change.author == "human"))


def in_force(change: Change, now: float) -> bool:
    """Live, and not past its end. A Change ends at `until`, not after it."""
    return change.state == "live" and (change.until is None or now < change.until)


def kept_by(spec: SystemSpec, changes: Sequence[Change], text: str, now: float) -> tuple[Change, ...]:
    """The live holds and quarantines of exactly this target, whoever made them and whichever decides: without all of them none is left.

    Raises NotFound for no such target, Conflict when there is none; then the hold of what contains it is named.
    """
    target, live = resolve(spec, text), Overrides.of(spec, changes, now)
    found = tuple(one.change for one in live.live if one.target == target and one.change.patch.field in KEEPS)
    if found:
        return tuple(sorted(found, key=lambda change: change.id))
    above = live.hold(target)
    hint = f"the hold of {above.target} covers it: qd release {above.target}" if above else "qd get changes lists what is live"
    raise Conflict(f"nothing holds or quarantines {text} itself", hint=hint)


def cite(change: Change, now: float, extra: str = "") -> str:
    """`(human change 12, "load test", until 18:00 UTC)`; the date too when the end is on another day."""
    number = "" if change.id == sys.maxsize else f" {change.id}"  # only planned: it has none yet
    parts = [f"{change.author} change{number}"]
    if change.reason:
        parts.append(f'"{change.reason}"')
    if change.until is not None:
        parts.append(f"until {_clock(change.until, now)}")
    return f"({', '.join(parts)}{f'; {extra}' if extra else ''})"


def _clock(at: float, now: float) -> str:
    then = _date(at)
    same_day = then.date() == _date(now).date()
    return then.strftime("%H:%M UTC" if same_day else "%Y-%m-%d %H:%M UTC")


def _date(at: float) -> datetime:
    return datetime.fromtimestamp(min(max(at, 0.0), _LATEST), UTC)


def _deciding(ordered: Iterable[Aimed]) -> tuple[Aimed, ...]:
    """The first for each target."""
    first: dict[Target, Aimed] = {}
    for one in ordered:
        first.setdefault(one.target, one)
    return tuple(first.values())
