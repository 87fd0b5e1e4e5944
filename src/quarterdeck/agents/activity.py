"""What code runs for, and how it may be stopped when nothing can come of it. Light to import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from quarterdeck.errors import Terminal

HINT: Final = "have one of them not wait for an answer (ctx.tell, ctx.publish), or give the agent more places (concurrency, replicas)"


class Deadlock(Terminal):
    """This wait could not have ended: everybody in a cycle waited for the next one. The message names the cycle."""

    def __init__(self, message: str) -> None:
        super().__init__(message, hint=HINT)


class NoProgress(Terminal):
    """A message or task had gone round and round without anything coming of it, and was refused. The message names the cycle."""


@dataclass(frozen=True, slots=True)
class Activity:
    """A task, an ask (`id` is the name of its attempt) or a durable message. `kind` empty: something that nobody can wait for."""

    id: str = ""
    kind: Literal["", "task", "ask", "message"] = ""
    verb: str = ""


NOBODY: Final = Activity()
