"""What a person may do to a fleet: the words of each form, the request it makes of the API, and the same as a command. Pure."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

from quarterdeck.web.inner import Json, Refused
from quarterdeck.web.times import spelt

NUMBER: Final = "N"
"""What stands for a number that nobody has chosen yet, in what a page offers to copy."""


@dataclass(frozen=True, slots=True)
class Action:
    """One action: the words of its form, and the field of the Change it makes (empty: not a Change)."""

    verb: str
    title: str
    says: str
    field: str = ""
    button: str = ""

    @property
    def lasts(self) -> bool:
        """Whether what it sets holds until a time; a restart is done once, and has no end."""
        return self.field not in ("", "restart_before")


ACTIONS: Final = {
    a.verb: a
    for a in (
        Action("scale", "Scale", "Another number of replicas, started or drained one by one.", "replicas", "Scale"),
        Action("restart", "Restart", "Each replica is replaced by a fresh one, without losing a message.", "restart_before", "Restart"),
        Action(
            "quarantine",
            "Quarantine",
            "It gets no work and is kept for inspection; another takes its place.",
            "quarantined",
            "Quarantine",
        ),
        Action("release", "Release", "Its holds and its quarantine end; a fresh replica takes the place of a suspect.", button="Release"),
        Action("stop", "Stop", "All of it is ended now and stays so over every restart, until it is started.", button="Stop now"),
        Action("start", "Start", "It runs again, and what waits in its queue is done.", button="Start"),
        Action("hold", "Hold", "All automation keeps its hands off until this change ends.", "hold", "Hold"),
        Action("revert", "Revert", "The change ends now; what it set goes back to what holds without it.", button="Revert"),
        Action("rollback", "Roll back", "An earlier revision becomes the current one again, code included.", button="Roll back"),
        Action("validate", "Prove again", "Every proof is run now; nothing is changed.", button="Prove"),
    )
}
NUMBERED: Final = ("revert", "rollback")
"""Actions on a Change or a revision, by its number."""
HINT: Final = "a time in the future as 2026-11-28T18:00, UTC"


@dataclass(frozen=True, slots=True)
class Wish:
    """What the form says."""

    target: str
    value: str
    reason: str
    until: str

    def must_say_why(self) -> None:
        """Raise Refused without a reason."""
        if not self.reason:
            raise Refused(400, "say why", "the reason is kept in the journal and shown wherever the change matters")

    def check(self, action: Action) -> None:
        """Raise Refused for what is no number or no time."""
        if action.verb == "scale" and not self.value.isdecimal():
            raise Refused(400, f"{self.value!r} is no number of replicas", "0 or more")
        if action.verb in NUMBERED and not self.target.isdecimal():
            raise Refused(400, f"{self.target!r} is no number", "choose it from the list")
        if self.until and self.ends is None:
            raise Refused(400, f"{self.until!r} is no time", HINT)

    @property
    def ends(self) -> float | None:
        """Until when, in epoch seconds; None for no end, and for what is no time."""
        try:
            at = datetime.fromisoformat(self.until)
            return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
        except ValueError:
            return None

    @property
    def whole(self) -> bool:
        """Whether it is about a whole system, written `system:`."""
        return self.target.endswith(":")

    def filled(self, action: Action) -> Wish:
        """With a word in place of whatever is still to be chosen."""
        target = NUMBER if action.verb in NUMBERED else "CLUSTER/AGENT-0" if action.verb == "quarantine" else "CLUSTER/AGENT"
        number = NUMBER if action.verb == "scale" else ""
        return replace(self, target=self.target or target, value=self.value or number, reason=self.reason or "WHY")


@dataclass(frozen=True, slots=True)
class Order:
    """A request to the API; what a DELETE says stands in its query, what a POST says in its body. `plans`: it can also only be planned."""

    method: str
    path: str
    says: Json
    plans: bool = True


def order(action: Action, wish: Wish) -> Order:
    """What the form asks of the API."""
    why, target = {"reason": wish.reason}, {"target": wish.target}
    match action.verb:
        case "revert":
            return Order("DELETE", f"/v1/changes/{quote(wish.target, safe='')}", why)
        case "release":
            return Order("POST", "/v1/changes/release", {**target, **why})
        case "stop" | "start":
            of_all = Order("POST", f"/v1/{action.verb}s/fleet", why)
            return of_all if wish.whole else Order("POST", f"/v1/{action.verb}s", {**target, **why})
        case "rollback":
            return Order("POST", "/v1/rollback", {"to": _number(wish.target), **why})
        case "validate":
            return Order("POST", "/v1/validate", {"deep": wish.value == "deep"}, plans=False)
        case _:
            value = None if action.verb == "restart" else _number(wish.value) if action.verb == "scale" else True
            until = wish.ends if action.lasts else None
            return Order("POST", "/v1/changes", {**target, "field": action.field, "value": value, **why, "until": until})


def command(action: Action, wish: Wish) -> str:
    """The same by hand; what came with the address or the form is quoted, for it goes into somebody's shell."""
    if action.verb == "validate":
        return "qd validate --deep" if wish.value == "deep" else "qd validate"
    parts = ["qd", action.verb, wish.target, *([wish.value] if action.verb == "scale" else [])]
    if action.verb in ("stop", "start"):
        kind = ["fleet"] if wish.whole else ["agent" if "/" in wish.target else "cluster", wish.target]
        parts = ["qd", action.verb, *kind]
    return shlex.join([*parts, "--reason", wish.reason, *(["--until", spelt(wish.until)] if wish.until and action.lasts else [])])


def _number(text: str) -> int | str:
    return int(text) if text.isdecimal() else text
