"""Revisions in the making: what somebody hands in, what applying it would do, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from quarterdeck.deploy import revise
from quarterdeck.deploy.composer import kept_spec
from quarterdeck.errors import Conflict, SpecError
from quarterdeck.model.records import Revision
from quarterdeck.model.steps import AdoptRevision, Step
from quarterdeck.model.world import World
from quarterdeck.spec.diff import Difference
from quarterdeck.spec.system import SystemSpec


@dataclass(frozen=True, slots=True)
class Source:
    """A spec as somebody hands it in. `environ` holds the variables its `env:` references name, of the caller's process."""

    text: str
    filename: str
    base: Path
    environ: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Planned:
    """What applying would do, and the index it was planned at. `digest` names the spec, code and secrets that it was planned for."""

    system: str
    index: int
    steps: tuple[Step | AdoptRevision, ...]
    warnings: tuple[str, ...]
    digest: str


@dataclass(frozen=True, slots=True)
class Expected:
    """What somebody who applies has looked at; None where it does not matter."""

    index: int | None = None
    digest: str | None = None

    def met(self, planned: Planned) -> None:
        """Pass when what is planned now is what was looked at. Raises Conflict with what has changed."""
        if self.index not in (None, planned.index):
            message = f"the world moved: planned at index {self.index}, now {planned.index}"
            kept = "plan it anew and keep that: qd plan --out PLAN"
            hint = kept if self.digest else f"qd plan shows what it would do now; qd apply --index {planned.index} does it"
            raise Conflict(message, hint=hint, code="E1501")
        if self.digest not in (None, planned.digest):
            message = f"the spec, the code or a secret of {planned.system} is not what was planned any more"
            raise Conflict(message, hint="qd plan again shows what it would do now", code="E1502")


ANYTHING: Final = Expected()


@dataclass(frozen=True, slots=True)
class Applied:
    """A revision that is wanted from now on, and the plan it was adopted with; None when the engine could not be asked."""

    revision: Revision
    created: bool
    plan: Planned | None
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Compared:
    """A revision beside the kept one before it (None: there is none), and what differs."""

    revision: Revision
    before: Revision | None
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class Draft:
    """A revision in the making, beside the world that it would change."""

    spec: SystemSpec
    content: revise.Content
    world: World
    warnings: tuple[str, ...] = ()


def adopting(old: Revision | None, draft: Draft, steps: tuple[Step, ...]) -> tuple[AdoptRevision, ...]:
    """What a draft changes that no step shows: an owner, a budget, a file that no agent is made of."""
    if old is None or old.digest == draft.content.digest:
        return ()
    told = {step.target for step in steps}
    words = [".".join(path) for path in _differing(_kept(old), _document(draft.spec), ()) if not _told(path, told)]
    if not words and steps:
        return ()
    reason = f"revision {old.number} → {old.number + 1}: {', '.join(words) or 'files that no agent is made of'}"
    return (AdoptRevision(draft.spec.name, reason),)


def _kept(old: Revision) -> dict[str, Any]:
    try:
        return _document(kept_spec(old.spec))
    except SpecError:  # of a version that allowed what this one does not
        return {}


def _document(spec: SystemSpec) -> dict[str, Any]:
    return spec.model_dump(mode="json", by_alias=True)


def _differing(old: object, new: object, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The paths of what differs, as far down as both sides have it."""
    if isinstance(old, dict) and isinstance(new, dict) and old.keys() == new.keys():
        for name in old:
            yield from _differing(old[name], new[name], (*path, name))
    elif isinstance(old, dict) and isinstance(new, dict) and path[-1:] in {("clusters",), ("agents",)}:
        for name in dict.fromkeys((*old, *new)):
            yield from _differing(old.get(name), new.get(name), (*path, name))
    elif old != new:
        yield path or ("all of it",)


def _told(path: tuple[str, ...], targets: set[str]) -> bool:
    """Whether a step is about the link, cluster or agent at a path."""
    match path:
        case ("spec", "links", *_):
            return any("->" in target for target in targets)
        case ("spec", "clusters", cluster, "agents", agent, *_):
            return f"{cluster}/{agent}" in targets
        case ("spec", "clusters", cluster, *_):
            return cluster in targets
    return False
