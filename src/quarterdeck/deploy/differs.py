"""What differs between what runs and what is wanted, field by field, in the words of a plan. Pure; no value of a secret is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from quarterdeck.model.desired import Link, Quota, Template

SHOWN: Final = 8
"""Digits of a digest that tell it from another one for people."""
_SECONDS: Final = ("timeout", "reset", "hang_after")
_BYTES: Final = ("memory",)


def template(old: Template | None, new: Template, before: str) -> list[str]:
    """What of a template is another one; `before` is the digest of the old one, where an engine keeps no more of it."""
    if old is None:
        return [f"code or settings {before[:SHOWN]} → {new.digest[:SHOWN]}"]
    parts = [f"code {old.code[:SHOWN]} → {new.code[:SHOWN]}"] if old.code != new.code else []
    parts += _fields(old, new, ("run", "memory", "hang_after"))
    parts += [*_names("env", dict(old.env), dict(new.env)), *_names("secret", dict(old.secrets), dict(new.secrets))]
    return parts or [f"settings {before[:SHOWN]} → {new.digest[:SHOWN]}"]


def link(old: Link, new: Link) -> str:
    """How the policy of a path changes."""
    breaker = [f"breaker.{part}" for part in _fields(old.breaker, new.breaker, ("failures", "reset", "probes"))]
    return ", ".join([*_fields(old, new, ("timeout", "attempts")), *breaker]) or "policy changed"


def quota(old: Quota, new: Quota) -> str:
    """How the limits of a cluster change."""
    return ", ".join(f"quota.{part}" for part in _fields(old, new, ("cpu", "memory", "replicas"))) or "quota changed"


def _fields(old: object, new: object, names: tuple[str, ...]) -> list[str]:
    pairs = ((name, getattr(old, name), getattr(new, name)) for name in names)
    return [f"{name} {_told(name, before)} → {_told(name, after)}" for name, before, after in pairs if before != after]


def _told(name: str, value: object) -> str:
    if value is None:
        return "unlimited"
    if name in _BYTES and isinstance(value, int):
        return f"{value / (1 << 20):g} MiB"
    return f"{value:g}{' s' if name in _SECONDS else ''}" if isinstance(value, int | float) else str(value)


def _names(what: str, old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            yield f"{what} {name} {'added' if name not in old else 'removed' if name not in new else 'changed'}"
