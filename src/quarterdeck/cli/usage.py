"""A command line that makes no sense, found by a verb itself."""

from __future__ import annotations

from quarterdeck.errors import UserError


class UsageError(UserError):
    """Wrong words after `qd`; exit 2, as for those that Typer finds."""

    code = "E1002"
    exit_code = 2
