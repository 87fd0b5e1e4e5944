"""The entry of `qd`: help and daemons without Typer, everything else through it; errors become words on stderr and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from quarterdeck.cli.verbs import overview
from quarterdeck.version import VERSION

if TYPE_CHECKING:
    from quarterdeck.errors import QuarterdeckError

INTERRUPTED: Final = 130
READER_GONE: Final = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and give its exit code; never a traceback for what can be expected."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        return _reader_gone()
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


def _run(arguments: list[str]) -> int:
    if not os.environ.get("_QD_COMPLETE") and (not arguments or arguments[0] in ("--help", "-h", "help")):
        sys.stdout.write(f"{overview()}\n")
        return 0
    if arguments == ["--version"]:
        sys.stdout.write(f"qd {VERSION}\n")
        return 0
    from quarterdeck.cli.daemons import find, run  # noqa: PLC0415 help needs none of this
    from quarterdeck.errors import QuarterdeckError  # noqa: PLC0415

    try:
        daemon = find(arguments)
        return run(*daemon) if daemon else _verb(arguments)
    except QuarterdeckError as error:
        from quarterdeck.cli.complain import complain  # noqa: PLC0415 only when something is wrong

        complain(error)
        return _exit_code(error, arguments)


def _exit_code(error: QuarterdeckError, arguments: list[str]) -> int:
    """That of the error, unless the verb promises one for all of them."""
    from quarterdeck.cli.quick import begun  # noqa: PLC0415 only when something is wrong

    verb = begun(arguments)
    return error.exit_code if verb is None or verb.fails is None else verb.fails


def _verb(arguments: list[str]) -> int:
    from quarterdeck.cli.guard import allow  # noqa: PLC0415
    from quarterdeck.cli.quick import read  # noqa: PLC0415
    from quarterdeck.cli.session import Session  # noqa: PLC0415

    call = None if os.environ.get("_QD_COMPLETE") else read(arguments)
    if call is None:
        return _typer(arguments)
    session = Session.begin(call.choices)
    allow(session, call.verb, call.given)
    return call.function(session, **call.given) or 0


def _typer(arguments: list[str]) -> int:
    from quarterdeck.cli.dispatch import REFUSED, misused, root  # noqa: PLC0415

    try:
        code = root()(arguments, prog_name="qd", standalone_mode=False)
    except SystemExit as end:  # completion
        code = end.code
    except REFUSED as error:
        raise misused(error) from error
    return code if isinstance(code, int) else int(code is not None)


def _reader_gone() -> int:
    """Whoever read our output stopped: say nothing more, and let the interpreter's last flush go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    return READER_GONE


if __name__ == "__main__":
    sys.exit(main())
