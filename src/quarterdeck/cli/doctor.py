"""`qd doctor`: what is wrong with this machine, and how to mend it."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any, Final

from quarterdeck.cli import checks, checks_home
from quarterdeck.cli.checks import Finding
from quarterdeck.cli.render import counted, show
from quarterdeck.cli.screen import Screen, clean
from quarterdeck.cli.session import Session
from quarterdeck.model.home import Home
from quarterdeck.version import API_VERSION

MARKS: Final = {"ok": ("✔", "green"), "warning": ("!", "yellow"), "failed": ("✘", "red")}
_NAME: Final = 14


def doctor(session: Session) -> int:
    """What is wrong with this machine, this home or its control plane, and how to mend it. Exit 1 when something failed.

    $ qd doctor
    $ qd doctor -o json | jq '.items[] | select(.status != "ok")'

    It changes nothing: a file beside the store and a control group are made and taken away again.
    """
    findings = look(session)
    document = described(findings)
    show(session, document, lambda screen: screen.lines(*drawn(findings, screen)), name="ok" if document["ok"] else "failed")
    if document["ok"]:
        here = isinstance(session.place, Home)  # qd up starts a control plane only on its own machine
        answers = any(f.name == "control plane" and "pid" in f.found for f in findings)
        session.say("next: qd status" if answers else "next: qd up" if here else "next: qd context list")
    else:
        session.say("mend what failed · next: qd doctor · qd support-bundle")
    return 0 if document["ok"] else 1


def look(session: Session) -> list[Finding]:
    """Every finding, in the order in which a person would look. A context on another machine has no home here."""
    server = session.client.answers()
    found = list(checks_home.of_server(session.client, server))
    if isinstance(session.place, Home):
        found = [*checks.machine(session.place.root, os.environ), *checks_home.of_home(session.place, server, os.environ), *found]
    return [checks.looked_at(name, check) for name, check in found]


def described(findings: list[Finding]) -> dict[str, Any]:
    """The findings as a document."""
    ok = all(finding.status != "failed" for finding in findings)
    return {"apiVersion": API_VERSION, "kind": "Doctor", "ok": ok, "items": [asdict(finding) for finding in findings]}


def drawn(findings: list[Finding], screen: Screen) -> list[str]:
    """A line each, with its mend below it, and the sum."""
    lines: list[str] = []
    for finding in findings:
        mark, style = MARKS[finding.status]
        lines += screen.wrapped(f" {screen.paint(mark, style)} {finding.name:<{_NAME}} ", clean(finding.found))
        if finding.mend:
            lines += screen.wrapped(f"   {'':<{_NAME}} mend: ", clean(finding.mend))
    counts = [(sum(finding.status == status for finding in findings), status) for status in MARKS]
    return [*lines, " " + ", ".join(counted(count, status, "warnings" if status == "warning" else status) for count, status in counts)]
