"""What a revision changed against the kept one before it, line by line: the spec in one canonical form, and the files of the code."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from functools import lru_cache
from io import StringIO
from pathlib import Path, PurePosixPath
from typing import Any, Final

from fastapi import APIRouter
from ruamel.yaml import YAML

from quarterdeck.api.lines import unified
from quarterdeck.api.numbers import Number
from quarterdeck.api.roles import needs
from quarterdeck.api.services import Given
from quarterdeck.api.trees import TreeDifference, compare
from quarterdeck.deploy.composer import kept_spec
from quarterdeck.errors import UserError
from quarterdeck.model.records import Revision
from quarterdeck.spec.system import SystemSpec
from quarterdeck.store import revisions
from quarterdeck.version import API_VERSION

router = APIRouter(prefix="/v1")
MOST_LINES: Final = 10_000
"""Of a spec that is compared."""
Json = dict[str, Any]


@router.get("/revisions/{number}/diff", **needs("viewer"))
async def diff(number: Number, given: Given, system: str | None = None) -> Json:
    """What one revision changed against the kept one before it: unified diffs of the canonical spec and of small text files."""
    name = given.fleet.one(system)
    with given.store.read() as conn:
        found = revisions.get(conn, name, number)
        kept = revisions.history(conn, name)
    before = max((r for r in kept if r.number < number), key=lambda r: r.number, default=None)
    spec = await asyncio.to_thread(_spec, before, found)
    code = await asyncio.to_thread(_code, given.home.revisions, before, found, kept)
    return {
        "apiVersion": API_VERSION,
        "kind": "RevisionDiff",
        "system": name,
        "number": number,
        "before": before.number if before else None,
        "spec": {"diff": spec, "untold": "" if spec is not None else f"more than {MOST_LINES:,} lines"},
        "code": {"before": before.code if before else None, "after": found.code, **asdict(code)},
    }


@lru_cache(maxsize=16)
def _spec(before: Revision | None, after: Revision) -> str | None:
    """The lines of the spec that differ; None for too many to compare. No revision ever changes: to ask again costs nothing."""
    old, new = (canonical(kept_spec(one.spec)) if one else "" for one in (before, after))
    return unified(old, new) if max(old.count("\n"), new.count("\n")) <= MOST_LINES else None


def _code(folder: Path, before: Revision | None, after: Revision, kept: list[Revision]) -> TreeDifference:
    """The files that differ. A snapshot that is damaged or gone is made anew by the next apply, so that is not remembered."""
    try:
        secrets = frozenset(name for one in kept for name in secret_names(one.spec))
        return _files(folder, before.code if before else "", after.code, secrets)
    except (OSError, UserError) as error:
        reason = error.message if isinstance(error, UserError) else error.strerror
        return TreeDifference(untold=f"the copy of the code cannot be read: {reason}")


@lru_cache(maxsize=16)
def _files(folder: Path, before: str, after: str, secrets: frozenset[str]) -> TreeDifference:
    """By the digests of the snapshots, which are their names and never mean anything else; an empty one is no snapshot."""
    return TreeDifference() if before == after else compare(folder / before if before else None, folder / after, secrets)


def canonical(spec: SystemSpec) -> str:
    """A spec as YAML, keys in order and defaults left out: two that say the same are the same, however they are written."""
    out, yaml = StringIO(), YAML(typ="rt", pure=True)
    yaml.width = 1 << 20  # a long text stays one line
    yaml.dump(_sorted(spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)), out)
    return out.getvalue()


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


@lru_cache(maxsize=32)
def secret_names(text: str) -> frozenset[str]:
    """The names of the files that a spec reads secrets from, without their folders: where those were, nobody can tell any more.

    Of every kept revision they count: what was copied as code may have been called a secret only later, or be none any more.
    """
    if "file:" not in text:
        return frozenset()
    references = [reference for _, _, agent in kept_spec(text).agents() for reference in agent.secrets.values()]
    return frozenset(PurePosixPath(place).name for kind, _, place in (r.partition(":") for r in references) if kind == "file")
