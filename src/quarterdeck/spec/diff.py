"""What would be carried out between two desired states, in words for `qd plan`; one Difference for each thing that is touched. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from typing import TypeVar

from quarterdeck.model.desired import Breaker, Desired, Link, Namespace, Quota, Restart, Rollout, Workload
from quarterdeck.model.steps import Action, Phase
from quarterdeck.spec.quantities import Bytes, Cores, Duration

_T = TypeVar("_T", Namespace, Link, Workload)
_SECONDS = frozenset({"timeout", "reset", "ready_within", "drain", "within", "retry_after", "hang_after"})


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing to add, change or remove, e.g. change `analysts/analyst`: `replicas 3 → 5 (human change 12, "load test")`.

    `because` holds every reason that the new state gives and the old one did not.
    """

    action: Action
    phase: Phase
    target: str
    text: str
    because: tuple[str, ...] = ()


def diff(old: Desired | None, new: Desired) -> tuple[Difference, ...]:
    """The differences in the order of the phases; nothing when the two agree. `old` is None before the first apply."""
    return (
        *_each("infrastructure_provisioning", old.namespaces if old else (), new.namespaces, lambda n: n.cluster, _namespace),
        *_entry(old, new),
        *_each("service_mesh_configuration", old.links if old else (), new.links, lambda link: link.name, _link),
        *_workloads(old.workloads if old else (), new.workloads),
    )


def _each(
    phase: Phase, old: Iterable[_T], new: Iterable[_T], key: Callable[[_T], str], parts: Callable[[_T | None, _T], Iterator[str]]
) -> Iterator[Difference]:
    """What is new or differs in the order of the new state, then what is gone."""
    before, after = {key(item): item for item in old}, {key(item): item for item in new}
    for name, item in after.items():
        text = ", ".join(parts(before.get(name), item))
        if name not in before:
            yield Difference("add", phase, name, text)
        elif text:
            yield Difference("change", phase, name, text)
    for name, item in before.items():
        if name not in after:
            yield Difference("remove", phase, name, ", ".join(parts(None, item)))


def _entry(old: Desired | None, new: Desired) -> Iterator[Difference]:
    if old is not None and old.entry != new.entry:
        yield Difference("change", "control_plane_deployment", new.system, f"entry {old.entry or 'none'} → {new.entry or 'none'}")


def _namespace(old: Namespace | None, new: Namespace) -> Iterator[str]:
    yield from _fields("quota ", old.quota if old else None, new.quota)


def _link(old: Link | None, new: Link) -> Iterator[str]:
    yield from _fields("", old, new)
    if old is not None:
        yield from _fields("breaker ", old.breaker, new.breaker)


def _workloads(old: Iterable[Workload], new: Iterable[Workload]) -> Iterator[Difference]:
    before, after = {item.name: item for item in old}, {item.name: item for item in new}
    for found in _each("agent_cluster_deployment", before.values(), after.values(), lambda item: item.name, _workload):
        had = before[found.target].because if found.target in before else ()
        has = after[found.target].because if found.target in after else ()
        yield Difference(found.action, found.phase, found.target, found.text, tuple(reason for reason in has if reason not in had))


def _workload(old: Workload | None, new: Workload) -> Iterator[str]:
    if old is None:
        yield f"{new.replicas} {'replica' if new.replicas == 1 else 'replicas'}, run {new.template.run}"
        return
    if old.replicas != new.replicas:
        yield f"replicas {old.replicas} → {new.replicas}{_reason('replicas ', new)}"
    if old.bounds != new.bounds:
        yield f"bounds {old.bounds[0]}..{old.bounds[1]} → {new.bounds[0]}..{new.bounds[1]}"
    yield from _template(old, new)
    yield from _fields("rollout ", old.rollout, new.rollout)
    yield from _fields("restart ", old.restart, new.restart)
    if new.restart_before > old.restart_before:
        yield f"restart of all replicas{_reason('restart ', new)}"
    for n in sorted(new.quarantined - old.quarantined):
        yield f"quarantine {new.agent}-{n}{_reason(f'{new.agent}-{n} quarantined ', new)}"
    for n in sorted(old.quarantined - new.quarantined):
        yield f"release {new.agent}-{n}"


def _template(old: Workload, new: Workload) -> Iterator[str]:
    """What makes the replicas different ones. Values of variables and secrets are not shown."""
    was, now = old.template, new.template
    if was.digest == now.digest:
        return
    parts = [
        f"code {was.code[:12]} → {now.code[:12]}" if was.code != now.code else "",
        f"run {was.run} → {now.run}" if was.run != now.run else "",
        *(f"env {name} changed" for name in _differing(was.env, now.env)),
        *(f"secret {name} changed" for name in _differing(was.secrets, now.secrets)),
        f"memory {_shown('memory', was.memory)} → {_shown('memory', now.memory)}" if was.memory != now.memory else "",
        f"hang_after {_shown('hang_after', was.hang_after)} → {_shown('hang_after', now.hang_after)}"
        if was.hang_after != now.hang_after
        else "",
    ]
    yield from [part for part in parts if part] or ["a secret's value changed"]


def _differing(old: tuple[tuple[str, str], ...], new: tuple[tuple[str, str], ...]) -> list[str]:
    return sorted({name for name, _ in set(old) ^ set(new)})


def _reason(start: str, workload: Workload) -> str:
    """The parenthesis of the reason that the workload gives for this part."""
    text = next((reason for reason in workload.because if reason.startswith(start)), "")
    return f" {text[text.index('(') :]}" if "(" in text else ""


def _fields(
    label: str, old: Quota | Rollout | Restart | Link | Breaker | None, new: Quota | Rollout | Restart | Link | Breaker
) -> Iterator[str]:
    """`label field old → new` for plain fields that differ; without an old value the limits that are set."""
    for name in (field.name for field in fields(new) if field.name not in ("source", "target", "breaker")):
        value = getattr(new, name)
        if old is None:
            if value is not None:
                yield f"{label}{name} {_shown(name, value)}"
        elif getattr(old, name) != value:
            yield f"{label}{name} {_shown(name, getattr(old, name))} → {_shown(name, value)}"


def _shown(name: str, value: float | None) -> str:
    if value is None:
        return "unlimited"
    if name in _SECONDS:
        return str(Duration(value))
    match name:
        case "cpu":
            return str(Cores(value))
        case "memory":
            return str(Bytes(value))
        case _:
            return str(value)
