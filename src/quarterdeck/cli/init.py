"""`qd init`: a project that runs at once."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from quarterdeck.cli.completing import files
from quarterdeck.cli.render import listing, show
from quarterdeck.cli.screen import Screen, clean
from quarterdeck.cli.session import Session
from quarterdeck.cli.source import USUAL
from quarterdeck.cli.usage import UsageError
from quarterdeck.errors import Conflict, Terminal, UserError
from quarterdeck.version import API_VERSION

SCHEMA: Final = "quarterdeck.schema.json"
MODELINE: Final = f"# yaml-language-server: $schema={SCHEMA}\n"
_LEFT_OUT: Final = ("__pycache__", "*.pyc", "up.py", "prove.py", "report.py")
"""The scripts are how the repository's `make up` runs the example and proves it; the README of a project is written apart."""
_README: Final = "README.md"
_LONGEST: Final = 120
"""Characters of a path that are shown where it cannot be written."""


class Template(StrEnum):
    """The templates there are."""

    plain = "plain"
    triage = "triage"


@dataclass(frozen=True, slots=True)
class Story:
    """What a template shows, and what to try in it."""

    about: str
    example: str


STORIES: Final = {
    Template.plain: Story(
        "two agents in two clusters, one link: the least that shows everything", "qd ask front/greeter greet '{\"name\": \"Ada\"}'"
    ),
    Template.triage: Story(
        "nine replicas find the broken service in recorded logs and traces of a real system",
        'qd task submit collectors/intake --data \'{"run": "first", "incident": "2023-01-29T08:43"}\' --wait',
    ),
}  # fmt: skip


def init(
    session: Session,
    where: Annotated[str, typer.Argument(metavar="DIR", show_default=False, help="Where; here without it.", autocompletion=files)] = ".",
    *,
    template: Annotated[Template, typer.Option(help="What to begin with.")] = Template.plain,
    list_: Annotated[bool, typer.Option("--list", help="List the templates; nothing is written.")] = False,
) -> None:
    """Write a project that runs at once: spec, agents, README, and the schema that lets an editor complete the spec.

    $ qd init fleet && cd fleet && qd up
    $ qd init incidents --template triage
    $ qd init --list

    Nothing is ever overwritten.
    """
    if list_:
        _list(session)
        return
    if not where.strip():
        raise UsageError("the folder has no name", hint="qd init DIR, or qd init alone for the folder you are in")
    folder = Path(where)
    written = _write(folder, template)
    document: dict[str, Any] = {"apiVersion": API_VERSION, "kind": "Project", "folder": str(folder.absolute())}
    document |= {"template": template.value, "files": written}

    def text(screen: Screen) -> None:
        width = max(map(len, written))
        screen.lines(*(f" wrote {name:<{width}}".rstrip() for name in written))

    show(session, document, text, name=str(folder))
    enter = "" if folder.absolute() == Path.cwd() else f"cd {shlex.quote(clean(folder))} && "
    session.say(f"next: {enter}qd up · {STORIES[template].example}")


def source(template: Template) -> Path:
    """The folder of a template: package data; in a checkout `triage` is the example itself, which the wheel carries under that name."""
    package = Path(__file__).parents[1]
    for folder in (package / "templates" / template.value, package.parents[1] / "examples" / template.value):
        if (folder / USUAL).exists():
            return folder
    raise Terminal(f"this installation lacks the template {template.value}", hint="install Quarterdeck again")


def readme(template: Template) -> str:
    """The README of a project: what is true of one that stands alone, as opposed to the example in a checkout."""
    apart = Path(__file__).parents[1] / "templates" / f"{template.value}.md"
    return (apart if apart.exists() else source(template) / _README).read_text()


def _list(session: Session) -> None:
    items = [{"name": template.value, "about": story.about, "try": story.example} for template, story in STORIES.items()]

    document = {"apiVersion": API_VERSION, "kind": "List", "items": items}
    listing(session, document, [("NAME", "name"), ("SHOWS", "about")], "")
    session.say("next: qd init DIR --template NAME")


def _write(folder: Path, template: Template) -> list[str]:
    """Copy everything or nothing; the names at the top, sorted. Raises Conflict or UserError."""
    place = source(template)
    names = sorted({path.name for path in place.iterdir() if path.name not in _LEFT_OUT} | {SCHEMA})
    from quarterdeck.spec.schema import schema  # noqa: PLC0415 pydantic, for this alone

    try:
        there = [name for name in names if os.path.lexists(folder / name)]
        if there:
            hint = "name another folder: qd init DIR"
            raise Conflict(f"{clean(folder.absolute())} already has {', '.join(there)}; nothing was written", hint=hint)
        shutil.copytree(place, folder, ignore=shutil.ignore_patterns(*_LEFT_OUT), dirs_exist_ok=True)
        (folder / SCHEMA).write_text(json.dumps(schema(), indent=2) + "\n")
        (folder / _README).write_text(readme(template))
        spec = folder / USUAL
        spec.write_text(MODELINE + spec.read_text().removeprefix(MODELINE))
    except OSError as error:
        raise UserError(f"{_brief(folder)} cannot be written: {error.strerror}", hint="name a folder of yours: qd init DIR") from error
    return names


def _brief(folder: Path) -> str:
    """A path as it may stand in a sentence, however long it is."""
    text = clean(folder)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
