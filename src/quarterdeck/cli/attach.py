"""`qd attach`: a console to one agent. It shows what the agent prints and asks it what is typed; a script's lines it asks one by one."""

from __future__ import annotations

import sys
from typing import Annotated, Final
from urllib.parse import quote

import typer

from quarterdeck.cli.ask import agent_in, send
from quarterdeck.cli.attached import BEFORE, NEW, Feed, Over, Report, forever
from quarterdeck.cli.completing import target_names
from quarterdeck.cli.console import Console
from quarterdeck.cli.follow import require_lines
from quarterdeck.cli.screen import clean
from quarterdeck.cli.session import Session
from quarterdeck.cli.times import lasting
from quarterdeck.cli.typed import Typed, signature
from quarterdeck.cli.usage import UsageError
from quarterdeck.client.wire import Document
from quarterdeck.errors import NotFound, QuarterdeckError, Transient

_HELP: Final = ("?", "help")


def attach(
    session: Session,
    target: Annotated[
        str,
        typer.Argument(metavar="TARGET", help="cluster/agent, or cluster/agent-n for one replica.", autocompletion=target_names),
    ],
    timeout: Annotated[str, typer.Option(metavar="TIME", help="How long to wait for each answer.")] = "10s",
) -> None:
    """A console to an agent, or to one replica of it: what it prints is shown as it comes, and what you type is asked.

    $ qd attach collectors/intake
    $ qd attach collectors/intake-0 --no-input      only shows
    $ echo 'greet {"name": "Ada"}' | qd attach front/greeter

    A line is VERB PAYLOAD, the payload as JSON without quotes around it; a payload alone goes to the verb before. ? shows the verbs, Tab
    completes them. Ctrl-C takes the line back or gives up waiting for an answer; Ctrl-D leaves, and the agent goes on.

    Without a terminal the lines of stdin are asked one after the other, until the first error, whose exit code it has. Answers come on
    stdout, one JSON document a line, the rest on stderr; with -o json all of it on stdout, each of a kind: Answer, Output or Record.
    """
    require_lines(session)
    session, inside = agent_in(session, target)
    agent = Agent(session, inside, lasting(timeout))
    console = _console(session, agent, inside)
    screen = session.screen if console or session.no_input else session.words
    report = Report(session, screen, console.line if console else screen.line)
    report.say(f"attached to {inside} · {agent.state}", *([] if session.no_input else [f"it answers to: {' · '.join(agent.told)}"]))
    feed = Feed(session, inside, report, BEFORE if console or session.no_input else NEW)
    try:
        with feed:
            if session.no_input:
                forever()
            elif console:
                _converse(agent, console, report)
            else:
                _ask_lines(agent, feed, report)
    except Over:
        report.end()
        if feed.error:
            raise feed.error from None
        if not (console or session.no_input):
            raise Transient("the fleet was ordered down before the end of the input", hint="start it again with qd up") from None
        session.say("the fleet was ordered down; qd up starts it again")
        return
    session.next(f"qd logs {target} · qd explain {target}")


class Agent:
    """Whom this is a console to: an agent, or one replica of it. `within` is how many seconds an answer may take."""

    def __init__(self, session: Session, inside: str, within: float) -> None:
        self._session, self._inside, self._within = session, inside, within
        self._name = inside
        try:
            self.look()
        except NotFound:
            self._get("replicas", inside)  # the refusal that is raised for what is neither
            self._name = inside.rpartition("-")[0]
            self.look()
        self._before = next(iter(self.verbs)) if len(self.verbs) == 1 else ""

    def look(self) -> None:
        """See how it is now: a rollout may have changed its verbs."""
        self._seen = self._get("agents", self._name)
        self.verbs: dict[str, Document] = self._seen["verbs"]

    @property
    def state(self) -> str:
        """How it stands, in words."""
        if self._inside == self._name:
            count = self._seen["replicas"]
            return f"{count['ready']} of {count['desired']} replicas ready"
        return next((str(one["state"]) for one in self._seen["replicas_seen"] if one["name"] == self._inside), "not there")

    @property
    def told(self) -> list[str]:
        """What it answers to."""
        return [signature(name, verb["payload"]) for name, verb in self.verbs.items()] or [clean(self._seen["verbs_reason"] or "nothing")]

    @property
    def docs(self) -> list[str]:
        """What it answers to, each with what its author says of it."""
        return [f"{text}  {clean(verb['doc'])}".rstrip() for text, verb in zip(self.told, self.verbs.values(), strict=False)] or self.told

    def ask(self, line: str) -> Document:
        """Send what a line says, and give the answer. Raises UsageError before anything is sent, else whatever it is refused with."""
        typed = Typed.of(line, self.verbs, self._before)
        if typed.verb in self.verbs or not self.verbs:
            self._before = typed.verb
        return send(self._session, self._inside, typed.verb, typed.payload(self.verbs), self._within)

    def _get(self, noun: str, name: str) -> Document:
        found: Document = self._session.client.get(f"/v1/{noun}/{quote(name)}", {"system": self._session.system})
        return found


def _console(session: Session, agent: Agent, inside: str) -> Console | None:
    """Where somebody can type, and read what comes of it."""
    if session.no_input or session.machine or not (sys.stdin.isatty() and session.screen.width):
        return None
    return Console(session.screen, f"{clean(inside)}> ", lambda: [word for word in (*agent.verbs, "help") if clean(word) == word])


def _converse(agent: Agent, console: Console, report: Report) -> None:
    """With somebody at a terminal, until Ctrl-D; an error is shown, and it goes on."""
    report.say("type VERB PAYLOAD; a payload alone goes to the verb before; ? shows the verbs", "Ctrl-D leaves, and the agent goes on")
    while True:
        try:
            if line := console.typed():
                _take(line, agent, report)
        except EOFError:
            return
        except KeyboardInterrupt:
            report.say("gave up waiting: what becomes of it is not told here")
        except QuarterdeckError as error:
            report.error(error)


def _ask_lines(agent: Agent, feed: Feed, report: Report) -> None:
    """What a script or a file says, line by line until the first error, which names its line."""
    for number, raw in enumerate(sys.stdin.buffer, 1):
        try:
            if line := _text(raw):
                _take(line, agent, report)
        except QuarterdeckError as error:
            feed.linger()
            error.where = " · ".join(part for part in (error.where, f"line {number} of the input") if part)
            raise
    feed.linger()


def _text(raw: bytes) -> str:
    try:
        return raw.decode().strip()
    except UnicodeDecodeError as error:
        raise UsageError("this is not UTF-8", hint="a line is VERB PAYLOAD, the payload as JSON") from error


def _take(line: str, agent: Agent, report: Report) -> None:
    """Do what a line says: send it, or show the verbs as they are now, unless the agent itself answers to that word."""
    if line in _HELP and line not in agent.verbs:
        agent.look()
        report.lines([f" {text}" for text in agent.docs])
    else:
        report.answer(agent.ask(line))
