"""`qd man`: the manual page, in roff (groff_man(7)); on a terminal through `man`."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Annotated, Final, Literal

import typer

from quarterdeck.cli.described import described
from quarterdeck.cli.screen import Screen
from quarterdeck.cli.session import Session
from quarterdeck.cli.usage import UsageError
from quarterdeck.cli.verbs import EXAMPLES, SHARED, VERBS, Verb, columns, find
from quarterdeck.version import VERSION

ENVIRONMENT: Final = (
    ("QUARTERDECK_HOME", "the state folder; --home goes before it"),
    ("QUARTERDECK_CONTEXT", "the context to be used; --context goes before it"),
    ("QUARTERDECK_URL", "the URL of a control plane on another machine"),
    ("QUARTERDECK_TOKEN, QUARTERDECK_TOKEN_FILE", "a token for it, or the file that it is in"),
    ("QUARTERDECK_SIGN_IN", "the sign-in file of qd up --sign-in"),
    (
        "QUARTERDECK_PORT",
        "the port of the dashboard and the API; 0 takes a free one; without it that of the last start, else 7410 or a free one",
    ),
    ("NO_COLOR", "no colour, whatever the terminal can"),
)
EXITS: Final = (
    ("0", "done"),
    ("1", "an error, a bad spec included; any error of qd plan"),
    ("2", "wrong usage; with qd plan --detailed-exitcode: changes are pending"),
    ("3", "there is no such thing"),
    ("4", "denied"),
    ("5", "timeout, not ready, or what became of it is not known"),
    ("130", "interrupted"),
)


Kind = Literal["head", "verb", "text", "code", "term"]
Block = tuple[Kind, str, str]
"""A heading, a verb's heading, a paragraph, commands, or a term; the last one with what it means."""


def man(
    session: Session,
    verb: Annotated[
        str | None,
        typer.Argument(metavar="VERB", show_default=False, help="Only of this verb.", autocompletion=lambda: [v.name for v in VERBS]),
    ] = None,
    part: Annotated[str | None, typer.Argument(metavar="PART", show_default=False, help="Only of this part of it.")] = None,
) -> int:
    """The manual: read on a terminal, written as roff into a file or a pipe. It needs no control plane.

    $ qd man
    $ qd man logs
    $ qd man task submit
    $ qd man > qd.1          then: man -l qd.1
    """
    found = find(verb) if verb else None
    if verb and found is None:
        raise UsageError(f"there is no verb {verb!r}", hint="qd --help lists them")
    if found and part:
        found = _part(found, part)
    name = f"qd-{found.name.replace(' ', '-')}" if found else "qd"
    page = list(_one(found) if found else _whole())
    if not session.screen.live:
        session.screen.line(roff(name, page))
        return 0
    reader = shutil.which("man")
    if reader is None:
        session.screen.lines(*plain(page, session.screen))
        return 0
    return subprocess.run([reader, "-l", "-"], input=roff(name, page).encode(), check=False).returncode  # noqa: S603 our own words


def _part(verb: Verb, name: str) -> Verb:
    """The verb below a verb, under its whole name. Raises UsageError."""
    found = find(name, verb.parts)
    if found is None:
        hint = f"its parts: {', '.join(part.name for part in verb.parts)}" if verb.parts else f"qd man {verb.name}"
        raise UsageError(f"qd {verb.name} has no part {name!r}", hint=hint)
    return replace(found, name=f"{verb.name} {found.name}")


def _whole() -> Iterator[Block]:
    yield "head", "Name", ""
    yield "text", "qd - deploy and operate a fleet of AI agents", ""
    yield "head", "Synopsis", ""
    yield "text", "qd [OPTIONS] VERB [ARGUMENTS]", ""
    yield "head", "Examples", ""
    yield "code", "\n".join(columns(list(EXAMPLES), "$ ")), ""
    for group in dict.fromkeys(verb.group for verb in VERBS):
        yield "head", group, ""
        for verb in VERBS:
            if verb.group == group:
                yield from _verbs(verb)
    yield from _common()


def _one(verb: Verb) -> Iterator[Block]:
    yield "head", "Name", ""
    yield "text", f"qd-{verb.name} - {verb.summary}", ""
    yield "head", "Description", ""
    yield from _verbs(verb)
    yield from _common()


def _verbs(verb: Verb) -> Iterator[Block]:
    for one in described(verb):
        places = " ".join(
            option.written if option.default == "required" else f"[{option.written}]" for option in one.options if option.positional
        )
        yield "verb", f"qd {one.name} {places}".strip(), ""
        for paragraph in one.paragraphs:
            yield ("code" if paragraph.lstrip().startswith("$ ") else "text"), paragraph, ""
        for option in one.options:
            default = f" (default: {option.default})" if option.default not in ("", "required") else ""
            yield "term", option.written, f"{option.meaning}{default}"


def _common() -> Iterator[Block]:
    for title, rows in (("Options of every verb", SHARED), ("Environment", ENVIRONMENT), ("Exit status", EXITS)):
        yield "head", title, ""
        for term, meaning in rows:
            yield "term", term, meaning


def roff(name: str, page: Iterable[Block]) -> str:
    """For man(1), in the macros of groff_man(7)."""
    lines = [f'.TH "{name.upper()}" 1 "" "quarterdeck {VERSION}"', ".nh", ".ad l"]
    for kind, text, meaning in page:
        match kind:
            case "head":
                lines.append(f'.SH "{_quoted(text.upper())}"')
            case "verb":
                lines.append(f'.SS "{_quoted(text)}"')
            case "text":
                lines += [".PP", *_escaped(" ".join(text.split()))]
            case "code":
                lines += [".PP", ".RS 4", ".nf", *_escaped(text), ".fi", ".RE"]
            case "term":
                lines += [".TP", *(f"\\fB{one}\\fR" for one in _escaped(text)), *_escaped(meaning)]
    return "\n".join(lines)


def _escaped(text: str) -> list[str]:
    """Lines that say what they say: no backslash, dash or leading dot of the text means anything to roff."""
    marks = {"\\": "\\e", "-": "\\-", "'": "\\(aq", "^": "\\(ha", "~": "\\(ti", "`": "\\(ga"}
    told = "".join(marks.get(c, c if c.isascii() else f"\\[u{ord(c):04X}]") for c in text)
    return [f"\\&{line}" if line.startswith((".", "\\(aq")) else line for line in told.splitlines() or [""]]


def _quoted(text: str) -> str:
    return " ".join(_escaped(text)).replace('"', "\\(dq")


def plain(page: Iterable[Block], screen: Screen) -> Iterator[str]:
    """For a terminal of a machine without man(1)."""
    for kind, text, meaning in page:
        match kind:
            case "head":
                yield from ("", screen.paint(text.upper(), "bold"))
            case "verb":
                yield from ("", *screen.wrapped("  ", screen.paint(text, "bold")))
            case "text":
                yield from screen.wrapped("    ", " ".join(text.split()))
            case "code":
                yield from (f"    {line}" for line in text.splitlines())
            case "term":
                yield from screen.wrapped(f"    {text}  ", meaning)
