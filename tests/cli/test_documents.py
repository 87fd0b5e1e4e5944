"""What a program reads: every verb that reads prints with `-o json` documents that say what they are, against a real fleet."""

import json
import shutil
import tempfile
import time
from pathlib import Path

import pytest
from tests.cli.office import Fleet

from quarterdeck.cli.get import NARROW
from quarterdeck.cli.verbs import VERBS
from quarterdeck.version import API_VERSION

WORK = '''

@clerk.task()
async def work(what: dict, ctx: Context) -> str:
    await ctx.publish("desk/twin", "note", {}, key="note-1")
    return "done"


@twin.on("note")
async def note(what: dict) -> None:
    """Nothing is kept."""
'''
READS = {
    "plan": ((),),
    "status": ((),),
    "get": tuple((noun,) for noun in NARROW),
    "top": ((), ("agents",)),
    "explain": (("desk/clerk",), ("office:",), ("JOB-1",), ("spec.clusters",), ("E1201",)),
    "logs": (("desk/clerk",),),
    "journal": ((),),
    "journal head": ((),),
    "journal verify": ((),),
    "open": (("--print",),),
    "history": ((),),
    "wait": ((), ("desk/clerk",), ("--for", "desk/clerk-0=ready")),
    "validate": ((),),
    "task get": (("JOB-1",), ("JOB-1", "--tree")),
    "task list": ((),),
    "task questions": ((),),
    "task history": (("JOB-1",),),
    "message list": ((),),
    "message get": (("MESSAGE",),),
    "token list": ((), ("--user", "alice")),
    "init": (("--list",), ("another",)),
    "doctor": ((),),
    "context": ((),),
    "context list": ((),),
    "context add": (("spare", "--home", "spare"),),
    "context use": (("spare",),),
    "context show": ((),),
    "context remove": (("spare",),),
    "service status": ((),),
    "support-bundle": (("bundle.tar.gz",),),
    "version": ((), ("--client",), ("--server",)),
}
"""What each verb that reads is called with, in an order that works."""
LINES = {"logs": "LogLine"}
"""Verbs that print a document a line, and its kind."""
ELSEWHERE = {
    "journal export": "its lines are what is signed, and have a format of their own: docs/how-to/back-up-the-journal-head.md",
    "api openapi": "an OpenAPI document, in the form that OpenAPI prescribes",
    "schema": "a JSON Schema, in the form that JSON Schema prescribes",
    "completion": "the script of a shell",
    "man": "the manual page, in roff",
    "service run": "it is what systemd runs, and never ends",
    "login": "it needs a browser that confirms: tests/docs/test_help.py has one",
    "logout": "it needs a login: tests/docs/test_help.py has one",
}
"""Verbs that are not asked here, and why."""


@pytest.fixture(scope="module")
def fleet():
    folder = Path(tempfile.mkdtemp(prefix="documents-"))
    fleet = Fleet(folder)
    agents = folder / "agents.py"
    agents.write_text(agents.read_text().replace("import Agent, Terminal", "import Agent, Context, Terminal") + WORK)
    commands = (
        ("up",),
        ("ask", "desk/clerk", "take", '{"what": "pens"}'),
        ("task", "submit", "desk/clerk", "--data", "{}", "--key", "JOB-1", "--wait"),
        ("token", "create", "--role", "viewer", "--user", "alice"),
    )
    try:
        for command in commands:
            ran = fleet.qd(*command)
            assert ran.returncode == 0, ran.stderr
        yield fleet
    finally:
        fleet.qd("down", "--yes", "--purge")
        shutil.rmtree(folder, ignore_errors=True)


def reading():
    """Every verb that reads, as it is typed."""
    for verb in VERBS:
        for one in (verb, *verb.parts):
            if one.alone and one.effect == "reads":
                yield verb.name if one is verb else f"{verb.name} {one.name}"


def message(fleet):
    """The id of the message that the task sent."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if names := fleet.qd("message", "list", "-o", "name").stdout.split():
            return names[0]
        time.sleep(0.05)
    raise AssertionError("there is no message")


@pytest.mark.parametrize("verb", READS)
def test_what_a_verb_reads_says_its_kind_to_a_program(fleet, verb):
    for given in READS[verb]:
        arguments = [message(fleet) if one == "MESSAGE" else one for one in given]
        ran = fleet.qd("-o", "json", *verb.split(), *arguments)
        texts = ran.stdout.splitlines() if verb in LINES else [ran.stdout]
        assert texts, (verb, given, ran.stderr)
        for text in texts:
            document = json.loads(text)
            assert document.get("apiVersion") == API_VERSION, (verb, given, document)
            assert document["kind"] == LINES.get(verb, document["kind"])
            assert document["kind"][:1].isupper()


def test_every_verb_that_reads_is_asked_or_has_a_reason():
    assert sorted([*READS, *ELSEWHERE]) == sorted(reading())
    assert len(ELSEWHERE) <= 8
