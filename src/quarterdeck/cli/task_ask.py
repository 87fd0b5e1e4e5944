"""A question of a task, put to who sits at the terminal. The words are an agent's: they stand behind a bar, and nothing else does."""

from __future__ import annotations

import json
import sys

from quarterdeck.cli.guard import askable
from quarterdeck.cli.render import clock_time
from quarterdeck.cli.screen import clean
from quarterdeck.cli.session import Session
from quarterdeck.cli.usage import UsageError
from quarterdeck.client.wire import Document
from quarterdeck.errors import NotFound, UserError


def asked(session: Session, task: str, name: str | None) -> tuple[str, str]:
    """Show the open question and read the answer: (name, answer). Raises NotFound, UsageError without a terminal, UserError for neither."""
    document: Document = session.client.get(f"/v1/tasks/{task}")
    open_ = [one for one in document["questions"] if one["state"] == "open" and name in (None, one["name"])]
    if not open_:
        raise NotFound(
            f"task {task} asks nothing" + (f" named {name!r}" if name else ""), hint="qd get questions lists what waits for an answer"
        )
    if len(open_) > 1:
        raise UsageError(f"task {task} asks {len(open_)} things", hint=f"--name {clean(' or '.join(one['name'] for one in open_))}")
    (question,) = open_
    askable(session, f"give the answer: qd task answer {task} TEXT")
    return question["name"], _read(session, document, question)


def _read(session: Session, document: Document, question: Document) -> str:
    session.words.lines(*shown(document, question))
    options = question["options"]
    session.words.line(f"Answer{f' (1 to {len(options)}, or the words)' if options else ''}:")
    said = sys.stdin.readline().strip()
    if options and said.isdecimal() and said not in options and 1 <= int(said) <= len(options):
        return str(options[int(said) - 1])
    if not said or (options and said not in options):
        raise UserError("no answer was given", hint=f"one of: {clean(', '.join(options))}" if options else "type it, then Enter")
    return said


def shown(document: Document, question: Document) -> list[str]:
    """The lines of a question; those of the agent begin with a bar."""
    until, default = question["until"], question["default"]
    ends = f"until {clock_time(until)}, then {'denied' if default is None else clean(f'{default!r}')}" if until else "without a time limit"
    arguments = [] if question["arguments"] is None else json.dumps(question["arguments"], indent=2).splitlines()
    return [
        f"Task {document['id']} of {clean(document['target'])} asks a human, {ends}:",
        *(f"  | {clean(line)}" for line in question["question"].splitlines()),
        *(["It is about exactly this:"] if arguments else []),
        *(f"  | {clean(line)}" for line in arguments),
        *(["It takes one of these answers:"] if question["options"] else []),
        *(f"  {n} | {clean(option)}" for n, option in enumerate(question["options"], 1)),
    ]
