"""Log lines of an agent, with fields and the trace."""

from __future__ import annotations

import logging
from typing import Final

_LOGGER: Final = logging.getLogger("quarterdeck.agent")


class Log:
    """Log lines with fields: `ctx.log("read", lines=400)` is `ctx.log.info(...)`. They carry the trace and go to the replica's log.

    Built on the standard library's logger `quarterdeck.agent`, so that a user's own logging configuration applies.
    """

    def __init__(self, trace_id: str) -> None:
        self._trace_id = trace_id

    def __call__(self, text: str, **fields: object) -> None:
        """The same as `info`."""
        self._write(logging.INFO, text, fields)

    def debug(self, text: str, **fields: object) -> None:
        """For whoever looks for a fault in the agent."""
        self._write(logging.DEBUG, text, fields)

    def info(self, text: str, **fields: object) -> None:
        """What happened."""
        self._write(logging.INFO, text, fields)

    def warning(self, text: str, **fields: object) -> None:
        """Something that may need somebody."""
        self._write(logging.WARNING, text, fields)

    def error(self, text: str, **fields: object) -> None:
        """Something failed."""
        self._write(logging.ERROR, text, fields)

    def exception(self, text: str, **fields: object) -> None:
        """Something failed; with the traceback of the exception being handled."""
        self._write(logging.ERROR, text, fields, traceback=True)

    def _write(self, level: int, text: str, fields: dict[str, object], *, traceback: bool = False) -> None:
        shown = "".join(f" {name}={value!r}" if " " in str(value) else f" {name}={value}" for name, value in fields.items())
        _LOGGER.log(level, "%s%s trace=%s", text, shown, self._trace_id, exc_info=traceback)
