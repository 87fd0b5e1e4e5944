"""Live names for shell completion. A control plane that is slow or absent gives none, and never an error: 0.2 s after Tab it is over.

What others wrote goes into the shell of whoever presses Tab: zsh evaluates it, and a backslash undoes the quoting that Typer does. So only
names that every shell takes for one word are offered, and of the words beside them only harmless characters are left.
"""

from __future__ import annotations

import io
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout
from functools import partial
from typing import Any, Final

import typer

from quarterdeck import linux
from quarterdeck.client.contexts import Contexts, chosen
from quarterdeck.client.wire import Document, Wire
from quarterdeck.clock import SystemClock
from quarterdeck.errors import QuarterdeckError
from quarterdeck.model.soundness import holds

WITHIN: Final = 0.2
"""Seconds from the start of the process to the end of all questions: more than 0.3 would be felt, and to end takes time too."""
LEAST: Final = 0.05
"""Seconds that the questions have where the start took most of that."""
_A_PATH: Final = 3
"""The exit code that the script of bash knows."""
Named = tuple[str, str]
"""What is completed, and what shells that can show it show beside it."""
_WORD: Final = re.compile(r"[\w@%+=,][\w@%+=,.:/-]*")
_HARMFUL: Final = re.compile(r"[^\w@%+=,.:/-]+")


class Files(Exception):
    """What is typed is a path: the shell completes it itself."""


def files() -> list[Named]:
    """Of a parameter that is a path. Raises Files."""
    raise Files


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
    return _live(
        ctx,
        ("revisions",),
        incomplete,
        lambda item: (str(item["number"]), str(item.get("reason") or item.get("at") or "")),
        lambda item: not item.get("current"),
    )


def change_numbers(ctx: typer.Context, incomplete: str) -> list[Named]:
    """Changes that are in force, with target and reason: a restart was done once."""
    return _live(
        ctx,
        ("changes",),
        incomplete,
        lambda item: (str(item["id"]), f"{item['target']} {item.get('reason') or ''}".strip()),
        holds,
    )


def verb_names(ctx: typer.Context, incomplete: str) -> list[Named]:
    """What the agent that is typed before answers to, with what its author says of it."""
    target = str(ctx.params.get("target") or "").rpartition(":")[2]
    agent = target.rpartition("-")[0] if re.search(r"-\d+$", target) else target

    def verbs() -> list[Document]:
        found = _answer(ctx, f"/v1/agents/{agent}").get("verbs") if "/" in agent else None
        return [{"name": name, "doc": told.get("doc")} for name, told in (found or {}).items()]

    return _in_time([verbs], incomplete, _described)


def _described(item: Document) -> Named:
    return str(item["name"]), str(item["doc"] or "")


def token_ids(ctx: typer.Context, incomplete: str) -> list[Named]:
    """Tokens that work, with role, user and note."""
    return _live(
        ctx,
        ("tokens",),
        incomplete,
        lambda item: (str(item["id"]), " ".join(str(item.get(field) or "") for field in ("role", "user", "note")).strip()),
    )


def token_users(ctx: typer.Context, incomplete: str) -> list[Named]:
    """Users who have tokens that work, each once."""
    return _live(ctx, ("tokens",), incomplete, lambda item: (str(item["user"]), ""), lambda item: bool(item.get("user")))


def state_names(ctx: typer.Context, incomplete: str) -> list[Named]:
    """The states of the noun; of tasks where the verb says no other."""
    from quarterdeck.states import EFFECT, MESSAGE, TASK  # noqa: PLC0415 for this alone

    noun = str(ctx.params.get("noun") or (ctx.parent and ctx.parent.info_name) or "").removesuffix("s")
    machine = {"message": MESSAGE, "effect": EFFECT}.get(noun, TASK)
    return _offered(((name, "") for name in (*machine.moves, *(() if machine is EFFECT else ("open",)))), incomplete)


def explainable(ctx: typer.Context, incomplete: str) -> list[Named]:
    """Targets; and, once it is seen that one of them is meant, fields of the spec and codes of errors."""
    if re.match(r"spec(\.|$)", incomplete):
        return _fields(incomplete)
    if re.match(r"E\d", incomplete):
        from quarterdeck.cli.codes import KINDS  # noqa: PLC0415 for this alone

        return _offered(((code, kind.meaning) for code, kind in KINDS.items()), incomplete)
    return target_names(ctx, incomplete)


def _fields(incomplete: str) -> list[Named]:
    """The fields below what is typed up to its last dot."""
    from quarterdeck.spec.explain import explain  # noqa: PLC0415 pydantic, for this alone

    try:
        found = explain(incomplete.rpartition(".")[0] or "spec")
    except QuarterdeckError:
        return []
    return _offered(((child.path, child.description) for child in found.children), incomplete)


def task_names(ctx: typer.Context, incomplete: str) -> list[Named]:
    """Ids of the newest tasks, with state and target; also keys, once the beginning of one is typed."""

    def named() -> Iterable[Document]:
        for task in _items(ctx, "tasks"):
            key, told = task.get("key") or "", f"{task['state']} {task['target']}"
            yield {"name": task["id"], "doc": f"{told} {key}".strip()}
            if key and incomplete:
                yield {"name": key, "doc": told}

    return _in_time([named], incomplete, _described)


def noun_names(ctx: typer.Context, incomplete: str) -> list[Named]:
    """What `qd get NOUN` would list."""
    noun = str(ctx.params.get("noun") or "").removesuffix("s")
    if noun == "task":
        return task_names(ctx, incomplete)
    named = {"revision": "number", "change": "id", "condition": "kind", "message": "id", "effect": "key", "token": "id"}.get(noun, "name")
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


def _live(
    ctx: typer.Context,
    nouns: Sequence[str],
    incomplete: str,
    named: Callable[[Document], Named],
    wanted: Callable[[Document], bool] = lambda _: True,
) -> list[Named]:
    """Names that begin with what is typed, of the things wanted, from as many nouns as answered in time."""
    parts = [partial(_wanted, ctx, noun, wanted) for noun in nouns]
    return _in_time(parts, incomplete, named)


def _wanted(ctx: typer.Context, noun: str, wanted: Callable[[Document], bool]) -> list[Document]:
    return [item for item in _items(ctx, noun) if wanted(item)]


def _in_time(parts: Sequence[Callable[[], Iterable[Document]]], incomplete: str, named: Callable[[Document], Named]) -> list[Named]:
    """Names of the things that could be had in time; the parts are asked for at the same time."""
    found: dict[str, str] = {}

    def fetch(part: Callable[[], Iterable[Document]]) -> None:
        for item in part():
            name, text = named(item)
            found.setdefault(name, text)

    asking = [threading.Thread(target=fetch, args=(part,), name="completing", daemon=True) for part in parts]
    for one in asking:
        one.start()
    until = time.monotonic() + _left()
    for one in asking:
        one.join(max(0.0, until - time.monotonic()))
    return sorted(_offered(found.copy().items(), incomplete))


def _left() -> float:
    """Seconds that the questions have."""
    started = linux.stat(os.getpid())[2] / os.sysconf("SC_CLK_TCK")
    return max(WITHIN - (time.clock_gettime(time.CLOCK_BOOTTIME) - started), LEAST)


def _offered(found: Iterable[Named], incomplete: str) -> list[Named]:
    """Those that go on from what is typed, as any shell may have them."""
    return [(name, _HARMFUL.sub(" ", text).strip()) for name, text in found if name.startswith(incomplete) and _WORD.fullmatch(name)]


def _items(ctx: typer.Context, noun: str) -> list[Document]:
    """The things of a noun."""
    items: list[Document] = _answer(ctx, f"/v1/{noun}").get("items") or []
    return items


def _answer(ctx: typer.Context, path: str) -> Document:
    """What the control plane says; nothing where that cannot be had: somebody is typing."""
    try:
        client, system = _client(ctx)
        found: Document = client.get(path, {"system": system}, timeout=WITHIN)
    except QuarterdeckError:
        return {}
    return found


def _client(ctx: typer.Context) -> tuple[Wire, Any]:
    """Where the words typed so far lead, and the system they name."""
    given: dict[str, Any] = {}
    for level in (ctx.parent, ctx):
        given |= {key: value for key, value in (level.params if level else {}).items() if value is not None}
    place, _ = chosen(Contexts.read(os.environ), given.get("home"), given.get("context"), os.environ)
    return Wire(place, SystemClock(), absence=0), given.get("system")


def complete(command: Any) -> int:
    """Answer the shell that asks by `_QD_COMPLETE` what the words so far may go on with. The exit code; 3 in bash: with a path."""
    shell = os.environ["_QD_COMPLETE"].removeprefix("complete_")
    written, code, path = io.StringIO(), 0, False
    try:
        with redirect_stdout(written):
            command([], prog_name="qd", standalone_mode=False)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except Files:
        path = True
    offered = written.getvalue()
    if shell == "zsh" and (path or not offered.strip() or offered.strip() == "_files"):
        offered = "_files\n" if path else ":\n"
    if shell == "fish":
        code = int(path)  # as a condition: 0 forbids names of files
    if shell == "bash":
        code = _A_PATH if path else code
    sys.stdout.write(offered)
    return code
