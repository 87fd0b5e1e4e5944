"""Live names for shell completion. A control plane that is slow or absent gives none, and never an error: all of it has 0.3 s.

What others wrote goes into the shell of whoever presses Tab: zsh evaluates it, and a backslash undoes the quoting that Typer does. So only
names that every shell takes for one word are offered, and of the words beside them only harmless characters are left.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import typer

from quarterdeck.client.contexts import Contexts, chosen
from quarterdeck.client.wire import Document, Wire
from quarterdeck.clock import SystemClock
from quarterdeck.errors import QuarterdeckError

LIMIT: Final = 0.3
"""Seconds for all questions of one completion together."""
Named = tuple[str, str]
"""What is completed, and what shells that can show it show beside it."""
_WORD: Final = re.compile(r"[\w@%+=,][\w@%+=,.:/-]*")
_HARMFUL: Final = re.compile(r"[^\w@%+=,.:/-]+")


def target_names(ctx: typer.Context, incomplete: str) -> list[Named]:
    """Clusters, agents and replicas."""
    return _live(ctx, ("clusters", "agents", "replicas"), incomplete, lambda item: (str(item["name"]), str(item.get("state") or "")))


def cluster_names(ctx: typer.Context, incomplete: str) -> list[Named]:
    """Clusters."""
    return _live(ctx, ("clusters",), incomplete, lambda item: (str(item["name"]), str(item.get("health") or "")))


def agent_names(ctx: typer.Context, incomplete: str) -> list[Named]:
    """Agents."""
    return _live(ctx, ("agents",), incomplete, lambda item: (str(item["name"]), ""))


def system_names(ctx: typer.Context, incomplete: str) -> list[Named]:
    """Systems of the home."""
    return _live(ctx, ("systems",), incomplete, lambda item: (str(item["name"]), str(item.get("sentence") or "")))


def revision_numbers(ctx: typer.Context, incomplete: str) -> list[Named]:
    """Revisions, with their reason."""
    return _live(ctx, ("revisions",), incomplete, lambda item: (str(item["number"]), str(item.get("reason") or item.get("at") or "")))


def change_numbers(ctx: typer.Context, incomplete: str) -> list[Named]:
    """Changes, with target and reason."""
    return _live(ctx, ("changes",), incomplete, lambda item: (str(item["id"]), f"{item['target']} {item.get('reason') or ''}".strip()))


def task_names(ctx: typer.Context, incomplete: str) -> list[Named]:
    """Ids of the newest tasks, with state and target."""
    return _live(
        ctx, ("tasks",), incomplete, lambda item: (str(item["id"]), f"{item['state']} {item['target']} {item.get('key') or ''}".strip())
    )


def noun_names(ctx: typer.Context, incomplete: str) -> list[Named]:
    """What `qd get NOUN` would list."""
    noun = str(ctx.params.get("noun") or "").removesuffix("s")
    named = {"revision": "number", "change": "id", "condition": "kind", "task": "id", "message": "id", "effect": "key"}.get(noun, "name")
    return _live(ctx, (f"{noun}s",), incomplete, lambda item: (str(item[named]), str(item.get("state") or item.get("target") or "")))


def goals(ctx: typer.Context, incomplete: str) -> list[Named]:
    """What `qd wait --for` waits for."""
    return [(name, text) for name, text in (("ready", "the whole system"),) if name.startswith(incomplete)] + target_names(ctx, incomplete)


def context_names(incomplete: str) -> list[Named]:
    """Contexts of this user; they are in a file, no control plane is asked."""
    try:
        known = Contexts.read(os.environ).known.values()
    except QuarterdeckError:
        return []
    return _offered(((c.name, f"{c.where}{' PRODUCTION' if c.production else ''}") for c in known), incomplete)


def _live(ctx: typer.Context, nouns: Sequence[str], incomplete: str, named: Callable[[Document], Named]) -> list[Named]:
    """Names that begin with what is typed, from as many nouns as answered in time."""
    found: dict[str, str] = {}

    def fetch() -> None:
        for noun in nouns:
            for item in _items(ctx, noun):
                name, text = named(item)
                found.setdefault(name, text)

    asking = threading.Thread(target=fetch, name="completing", daemon=True)
    asking.start()
    asking.join(LIMIT)
    return sorted(_offered(found.copy().items(), incomplete))


def _offered(found: Iterable[Named], incomplete: str) -> list[Named]:
    """Those that go on from what is typed, as any shell may have them."""
    return [(name, _HARMFUL.sub(" ", text).strip()) for name, text in found if name.startswith(incomplete) and _WORD.fullmatch(name)]


def _items(ctx: typer.Context, noun: str) -> list[Document]:
    """The things of a noun; none where they cannot be had: somebody is typing."""
    try:
        client, system = _client(ctx)
        answer: Document = client.get(f"/v1/{noun}", {"system": system}, timeout=LIMIT)
    except QuarterdeckError:
        return []
    items: list[Document] = answer.get("items") or []
    return items


def _client(ctx: typer.Context) -> tuple[Wire, Any]:
    """Where the words typed so far lead, and the system they name."""
    given: dict[str, Any] = {}
    for level in (ctx.parent, ctx):
        given |= {key: value for key, value in (level.params if level else {}).items() if value is not None}
    place, _ = chosen(Contexts.read(os.environ), given.get("home"), given.get("context"), os.environ)
    return Wire(place, SystemClock(), absence=0), given.get("system")
