"""Tasks and messages by filters, page by page, and one task by id or key."""

from __future__ import annotations

from typing import Final

from quarterdeck.cli.session import Session
from quarterdeck.client.values import found_by
from quarterdeck.client.wire import Document

_PAGE: Final = 500


def fetch(
    session: Session, noun: str, *, state: str | None, target: str | None, key: str | None, limit: int, tops: bool = False
) -> Document:
    """A List of at most `limit` tasks or messages (`noun`), the newest first.

    `state` may name several, with commas; `tops`: no task that was delegated.
    """
    session, inside = session.aimed_at(target) if target else (session, None)
    states = [one.strip() for one in state.split(",") if one.strip()] if state else None
    filters = {"system": session.system, "state": states, "target": inside, "key": key, "tops": tops or None}
    document: Document = session.client.get(f"/v1/{noun}", {**filters, "limit": min(limit, _PAGE)})
    while document["next"] and len(document["items"]) < limit:
        rest = min(limit - len(document["items"]), _PAGE)
        page = session.client.get(f"/v1/{noun}", {**filters, "before": document["next"], "limit": rest})
        document = {**document, "items": [*document["items"], *page["items"]], "next": page["next"]}
    return document


def resolved(session: Session, task: str) -> str:
    """The id of a task that was named by id or key. Raises NotFound."""
    by_key = found_by(session.system, task)
    return task if by_key is None else str(session.client.call(by_key)["id"])
