"""What tasks ask humans. A question is a row of the server, bound to its exact words and arguments: an agent cannot answer itself."""

from __future__ import annotations

import json
from typing import Any, Literal, cast

from sqlalchemy import Connection, select

from quarterdeck import states
from quarterdeck.errors import Conflict, NotFound, UserError
from quarterdeck.model.records import Actor, Entry
from quarterdeck.model.work import Hold, Question
from quarterdeck.store import rows, tables, tasks
from quarterdeck.store.overview import EVERYBODY, Scope, meant
from quarterdeck.store.rows import Row
from quarterdeck.store.turn import Turn, target_of


def ask(turn: Turn, hold: Hold, asked: Question) -> Question:
    """Keep a question, or give the one of this name there is. Raises Fenced, or Conflict when that one reads otherwise."""
    row = tasks.held(turn, hold)
    known = turn.find(tables.questions, asked.task, asked.name)
    if known is not None:
        there = _question(known)
        if (there.question, there.options, there.arguments) != (asked.question, asked.options, asked.arguments):
            raise Conflict(f"question {asked.name!r} was asked in other words before", hint="ask another question under another name")
        return there
    values = {"question": asked.question, "options": json.dumps(asked.options), "arguments": asked.arguments, "default": asked.default}
    given = {"until": asked.until, "state": states.QUESTION.first, "answer": None, "by": "", "asked": turn.now, "ended": None}
    kept = turn.insert(tables.questions, task=asked.task, name=asked.name, **values, **given)
    turn.note(row, "question", hold.holder.name, name=asked.name, until=asked.until)
    return _question(kept)


def answer(turn: Turn, task: str, name: str, text: str, *, actor: Actor, reason: str) -> Question:
    """A human answers. Raises NotFound, UserError for what is no option, Conflict when it has ended."""
    row = turn.find(tables.questions, task, name)
    if row is None:
        raise NotFound(f"task {task} asks nothing named {name!r}", hint="qd get questions lists what waits for an answer")
    options = _question(row).options
    if options and text not in options:
        raise UserError(f"{text!r} is no answer to it", hint=f"one of: {', '.join(options)}")
    if row["state"] != "open":
        raise Conflict(f"the question is {row['state']} already", hint=f"qd task get {task} shows the answer")
    return _end(turn, row, "answered", text, actor=actor, reason=reason)


def expire(turn: Turn, actor: Actor) -> list[Question]:
    """Let every question whose time is over have its default (none: it was denied)."""
    q = tables.questions
    over = turn.select(q, select(q).where(q.c.state == "open", q.c.until <= turn.now))
    return [_end(turn, row, "expired", cast("str | None", row["default"]), actor=actor, reason="nobody answered in time") for row in over]


def of(connection: Connection, task: str) -> list[Question]:
    """What a task asked, in order."""
    q = tables.questions
    return [_question(row) for row in rows.many(connection, q, select(q).where(q.c.task == task).order_by(q.c.asked, q.c.name))]


def open_(connection: Connection, scope: Scope = EVERYBODY, *, limit: int = 200) -> list[Question]:
    """What waits for an answer, the most urgent first."""
    q, t = tables.questions, tables.tasks
    found = select(q).join(t, q.c.task == t.c.id).where(q.c.state == "open", *meant(scope))
    urgent = found.order_by(q.c.until.is_(None), q.c.until, q.c.asked).limit(limit)
    return [_question(row) for row in rows.many(connection, q, urgent)]


def _end(turn: Turn, row: Row, state: Literal["answered", "expired"], text: str | None, *, actor: Actor, reason: str) -> Question:
    step = states.QUESTION.step(str(row["state"]), state)
    new = turn.update(tables.questions, row, state=step, answer=text, by=actor.name, ended=turn.now)
    task = turn.find(tables.tasks, row["task"]) or tasks.require(turn.connection, str(row["task"]))
    turn.moved.add(str(row["task"]))
    turn.note(task, "answer", actor.name, name=row["name"], answer=text, state=state)
    after = {"task": row["task"], "question": row["question"], "arguments": row["arguments"], "answer": text}
    verb = "question.answer" if state == "answered" else "question.expire"
    turn.journal(Entry(actor, verb, target_of(task).name, reason, after=after, system=str(task["system"])))
    return _question(new)


def _question(row: Row) -> Question:
    values: dict[str, Any] = {**row, "options": tuple(json.loads(str(row["options"])))}
    return Question(**values)
