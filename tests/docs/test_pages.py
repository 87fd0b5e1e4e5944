"""Whoever follows a how-to page with a fleet running gets what it shows: every command is carried out, in order."""

import json
import re
from pathlib import Path

import pytest

from quarterdeck.web.pages import PLACES

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "docs/tutorial.md", ROOT / "docs/access.md", *sorted((ROOT / "docs/how-to").glob("*.md"))]
WITH_EXAMPLE = "the example is deployed"
OF_MACHINES = {
    "the example is deployed, on a machine of its own",
    "the example is deployed, and a newer version is there",
    "the example's files, on another machine",
    "a control plane on another machine",
}
"""Carried out by test_one_machine.py and test_two_machines.py."""


def test_the_pages_that_a_user_needs_are_there(documents):
    assert len(PAGES) >= 11
    assert {documents.begins_with(path) for path in PAGES} == {WITH_EXAMPLE, "the example's files", None, *OF_MACHINES}


@pytest.mark.parametrize("path", [p for p in PAGES if f"{WITH_EXAMPLE} -->" in p.read_text()], ids=lambda path: path.stem)
def test_a_page_for_a_running_fleet_does_what_it_shows_and_leaves_it_ready(documents, example, path):
    documents.follow(path, example)
    left = example.run("qd get changes -o json")
    for change in [c["id"] for c in json.loads(left)["items"] if c["state"] == "live"]:
        example.run(f"qd revert {change}")
    printed = example.run("qd wait --for ready --timeout 30s")
    assert example.code == 0, printed


def test_all_that_a_page_says_to_somebody_is_carried_out(documents):
    """Those whom a page speaks to are there in test_one_machine.py and test_two_machines.py; a name that is mistaken would be nobody's."""
    told = {fence.whom for path in (ROOT / "docs").glob("**/*.md") for fence in documents.fences(path)}
    assert told == {None, "your machine", "a checkout", "a wheel"}
    assert not [path for path in (ROOT / "docs").glob("**/*.md") if re.search("<!-- not run.*\n```console", path.read_text())]


def test_the_commands_of_the_readme_are_carried_out(documents, example):
    """In the example's folder, with its fleet running; `make up` is what the tutorial does, and `make test` is what runs this."""
    for fence in documents.fences(ROOT / "README.md"):
        if fence.kind != "console":
            continue
        for command, _ in fence.commands():
            if command.startswith("make "):
                assert re.match(r"make (up|test)\b", command)
                continue
            printed = example.run(re.sub("^qd down ", "qd down --yes ", command))  # what a person types when asked
            assert example.code == 0, f"{fence.where}: $ {command}\n{printed}"


def test_the_commands_of_the_decisions_are_carried_out(documents):
    """One after the other, with the example's fleet, which they leave in another state than they found."""
    records = [path for path in sorted((ROOT / "docs/decisions").glob("*.md")) if any(f.kind == "console" for f in documents.fences(path))]
    assert len(records) >= 5
    with documents.place(example=True) as shell:
        printed = shell.run("qd up")
        assert shell.code == 0, printed
        for path in records:
            documents.follow(path, shell)


def test_the_keys_of_the_dashboard_that_are_told_are_those_that_it_has():
    text = (ROOT / "docs/how-to/when-something-is-wrong.md").read_text()
    told = dict(re.findall(r"`g (\w)` (\w+)", text))
    pages = {place.key: place.name.split()[0].lower() for place in PLACES} | {"w": "what"}
    assert len(told) >= 10
    assert told == {key: pages[key] for key in told}
    help_ = re.search(r'<template id="keys">.*', (ROOT / "src/quarterdeck/web/templates/base.html").read_text())[0]
    shown = {key for keys, _ in re.findall(r'\("([^"]+)", "([^"]+)"\)', help_) for key in keys.replace(" or ", "\0").split("\0")}
    assert "Ctrl K" in shown
    for key in shown:
        assert f"`{key}`" in text or all(f"`{one}`" in text for one in key.split()), key


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        (["ready in 2.0 s"], ["ready in 31.5 s"], True),
        (["9 of 9 ready"], ["8 of 9 ready"], False),
        (["a", "…", "z"], ["a", "b", "c", "z"], True),
        (["a", "…", "z"], ["a", "b"], False),
        (["a"], ["a", "b"], False),
        (["✔ verified: … records"], ["✔ verified: 106 records"], True),
        (["NAME …"], ["NAME    STATE"], True),
        (["NAME   STATE"], ["NAME    STATE"], True),
        (["pid 12, restarts 1"], ["pid 99, restarts 0"], False),
        (["at 2026-11-28 16:31:35.963"], ["at 2027-01-01 00:00:00.001"], True),
    ],
)
def test_what_is_compared_loosely_and_what_is_not(documents, shown, printed, same):
    assert documents.alike(shown, printed) is same
