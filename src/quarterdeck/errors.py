"""The errors of Quarterdeck, drawn as one tree.

Exit code, HTTP status and whether a retry makes sense follow from the branch, never from the text. A code (`E1003`) names the kind for
people: that of the class, or a nearer one given where the error is raised. `qd explain E1003` tells what it means::

    QuarterdeckError
    ├── UserError           exit 1  HTTP 400   somebody can mend it; carries a hint and a place
    │   ├── SpecError       exit 1  HTTP 422   the file is wrong; carries every problem found in it
    │   ├── NotFound        exit 3  HTTP 404
    │   ├── Conflict        exit 1  HTTP 409   the world moved, or somebody else holds it
    │   └── Forbidden       exit 4  HTTP 403
    ├── Transient           exit 5  HTTP 503   the outcome is unknown or "not now": try again
    │   └── StoreReadOnly   exit 5  HTTP 507   the disk is full or failed: reads work, writes do not
    └── Terminal            exit 1  HTTP 500   trying again cannot help
        └── InvalidTransition                  a state machine was asked for an illegal step
"""

from __future__ import annotations


class QuarterdeckError(Exception):
    """Base of every error raised on purpose; `hint` says what to do, `where` names the place."""

    code = "E1000"
    exit_code = 1
    http_status = 500
    retry = False

    def __init__(self, message: str, *, hint: str = "", where: str = "", code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.where = where
        self.code = code or self.code

    @property
    def told(self) -> str:
        """Its lines for a log, in the form in which every verb says an error."""
        first, _, more = self.message.partition("\n")
        message = f"{first} [{self.code}]" + (f"\n{more}" if more else "")
        parts = ("error:", message), ("  at:", self.where), ("hint:", self.hint)
        return "".join(f"{name} {text}\n" for name, text in parts if text)


def named(error: BaseException) -> str:
    """`Terminal: no such order`: an error with its kind, once, though what it says may be an error that was named before."""
    kind, message = type(error).__name__, str(error)
    return message if message.startswith(f"{kind}: ") else f"{kind}: {message or kind}"


class UserError(QuarterdeckError):
    """Something the caller can mend."""

    code = "E1001"
    http_status = 400


class SpecError(UserError):
    """A spec that is refused; `problems` holds every one found, each already rendered for people."""

    code = "E1010"
    http_status = 422

    def __init__(self, message: str, *, problems: tuple[str, ...] = (), hint: str = "", where: str = "") -> None:
        super().__init__(message, hint=hint, where=where)
        self.problems = problems


class NotFound(UserError):
    """The named thing does not exist."""

    code = "E1003"
    exit_code = 3
    http_status = 404


class Conflict(UserError):
    """The world has moved since the caller looked, or another holder is in the way."""

    code = "E1007"
    http_status = 409


class Forbidden(UserError):
    """The caller may not do this."""

    code = "E1004"
    exit_code = 4
    http_status = 403


class Transient(QuarterdeckError):
    """Not now, or outcome unknown: the same call may succeed later."""

    code = "E1005"
    exit_code = 5
    http_status = 503
    retry = True
    after = 0.0
    """Seconds after which it is worth trying again; 0: nobody has said."""


class StoreReadOnly(Transient):
    """The store cannot write (disk full or failed); reads go on."""

    code = "E1006"
    http_status = 507


class Terminal(QuarterdeckError):
    """Trying again cannot help."""

    code = "E1008"


class InvalidTransition(Terminal):
    """An illegal step of a state machine; `story` is the history of the object so far."""

    code = "E1009"

    def __init__(self, message: str, *, story: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.story = story
