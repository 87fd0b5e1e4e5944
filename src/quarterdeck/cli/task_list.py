"""Tasks and messages by filters, page by page, and one task by id or key."""

from __future__ import annotations

from typing import Final

from quarterdeck.cli.session import Session
from quarterdeck.cli.usage import UsageError
from quarterdeck.client.values import found_by
from quarterdeck.client.wire import Document
from quarterdeck.errors import NotFound
from quarterdeck.model.wording import nearest
from quarterdeck.states import EFFECT, MESSAGE, TASK

_PAGE: Final = 500
PAGED: Final = ("tasks", "messages")
"""Nouns of which there may be very many: with all filters, a page at a time."""
_MACHINES: Final = {"tasks": TASK, "messages": MESSAGE, "effects": EFFECT}


def fetch(
    session: Session, noun: str, *, state: str | None, target: str | None, key: str | None, limit: int, tops: bool = False
) -> Document:
    """A List of at most `limit` tasks or messages (`noun`), the newest first.

    `state` may name several, with commas; `tops`: no task that was delegated.
    """
    if state is not None:
        check_states(noun, state)
    session, inside = session.aimed_at(target) if target else (session, None)
    states = [one.strip() for one in state.split(",") if one.strip()] if state else None
    filters = {"system": session.system, "state": states, "target": inside, "key": key, "tops": tops or None}
    document: Document = session.client.get(f"/v1/{noun}", {**filters, "limit": min(limit, _PAGE)})
    while document["next"] and len(document["items"]) < limit:
        rest = min(limit - len(document["items"]), _PAGE)
        page = session.client.get(f"/v1/{noun}", {**filters, "before": document["next"], "limit": rest})
        document = {**document, "items": [*document["items"], *page["items"]], "next": page["next"]}
    if inside and not document["items"]:
        _require_agent(session, inside)
    return document


def check_states(noun: str, state: str) -> None:
    """Raise UsageError for a state that a noun is never in, with those that it may be in."""
    several = noun in PAGED
    allowed = (*_MACHINES[noun].moves, *(("open",) if several else ()))
    for one in state.split(",") if several else [state]:
        if one.strip() not in allowed:
            raise UsageError(f"{noun} are never {one.strip()!r}", hint=f"--state takes {', '.join(allowed)}")


def _require_agent(session: Session, target: str) -> None:
    """Raise NotFound for an agent that is not there, with the nearest. Nothing was found for it: that may be why."""
    names = [str(one["name"]) for one in session.client.get("/v1/agents", {"system": session.system})["items"]]
    if target not in names:
        near = nearest(target, names)
        hint = f"did you mean {near!r}?" if near else "qd get agents lists what there is"
        raise NotFound(f"there is no agent {target!r}, and never was work for it", hint=hint)


def resolved(session: Session, task: str) -> str:
    """The id of a task that was named by id or key. Raises NotFound."""
    by_key = found_by(session.system, task)
    return task if by_key is None else str(session.client.call(by_key)["id"])
