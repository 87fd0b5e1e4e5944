"""The processes that a replica has had, one a row, from what happened to it: pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from quarterdeck.web.inner import Json

ENDS = ("stopped", "failed")
"""States in the API's history in which a process is over."""


@dataclass(frozen=True, slots=True)
class Life:
    """One incarnation; times are ISO, None where the journal no longer tells. `asked`: it ended because somebody or the plan wanted it."""

    incarnation: int
    pid: int | None = None
    begun: str | None = None
    ended: str | None = None
    state: str = "starting"
    cause: str = ""
    asked: bool = False


def lives(history: Sequence[Json], downs: Sequence[str] = ()) -> list[Life]:
    """From the history of a replica, newest first; the newest incarnation first too. `downs`: when everything was ended, in ISO times."""
    found: dict[int, Life] = {}
    for one in reversed(history):
        if one["incarnation"] is not None:
            found[one["incarnation"]] = _after(found.get(one["incarnation"], Life(one["incarnation"])), one)
    order = sorted(found, reverse=True)
    ahead = [None, *order]
    return [found[n] if after is None else _over(found[n], found[after], downs) for n, after in zip(order, ahead, strict=False)]


def _over(life: Life, after: Life, downs: Sequence[str]) -> Life:
    """One that has a successor is over, whether or not its end was written down: who would have done so is ended by qd down as well."""
    if life.ended:
        return life
    between = [at for at in downs if life.begun and after.begun and life.begun < at < after.begun]
    if between:
        return replace(life, ended=min(between), state="ended", cause="ended with everything, by qd down", asked=True)
    return replace(life, state="unknown", cause="its end is not in the journal")


def _after(life: Life, one: Json) -> Life:
    pid = life.pid if one["pid"] is None else one["pid"]
    if one["state"] not in ENDS:
        return replace(life, pid=pid, begun=life.begun or one["at"], state=one["state"], cause=one["cause"])
    state = "ended" if one["asked"] else "failed"
    return replace(life, pid=pid, ended=one["at"], state=state, cause=one["cause"], asked=one["asked"])


def planned(ending: Json, had: Sequence[Life]) -> bool:
    """Whether a last exit was nothing to worry about: exit code 0, and not of itself as far as the journal tells."""
    newest = next((life for life in had if life.ended), None)
    return ending["code"] == 0 and not (ending["oom"] or ending["hang"]) and (newest is None or newest.asked)
