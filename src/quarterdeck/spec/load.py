"""The way in: text of a spec to a checked system, or every problem of the file at once.

`examine` looks and reports; `load` refuses. Neither changes anything, and the user's code is imported only in the child of `entry`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from quarterdeck.errors import SpecError
from quarterdeck.spec import checks, entry, reader, validation
from quarterdeck.spec.problems import START, Finding, Problem, Source, refusal
from quarterdeck.spec.reader import MOST_PROBLEMS
from quarterdeck.spec.system import SystemSpec

if TYPE_CHECKING:
    from quarterdeck.spec.nodes import Node


@dataclass(frozen=True, slots=True)
class Loaded:
    """A spec that may be applied. `base` is the folder that relative paths start from; `warnings` do not stand in the way."""

    system: SystemSpec
    text: str
    base: Path
    warnings: tuple[Problem, ...] = ()


def load(text: str, *, filename: str, base: Path, environ: Mapping[str, str], check_entries: bool = True) -> Loaded:
    """Read and check a spec. Raises SpecError with every problem found, rendered; `check_entries=False` imports nothing of the user."""
    loaded, problems = examine(text, filename=filename, base=base, environ=environ, check_entries=check_entries)
    if loaded is None:
        raise refusal(filename, problems)
    return loaded


def reread(text: str) -> SystemSpec:
    """A spec that was checked when it came in: only its text is read again. Raises SpecError if that text has faults."""
    source = Source.of(text, "a kept revision")
    reading = reader.read(text, source)
    if reading.root is None or reading.problems:
        raise refusal(source.filename, reading.problems)
    validated = validation.validate(reading.root)
    if validated.system is None or validated.findings:
        raise refusal(source.filename, tuple(_placed(validated.findings, reading.root, source)))
    return validated.system


def load_file(path: Path, *, environ: Mapping[str, str], check_entries: bool = True) -> Loaded:
    """Read a spec from a file; paths in it are relative to its folder. Raises SpecError, for an unreadable file too."""
    try:
        with path.open("rb") as file:
            content = file.read(reader.MOST_BYTES + 1)
    except OSError as error:
        raise SpecError(
            f"{path} cannot be read: {error.strerror}",
            hint=START,
            where=str(path),
        ) from error
    text = decode(content, filename=str(path))
    return load(text, filename=str(path), base=path.absolute().parent, environ=environ, check_entries=check_entries)


def decode(content: bytes, *, filename: str) -> str:
    """UTF-8 bytes of a spec to text, a byte order mark taken off. Raises SpecError with the place of the first wrong byte."""
    problem = reader.too_big(len(content), Source.of("", filename))
    if problem:
        raise refusal(filename, (problem,))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8-sig", errors="replace").replace("\r\n", "\n").replace("\r", "\n")
        source = Source.of(content.decode("utf-8-sig", errors="replace"), filename)
        finding = Finding((), f"byte 0x{content[error.start]:02X} is not UTF-8", hint="save the file as UTF-8", code="E1118")
        place = before.count("\n"), len(before) - before.rfind("\n") - 1
        raise refusal(filename, (source.problem(*place, finding),)) from error


def examine(
    text: str, *, filename: str, base: Path, environ: Mapping[str, str], check_entries: bool = True
) -> tuple[Loaded | None, tuple[Problem, ...]]:
    """What `load` does without raising: (the system, ()) or (None, problems in the order of the file)."""
    source = Source.of(text, filename)
    reading = reader.read(text, source)
    if reading.root is None:
        return None, _in_order(list(reading.problems), filename)
    validated = validation.validate(reading.root)
    later = _later(validated, reading.root, base, environ, check_entries=check_entries)
    problems = [
        *reading.problems,
        *_placed(validated.findings, reading.root, source),
        *_placed((finding for finding in later if not finding.warning), validated.tree, source),
    ]
    if problems or validated.system is None:
        return None, _in_order(problems, filename)
    warnings = _placed((finding for finding in later if finding.warning), validated.tree, source)
    return Loaded(validated.system, text, base, tuple(warnings)), ()


def _later(
    validated: validation.Validated, root: Node, base: Path, environ: Mapping[str, str], *, check_entries: bool
) -> tuple[Finding, ...]:
    """Cross-checks and entry points, over as much of the system as is right."""
    if validated.system is None:
        return ()
    around = checks.Surroundings(base, environ, *_written(root), frozenset(str(path[2]) for path in validated.cut if len(path) > 2))  # noqa: PLR2004 spec, clusters, name
    found = checks.check(validated.system, around)
    if not check_entries or any(finding.path == ("spec", "code") for finding in found):
        return found
    return (*found, *entry.check(validated.system, base))


def _written(root: Node) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Every cluster and every (cluster, agent) that the file names, right or wrong."""
    clusters = root.at(("spec", "clusters"))
    names = clusters.names() if clusters else ()
    agents = ((name, root.at(("spec", "clusters", name, "agents"))) for name in names)
    return names, tuple((cluster, agent) for cluster, node in agents if node for agent in node.names())


def _placed(findings: Iterable[Finding], tree: Node, source: Source) -> list[Problem]:
    return [source.problem(*validation.locate(tree, finding), finding) for finding in islice(findings, MOST_PROBLEMS + 1)]


def _in_order(problems: list[Problem], filename: str) -> tuple[Problem, ...]:
    """By place in the file; a file with very many is cut short, and says so."""
    ordered = sorted(dict.fromkeys(problems), key=lambda problem: (problem.line, problem.column))
    if len(ordered) <= MOST_PROBLEMS:
        return tuple(ordered)
    last = ordered[MOST_PROBLEMS - 1]
    return (
        *ordered[:MOST_PROBLEMS],
        Problem(filename, last.line, last.column, f"there are more problems; the first {MOST_PROBLEMS} are shown"),
    )
