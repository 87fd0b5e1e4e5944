"""Writes docs/reference from the models, so that it cannot disagree with the code: `python tools/reference.py` (or `make docs`).

A test compares the checked-in files with what `pages()` gives.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from quarterdeck import errors
from quarterdeck.app import application
from quarterdeck.cli.codes import GROUPS, KINDS
from quarterdeck.cli.described import Described, described
from quarterdeck.cli.verbs import SHARED, VERBS
from quarterdeck.deploy.evidence import DEEP, PROOFS, Proof
from quarterdeck.deploy.readiness import RULES, STALE_FACTOR, Rule
from quarterdeck.model.steps import PHASES
from quarterdeck.spec.explain import FieldDoc, explain
from quarterdeck.states import MACHINES, Machine

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
TOKENS = {"cluster": "all", "system": "unbound"}
CODES = (
    "The code in brackets at the end of a message names its kind; `qd explain E1201` prints what stands here, without a control plane. "
    "In a refusal of the API it is the field `code`; each problem of a spec has its own at the end of its first line. "
    "A code keeps its meaning."
)
MADE = "<!-- made by tools/reference.py from the code; edit there -->"


def pages() -> dict[str, str]:
    """Every page of the reference by its file name."""
    return {
        "spec.md": spec(),
        "states.md": states(),
        "errors.md": error_tree(),
        "cli.md": cli(),
        "proofs.md": proofs(),
        "readiness.md": readiness(),
        "routes.md": routes(),
    }


def page(title: str, *parts: str) -> str:
    """Title, the notice, and the parts with a blank line between."""
    return "\n\n".join([f"# {title}", MADE, *parts]) + "\n"


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, tuple("---" for _ in head), *(tuple(cell.replace("|", "\\|").replace("\n", " ") for cell in row) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def spec_fields(path: str = "") -> Iterator[FieldDoc]:
    """Every field of the spec, parents before their children."""
    for child in explain(path).children:
        yield explain(child.path)
        yield from spec_fields(child.path)


def spec() -> str:
    """The fields of a spec."""
    rows = [(f"`{f.path}`", f.type, f"`{f.default}`", f.description, f"`{f.example}`" if f.example else "") for f in spec_fields()]
    intro = (
        "One YAML document. `qd explain spec.clusters.agents.replicas` prints the same in the terminal, "
        "`qd schema` the JSON Schema for editors. A field that is not listed is refused."
    )
    return page("The spec", intro, table(("Field", "Type", "Default", "Meaning", "Example"), rows))


def states() -> str:
    """The state machines as pictures."""
    intro = "Drawn from the tables in `states.py`. A move that is not drawn raises `InvalidTransition` with the object's story."
    return page("States", intro, *(f"## {m.noun}\n\n```mermaid\n{diagram(m)}\n```" for m in MACHINES))


def diagram(machine: Machine) -> str:
    """One machine as a mermaid state diagram."""
    names = {name: name.replace("-", "_") for name in machine.moves}
    aliases = [f'    state "{name}" as {short}' for name, short in names.items() if name != short]
    arrows = [f"    {names[old]} --> {names[new]}" for old, targets in machine.moves.items() for new in sorted(targets)]
    return "\n".join(["stateDiagram-v2", *aliases, f"    [*] --> {names[machine.first]}", *arrows])


def error_tree() -> str:
    """The errors with what follows from each."""
    found = _tree(errors.QuarterdeckError, 0)
    rows = [("&nbsp;" * 4 * depth + f"`{e.__name__}`", e.code, *_consequences(e), _first_line(e)) for e, depth in found]
    intro = (
        "Exit code, HTTP status and whether a retry makes sense follow from the branch. Every error has a message, most a hint and a place."
    )
    codes = table(
        ("Exit code", "Meaning"),
        [
            ("0", "done"),
            ("1", "an error; a spec that is refused"),
            ("2", "wrong usage; of `qd plan --detailed-exitcode`: changes are pending, and every error of `qd plan` is 1"),
            ("3", "the named thing does not exist"),
            ("4", "denied"),
            ("5", "timeout, not ready, or outcome unknown"),
            ("130", "interrupted"),
        ],
    )
    tree = table(("Error", "Code", "Exit code", "HTTP", "Retry", "Meaning"), rows)
    listed = (part for group in GROUPS for part in kinds(group))
    return page("Errors", intro, tree, "## Exit codes of `qd`", codes, "## Codes", CODES, *listed)


def kinds(group: str) -> Iterator[str]:
    """The codes of a group, each under a heading of its own, so that a link can lead to it."""
    yield f"### {group}…: {GROUPS[group]}"
    for code, kind in KINDS.items():
        if code.startswith(group):
            before = "error: " if group in ("E10", "E15") else ""
            yield f"#### {code}\n\n{kind.meaning}\n\n```\n{before}{kind.example} [{code}]\n```\n\n{kind.mend}"


def routes() -> str:
    """Every operation of the API with who may call it, from the route table itself."""
    document = application(None).openapi()  # type: ignore[arg-type]  # nothing is called
    operations = [(path, method, o) for path, methods in document["paths"].items() for method, o in methods.items()]
    rows = [
        (f"`{method.upper()} {path}`", o["x-role"], TOKENS[o["x-scope"]] if o["security"] else "none", o.get("x-door", "both"), _said(o))
        for path, method, o in sorted(operations, key=lambda found: found[:2])
    ]
    intro = (
        "`qd api openapi` prints the whole description. Token `all`: one that is bound to a cluster may call it too, and gets that cluster "
        "alone. [Access](../access.md) explains roles and tokens."
    )
    return page("The API", intro, table(("Operation", "Role", "Token", "Door", "Does"), rows))


def _said(operation: dict[str, Any]) -> str:
    return str(operation["description"]).split("\n", maxsplit=1)[0]


def _tree(error: type[errors.QuarterdeckError], depth: int) -> Iterator[tuple[type[errors.QuarterdeckError], int]]:
    yield error, depth
    for below in vars(errors).values():
        if isinstance(below, type) and below.__bases__ == (error,):
            yield from _tree(below, depth + 1)


def _consequences(error: type[errors.QuarterdeckError]) -> tuple[str, str, str]:
    return str(error.exit_code), str(error.http_status), "yes" if error.retry else "no"


def _first_line(thing: object) -> str:
    return (inspect.getdoc(thing) or "").splitlines()[0]


def cli() -> str:
    """Every verb with its arguments and examples."""
    shared = table(("Option", "Meaning"), [(f"`{name}`", text) for name, text in SHARED])
    groups = dict.fromkeys(verb.group for verb in VERBS)
    parts = []
    for group in groups:
        parts.append(f"## {group}")
        parts += [_verb(one) for verb in VERBS if verb.group == group for one in described(verb)]
    return page("The command", "## Options of every verb", shared, *parts)


def _verb(verb: Described) -> str:
    words = "\n\n".join(f"```console\n{part}\n```" if part.lstrip().startswith("$ ") else part for part in verb.paragraphs)
    rows = [(f"`{o.written}`", f"`{o.default}`" if o.default not in ("", "required") else o.default, o.meaning) for o in verb.options]
    return "\n\n".join([f"### `qd {verb.name}`", words, *([table(("Argument", "Default", "Meaning"), rows)] if rows else [])])


def proofs() -> str:
    """What is proven, in which phase, and how long it counts."""
    intro = (
        "Each row is a probe: something is done and its outcome looked at. The result is a Condition (`qd get conditions`) "
        "with evidence and age. A proof is run again when it has grown older than *fresh for* or when desired state has changed."
    )
    rows = [_proof(p) for phase in PHASES for p in PROOFS if p.phase == phase]
    deep = table(("Proof", "Fresh for", "Shows that"), [(f"`{p.kind}`", _span(p.fresh_for), p.sentence) for p in DEEP])
    main = table(("Phase", "Proof", "Fresh for", "Shows that"), rows)
    return page("Proofs", intro, main, "## Only by `qd validate --deep`", deep)


def _proof(proof: Proof) -> tuple[str, ...]:
    return f"`{proof.phase}`", f"`{proof.kind}`", _span(proof.fresh_for), proof.sentence


def _span(seconds: float) -> str:
    day, hour, minute = 86400, 3600, 60
    for size, word in ((day, "d"), (hour, "h"), (minute, "min")):
        if seconds >= size:
            return f"{seconds / size:g} {word}"
    return f"{seconds:g} s"


def _proofs(rule: Rule) -> str:
    proofs = ", ".join(f"`{kind}`" for kind in rule.kinds) or "not in this version"
    return proofs + "".join(f"; unless `{kind}` is false: `{command}`" for kind, command in rule.broken_by.items())


def readiness() -> str:
    """How the score is counted."""
    later = sum(r.possible for r in RULES if not r.kinds)
    intro = (
        "The score is a pure function of executed evidence and its age. A rule earns its points when all its proofs hold "
        f"on all their targets; evidence older than its freshness earns half, older than {STALE_FACTOR:g} times that nothing. {later} of "
        f"{sum(r.possible for r in RULES)} points belong to proofs that this version cannot run: they score zero. "
        "A Condition named after *unless* takes the points away while it is false."
    )
    rows = [(r.name, str(r.possible), _proofs(r), f"`{r.command}`" if r.command else "") for r in RULES]
    return page("Readiness", intro, table(("Rule", "Points", "Proofs", "Earned by"), rows))


def main() -> None:
    """Write the pages."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text)
        print(FOLDER / name)


if __name__ == "__main__":
    main()
